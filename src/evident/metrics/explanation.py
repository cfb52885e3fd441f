"""What a metric sees, and what a metric says about itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from torch import Tensor, nn

Direction = Literal["higher", "lower"]
Need = Literal["mask", "model"]


@dataclass(frozen=True)
class Explanation:
    """A batch of explained images: images (N, 3, H, W) in [0, 1], target (N,), heatmap (N, H, W).

    `mask` (N, H, W) bool marks the true evidence, `model` maps images to class scores (N, classes); both are
    there only where a data set or a metric has use for them.
    """

    images: Tensor
    target: Tensor
    heatmap: Tensor
    mask: Tensor | None = None
    model: nn.Module | None = None


@dataclass(frozen=True)
class Curve:
    """Values (N, T) of one measure at positions `at` (T,), from 0 to 1; its score is the area under it."""

    at: Tensor
    values: Tensor


Result = Tensor | Curve | Mapping[str, "Tensor | Curve"]
Metric = TypeVar("Metric", bound=Callable[..., Result])


def metric(
    direction: Direction | Mapping[str, Direction], needs: tuple[Need, ...] = ()
) -> Callable[[Metric], Metric]:
    """Mark a function of an `Explanation` as a metric.

    It returns one score per image (N,), NaN where undefined, or a `Curve`; several that share their forward
    passes come as a mapping by name, and so do their directions.
    """

    def mark(function: Metric) -> Metric:
        function.direction = direction  # type: ignore[attr-defined]
        function.needs = needs  # type: ignore[attr-defined]
        return function

    return mark
