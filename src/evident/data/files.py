"""Images and boxes that are read from their files on access, so that a data set may be larger than memory.

Images are prepared as for torchvision's classifiers: the shorter side is resized, then the centre is cropped.
"""

import functools
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms
from torchvision.tv_tensors import BoundingBoxes

from evident.data.pictures import read_mask, read_picture, upright_size
from evident.errors import UserError


def files_below(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return the files below `folder` with one of these suffixes, sorted; links are followed, hidden files left out.

    macOS puts a hidden file `._name.jpg` beside each file that it copies to a foreign disk.
    """
    found, entered = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        entered.add(os.path.realpath(place))
        # A link to a folder above would never end.
        folders[:] = [
            name for name in folders if name[0] != "." and os.path.realpath(os.path.join(place, name)) not in entered
        ]
        found += [
            Path(place, name) for name in names if name[0] != "." and os.path.splitext(name)[1].lower() in suffixes
        ]
    return sorted(found)


@functools.cache
def listing(folder: Path, suffixes: tuple[str, ...]) -> str:
    """Return a hash, 16 hexadecimal digits, of the names and sizes of all `files_below` the folder."""
    files = files_below(folder, suffixes)
    lines = [f"{path.relative_to(folder).as_posix()} {path.stat().st_size}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


class Frame(Protocol):
    """Cut a square of `size` x `size` pixels out of an RGB picture."""

    @property
    def size(self) -> int: ...

    def image(self, picture: Image.Image) -> Tensor:
        """Return uint8 (3, size, size)."""


@dataclass(frozen=True)
class Crop:
    """Resize the shorter side to `shorter` pixels, then crop the centre, `size` x `size`.

    Pillow resizes bilinearly and rounds to uint8. The result has the same bits as that of torchvision's transforms, so
    storing uint8 loses nothing.
    """

    shorter: int
    size: int

    def image(self, picture: Image.Image) -> Tensor:
        """Return uint8 (3, size, size)."""
        resized = transforms.resize(picture, [self.shorter])
        return transforms.pil_to_tensor(transforms.center_crop(resized, [self.size]))

    def masks(self, boxes: Tensor, width: int, height: int) -> Tensor:
        """Return bool (K, size, size): the pixels whose centres lie in each of the boxes (K, 4).

        Boxes are left, top, right, bottom in pixels of a picture of `width` x `height`.
        """
        placed = BoundingBoxes(boxes, format="XYXY", canvas_size=(height, width))
        placed = transforms.center_crop(transforms.resize(placed, [self.shorter]), [self.size])
        left, top, right, bottom = placed.as_subclass(Tensor).view(-1, 4, 1).unbind(1)
        centres = torch.arange(self.size) + 0.5
        columns = (left <= centres) & (centres < right)
        rows = (top <= centres) & (centres < bottom)
        return rows[:, :, None] & columns[:, None, :]


@dataclass(frozen=True)
class Stretch:
    """Resize both sides to `resize` pixels, then crop the centre, `size` x `size`."""

    resize: int
    size: int

    def __post_init__(self) -> None:
        if not 0 < self.size <= self.resize:
            raise UserError(
                f"size={self.size} pixels cannot be cropped from resize={self.resize}; use 1 to {self.resize}"
            )

    def image(self, picture: Image.Image) -> Tensor:
        """Return uint8 (3, size, size)."""
        resized = transforms.resize(picture, [self.resize, self.resize])
        return transforms.pil_to_tensor(transforms.center_crop(resized, [self.size]))


@dataclass(frozen=True)
class Square:
    """Cut out the largest square in the centre and resize it to `size` x `size` pixels."""

    size: int

    def image(self, picture: Image.Image) -> Tensor:
        """Return uint8 (3, size, size)."""
        return transforms.pil_to_tensor(ImageOps.fit(picture, (self.size, self.size), Image.Resampling.BICUBIC))


@dataclass(frozen=True)
class ImageFiles:
    """Read images, uint8 (N, 3, size, size), from their files on access; errors are those of `read_picture`."""

    paths: Sequence[Path]
    crop: Frame

    @property
    def shape(self) -> torch.Size:
        return torch.Size([len(self.paths), 3, self.crop.size, self.crop.size])

    def __getitem__(self, rows: Tensor | slice) -> "ImageFiles | Tensor":
        if isinstance(rows, slice):
            return ImageFiles(self.paths[rows], self.crop)
        return torch.stack([self.crop.image(read_picture(self.paths[row])) for row in rows.tolist()])


@dataclass(frozen=True)
class MaskFiles:
    """Read masks, bool (N, size, size), from their files on access, cropped like the image; empty where it has none.

    Access raises `UserError` for a mask whose size is not that of its picture, and those of `read_picture`.
    """

    paths: Sequence[Path]
    masks: Sequence[Path | None]
    crop: Frame

    @property
    def shape(self) -> torch.Size:
        return torch.Size([len(self.paths), self.crop.size, self.crop.size])

    def __getitem__(self, rows: Tensor | slice) -> "MaskFiles | Tensor":
        if isinstance(rows, slice):
            return MaskFiles(self.paths[rows], self.masks[rows], self.crop)
        return torch.stack([self._read(self.paths[row], self.masks[row]) for row in rows.tolist()])

    def _read(self, path: Path, file: Path | None) -> Tensor:
        if file is None:
            return torch.zeros(self.crop.size, self.crop.size, dtype=torch.bool)
        mask = read_mask(file)
        if mask.size != (size := upright_size(path)):
            raise UserError(f"{file} has {mask.size[0]} x {mask.size[1]} pixels, its picture {size[0]} x {size[1]}")
        return self.crop.image(mask)[0] >= 128


@dataclass(frozen=True)
class BoxMasks:
    """Compute masks, bool (N, size, size), on access: the union of each image's boxes, cropped like the image.

    `boxes` holds a tensor (K, 4) for each image: left, top, right, bottom in pixels of the upright picture. The mask
    is empty if the image has no box, or if all its boxes lie outside the crop.
    """

    paths: Sequence[Path]
    boxes: Sequence[Tensor]
    crop: Crop

    @property
    def shape(self) -> torch.Size:
        return torch.Size([len(self.paths), self.crop.size, self.crop.size])

    def __getitem__(self, rows: Tensor | slice) -> "BoxMasks | Tensor":
        if isinstance(rows, slice):
            return BoxMasks(self.paths[rows], self.boxes[rows], self.crop)
        return torch.stack([self.each(row).any(0) for row in rows.tolist()])

    def each(self, row: int) -> Tensor:
        """Return one mask (K, size, size) for each box of an image."""
        return self.crop.masks(self.boxes[row], *upright_size(self.paths[row]))
