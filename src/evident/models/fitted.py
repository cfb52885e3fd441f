"""What a training leaves besides the weights."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor


class Fitted(NamedTuple):
    """How well a network does, by measure, and what it says of each test image where that is kept, by name."""

    accuracy: dict[str, float]
    predictions: Mapping[str, Tensor] = {}
