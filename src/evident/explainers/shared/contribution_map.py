"""Explanations of networks whose score is a sum over places, which they tell themselves."""

from typing import Any

import torch
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.grad_cam import upsampled
from evident.explainers.shared.targets import targets
from evident.models.untouched import untouched


def ask_for(kind: type, model: nn.Module, explainer: str) -> None:
    """Raise `UserError` unless `model` is of the `kind` of network that this explainer explains."""
    if not isinstance(model, kind):
        raise UserError(f"explainer={explainer} explains {kind.__name__} alone, and not {type(model).__name__}")


def own_map(model: Any, images: Tensor, target: Tensor | int) -> Tensor:
    """The contribution map (N, 1, h, w) of the target's score, as the network tells it."""
    with untouched(model), torch.no_grad():
        maps = model.contribution_map(images.detach())
        own = asked_for(target, images, maps.shape[1])
        return maps[torch.arange(len(images), device=images.device), own][:, None]


def asked_for(target: Tensor | int, images: Tensor, scores: int) -> Tensor:
    """One of so many scores for each image (N,), on their device; raises `UserError` for one that there is none of."""
    own = targets(target, len(images)).to(images.device)
    if len(own) and not (own.min() >= 0 and own.max() < scores):
        raise UserError(f"target {own.tolist()} is outside the network's scores; use 0 to {scores - 1}")
    return own


def spread(maps: Tensor, images: Tensor) -> Tensor:
    """Maps (N, 1, h, w) at the images' size, bilinearly, each place's contribution shared out among pixels.

    So the sum over pixels is that over places, whatever the sizes.
    """
    with torch.inference_mode(False), torch.enable_grad():
        one = torch.ones_like(maps[:1]).requires_grad_()
        (pixels,) = torch.autograd.grad(upsampled(one, images).sum(), one)  # to each place, not all whole
    return upsampled(maps / pixels, images)
