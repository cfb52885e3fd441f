"""Pictures of the user: class folders, or one folder without classes; with masks or boxes, if there are any.

    DIR/<class>/<picture>         or DIR/<picture>, if the classes are unknown
    DIR/train, DIR/val, DIR/test  the same in each, if the user has split the pictures
    DIR/masks/<class>/<picture>   the evidence in white, under the same path with any suffix
    DIR/boxes.csv                 image (<class>/<picture>), xmin, ymin, xmax, ymax in pixels of the upright picture

A picture is named by its path without the folder of its split. Files of any type that Pillow reads are pictures.
"""

import functools
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from evident.data.boxes import read_boxes
from evident.data.class_names import label_of, names_of
from evident.data.files import BoxMasks, Crop, ImageFiles, MaskFiles, files_below
from evident.data.images import NO_LABEL, ImageSet, ImageSplits
from evident.errors import UserError, warn_once

SPLITS = ("train", "val", "test")
MASKS, BOXES = "masks", "boxes.csv"


@dataclass(frozen=True)
class Picture:
    """Name a picture: its file, its path below the folder, its name, its class or None, and its split or None."""

    file: Path
    path: str
    name: str
    folder: str | None
    split: str | None


def pictures(root: Path | str | None) -> tuple[Picture, ...]:
    """Return all pictures below `root` but masks, sorted by name; raise `UserError` if their classes are unclear."""
    if root is None:
        raise UserError("data.root is not given; add data.root=DIR, a folder of pictures, or of class folders")
    return _pictures(Path(root).expanduser())


@functools.cache
def _pictures(root: Path) -> tuple[Picture, ...]:
    if not root.is_dir():
        raise UserError(f"data.root={root} is not a folder; give a folder of pictures, or of class folders")
    parts = {file: file.relative_to(root).parts for file in files_below(root, _suffixes())}
    parts = {file: own for file, own in parts.items() if own[0] != MASKS}
    if not parts:
        raise UserError(f"data.root={root} has no pictures; give a folder of pictures, or of class folders")
    splits = {first for first, *_ in parts.values()} & {*SPLITS}
    outside = [file for file, own in parts.items() if own[0] not in splits]
    if len(splits) > 1 and outside:
        raise UserError(f"{outside[0]} is beside the folders {' and '.join(sorted(splits))}; move it into one of them")
    divided = not outside
    found = [
        Picture(file, "/".join(own), "/".join(own[divided:]), own[divided] if own[divided + 1 :] else None, split)
        for file, own in parts.items()
        for split in [own[0] if divided else None]
    ]
    if (loose := [picture for picture in found if picture.folder is None]) and len(loose) < len(found):
        raise UserError(
            f"{loose[0].file} is beside class folders and so has no class; move it into one of them, or all pictures "
            "into one folder"
        )
    return tuple(sorted(found, key=lambda picture: picture.name))


@functools.cache
def _suffixes() -> tuple[str, ...]:
    """Return the suffixes of all types of pictures that Pillow reads."""
    Image.init()
    return tuple(suffix for suffix, kind in Image.EXTENSION.items() if kind in Image.OPEN)


