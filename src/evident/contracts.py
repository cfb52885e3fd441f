"""Optional capabilities of explainers, networks and data sets: one `Protocol` each.

Code that needs a capability asks for it: `if isinstance(explainer, GivesEvidence): ...`. `runtime_checkable` compares
method names only, so every class of ours inherits its protocols explicitly. Protocols hold methods only: a property
would be evaluated by the check. Shapes: N images of H x W pixels, K attributes, h x w positions of a feature map.

    class Sparse(Attribution, GivesEvidence):
        def evidence(self, inputs, target): ...

    isinstance(Sparse(network), GivesEvidence)    # True
    issubclass(Sparse, Fits)                      # False
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

from torch import Tensor, nn

from evident.values import Batch, ChangedImages, Evidence, FeatureMaps, Interpretation, PartChanges, Removals

# Explainers.


@runtime_checkable
class Fits(Protocol):
    """Learn from the training set; what is learned is stored once for each network.

    Example: VEBI, which learns the features that are relevant to each class.
    """

    def fit(self, dataloader: Iterable[Batch]) -> None:
        """Learn from batches of `image` (B, 3, H, W) and `label` (B,)."""

    def learned_settings(self) -> dict[str, Any]:
        """Return the settings that change what is learned; they name the stored result."""

    def save(self, folder: Path) -> None:
        """Write what `fit` learned to `folder`."""

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""


@runtime_checkable
class LearnsRelevance(Protocol):
    """Know which internal features are relevant to each class. Example: VEBI."""

    def relevance(self) -> Any:
        """Return the `evident.relevance.relevance.Relevance` of m features for C classes."""


@runtime_checkable
class ShowsFeatures(Protocol):
    """Show single features of an explanation. Example: VEBI's decoupled heatmaps."""

    def feature_maps(self, inputs: Tensor, target: Tensor | int) -> FeatureMaps:
        """Return one heatmap for each of the top features of each image (N, 3, H, W)."""


@runtime_checkable
class Interprets(Protocol):
    """Show what learned features mean. Example: VEBI's average visualisations."""

    def interpret(self, training_set: Any, count: int, size: int) -> Interpretation:
        """Average the `count` strongest training images of each feature, cropped and resized to `size` pixels."""


@runtime_checkable
class GivesEvidence(Protocol):
    """Explain by an image. Example: FGVis, which optimises a mask for every pixel and channel.

    `attribute` of such an explainer returns `evidence(...).mask`, so an optimisation need not be repeated.
    """

    def evidence(self, inputs: Tensor, target: Tensor | int) -> Evidence:
        """Return the evidence for `target` (N,) in images (N, 3, H, W)."""


