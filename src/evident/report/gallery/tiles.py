"""Pictures and heatmaps as small tiles: one image file for the tiles of a cell, and what a browser needs to read it.

A browser may not read the pixels of a file that it opened from the disk. So tiles hold grey values, which it colours by
a filter, and everything that needs numbers (scale, outline, correlation) is computed here.
"""

import hashlib
import io
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.measure import approximate_polygon, find_contours
from torch import Tensor
from torch.nn.functional import interpolate

HIGHEST = 0.995  # the quantile of a heatmap that is white; a gradient has a few very large values
HEATMAP_QUALITY, PICTURE_QUALITY = 75, 80
NEAR = 4  # WebP without loss is at least a quarter of the size of deflate
COLUMNS = 16  # tiles side by side; a row of all would exceed the longest side of a WebP
TOLERANCE = 0.3  # pixels by which an outline may leave the border of its mask


class Grey(NamedTuple):
    """Heatmaps as grey values: levels uint8 (N, H, W); low and high (N,) are the values of levels 0 and 255."""

    levels: NDArray[np.uint8]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def reduce(values: Tensor, longest: int) -> Tensor:
    """Average images (N, H, W) or (N, C, H, W) to at most `longest` pixels per side, as float32; never enlarge them."""
    values = values.float()
    height, width = values.shape[-2:]
    if max(height, width) <= longest:
        return values
    factor = longest / max(height, width)
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    if values.ndim == 3:
        return interpolate(values[:, None], size=size, mode="area")[:, 0]
    return interpolate(values, size=size, mode="area")


def grey(heatmaps: Tensor) -> Grey:
    """Scale each heatmap (N, H, W) from its lowest value to its 99.5th percentile; higher values become white.

    low + level / 255 * (high - low) is the value to half a level. A heatmap whose percentile is its lowest value is
    scaled to its maximum, and a constant one is black.
    """
    values = heatmaps.double().flatten(1)
    low, highest = values.amin(1), values.amax(1)
    high = torch.quantile(values, HIGHEST, dim=1)
    high = torch.where(high > low, high, highest)
    return _levels(heatmaps, low, high, constant=0)


def signed_grey(heatmaps: Tensor) -> Grey:
    """Scale each signed heatmap (N, H, W) symmetrically: zero is between level 127 and 128."""
    sizes = heatmaps.double().abs().flatten(1)
    high = torch.quantile(sizes, HIGHEST, dim=1)
    high = torch.where(high > 0, high, sizes.amax(1))
    return _levels(heatmaps, -high, high, constant=0.5)


def _levels(heatmaps: Tensor, low: Tensor, high: Tensor, constant: float) -> Grey:
    """Scale from `low` to `high`; a heatmap without any span gets the share `constant`."""
    span = (high - low)[:, None, None]
    shares = (heatmaps.double() - low[:, None, None]) / span
    shares = torch.where(span > 0, shares, constant)
    levels = (shares.clamp(0, 1) * 255).round().byte()
    return Grey(levels.numpy(), low.numpy(), high.numpy())


def sheet(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Place tiles (N, H, W) or (N, H, W, 3) in rows of `COLUMNS`, black where the last row is not full."""
    columns = min(len(tiles), COLUMNS)
    rows = -(-len(tiles) // columns)
    filled = np.zeros((rows * columns, *tiles.shape[1:]), np.uint8)
    filled[: len(tiles)] = tiles
    height, width = tiles.shape[1:3]
    grid = filled.reshape(rows, columns, *tiles.shape[1:]).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, *tiles.shape[3:])


def encode(tiles: NDArray[np.uint8]) -> bytes:
    """Return the tiles as one WebP: without loss where that is smaller, as it is for digits and masks."""
    image = Image.fromarray(sheet(tiles)).convert("RGB")
    quality = HEATMAP_QUALITY if tiles.ndim == 3 else PICTURE_QUALITY
    lossy, lossless = io.BytesIO(), io.BytesIO()
    image.save(lossy, "WEBP", quality=quality, method=4)
    # A photograph without loss takes thrice the time and size. Deflate, which is fast, tells what may be smaller.
    if len(zlib.compress(tiles.tobytes(), 1)) > NEAR * len(lossy.getvalue()):
        return lossy.getvalue()
    image.save(lossless, "WEBP", lossless=True, quality=80, method=4)
    return min(lossless.getvalue(), lossy.getvalue(), key=len)


def add(files: dict[str, bytes], tiles: NDArray[np.uint8]) -> str:
    """Add the tiles to `files` and return the name of their file; equal tiles share one."""
    content = encode(tiles)
    name = f"{hashlib.sha256(content).hexdigest()[:12]}.webp"
    files[name] = content
    return name


def outline(mask: NDArray[np.bool_], size: tuple[int, int]) -> str:
    """Return the border of a mask (H, W) as an SVG path in a box of `size` (height, width); empty for no mask."""
    if not mask.any() or mask.all():
        return ""
    scale = np.array(size) / mask.shape
    # The frame closes the outlines of masks that touch the border. A pixel covers [i, i + 1].
    found = find_contours(np.pad(mask, 1).astype(float), 0.5)
    lines = [(approximate_polygon(line, TOLERANCE / scale.min()) - 0.5) * scale for line in found]
    return "".join(f"M{_points(line[:-1])}Z" for line in lines if len(line) > 3)


def _points(line: NDArray[np.float64]) -> str:
    return "L".join(f"{column:.1f} {row:.1f}" for row, column in line)


def correlations(maps: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """Return Pearson's correlation of each pair of methods for each image, (N, pairs), of their levels (N, H, W).

    Pairs are in the order (0, 1), (0, 2), ..., (1, 2), ...; NaN where one of the two maps is constant.
    """
    values = np.stack([levels.reshape(len(levels), -1) for levels in maps], axis=1).astype(float)
    values -= values.mean(2, keepdims=True)
    norms = np.linalg.norm(values, axis=2, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        values /= norms
    first, second = np.triu_indices(len(maps), k=1)
    return (values @ values.swapaxes(1, 2))[:, first, second]
