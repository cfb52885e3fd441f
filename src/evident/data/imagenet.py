"""ImageNet (ILSVRC 2012; Russakovsky et al., IJCV 2015): validation images with the boxes of their class.

    imagenet/val/<synset>/<image>.JPEG    torchvision's `ImageFolder`; a part of the folders will do
    imagenet/synsets.txt                  the 1000 synsets in the order of the networks' scores, one a line
    imagenet/boxes.csv                    image, synset, xmin, ymin, xmax, ymax in pixels of the image's file

A class is the true one of the 1000 also where only some of the folders are there. Without synsets.txt all of them must
be: their sorted names are then the order. Without boxes.csv there are no masks.
"""

import csv
import functools
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from torchvision.models import get_model_weights

from evident.data.files import BoxMasks, Crop, ImageFiles, listing
from evident.data.images import ImageSet, Splits
from evident.errors import UserError

IMAGES = (".jpeg", ".jpg", ".png")
CLASSES = 1000
CORNERS = ("xmin", "ymin", "xmax", "ymax")


def source_of(root: Path | str) -> str:
    """Which files there are below root/imagenet: a digest of their names and sizes, or "missing"."""
    folder = Path(root) / "imagenet"
    return listing(folder, (*IMAGES, ".csv", ".txt")) if (folder / "val").is_dir() else "missing"


@functools.cache
def class_names() -> tuple[str, ...]:
    """The 1000 classes in the order of the networks' scores: torchvision's names, no two of which are equal."""
    return tuple(get_model_weights("squeezenet1_1")["IMAGENET1K_V1"].meta["categories"])


def imagenet(val: int, resize: int, size: int, *, root: Path, store: Path) -> Splits:
    """The images below root/imagenet by name, the last `val` of them held out, the others as `test`.

    There are no training images here: `train` is `val`, what may be learnt or chosen on. Images are resized to
    `resize` pixels on the shorter side, of which the centre, `size` x `size`, is taken; they are decoded on access.
    Raises `UserError` where images are missing, or their synsets unknown, and unless 0 <= val < their number.
    """
    folder = root / "imagenet"
    paths = sorted((p for p in folder.glob("val/*/*") if p.suffix.lower() in IMAGES), key=lambda path: path.name)
    if not paths:
        raise UserError(
            f"imagenet: {folder / 'val'} holds no <synset>/<image>.JPEG, and ImageNet cannot be downloaded without an "
            "account; get the validation images of ILSVRC 2012 from image-net.org and put them there, or set "
            "EVIDENT_DATA to the folder that holds imagenet/, and run again"
        )
    if not 0 <= val < len(paths):
        raise UserError(f"imagenet: val={val} images asked for; 0 to {len(paths) - 1} of {len(paths)} can be held out")
    index = {synset: number for number, synset in enumerate(_synsets(folder))}
    unknown = {path.parent.name for path in paths} - set(index)
    if unknown:
        raise UserError(f"imagenet: {folder / 'val' / min(unknown)} is no synset of {folder / 'synsets.txt'}")
    boxes, crop = _boxes(folder), Crop(resize, size)

    def split(part: list[Path]) -> ImageSet:
        labels = torch.tensor([index[path.parent.name] for path in part], dtype=torch.long)
        names, masks = [path.stem for path in part], None
        if boxes is not None:
            own = [torch.tensor(boxes.get((path.name, path.parent.name), [])).view(-1, 4) for path in part]
            masks = BoxMasks(part, own, crop)
        return ImageSet(ImageFiles(part, crop), labels, names, masks)

    end = len(paths) - val
    held_out = split(paths[end:])
    return Splits(train=held_out, val=held_out, test=split(paths[:end]), classes=class_names())


def _synsets(folder: Path) -> Sequence[str]:
    """The 1000 synsets in the order of the networks' scores."""
    file = folder / "synsets.txt"
    if file.is_file():
        synsets = [line.split()[0] for line in file.read_text().splitlines() if line.strip()]
        if len(set(synsets)) != CLASSES:
            raise UserError(f"imagenet: {file} lists {len(set(synsets))} synsets and not the {CLASSES}, one a line")
        return synsets
    synsets = sorted(path.name for path in (folder / "val").iterdir() if path.is_dir())
    if len(synsets) != CLASSES:
        raise UserError(
            f"imagenet: {file} is missing, and the {len(synsets)} folders in {folder / 'val'} are not all {CLASSES} "
            f"synsets, so their classes are unknown; put a list of all there, one a line in their sorted order"
        )
    return synsets


def _boxes(folder: Path) -> dict[tuple[str, str], list[list[float]]] | None:
    """The boxes of each (image, synset) that has any; None without a file."""
    path = folder / "boxes.csv"
    if not path.is_file():
        return None
    boxes = defaultdict(list)
    with open(path, newline="") as file:
        try:
            for row in csv.DictReader(file):
                boxes[row["image"], row["synset"]].append([float(row[corner]) for corner in CORNERS])
        except (KeyError, ValueError, TypeError) as error:
            columns = ", ".join(("image", "synset", *CORNERS))
            raise UserError(f"imagenet: {path} does not hold {columns} in every row ({error!r})") from error
    return dict(boxes)
