"""an8Flower (Oramas et al., ICLR 2019): flowers whose class is the colour of one part, with that part's mask.

The authors' files are read if they exist. Otherwise similar flowers are rendered (`evident.data.render.flowers`). The
original renderer is not available: parts, viewpoints and light are our choice.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky import get_reusable_executor
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import max_pool2d

from evident.contracts import ChangesEvidence
from evident.data.files import listing
from evident.data.flower_set import FILE, FlowerRenderer, FlowerSet
from evident.data.images import ImageSet, ImageSplits
from evident.data.pictures import read_picture
from evident.data.render.flowers import CLASSES, COLOURS, REACH, RENDER_FORMAT, Rendered, check_variant, render
from evident.errors import UserError
from evident.store import artefact
from evident.values import ChangedImages

NAME = re.compile(r"class(\d+)_img(\d+)_p(\d+)_r(\d+)")
SUFFIXES = (".jpg", ".jpeg", ".png")
SPLITS = ("train", "val", "test")
CHUNK = 128  # images that one process renders at a time
SEVERAL = 512  # images that are worth starting further processes


def _folder(root: Path, variant: str) -> Path | None:
    spellings = (root / f"an8Flower_{variant.replace('-', separator)}" for separator in "-_")
    return next((folder for folder in spellings if folder.is_dir()), None)


def source_of(root: Path | str, variant: str) -> str:
    """Return "authors DIGEST" if the folder root/an8Flower_<variant> exists, else "rendered FORMAT".

    DIGEST is a hash of the files' names and sizes, so that different files have different sources.
    """
    folder = _folder(Path(root), check_variant(variant.replace("_", "-")))
    return f"rendered {RENDER_FORMAT}" if folder is None else f"authors {listing(folder, SUFFIXES)}"


def an8flower(
    variant: str,
    train: int,
    val: int,
    test: int,
    seed: int,
    source: str,
    size: int = 112,
    *,
    root: Path,
    store: Path,
) -> ImageSplits:
    """Return splits of `train`, `val` and `test` images, size x size, with masks; no scene is in two splits.

    `source` "rendered" renders the splits once from `seed` and keeps them in `store`. "authors" reads at most these
    numbers of the files below `root`, the same number for each class if possible, and ignores `seed`. Raises
    `UserError` for an unknown variant or source and for files that are missing, unreadable or wrongly named.
    """
    variant = check_variant(variant.replace("_", "-"))
    counts = dict(zip(SPLITS, (train, val, test), strict=True))
    kind = source.split()[0]
    if kind == "rendered":
        sets = {split: _rendered(variant, split, count, seed, size, store) for split, count in counts.items()}
        return RenderedFlowers(**sets, classes=CLASSES[variant], variant=variant, seed=seed, store=store)
    if kind == "authors":
        return _authors(root, variant, counts, size)
    raise UserError(f"unknown an8Flower source {source!r}; use authors or rendered")


@dataclass(frozen=True)
class RenderedFlowers(ImageSplits, ChangesEvidence):
    """Hold rendered splits, whose test scenes can be rendered again with another colour."""

    variant: str
    seed: int
    store: Path

    def changed_images(self) -> ChangedImages:
        """Return the test images with the marked part in the next colour, in other surroundings, and in grey.

        A part is visible a few pixels outside its mask, so the changes apply to the mask and these pixels. Other
        surroundings are those of the next image, whose own marked part is grey.
        """
        images, labels, masks = self.test.images, self.test.labels, self.test.masks
        assert isinstance(images, Tensor)
        assert isinstance(masks, Tensor)
        first = labels // len(COLOURS) * len(COLOURS)  # of the part
        new_labels = first + (labels + 1) % len(COLOURS)
        part = max_pool2d(masks[:, None].float(), 2 * REACH + 1, 1, REACH) > 0
        grey = torch.where(part, images.float().mean(1, keepdim=True).round().byte(), images)
        surrounded = torch.where(part, images, grey.roll(-1, 0))
        return ChangedImages(images, labels, self._recoloured(new_labels), new_labels, surrounded, grey)

    def _recoloured(self, labels: Tensor) -> Tensor:
        size, count = self.test.images.shape[-1], len(labels)
        identity = {
            "set": "an8flower recoloured", "format": RENDER_FORMAT, "variant": self.variant, "count": count,
            "seed": self.seed, "size": size,
        }  # fmt: skip

        def make(folder: Path) -> None:
            drawn = render(self.variant, "test", range(count), self.seed, size, labels)
            save_file({"images": drawn.images}, folder / FILE)

        return load_file(artefact(self.store, "data", identity, make) / FILE)["images"]


def _rendered(variant: str, split: str, count: int, seed: int, size: int, store: Path) -> FlowerSet:
    identity = {
        "set": "an8flower", "format": RENDER_FORMAT, "variant": variant, "split": split, "count": count,
        "seed": seed, "size": size,
    }  # fmt: skip

    def make(folder: Path) -> None:
        chunks = _chunks(variant, split, count, seed, size)
        names = ("images", "labels", "parts", "masks")
        tensors = {name: torch.cat(column) for name, column in zip(names, zip(*chunks, strict=True), strict=True)}
        save_file(tensors, folder / FILE)

    stored = load_file(artefact(store, "data", identity, make) / FILE)
    names = [f"{split}-{index:05d}" for index in range(count)]
    renderer = FlowerRenderer(variant, split, seed, size, store)
    pixels = (stored["masks"], stored["parts"])
    return FlowerSet(stored["images"], stored["labels"], names, *pixels, torch.arange(count), renderer)


def _chunks(variant: str, split: str, count: int, seed: int, size: int) -> list[Rendered]:
    """Render the images 0 to `count` - 1, in several processes if they are many; the bytes are the same."""
    parts = [range(start, min(start + CHUNK, count)) for start in range(0, max(count, 1), CHUNK)]
    work = partial(render, variant, split, seed=seed, size=size)
    if count < SEVERAL:
        return [work(part) for part in parts]
    # Joblib also works in the processes of hydra/launcher=processes, which cannot start others by multiprocessing.
    with parallel_config("loky", inner_max_num_threads=1):
        rendered = Parallel(n_jobs=min(len(parts), os.cpu_count() or 1))(delayed(_arrays)(work, part) for part in parts)
        get_reusable_executor().shutdown()  # idle processes would keep their memory
    return [Rendered(*map(torch.from_numpy, arrays)) for arrays in rendered]


def _arrays(work: Callable[[range], Rendered], part: range) -> list[NDArray[Any]]:
    """Return the images of one process as arrays: tensors would be sent through shared memory, which may be scarce."""
    return [tensor.numpy() for tensor in work(part)]


def _authors(root: Path, variant: str, counts: dict[str, int], size: int) -> ImageSplits:
    folder = _folder(root, variant)
    if folder is None:
        raise UserError(f"no folder {root / f'an8Flower_{variant}'}; put the authors' files there or use rendered")
    paths = sorted(p for p in folder.glob("*/*") if p.suffix.lower() in SUFFIXES and p.parent.name != "masks")
    files = sorted(((path, _numbers(path)) for path in paths), key=lambda file: file[1])
    classes = sorted({numbers[0] for _, numbers in files})
    if len(classes) != len(CLASSES[variant]):
        raise UserError(
            f"{folder} has images of {len(classes)} classes, but {variant} has {len(CLASSES[variant])}; "
            "unpack the complete data set there"
        )
    chosen: dict[str, list[tuple[Path, int]]] = {split: [] for split in SPLITS}
    for split, count in counts.items():
        queues = [
            [path for path, numbers in files if numbers[0] == name and _split(numbers[1]) == split] for name in classes
        ]
        # Each round takes one file of every class, so that the classes are balanced for any count.
        longest = max(len(queue) for queue in queues)
        rounds = [(q[i], label) for i in range(longest) for label, q in enumerate(queues) if i < len(q)]
        chosen[split] = rounds[:count]
    sets = {split: _read(folder, files, size) for split, files in chosen.items()}
    return ImageSplits(**sets, classes=tuple(f"class{name}" for name in classes))


def _numbers(path: Path) -> tuple[int, ...]:
    """Return class, scene, p and r of a file name."""
    match = NAME.fullmatch(path.stem)
    if match is None:
        raise UserError(f"{path} is not named like class2_img30_p1_r2.jpg; rename or delete it")
    return tuple(int(number) for number in match.groups())


def _split(scene: int) -> str:
    """Return the split of a scene: one scene in ten is for test, one for validation.

    This is our choice, as the authors' split is not available.
    """
    return {0: "test", 1: "val"}.get(scene % 10, "train")


def _mask_path(folder: Path, path: Path) -> Path:
    folders = (path.parent / "masks", folder / "masks" / path.parent.name)
    for masks in folders:
        for suffix in SUFFIXES:
            if (mask := masks / (path.stem + suffix)).is_file():
                return mask
    raise UserError(f"{path} has no mask {folders[0] / path.name}; put it there")


def _pixels(path: Path, mode: str, size: int) -> Tensor:
    picture = read_picture(path).convert(mode).resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(picture))


def _read(folder: Path, files: list[tuple[Path, int]], size: int) -> ImageSet:
    images = torch.empty(len(files), 3, size, size, dtype=torch.uint8)
    masks = torch.empty(len(files), size, size, dtype=torch.bool)
    for i, (path, _) in enumerate(files):
        images[i] = _pixels(path, "RGB", size).permute(2, 0, 1)
        masks[i] = _pixels(_mask_path(folder, path), "L", size) >= 128
    labels = torch.tensor([label for _, label in files], dtype=torch.long)
    return ImageSet(images, labels, [path.stem for path, _ in files], masks)
