"""The number that is explained: the score of one class for each image."""

import torch
from torch import Tensor

from evident.errors import UserError


def targets(target: Tensor | int, count: int) -> Tensor:
    """One class index for each of `count` images, int64 (count,), from as many or from one for all.

    Raises `UserError` for another number of targets.
    """
    indices = torch.as_tensor(target, dtype=torch.int64)
    if indices.dim() > 1 or indices.numel() not in (1, count):
        raise UserError(f"target of shape {tuple(indices.shape)} for {count} images; give one class for each, or one")
    return indices.expand(count).clone()


def target_scores(outputs: Tensor, target: Tensor | int) -> Tensor:
    """The target's column (N,) of class scores (N, classes).

    Raises `UserError` for outputs of another shape and for a class that the network does not have.
    """
    if outputs.dim() != 2:
        raise UserError(f"the network's output has shape {tuple(outputs.shape)}; explainers need scores (N, classes)")
    index = targets(target, len(outputs))
    if len(index) and not (index.min() >= 0 and index.max() < outputs.shape[1]):
        raise UserError(f"target {index.tolist()} is outside the network's classes; use 0 to {outputs.shape[1] - 1}")
    return outputs.gather(1, index[:, None].to(outputs.device))[:, 0]
