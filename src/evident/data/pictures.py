"""Picture files of any kind that Pillow reads, as upright RGB pictures: data sets and `task=explain` read alike.

Grey, palette, CMYK, 16-bit, 32-bit and floating-point pictures are converted, transparency is blended with white, the
EXIF rotation is applied, and of an animation the first frame is used.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from evident.errors import UserError

ORIENTATION = 0x0112  # the EXIF tag
# What turns a picture upright, by its EXIF orientation.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)
# The largest value of an integer picture that Pillow does not hold as bytes; TIFF allows all three.
WHITES = (2**16 - 1, 2**31 - 1, 2**32 - 1)

# What Pillow raises for files that are missing or damaged, and for pictures whose decoding would take gigabytes.
FAULTS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def read_picture(path: Path) -> Image.Image:
    """Read a picture as upright RGB; raise `UserError` for files that are missing, damaged or too large."""
    with _opened(path) as picture:
        return _as_rgb(_upright(picture))


def read_mask(path: Path) -> Image.Image:
    """Read a mask as upright grey picture, 255 for evidence and 0 for all else; errors are those of `read_picture`.

    Evidence is what is not 0 in a mask of classes (a palette, or no value above 1), and what is light in any other.
    """
    with _opened(path) as picture:
        upright = _upright(picture)
        values = np.asarray(upright)
        if upright.mode != "P" and (values.ndim > 2 or values.max() > 1):
            values = np.asarray(_as_rgb(upright).convert("L")) >= 128
        return Image.fromarray((values != 0).astype(np.uint8) * 255)


def upright_size(path: Path) -> tuple[int, int]:
    """Return width and height of the upright picture, without decoding it; errors are those of `read_picture`."""
    with _opened(path) as picture:
        width, height = picture.size
        return (height, width) if _orientation(picture) in SIDEWAYS else (width, height)


def decoding_error(file: Path | IO[bytes]) -> str | None:
    """Return why `file` cannot be decoded completely, or None if it can."""
    try:
        with _lazily_opened(file) as picture:
            # Pillow reads every byte, but decodes a JPEG at an eighth of its width and height, which is faster.
            picture.draft("RGB", (max(1, picture.width // 8), max(1, picture.height // 8)))
            picture.load()
    except FAULTS as error:
        return str(error) or type(error).__name__
    return None


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    if not path.is_file():
        raise UserError(f"{path} is not a file; give the path of a picture")
    try:
        with _lazily_opened(path) as picture:
            yield picture
    except FAULTS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} cannot be read ({reason}); give an undamaged picture of ordinary size") from error


@contextmanager
def _lazily_opened(file: Path | IO[bytes]) -> Iterator[Image.Image]:
    # As an open file: from a path, Pillow 13 maps uncompressed TIFFs into memory and garbles those that it turns.
    with ExitStack() as opened:
        # Pillow warns of odd metadata, which is no reason to refuse a picture, and of large pictures, which we refuse.
        opened.enter_context(warnings.catch_warnings(action="ignore"))
        content = opened.enter_context(open(file, "rb")) if isinstance(file, Path) else file
        picture = opened.enter_context(Image.open(content))
        if picture.width * picture.height > (Image.MAX_IMAGE_PIXELS or math.inf):
            raise ValueError(f"it has {picture.width} x {picture.height} pixels")
        yield picture


def _orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, or 1 if there is none that makes sense, or Pillow turns the picture on its own."""
    if picture.format == "TIFF":
        return 1
    try:
        return int(picture.getexif().get(ORIENTATION, 1))
    except Exception:  # EXIF is written by every camera in its own way, and is no reason to refuse a picture
        return 1


def _upright(picture: Image.Image) -> Image.Image:
    """Return the picture turned by its EXIF orientation.

    Pillow's `exif_transpose` also writes the other tags again, and fails where a camera wrote them wrongly.
    """
    turn = TURNS.get(_orientation(picture))
    return picture if turn is None else picture.transpose(turn)


def _as_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16") or picture.mode in "IF":
        picture = Image.fromarray(_as_bytes(picture))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def _as_bytes(picture: Image.Image) -> np.ndarray:
    """Return the grey values of a picture of integers or floating-point numbers, scaled to 0 to 255."""
    values = np.asarray(picture).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("it has pixels that are not a number")
    if picture.mode == "F":  # up to 1, or up to 255 if a pixel exceeds it
        white = 1 if values.max() <= 1 else 255
    else:
        values[values < 0] += 2**32  # Pillow holds unsigned integers of 32 bits as signed ones
        white = next(white for white in WHITES if values.max() <= white)
    return (values / white * 255).clip(0, 255).round().astype(np.uint8)