@runtime_checkable
class Optimises(Protocol):
    """Explain by a constrained optimisation of a mask. Example: FGVis."""

    def margins(self, inputs: Tensor, target: Tensor | int, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return how far a mask (N, C, H, W) is beyond its goal (N,), and the direction (N, C, H, W) of its gradient.

        The margin is non-negative if the goal is reached. The direction is that of the loss that falls towards the
        goal, as the search sees it, with a largest entry of one, or zero everywhere.
        """


@runtime_checkable
class StatesContributions(Protocol):
    """State by name what each attribute adds to the score. Example: SIAM."""

    def contributions(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        """Return contributions (N, K) in units of the score."""


@runtime_checkable
class ShowsAttributes(Protocol):
    """Show where the network sees each attribute. Example: SIAM; CAM on a network with attributes."""

    def attribute_maps(self, inputs: Tensor) -> Tensor | None:
        """Return non-negative maps (N, K, h, w), or None where this network has no attributes."""

    def place_maps(self, maps: Tensor, inputs: Tensor) -> Tensor:
        """Return such maps (N, K, H, W) in the pixels of the images (N, 3, H, W)."""


@runtime_checkable
class HasOwnMap(Protocol):
    """Read the explanation off the network, at the network's own resolution. Examples: CAM, SIAM."""

    def own_map(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        """Return signed contributions (N, 1, h, w), which sum to the score without its bias."""


@runtime_checkable
class NeedsMask(Protocol):
    """Need the ground truth. Example: the oracle row. Its plain `attribute` raises `UserError`."""

    def attribute_mask(self, inputs: Tensor, target: Tensor | int, mask: Tensor) -> Tensor:
        """Return the attribution for images whose ground truth is `mask` (N, H, W)."""


@runtime_checkable
class Signed(Protocol):
    """State whether the evidence of an unsigned heatmap raises or lowers the score. Example: FGVis on a regression."""

    def signs(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        """Return 1 (raises) or -1 (lowers) for each image (N, 1, 1)."""


@runtime_checkable
class ForSomeNetworks(Protocol):
    """Explain networks of one kind only. Examples: CAM, SIAM. A sweep skips all other networks."""

    @classmethod
    def supports(cls, network: type) -> bool:
        """Return whether networks of this class can be explained."""


# Networks.


@runtime_checkable
class Regressor(Protocol):
    """Predict numbers instead of class scores. Example: SIAM, which predicts average and variance of votes."""

    def regression_names(self) -> Sequence[str]:
        """Return the names of the outputs, which are also the names of their labels in a batch."""


@runtime_checkable
class HasAttributeMaps(Protocol):
    """Predict named attributes from one map each. Example: SIAM."""

    def attribute_maps(self, images: Tensor) -> Tensor:
        """Return non-negative maps (N, K, h, w)."""

    def attributes(self, images: Tensor) -> Tensor:
        """Return how much of each attribute is present (N, K), in [0, 1)."""


@runtime_checkable
class SumsContributions(Protocol):
    """Compute each output as a sum over positions plus a bias. Examples: SIAM; a linear layer after global average."""

    def contribution_map(self, images: Tensor) -> Tensor:
        """Return the summands (N, outputs, h, w)."""

    def output_bias(self) -> Tensor:
        """Return the constant part of each output (outputs,)."""


@runtime_checkable
class HasBackbone(Protocol):
    """Compute features first, by a part that every output of the network depends on. Example: SIAM."""

    def feature_extractor(self) -> nn.Module:
        """Return the part that computes the features: images (N, 3, H, W) -> features (N, C, h, w)."""


# Data sets.


@runtime_checkable
class Splits(Protocol):
    """Give the images of each split. Example: every data set."""

    def split(self, name: str) -> Any:
        """Return the images of `train`, `val` or `test`."""

    def class_names(self) -> Sequence[str]:
        """Return the names of the classes, or of the regression's outputs, in the order of the network's outputs."""


@runtime_checkable
class NamesAttributes(Protocol):
    """Name the attributes that its images are labelled with. Example: scenes."""

    def attribute_names(self) -> Sequence[str]:
        """Return K names, in the order of the labels."""


@runtime_checkable
class KnowsTruth(Protocol):
    """Know the expected scores of each image, without the noise of votes. Example: rendered landscapes."""

    def true_scores(self) -> Tensor:
        """Return the expected scores (N, outputs) of all images."""


@runtime_checkable
class Removable(Protocol):
    """Render an image again without one of its attributes. Example: rendered landscapes."""

    def removals(self, index: Tensor) -> Removals:
        """Return the images of these indices (B,) without each attribute that they show, one at a time."""


@runtime_checkable
class ChangesParts(Protocol):
    """Render an image again with one of its parts drawn anew. Example: rendered flowers."""

    def changed_parts(self, index: Tensor, draws: int = 3) -> PartChanges:
        """Return the images of these indices (B,) with `draws` other versions of each part that they show."""


@runtime_checkable
class ChangesEvidence(Protocol):
    """Show its test images with other evidence, and with other surroundings. Example: rendered flowers."""

    def changed_images(self) -> ChangedImages:
        """Return all N test images, and three changed copies of each."""


@runtime_checkable
class Uncropped(Protocol):
    """Give the same images with their borders, for training that crops at random. Example: photographs."""

    def uncropped(self) -> Self:
        """Return the images before the centre crop."""
