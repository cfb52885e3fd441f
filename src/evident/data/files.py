"""Images and boxes that are read from their files on access, so that a data set may be larger than memory.

Images are prepared as for torchvision's classifiers: the shorter side is resized, then the centre is cropped.
"""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms
from torchvision.tv_tensors import BoundingBoxes

from evident.errors import UserError


@functools.cache
def listing(folder: Path, suffixes: tuple[str, ...]) -> str:
    """Return a hash, 16 hexadecimal digits, of the names and sizes of all files below `folder` with these suffixes."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    lines = [f"{path.relative_to(folder).as_posix()} {path.stat().st_size}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


class Frame(Protocol):
    """Cut a square of `size` x `size` pixels out of a picture."""

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
        resized = transforms.resize(picture.convert("RGB"), [self.shorter])
        return transforms.pil_to_tensor(transforms.center_crop(resized, [self.size]))

    def masks(self, boxes: Tensor, picture: Image.Image) -> Tensor:
        """Return bool (K, size, size): the pixels whose centres lie in each of the boxes (K, 4).

        Boxes are left, top, right, bottom in pixels of `picture`, of which only the size is read.
        """
        placed = BoundingBoxes(boxes, format="XYXY", canvas_size=(picture.height, picture.width))
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
        resized = transforms.resize(picture.convert("RGB"), [self.resize, self.resize])
        return transforms.pil_to_tensor(transforms.center_crop(resized, [self.size]))


@dataclass(frozen=True)
class ImageFiles:
    """Read images, uint8 (N, 3, size, size), from their files on access.

    Access raises `UserError` for a file that is not an image or is truncated.
    """

    paths: Sequence[Path]
    crop: Frame

    @property
    def shape(self) -> torch.Size:
        return torch.Size([len(self.paths), 3, self.crop.size, self.crop.size])

    def __getitem__(self, rows: Tensor | slice) -> "ImageFiles | Tensor":
        if isinstance(rows, slice):
            return ImageFiles(self.paths[rows], self.crop)
        return torch.stack([self._read(self.paths[row]) for row in rows.tolist()])

    def _read(self, path: Path) -> Tensor:
        try:
            with Image.open(path) as picture:
                return self.crop.image(picture)
        except (OSError, SyntaxError, ValueError) as error:
            raise UserError(f"{path} is not a readable image ({error}); fetch it again or delete it") from error


@dataclass(frozen=True)
class BoxMasks:
    """Compute masks, bool (N, size, size), on access: the union of each image's boxes, cropped like the image.

    `boxes` holds a tensor (K, 4) for each image: left, top, right, bottom in pixels of its file. The mask is empty if
    the image has no box, or if all its boxes lie outside the crop.
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
        with Image.open(self.paths[row]) as picture:
            return self.crop.masks(self.boxes[row], picture)
