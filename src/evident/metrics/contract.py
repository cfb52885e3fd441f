"""What a metric sees, and what a metric says about itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from captum.attr import Attribution
from torch import Tensor, nn

from evident.data.scenes.splits import Removals, Truth
from evident.errors import UserError
from evident.explainers.shared.evidence import Evidence
from evident.relevance.relevance import Relevance

# What describes an explanation and makes it neither good nor bad is better in neither.
Direction = Literal["higher", "lower", "neither"]
Need = Literal[
    "mask", "model", "relevance", "explainer", "evidence", "other",
    "signed", "truth", "contributions", "attribute_maps", "removals",
]  # fmt: skip


@dataclass(frozen=True)
class Explanation:
    """A batch of explained images: images (N, 3, H, W) in [0, 1], target (N,), heatmap (N, H, W).

    `mask` (N, H, W) bool marks the true evidence, `other` (N, H, W) bool that of another class which is in the image
    too; `model` maps images to class scores (N, classes), `explainer` is there to be asked again. `relevance` is what
    it has learnt of the features, where it learns any, `evidence` its explanation as an image, where it gives one.

    Of a regression, `signed` (N, H, W) is what raises the score and, below zero, what lowers it; `contributions` (N, K)
    are what the explainer says by name that each attribute adds, `attribute_maps` (N, K, h, w) where it is seen.
    Of scenes whose truth is known, `truth` is that, and `removals` the same scenes without an attribute. Each is there
    only where a data set, an explainer or a metric has use for it.
    """

    images: Tensor
    target: Tensor
    heatmap: Tensor
    mask: Tensor | None = None
    model: nn.Module | None = None
    relevance: Relevance | None = None
    explainer: Attribution | None = None
    evidence: Evidence | None = None
    other: Tensor | None = None
    signed: Tensor | None = None
    truth: Truth | None = None
    contributions: Tensor | None = None
    attribute_maps: Tensor | None = None
    removals: Removals | None = None


def attribution_of(explainer: Attribution, images: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    """What `explainer` gives to images (N, 3, H, W) for the classes `target` (N,), with the masks if it needs them."""
    needs_mask = getattr(explainer, "needs_mask", False)
    # Lightning tests without gradients, which most explainers live on.
    with torch.enable_grad():
        return explainer.attribute(images, target, **({"mask": mask} if needs_mask else {}))


def explain(explainer: Attribution, images: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    """The heatmaps (N, H, W) of what `attribution_of` gives."""
    return explainer.heatmap(attribution_of(explainer, images, target, mask))


@dataclass(frozen=True)
class Curve:
    """Values (N, T) of one measure at positions `at` (T,).

    Its score (N,) is the area under it, for positions from 0 to 1, unless it has one of its own.
    """

    at: Tensor
    values: Tensor
    score: Tensor | None = None


def area(curve: Curve) -> Tensor:
    """Area (N,) float64 under a curve over [0, 1]: every value stands for the positions nearest to it.

    That is the trapezoid rule where `at` holds 0 and 1, and the midpoint rule where it holds the middles of
    equal bins. NaN where a value is NaN.
    """
    values, at = curve.values.double(), curve.at.double()
    borders = (at[:-1] + at[1:]) / 2
    # Summed by parts: no widths have to add up to one, so a constant curve has exactly its constant as area.
    return values[:, -1] - (values.diff(dim=1) * borders).sum(1)


def image_scores(result: Tensor | Curve) -> Tensor:
    """One score per image (N,): the result itself, or the score of a curve."""
    if isinstance(result, Tensor):
        return result
    return area(result) if result.score is None else result.score


Result = Tensor | Curve | Mapping[str, "Tensor | Curve"]
Metric = TypeVar("Metric", bound=Callable[..., Result])


def metric(direction: Direction | Mapping[str, Direction], needs: tuple[Need, ...] = ()) -> Callable[[Metric], Metric]:
    """Mark a function of an `Explanation` as a metric.

    It returns one score per image (N,), NaN where undefined, or a `Curve`; several that share their forward
    passes come as a mapping by name, and so do their directions. What it `needs` must be there.
    """

    def mark(function: Metric) -> Metric:
        vars(function).update(direction=direction, needs=needs)
        return function

    return mark


def _declaration(metric: Callable[..., Result]) -> Any:
    # Hydra hands a metric with settings over as a partial, which does not show its function's attributes.
    return metric.func if isinstance(metric, partial) else metric


def direction_of(metric: Callable[..., Result], name: str) -> Direction:
    """Which scores named `name` are better.

    Where a metric declares directions by name, they are base names: `deletion` holds for `deletion_blur` too.
    Raises `UserError` for a name that no declared base name fits.
    """
    direction = _declaration(metric).direction
    if not isinstance(direction, Mapping):
        return direction
    for base, better in direction.items():
        if name == base or name.startswith(f"{base}_"):
            return better
    raise UserError(f"score {name!r} has no direction; the metric declares {', '.join(direction)}")


def needs_of(metric: Callable[..., Result]) -> tuple[Need, ...]:
    """What an explanation must carry for this metric besides image, target and heatmap."""
    return _declaration(metric).needs
