"""Imagenette (Howard 2019): ten classes of ImageNet with images to learn from, which ImageNet's validation set lacks.

    imagenette/train/<synset>/*.JPEG                      the images to learn from
    imagenette/val/<synset>/ILSVRC2012_val_*.JPEG         validation images of ILSVRC 2012

Other images of `val`, as fast.ai's files have them, are of ImageNet's training set, which networks have learnt from;
they are left out.

Labels are positions among all 1000 classes of ImageNet, so that networks with published weights can be used as they
are. There are no masks; grids of four images have the tile of the class (`data=imagenette_grids`).
"""

from pathlib import Path

import torch

from evident.data.files import Crop, ImageFiles, files_below, listing
from evident.data.imagenet import IMAGES, class_names
from evident.data.images import ImageSet, ImageSplits
from evident.errors import UserError

LABELS = {
    **{"n01440764": 0, "n02102040": 217, "n02979186": 482, "n03000684": 491, "n03028079": 497},
    **{"n03394916": 566, "n03417042": 569, "n03425413": 571, "n03445777": 574, "n03888257": 701},
}
VALIDATION = "ILSVRC2012_val_"


def source_of(root: Path | str) -> str:
    """Return a digest of the names and sizes of the images below root/imagenette, or "missing"."""
    folder = Path(root) / "imagenette"
    return listing(folder, IMAGES) if (folder / "train").is_dir() else "missing"


def imagenette(val: int, size: int, *, root: Path, store: Path) -> ImageSplits:
    """Return Imagenette's images sorted by name: `train`; of its validation images the last `val`, and all others.

    The shorter side is resized to `size` pixels and the centre, `size` x `size`, is cropped. Images are decoded on
    access. Raises `UserError` if images are missing, of another class, or unless 0 <= val < number of images.
    """
    folder = root / "imagenette"
    train, rest = (_images(folder / split, size, start) for split, start in (("train", ""), ("val", VALIDATION)))
    if not 0 <= val < len(rest):
        raise UserError(f"imagenette: val={val} of {len(rest)} images cannot be held out; use 0 to {len(rest) - 1}")
    end = len(rest) - val
    return ImageSplits(train, rest.rows(slice(end, None)), rest.rows(slice(end)), class_names())


def _images(folder: Path, size: int, start: str) -> ImageSet:
    """Return the images below `folder` whose names begin with `start`."""
    paths = sorted(files_below(folder, IMAGES), key=lambda path: path.name)
    paths = [path for path in paths if path.name.startswith(start)]
    if not paths:
        raise UserError(
            f"imagenette: {folder} has no <synset>/{start}*.JPEG; unpack imagenette2-320 of fast.ai as imagenette/ in "
            "the data folder, or set EVIDENT_DATA to the folder that contains it, and run again"
        )
    if unknown := {path.parent.name for path in paths} - LABELS.keys():
        raise UserError(f"imagenette: {folder / min(unknown)} is none of its classes, {' '.join(LABELS)}; remove it")
    labels = torch.tensor([LABELS[path.parent.name] for path in paths])
    return ImageSet(ImageFiles(paths, Crop(size, size)), labels, [path.stem for path in paths])
