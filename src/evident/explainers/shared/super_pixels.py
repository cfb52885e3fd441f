"""Super-pixels of an image, and what a network gives with some of them hidden; for LIME and KernelSHAP."""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
from skimage.segmentation import slic
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.shared.targets import probability, target_scores

Value = Literal["score", "probability"]


def super_pixels(image: Tensor, segments: int, compactness: float = 10.0) -> Tensor:
    """Return SLIC labels (H, W) int64 of one image (3, H, W), from 0 to d - 1, where d is close to `segments`."""
    pixels = image.detach().cpu().double().permute(1, 2, 0).numpy()
    labels = slic(pixels, n_segments=segments, compactness=compactness, start_label=0, channel_axis=2)
    _, labels = np.unique(labels, return_inverse=True)
    return torch.from_numpy(labels.reshape(pixels.shape[:2])).to(image.device)


def value_of(model: nn.Module, target: int, kind: Value) -> Callable[[Tensor], Tensor]:
    """Return a function from images (B, 3, H, W) to their score or softmax probability (B,) of the class.

    Raises `UserError` for another kind.
    """
    if kind not in get_args(Value):
        raise UserError(f"value={kind!r} is unknown; use score or probability")
    if kind == "score":
        return lambda images: target_scores(model(images), target)
    return lambda images: target_scores(probability(model, model(images)), target)


def masked_values(
    value: Callable[[Tensor], Tensor],
    image: Tensor,
    hidden: Tensor,
    labels: Tensor,
    visible: Tensor,
    batch_size: int,
) -> Tensor:
    """Return value(h(z')) (B,) of one image (3, H, W) for the rows z' of `visible` (B, d), `batch_size` at a time.

    h(z') shows the super-pixels of `labels` (H, W) that are visible, and the image `hidden` (3, H, W) elsewhere.
    """
    parts = visible.to(image.device).split(batch_size)
    return torch.cat([value(torch.where(part[:, None, labels], image, hidden)) for part in parts])
