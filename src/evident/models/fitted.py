"""The results of training, besides the weights."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor


class Fitted(NamedTuple):
    """Hold the measures of a trained network by name and, if kept, its predictions for the test images by name."""

    accuracy: dict[str, float]
    predictions: Mapping[str, Tensor] = {}
