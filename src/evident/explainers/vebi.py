r"""VEBI: explain a prediction by the few internal features that are relevant to its class.

J. Oramas M., K. Wang, T. Tuytelaars: *Visual explanation by interpretation: improving visual feedback capabilities of
deep neural networks*, ICLR 2019, arXiv 1712.06302. The relevance w_kj of feature k to class j is
learned once, from the training set (`evident.relevance`). Then, for an image with responses x and the class j:

    f_k = x_k w_kj / sum_k' w_k'j           the share of the feature in this prediction

The explanation shows the top N features with f_k > 0. Each is visualised by a deconvolution with guided
backpropagation, which starts from the whole map of that filter, with all other filters of its layer set to zero, and
whose strided convolutions leave no artefacts (`BackwardRules(relu="guided", convolution="resampled")`). The heatmap of
a feature is the L2 norm over colour channels of the positive part, scaled to [0, 1]. The explanation is the pixel-wise
maximum of these heatmaps. `combined="weighted"` is ours: the mean of the heatmaps, weighted by f, so that a feature of
little relevance cannot outshine the first one.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from captum.attr import Attribution
from torch import Tensor, nn

from evident.contracts import Fits, Interprets, LearnsRelevance, Regressor, ShowsFeatures
from evident.data.images import ImageSet
from evident.errors import UserError
from evident.explainers.shared.backward_rules import BackwardRules
from evident.explainers.shared.heatmap import channel_norm, positive_sum
from evident.explainers.shared.targets import targets, within_classes
from evident.models.calls import LayerCall, LayerCalls
from evident.models.untouched import check_images, untouched
from evident.relevance.interpretation import interpret
from evident.relevance.relevance import Feature, Labels, Relevance, learn_relevance
from evident.relevance.responses import Layers, joined, layer_responses
from evident.values import Batch, FeatureMaps, Interpretation

PIXELS = 224 * 224  # of the images that `batch_size` counts
Combined = Literal["maximum", "weighted"]


def deconvolved(model: nn.Module, images: Tensor, features: Sequence[Feature], resampled: bool = True) -> Tensor:
    """Return heatmaps (N, H, W) in [0, 1] of the pixels of images[n] (3, H, W) that activate features[n].

    One forward and one backward pass are enough for features of several layers, because images do not influence each
    other. `resampled=False` uses the plain backward pass of convolutions. Source: Oramas et al. 2019.
    """
    layers = {feature.layer for feature in features}
    maps: dict[str, Tensor] = {}

    def visit(call: LayerCall) -> Tensor:
        if call.name not in layers:
            return call.output
        maps[call.name] = call.output
        return call.output.clone()  # an in-place layer may overwrite its input

    with untouched(model):
        pixels = images.detach().clone().requires_grad_()
        with BackwardRules("guided", "resampled" if resampled else None), LayerCalls(model, visit):
            model(pixels)
        signals = []
        for layer, activation in maps.items():
            rows = [row for row, feature in enumerate(features) if feature.layer == layer]
            filters = [features[row].filter for row in rows]
            signal = torch.zeros_like(activation)
            signal[rows, filters] = activation.detach()[rows, filters]
            signals.append(signal)
        heatmap = channel_norm(torch.autograd.grad(list(maps.values()), pixels, signals)[0])
    low, high = heatmap.amin((1, 2), keepdim=True), heatmap.amax((1, 2), keepdim=True)
    return (heatmap - low) / torch.where(high > low, high - low, 1)


class VEBI(Attribution, Fits, LearnsRelevance, ShowsFeatures, Interprets):
    """Compute the explanation (N, 1, H, W) in [0, 1] by the `top` relevant features; zero if no feature takes part.

    `layers` (relu, all, or names), `mu` and `labels` (given or predicted) are settings of the relevance, which `fit`
    learns from the training set. For a regression, features are relevant to a higher score. `batch_size` counts pairs
    of image and feature; of images above 224 x 224 pixels, as many fewer as they are larger. Raises `UserError` before
    `fit`, for `top` below 1, for an unknown `combined`, and for a class of which the training set has no images.
    """

    heatmap = staticmethod(positive_sum)

    def __init__(
        self,
        model: nn.Module,
        layers: Layers = "relu",
        mu: float = 10.0,
        top: int = 3,
        labels: Labels = "given",
        resampled: bool = True,
        combined: Combined = "maximum",
        batch_size: int = 96,
    ) -> None:
        if top < 1:
            raise UserError(f"top={top} is below 1; use 1 or more")
        if combined not in get_args(Combined):
            raise UserError(f"combined={combined} is unknown; use {' or '.join(get_args(Combined))}")
        super().__init__(model)
        self.model, self.top, self.resampled, self.batch_size = model, top, resampled, batch_size
        self.combined = combined
        layers = layers if isinstance(layers, str) else list(layers)
        self._settings: dict[str, Any] = {"layers": layers, "mu": mu, "labels": labels}
        self._relevance: Relevance | None = None

    def relevance(self) -> Relevance:
        """Return what `fit` learned; raise `UserError` before `fit`."""
        if self._relevance is None:
            raise UserError("VEBI has no relevant features yet; call fit(dataloader) with the training set first")
        return self._relevance

    def fit(self, dataloader: Iterable[Batch]) -> None:
        """Learn the relevance of the model's features from the batches that `learn_relevance` takes."""
        self._relevance = learn_relevance(self.model, dataloader, **self._settings)

    def learned_settings(self) -> dict[str, Any]:
        """Return `layers`, `mu` and `labels`, on which the relevance depends."""
        return self._settings

    def save(self, folder: Path) -> None:
        """Write the relevance to `folder`."""
        self.relevance().save(folder)

    def load(self, folder: Path) -> None:
        """Read the relevance that `save` wrote."""
        self._relevance = Relevance.load(folder)

    def interpret(self, training_set: ImageSet, count: int = 16, size: int = 64) -> Interpretation:
        """Compute average visualisations of the relevant features and their controls, `count` images each.

        Source: Oramas et al. 2019.
        """
        deconvolve = partial(deconvolved, resampled=self.resampled)
        relevance = self.relevance()
        return interpret(self.model, relevance, training_set, deconvolve, count, size, self.batch_size, controls=True)

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        maps, _, shares = self.feature_maps(inputs, target)
        if self.combined == "maximum":
            return maps.amax(1, keepdim=True)
        weights = shares / shares.sum(1, keepdim=True).clamp(min=torch.finfo(shares.dtype).tiny)
        return (maps * weights[..., None, None]).sum(1, keepdim=True)

    def feature_maps(self, inputs: Tensor, target: Tensor | int) -> FeatureMaps:
        """Return the heatmaps of the top features, and their shares f."""
        check_images(inputs, self.model)
        images, classes = inputs.detach(), targets(target, len(inputs)).to(inputs.device)
        shares, features = self._shares(images, classes).topk(min(self.top, len(self.relevance().features)))
        features = torch.where(shares > 0, features, -1)
        maps = images.new_zeros(*features.shape, *images.shape[2:])
        image, rank = (features >= 0).nonzero(as_tuple=True)
        names = [self.relevance().features[index] for index in features[image, rank].tolist()]
        batch_size = self._pairs(images)
        for start in range(0, len(image), batch_size):
            rows = slice(start, start + batch_size)
            maps[image[rows], rank[rows]] = deconvolved(self.model, images[image[rows]], names[rows], self.resampled)
        return FeatureMaps(maps, features, shares.clamp(min=0))

    def _pairs(self, images: Tensor) -> int:
        """Return how many pairs pass at once: each keeps all maps of the network, 0.4 GB of ResNet-50 at 448 x 448."""
        larger = images[0, 0].numel() / PIXELS
        return max(1, int(self.batch_size / max(larger, 1)))

    def _shares(self, images: Tensor, classes: Tensor) -> Tensor:
        """Return f (N, m) of images for their classes."""
        layers = list(self.relevance().layers)
        with within_classes(self.model, classes):
            parts = [layer_responses(self.model, part, layers)[0] for part in images.split(self.batch_size)]
        self._check_learned(classes)
        shown, row = classes.unique(return_inverse=True)
        weights = self.relevance().weights[:, shown.cpu()].to(images.device)  # of ten of 1000 classes, for Imagenette
        x = torch.cat([joined(part) for part in parts])
        return (x * (weights / weights.sum(0).clamp(min=1e-300)).T[row]).float()

    def _check_learned(self, classes: Tensor) -> None:
        """Raise `UserError` for a class that the training set does not have, as most of ImageNet's in Imagenette."""
        if self._settings["labels"] == "predicted" or isinstance(self.model, Regressor):
            return  # a class that is never predicted, or a score that never changes, has no relevant features
        unknown = classes[~self.relevance().learned.to(classes.device)[classes]].unique().tolist()
        if unknown:
            raise UserError(
                f"VEBI has no relevant features of class {', '.join(map(str, unknown))}, of which the training set has "
                "no images; explain other classes, or add images"
            )
