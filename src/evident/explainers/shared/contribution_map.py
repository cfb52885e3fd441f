"""Explanations of networks that compute their score as a sum over positions of a feature map."""

from typing import Any

import torch
from torch import Tensor, nn

from evident.errors import NotApplicable, UserError
from evident.explainers.shared.targets import targets
from evident.models.untouched import untouched


def require(network_class: type, model: nn.Module, explainer: str) -> None:
    """Raise `UserError` unless `model` is a `network_class`, which this explainer needs."""
    if not isinstance(model, network_class):
        given, needed = type(model).__name__, network_class.__name__
        raise NotApplicable(f"explainer={explainer} explains networks of class {needed}; {given} is not one of them")


def own_map(model: Any, images: Tensor, target: Tensor | int) -> Tensor:
    """Return the network's contribution map (N, 1, h, w) of the target's score."""
    with untouched(model, images), torch.no_grad():
        maps = model.contribution_map(images.detach())
        index = score_index(target, images, maps.shape[1])
        return maps[torch.arange(len(images), device=images.device), index][:, None]


def score_index(target: Tensor | int, images: Tensor, scores: int) -> Tensor:
    """Return the index of the explained score for each image (N,), on its device.

    Raises `UserError` for an index outside 0 ... scores - 1.
    """
    index = targets(target, len(images)).to(images.device)
    if len(index) and not (index.min() >= 0 and index.max() < scores):
        raise UserError(f"target {index.tolist()} is outside the network's scores; use 0 to {scores - 1}")
    return index
