"""What a metric sees (`Explanation`), what it returns (`Curve`) and how it is declared (`metric`).

Example:

    @metric(direction="higher", needs=("mask",))
    def inside(explanation: Explanation) -> Tensor:
        return (explanation.heatmap * explanation.mask).sum((1, 2))
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from captum.attr import Attribution
from torch import Tensor, nn

from evident.contracts import NeedsMask
from evident.errors import NotApplicable, UserError
from evident.relevance.relevance import Relevance
from evident.values import Evidence, PartChanges, Removals, Truth

# "neither" is for a score that describes an explanation without being a merit, such as the size of its mask.
Direction = Literal["higher", "lower", "neither"]
Axis = Literal["pixels", "features", "attributes", "thresholds", "depths"]
Field = Literal[
    "mask", "model", "relevance", "explainer", "evidence", "other", "tile",
    "signed", "truth", "contributions", "attribute_maps", "removals", "parts",
    "rebuild", "twin", "shuffled", "training_images",
]  # fmt: skip
Need = Field | type  # a field of `Explanation`, or a protocol of explainers or networks


@dataclass(frozen=True)
class Explanation:
    """Hold a batch of explained images: images (N, 3, H, W) in [0, 1], target (N,), heatmap (N, H, W).

    All other fields are None where the data set, the network or the explainer does not provide them.

    mask (N, H, W) bool: the pixels of the true evidence. other (N, H, W) bool: the pixels of other classes that are in
    the image too. tile (N, H, W) bool: in a grid of images, the tile that shows the target. model: maps images to
    outputs (N, outputs). explainer: the explainer, for metrics that explain again.
    relevance: the features that the explainer learned to be relevant. evidence: the explanation as an image.
    signed (N, H, W): the heatmap of a regression with its sign; positive values raise the score. contributions (N, K):
    what each attribute adds to the score, as stated by the explainer. attribute_maps (N, K, h, w): where the network
    sees each attribute. truth: what is known about rendered scenes. removals: the same scenes without one attribute.
    parts: the same scenes with one part drawn anew, and the pixels of each part. rebuild: builds the same explainer for
    another network and fits it, if it learns. twin: a network of the same config that was trained from another seed.
    shuffled: a network that was trained on shuffled labels. training_images: gives a few training images (M, 3, H, W),
    the same for every batch.
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
    tile: Tensor | None = None
    signed: Tensor | None = None
    truth: Truth | None = None
    contributions: Tensor | None = None
    attribute_maps: Tensor | None = None
    removals: Removals | None = None
    parts: PartChanges | None = None
    rebuild: Callable[[nn.Module], Attribution] | None = None
    twin: nn.Module | None = None
    shuffled: nn.Module | None = None
    training_images: Callable[[], Tensor] | None = None


def attributions(explainer: Attribution, images: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    """Return the attribution for images (N, 3, H, W) and targets (N,); `mask` (N, H, W) is for `NeedsMask` only.

    Raises `UserError` for an explainer that needs masks and `mask=None`.
    """
    # Lightning tests without gradients, and most explainers need them.
    with torch.enable_grad():
        if not isinstance(explainer, NeedsMask):
            return explainer.attribute(images, target)
        if mask is None:
            name = type(explainer).__name__
            raise NotApplicable(f"{name} needs masks, which this data set does not have; leave it out")
        return explainer.attribute_mask(images, target, mask)


def heatmaps(explainer: Attribution, images: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    """Return the heatmaps (N, H, W) of `attributions`."""
    return explainer.heatmap(attributions(explainer, images, target, mask))


@dataclass(frozen=True)
class Curve:
    """Hold values (N, T) of one measure at increasing positions `at` (T,).

    `score` (N,) is the score of each image; None means the area under the curve, for positions in [0, 1]. `axis` says
    what the positions are: shares of pixels, numbers of features, attributes by index, thresholds, or depths: shares of
    layers, from the output.
    """

    at: Tensor
    values: Tensor
    score: Tensor | None = None
    axis: Axis = "pixels"


def area(curve: Curve) -> Tensor:
    """Return the area (N,) float64 under a curve over [0, 1]: each value counts for the positions nearest to it.

    This is the trapezoidal rule where `at` includes 0 and 1, and the midpoint rule where `at` holds the middles of
    equal bins. NaN where a value is NaN.
    """
    values, at = curve.values.double(), curve.at.double()
    borders = (at[:-1] + at[1:]) / 2
    # Summation by parts: no widths have to add up to one, so the area under a constant is exactly that constant.
    return values[:, -1] - (values.diff(dim=1) * borders).sum(1)


def image_scores(result: Tensor | Curve) -> Tensor:
    """Return one score per image (N,): the tensor itself, or the score of a curve."""
    if isinstance(result, Tensor):
        return result
    return area(result) if result.score is None else result.score


Result = Tensor | Curve | Mapping[str, "Tensor | Curve"]
Metric = TypeVar("Metric", bound=Callable[..., Result])


def metric(
    direction: Direction | Mapping[str, Direction], needs: tuple[Need, ...] = (), forward_only: bool = False
) -> Callable[[Metric], Metric]:
    """Declare a function of an `Explanation` as a metric.

    The function returns one score per image (N,), NaN where undefined, or a `Curve`. A function that computes several
    scores returns a mapping by name, and `direction` may be a mapping by name too. `needs` lists the fields of the
    explanation that the function reads besides images, target and heatmap, and the protocols that the explainer or the
    network must implement, such as those of `evident.contracts`. `forward_only` metrics take many forward passes and no
    gradient: `precision` of the config is theirs.
    """

    def declare(function: Metric) -> Metric:
        function.__dict__.update(direction=direction, needs=needs, forward_only=forward_only)
        return function

    return declare


def _declared(metric: Callable[..., Result]) -> Any:
    """Return the declared function; Hydra wraps metrics with settings in a `partial`."""
    return metric.func if isinstance(metric, partial) else metric


def direction_of(metric: Callable[..., Result], name: str) -> Direction:
    """Return which values of the score `name` are better.

    Directions declared by name hold for every suffix: `deletion` holds for `deletion_blur` too. Raises `UserError` for
    a name without a direction.
    """
    direction = _declared(metric).direction
    if not isinstance(direction, Mapping):
        return direction
    for base, better in direction.items():
        if name == base or name.startswith(f"{base}_"):
            return better
    raise UserError(f"score {name!r} has no direction; the metric declares {', '.join(direction)}")


def needs_of(metric: Callable[..., Result]) -> tuple[Need, ...]:
    """Return the fields that the metric reads besides images, target and heatmap, and the protocols it needs."""
    return _declared(metric).needs


def forward_only(metric: Callable[..., Result]) -> bool:
    """Return whether the metric takes forward passes only, which may be of lower precision."""
    return bool(_declared(metric).forward_only)


def missing_fields(metric: Callable[..., Result], explanation: Explanation) -> set[str]:
    """Return the names of the fields that the metric needs and the explanation does not have."""
    return {need for need in needs_of(metric) if isinstance(need, str) and getattr(explanation, need) is None}


def applies(metric: Callable[..., Result], explanation: Explanation) -> bool:
    """Return whether the explanation has all needed fields; explainer or network implement each needed protocol."""
    protocols = [need for need in needs_of(metric) if isinstance(need, type)]
    # A protocol is one of explainers or of networks; no class is both.
    parties = (explanation.explainer, explanation.model)
    able = all(any(isinstance(party, protocol) for party in parties) for protocol in protocols)
    return able and not missing_fields(metric, explanation)
