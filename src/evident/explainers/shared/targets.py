"""The explained number of each image: the score of one class, or one output of a regression.

A network that predicts numbers, such as the average of votes, is a `Regressor`, here called a regression. Its output
takes the place of the class score. It also takes the place of the class probability, because a regression has none.
Methods that compare probabilities do not apply to a regression.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from evident.contracts import Regressor
from evident.errors import NotApplicable, UserError


def targets(target: Tensor | int, count: int) -> Tensor:
    """Return one class index for each of `count` images, int64 (count,), from `count` indices or one for all.

    Raises `UserError` for another number of targets, and for targets that are no whole numbers of 0 or more.
    """
    indices = torch.as_tensor(target)
    if indices.is_floating_point() or indices.dtype == torch.bool or (indices < 0).any():
        raise UserError(f"target {indices.tolist()} is no class index; use whole numbers of 0 or more")
    indices = indices.to(torch.int64)
    if indices.dim() > 1 or indices.numel() not in (1, count):
        raise UserError(f"target of shape {tuple(indices.shape)} for {count} images; give one class for each, or one")
    return indices.expand(count).clone()


@contextmanager
def within_classes(model: nn.Module, classes: Tensor) -> Iterator[None]:
    """Raise `UserError` in the first forward pass of `model` within the context if it has no class of an index."""

    def check(module: nn.Module, inputs: Any, outputs: Tensor) -> None:
        _check_classes(classes, outputs)

    hook = model.register_forward_hook(check)
    try:
        yield
    finally:
        hook.remove()


def _check_classes(index: Tensor, outputs: Tensor) -> None:
    if outputs.dim() != 2:
        raise UserError(f"the network's output has shape {tuple(outputs.shape)}; explainers need scores (N, classes)")
    if len(index) and not (index.min() >= 0 and index.max() < outputs.shape[1]):
        raise UserError(f"target {index.tolist()} is outside the network's classes; use 0 to {outputs.shape[1] - 1}")


def target_scores(outputs: Tensor, target: Tensor | int) -> Tensor:
    """Return the scores (N,) of the target classes from class scores (N, classes).

    Raises `UserError` for outputs of another shape and for a class that the network does not have.
    """
    index = targets(target, len(outputs))
    _check_classes(index, outputs)
    return outputs.gather(1, index[:, None].to(outputs.device))[:, 0]


def probability(model: nn.Module, outputs: Tensor) -> Tensor:
    """Return the softmax of class scores (N, classes), or the outputs themselves for a regression."""
    return outputs if isinstance(model, Regressor) else outputs.softmax(1)


def ask_for_classes(model: nn.Module, what: str) -> None:
    """Raise `UserError` if `model` is a regression, because `what` needs class probabilities."""
    if isinstance(model, Regressor):
        raise NotApplicable(
            f"{what} needs class probabilities, but {type(model).__name__} is a regression; leave it out"
        )
