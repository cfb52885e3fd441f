"""Pictures that the user provides: any mode and size, as RGB in [0, 1]."""

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from evident.data.files import Stretch
from evident.errors import UserError


def read_picture(path: Path, size: int, stretched: int | None = None) -> Tensor:
    """Read a picture as RGB in [0, 1]: its central square, resized to (3, size, size).

    With `stretched`, the whole picture is resized to a square of that many pixels and its centre is cropped, as
    `Stretch` does. Grey, palette, CMYK and 16-bit pictures are converted, transparency is blended with white, the EXIF
    rotation is applied, and of an animation the first frame is used. Raises `UserError` for files that are missing,
    damaged or too large.
    """
    if not path.is_file():
        raise UserError(f"image={path} is not a file; give the path of a picture")
    try:
        with warnings.catch_warnings():
            # Beyond Pillow's limit on pixels, decoding takes gigabytes.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(path)
        with picture:
            upright = _as_rgb(ImageOps.exif_transpose(picture))
            if stretched is not None:
                return Stretch(stretched, size).image(upright).float() / 255
            square = ImageOps.fit(upright, (size, size), Image.Resampling.BICUBIC)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UserError(f"image={path} cannot be read ({error}); give an undamaged picture of ordinary size") from error
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).float() / 255


def _as_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16") or picture.mode in "IF":
        values = np.asarray(picture, dtype=np.float64)
        if not np.isfinite(values).all():
            raise ValueError("it has pixels that are not a number")
        # Integers have sixteen bits; floating-point pictures go up to 1, or to 255 if they exceed it.
        white = 65535 if picture.mode != "F" else 1 if values.max() <= 1 else 255
        picture = Image.fromarray((values / white * 255).clip(0, 255).round().astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")
