"""Images and boxes that stay in their files until they are asked for: a data set may be larger than memory.

Images go to a network as torchvision's classifiers take them: the shorter side resized, then the centre cropped.
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
    """Sixteen digits of the names and sizes of all files below `folder` that end in one of `suffixes`."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    lines = [f"{path.relative_to(folder).as_posix()} {path.stat().st_size}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


class Frame(Protocol):
    """What of a picture is taken, `size` pixels on each side."""

    @property
    def size(self) -> int: ...

    def image(self, picture: Image.Image) -> Tensor: ...


@dataclass(frozen=True)
class Crop:
    """The shorter side resized to `shorter` pixels, of that the centre, `size` x `size`.

    Bilinear and rounded to uint8 by Pillow: bit for bit what torchvision's transforms make of a picture, so holding
    uint8 costs nothing.
    """

    shorter: int
    size: int

    def image(self, picture: Image.Image) -> Tensor:
        """Uint8 (3, size, size)."""
        resized = transforms.resize(picture.convert("RGB"), [self.shorter])
        return transforms.pil_to_tensor(transforms.center_crop(resized, [self.size]))

    def masks(self, boxes: Tensor, picture: Image.Image) -> Tensor:
        """Bool (K, size, size): the pixels whose centres lie in each of the boxes (K, 4).

        Boxes are left, top, right, bottom in pixels of `picture`; its own are not decoded.
        """
        placed = BoundingBoxes(boxes, format="XYXY", canvas_size=(picture.height, picture.width))
        placed = transforms.center_crop(transforms.resize(placed, [self.shorter]), [self.size])
        left, top, right, bottom = placed.as_subclass(Tensor).view(-1, 4, 1).unbind(1)
        centres = torch.arange(self.size) + 0.5
        columns = (left <= centres) & (centres < right)
        rows = (top <= centres) & (centres < bottom)
        return rows[:, :, None] & columns[:, None, :]


@dataclass(frozen=True)
class ImageFiles:
    """Rows of images, uint8 (N, 3, size, size), decoded on access.

    Raises `UserError` there for a file that is no image or not whole.
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
            raise UserError(f"{path} is not a readable image ({error}); fetch it again or take it away") from error


@dataclass(frozen=True)
class BoxMasks:
    """Rows of masks, bool (N, size, size): the union of an image's boxes, cropped as the image is.

    `boxes` holds (K, 4) an image: left, top, right, bottom in pixels of its file. Empty where an image has no box,
    or none that reaches into the crop.
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
        """The masks (K, size, size) of an image's boxes one by one."""
        with Image.open(self.paths[row]) as picture:
            return self.crop.masks(self.boxes[row], picture)
