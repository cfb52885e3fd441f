"""ImageNet (ILSVRC 2012; Russakovsky et al., IJCV 2015): validation images with the boxes of their class.

    imagenet/val/<synset>/<image>.JPEG    torchvision's `ImageFolder`; some of the folders are enough
    imagenet/synsets.txt                  the 1000 synsets in the order of the networks' scores, one per line
    imagenet/boxes.csv                    image, synset, xmin, ymin, xmax, ymax in pixels of the upright picture

Labels are positions among all 1000 classes, even if only some of the folders exist. Without synsets.txt all 1000
folders must exist, and the classes are in the order of their sorted names. Without boxes.csv there are no masks.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import torch
from torchvision.models import get_model_weights

from evident.data.boxes import read_boxes
from evident.data.files import BoxMasks, Crop, ImageFiles, files_below, listing
from evident.data.images import ImageSet, ImageSplits
from evident.data.tables import read_text
from evident.errors import UserError

IMAGES = (".jpeg", ".jpg", ".png")
CLASSES = 1000


def source_of(root: Path | str) -> str:
    """Return a digest of the names and sizes of the files below root/imagenet, or "missing"."""
    folder = Path(root) / "imagenet"
    return listing(folder, (*IMAGES, ".csv", ".txt")) if (folder / "val").is_dir() else "missing"


@functools.cache
def class_names() -> tuple[str, ...]:
    """Return torchvision's names of the 1000 classes, all different, in the order of the networks' scores."""
    return tuple(get_model_weights("squeezenet1_1")["IMAGENET1K_V1"].meta["categories"])


def imagenet(val: int, resize: int, size: int, *, root: Path, store: Path) -> ImageSplits:
    """Return the images below root/imagenet, sorted by name: the last `val` held out, all others in `test`.

    No training images are read: `train` is `val`, the images to learn from and to select settings on. The shorter side
    is resized to `resize` pixels and the centre, `size` x `size`, is cropped. Images are decoded on access. Raises
    `UserError` if images are missing, if a synset is unknown, or unless 0 <= val < number of images.
    """
    folder = root / "imagenet"
    paths = sorted(files_below(folder / "val", IMAGES), key=lambda path: path.name)
    if not paths:
        raise UserError(
            f"imagenet: {folder / 'val'} has no <synset>/<image>.JPEG, and ImageNet cannot be downloaded without an "
            "account; get the validation images of ILSVRC 2012 from image-net.org and put them there, or set "
            "EVIDENT_DATA to the folder that contains imagenet/, and run again"
        )
    if not 0 <= val < len(paths):
        raise UserError(f"imagenet: val={val} of {len(paths)} images cannot be held out; use 0 to {len(paths) - 1}")
    index = {synset: number for number, synset in enumerate(synsets_in(folder))}
    unknown = {path.parent.name for path in paths} - set(index)
    if unknown:
        raise UserError(
            f"imagenet: {folder / 'val' / min(unknown)} is not a synset of {folder / 'synsets.txt'}; "
            "rename or remove the folder"
        )
    labels = torch.tensor([index[path.parent.name] for path in paths], dtype=torch.long)
    crop, masks = Crop(resize, size), None
    if (file := folder / "boxes.csv").is_file():
        known = [[f"{name}/{path.parent.name}" for name in (path.name, path.stem)] for path in paths]
        masks = BoxMasks(paths, read_boxes(file, known, ("image", "synset")), crop)
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):  # files of ImageNet have names of their own, but those of other sets may not
        names = [f"{path.parent.name}/{path.name}" for path in paths]
    whole = ImageSet(ImageFiles(paths, crop), labels, names, masks)
    end = len(paths) - val
    held_out = whole.rows(slice(end, None))
    return ImageSplits(train=held_out, val=held_out, test=whole.rows(slice(end)), classes=class_names())


def synsets_in(folder: Path) -> Sequence[str]:
    """Return the 1000 synsets in the order of the networks' scores; raise `UserError` if the order is unknown."""
    file = folder / "synsets.txt"
    if file.is_file():
        synsets = [line.split()[0] for line in read_text(file).splitlines() if line.strip()]
        if len(set(synsets)) != CLASSES:
            raise UserError(f"imagenet: {file} lists {len(set(synsets))} synsets; list all {CLASSES}, one per line")
        return synsets
    synsets = sorted(path.name for path in (folder / "val").iterdir() if path.is_dir())
    if len(synsets) != CLASSES:
        raise UserError(
            f"imagenet: {file} is missing, and {folder / 'val'} has {len(synsets)} of {CLASSES} synset folders, so "
            "the classes are unknown; write all synsets to that file, one per line, sorted"
        )
    return synsets
