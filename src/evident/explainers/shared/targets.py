"""The number that is explained: the score of one class for each image, or a number that a regression predicts.

A network that predicts numbers of their own, such as the average of votes, says so by an attribute `regression`. What
explains or perturbs a class's score takes such a number as it is; what follows the probability of a class follows the
number itself, which has no other scale; and what compares probabilities does not apply.
"""

import torch
from torch import Tensor, nn

from evident.errors import UserError
from evident.models.regression import is_regression


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


def probability(model: nn.Module, outputs: Tensor) -> Tensor:
    """The softmax of class scores (N, classes); of a regression the outputs themselves."""
    return outputs if is_regression(model) else outputs.softmax(1)


def ask_for_classes(model: nn.Module, what: str) -> None:
    """Raise `UserError` where `what` is of the probabilities of classes, and `model` is a regression."""
    if is_regression(model):
        raise UserError(f"{what} is of the probabilities of classes; {type(model).__name__} has none: leave it out")
