r"""VEBI: a prediction explained by the few features that carry its class.

J. Oramas M., K. Wang, T. Tuytelaars: *Visual explanation by interpretation: improving visual feedback capabilities of
deep neural networks*, ICLR 2019, arXiv 1712.06302 (PAPERS 1.3 and 1.4). Once, from the training set: the relevance
w_kj of feature k for class j (`evident.relevance`). Then for an image with responses x and the class j:

    f_k = x_k w_kj / sum_k' w_k'j           how much the feature takes part in this prediction

The top N features with f_k > 0 are shown, each by a deconvolution with guided backpropagation that starts from the
whole map of that filter, all other filters of its layer being zero, and whose convolutions go back without artefacts
of their stride (`BackwardRules(relu="guided", convolution="resampled")`). A heatmap is the L2 norm over colour
channels of its positive part, scaled to [0, 1]; their pixel-wise maximum is the explanation.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from captum.attr import Attribution
from torch import Tensor, nn

from evident.data.images import Batch, ImageSet
from evident.errors import UserError
from evident.explainers.shared.backward_rules import BackwardRules
from evident.explainers.shared.heatmap import channel_norm, positive_sum
from evident.explainers.shared.targets import targets
from evident.models.calls import LayerCall, LayerCalls
from evident.models.untouched import untouched
from evident.relevance.interpretation import Interpretation, interpret
from evident.relevance.relevance import Feature, Labels, Relevance, learn_relevance
from evident.relevance.responses import Layers, joined, layer_responses


def deconvolved(model: nn.Module, images: Tensor, features: Sequence[Feature], resampled: bool = True) -> Tensor:
    """Heatmaps (N, H, W) in [0, 1]: what of images[n] (3, H, W) makes features[n] answer, by PAPERS 1.4.

    One forward and one backward pass serve all, whatever their layers: nothing flows between images. Without
    `resampled`, convolutions go back as in the old deconvolution.
    """
    layers = {feature.layer for feature in features}
    maps: dict[str, Tensor] = {}

    def visit(call: LayerCall) -> Tensor:
        if call.name not in layers:
            return call.output
        maps[call.name] = call.output
        return call.output.clone()  # an in-place layer may overwrite what it is given

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


class Decoupled(NamedTuple):
    """What the top features see: maps (N, top, H, W) in [0, 1], features (N, top) as places in x, shares f (N, top).

    Where fewer than `top` features take part, the rest have zero maps and shares and the place -1.
    """

    maps: Tensor
    features: Tensor
    shares: Tensor


class VEBI(Attribution):
    """The explanation (N, 1, H, W) in [0, 1] by the `top` relevant features; zero where none takes part.

    `layers` (relu, all, or names), `mu` and `labels` (given or predicted) belong to the relevance, which `fit` learns
    from the training set. `batch_size` counts pairs of image and feature. Of a
    regression, features are relevant to a higher score. Raises `UserError` before `fit`.
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
        batch_size: int = 96,
    ) -> None:
        if top < 1:
            raise UserError(f"top={top} shows no feature; use 1 or more")
        super().__init__(model)
        self.model, self.top, self.resampled, self.batch_size = model, top, resampled, batch_size
        layers = layers if isinstance(layers, str) else list(layers)
        self.learns: dict[str, Any] = {"layers": layers, "mu": mu, "labels": labels}
        self._relevance: Relevance | None = None

    @property
    def relevance(self) -> Relevance:
        """What `fit` has learnt; raises `UserError` where it has not."""
        if self._relevance is None:
            raise UserError("VEBI knows no relevant features yet; call fit(dataloader) with the training set first")
        return self._relevance

    def fit(self, dataloader: Iterable[Batch]) -> None:
        """Learn the relevance of the model's features from batches as `learn_relevance` takes them."""
        self._relevance = learn_relevance(self.model, dataloader, **self.learns)

    def save(self, folder: Path) -> None:
        """Write what `fit` has learnt."""
        self.relevance.save(folder)

    def load(self, folder: Path) -> None:
        """Read what `save` has written."""
        self._relevance = Relevance.load(folder)

    def interpret(self, images: ImageSet, count: int = 16, size: int = 64) -> Interpretation:
        """Average visualisations of the relevant features and their controls (PAPERS 1.5), from `count` images each."""
        deconvolve = partial(deconvolved, resampled=self.resampled)
        return interpret(self.model, self.relevance, images, deconvolve, count, size, self.batch_size, controls=True)

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        return self.decoupled(inputs, target).maps.amax(1, keepdim=True)

    def decoupled(self, inputs: Tensor, target: Tensor | int) -> Decoupled:
        """The explanation feature by feature."""
        images, classes = inputs.detach(), targets(target, len(inputs)).to(inputs.device)
        shares, features = self._shares(images, classes).topk(min(self.top, len(self.relevance.features)))
        features = torch.where(shares > 0, features, -1)
        maps = torch.zeros(*features.shape, *images.shape[2:], device=images.device)
        image, rank = (features >= 0).nonzero(as_tuple=True)
        names = [self.relevance.features[place] for place in features[image, rank].tolist()]
        for start in range(0, len(image), self.batch_size):
            rows = slice(start, start + self.batch_size)
            maps[image[rows], rank[rows]] = deconvolved(self.model, images[image[rows]], names[rows], self.resampled)
        return Decoupled(maps, features, shares.clamp(min=0))

    def _shares(self, images: Tensor, classes: Tensor) -> Tensor:
        """f (N, m) of images for their classes."""
        weights = self.relevance.weights.to(images.device)
        layers = list(self.relevance.layers)
        x = torch.cat([joined(layer_responses(self.model, part, layers)[0]) for part in images.split(self.batch_size)])
        return (x * (weights / weights.sum(0).clamp(min=1e-300)).T[classes]).float()
