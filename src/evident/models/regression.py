"""Networks that predict numbers of their own, such as the average of votes, and no scores of classes."""

from torch import nn


def is_regression(model: nn.Module) -> bool:
    """Whether the outputs of `model` are numbers of their own, and no scores of classes that exclude each other.

    It says so itself, by an attribute `regression`.
    """
    return getattr(model, "regression", False)