@functools.cache
def _content(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def source_of(root: Path | str | None) -> str:
    """Return a digest, 16 hexadecimal digits, of the names and contents of all pictures, masks and boxes.

    Without a folder it is "none": a single picture needs no others (`task=explain`).
    """
    if root is None:
        return "none"
    folder = Path(root).expanduser()
    files = [picture.file for picture in pictures(folder)] + files_below(folder / MASKS, _suffixes())
    files += [folder / BOXES] if (folder / BOXES).is_file() else []
    lines = [f"{file.relative_to(folder).as_posix()} {_content(file)}" for file in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def name_of(root: Path | str | None) -> str:
    """Return the name of the folder, for tables."""
    return "folder" if root is None else Path(root).resolve().name


def names_for(data: str, weights: str | None, names: str | None) -> str | None:
    """Return what says the classes of a network: its own `names`, or ImageNet for published weights of ImageNet."""
    own = weights is None or weights.startswith("folder ") or Path(weights).is_file()
    published = not own and data == "imagenet"
    return "imagenet" if names is None and published else names


def class_names(root: Path | str | None, names: str | None) -> tuple[str, ...]:
    """Return the classes in the order of the network's outputs: those that `names` says, else the class folders."""
    if names is not None:
        return names_of(names)
    return tuple(sorted({p.folder for p in pictures(root) if p.folder is not None}))


def class_count(root: Path | str | None, names: str | None) -> int:
    """Return the number of `class_names`; raise `UserError` if there are none, so that no network can be built."""
    if count := len(class_names(root, names)):
        return count
    raise UserError(
        f"{root} has no class folders, so the classes of the network are unknown; give model.names=FILE.json, a list "
        "of their names"
    )


def count_test_images(root: Path | str | None, train: float, val: float) -> int:
    """Return the number of test images."""
    return len(_split(root, train, val)["test"])


def _split(root: Path | str | None, train: float, val: float) -> dict[str, list[Picture]]:
    if min(train, val) < 0 or train + val > 1:
        raise UserError(f"data.build.train={train} and val={val} are no shares; use 0 to 1, with a sum of at most 1")
    splits: dict[str, list[Picture]] = {name: [] for name in SPLITS}
    for picture in pictures(root):
        position = int(_content(picture.file)[:12], 16) / 16**12  # so copies of a picture are in one split
        drawn = "train" if position < train else "val" if position < train + val else "test"
        splits[picture.split or drawn].append(picture)
    return splits


def folder(
    folder: Path | str | None,
    names: str | None,
    source: Sequence[str],
    resize: int,
    size: int,
    train: float,
    val: float,
    train_images: Path | str | None = None,
    *,
    root: Path,
    store: Path,
) -> ImageSplits:
    """Return the pictures below `folder`, decoded on access and cropped as for torchvision's classifiers.

    Unless the folder has `train`, `val` or `test`, the shares `train` and `val` of the pictures, drawn by their
    contents, are for training and validation, and all others for tests. `names` are those of `class_names`; a picture
    whose class folder is not among them has no label. Masks of pictures without a mask file or a box are empty; there
    are none at all without such files. `train_images` is another folder, whose pictures are for training. `source` is
    part of the identity only. Raises `UserError` for a folder whose classes or splits are unclear, and for masks or
    boxes that fit no picture.
    """
    found, classes, crop = pictures(folder), class_names(folder, names), Crop(resize, size)
    place = Path(folder or "").expanduser()
    if found[0].split is not None and train + val > 0:
        raise UserError(f"{place} is split into folders already; leave out data.build.train and data.build.val")
    folders = {picture.folder for picture in found}
    labels = {name: label_of(name, classes, root) for name in folders}
    if strangers := sorted(name for name in folders if name is not None and labels[name] == NO_LABEL):
        warn_once(
            f"{place}: {len(strangers)} of {len(folders)} class folders ({', '.join(strangers[:3])}) are no classes of "
            "the network, so their pictures have no label; explained.target=predicted needs none"
        )

    def images(part: Sequence[Picture], below: Path = place) -> ImageSet:
        files = [picture.file for picture in part]
        own = torch.tensor([labels[picture.folder] for picture in part], dtype=torch.long)
        return ImageSet(ImageFiles(files, crop), own, [p.name for p in part], _masks(below, part, crop))

    sets = {name: images(part) for name, part in _split(place, train, val).items()}
    if train_images is not None:
        further = pictures(train_images)
        labels |= {name: label_of(name, classes, root) for name in {picture.folder for picture in further}}
        sets["train"] = images(further, Path(train_images).expanduser())
    return ImageSplits(**sets, classes=classes)


def _masks(folder: Path, part: Sequence[Picture], crop: Crop) -> MaskFiles | BoxMasks | None:
    """Return the masks from files or from boxes, or None if the folder has neither."""
    has_masks, has_boxes = (folder / MASKS).is_dir(), (folder / BOXES).is_file()
    if has_masks and has_boxes:
        raise UserError(f"{folder} has both {MASKS} and {BOXES}; keep one of them")
    files = [picture.file for picture in part]
    if has_masks:
        masks = _mask_files(folder)
        return MaskFiles(files, [masks.get(picture.path) for picture in part], crop)
    if has_boxes:
        boxes = _boxes(folder)
        return BoxMasks(files, [boxes[picture.path] for picture in part], crop)
    return None


@functools.cache
def _mask_files(folder: Path) -> dict[str, Path]:
    """Return the mask of each picture that has one, by the picture's path."""
    masks = {_stem(file.relative_to(folder / MASKS)): file for file in files_below(folder / MASKS, _suffixes())}
    found = {p.path: masks[stem] for p in pictures(folder) for stem in (_stem(p.path), _stem(p.name)) if stem in masks}
    if unused := sorted(set(masks.values()) - set(found.values())):
        text = f"{folder / MASKS}: {len(unused)} of {len(masks)} masks belong to no picture, first {unused[0]}"
        if not found:
            raise UserError(f"{text}; name them as in {folder / MASKS / pictures(folder)[0].name}")
        warn_once(text)
    return found


def _boxes(folder: Path) -> dict[str, torch.Tensor]:
    """Return the boxes of each picture, by its path; the table may name it by its file alone if that is clear."""
    found = pictures(folder)
    names = [dict.fromkeys([p.path, p.name, _stem(p.path), _stem(p.name), p.file.name, p.file.stem]) for p in found]
    of = Counter(name for own in names for name in own)
    clear = [[name for name in own if of[name] == 1] for own in names]
    return dict(zip((picture.path for picture in found), read_boxes(folder / BOXES, clear), strict=True))


def _stem(path: Path | str) -> str:
    return Path(path).with_suffix("").as_posix()
