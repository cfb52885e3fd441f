"""Relevant features: the few features that are sufficient for each class, learned from the training set.

X (m, N) holds the responses of all N training images and L (C, N) their labels, one-hot. The mu-lasso needs only
X X^T and X L^T, which are sums over images, so memory grows with the smaller of m and N (`moments`). For a regression L
holds the scores, scaled to [0, 1] over the training set: features are then relevant to a high score. This extension is
ours.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, Self

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from evident.contracts import Regressor
from evident.errors import UserError
from evident.relevance.moments import GramRows, Moments
from evident.relevance.mu_lasso import check_mu, mu_lasso
from evident.relevance.responses import Layers, joined, layer_responses
from evident.values import Batch

Labels = Literal["given", "predicted"]


class Feature(NamedTuple):
    """Name one filter of a layer."""

    layer: str
    filter: int

    def __str__(self) -> str:
        return f"{self.layer}:{self.filter}"


@dataclass(frozen=True)
class Relevance:
    """Hold how relevant each of m features is to each of C classes.

    layers: names of the layers and their numbers of filters, in the order of the responses x. weights W (m, C) float64:
    the solution of the mu-lasso. gain (m, C): X L^T - X X^T W, how much the fit would improve with more of a feature;
    it ranks the features without weight.
    """

    layers: dict[str, int]
    weights: Tensor
    gain: Tensor

    @cached_property
    def learned(self) -> Tensor:
        """Return which classes (C,) had labels to learn from."""
        return (self.weights != 0).any(0) | (self.gain != 0).any(0)

    @cached_property
    def features(self) -> list[Feature]:
        """Return the m features in the order of x."""
        return [Feature(layer, k) for layer, size in self.layers.items() for k in range(size)]

    @cached_property
    def ranking(self) -> Tensor:
        """Return the features (m, C) of each class, most relevant first: by weight, then by gain."""
        gain, weights = self.gain[:, self.learned], self.weights[:, self.learned]
        by_gain = gain.argsort(dim=0, descending=True, stable=True)
        by_weight = weights.gather(0, by_gain).argsort(dim=0, descending=True, stable=True)
        ranking = torch.arange(len(gain))[:, None].repeat(1, self.gain.shape[1])
        ranking[:, self.learned] = by_gain.gather(0, by_weight)
        return ranking

    @cached_property
    def controls(self) -> Tensor:
        """Return a random other feature of the same layer for each feature (m,), or itself in a layer of one filter.

        The choice is the same on every call.
        """
        generator = torch.Generator().manual_seed(0)
        start, controls = 0, []
        for size in self.layers.values():
            other = torch.randint(1, max(size, 2), (size,), generator=generator)
            controls.append(start + (torch.arange(size) + other) % size)
            start += size
        return torch.cat(controls)

    @cached_property
    def counts(self) -> Tensor:
        """Return the number of relevant features (C,): those with weight > 0."""
        return (self.weights > 0).sum(0)

    def table(self, classes: Sequence[str]) -> pd.DataFrame:
        """Return a table with one row per class and relevant feature.

        Columns: `target` and `class` (index and name), `rank` from 1, `place` (position in x), `control` (position of
        the control feature), `m` (number of all features), `feature` and `weight`.
        """
        rows = [
            (
                j,
                name,
                rank + 1,
                place,
                int(self.controls[place]),
                len(self.features),
                str(self.features[place]),
                float(self.weights[place, j]),
            )
            for j, name in enumerate(classes)
            for rank, place in enumerate(self.ranking[: int(self.counts[j]), j].tolist())
        ]
        return pd.DataFrame(rows, columns=["target", "class", "rank", "place", "control", "m", "feature", "weight"])

    def save(self, folder: Path) -> None:
        """Write `relevance.safetensors`, and names and sizes of the layers as `layers.json`."""
        kept = {"weights": self.weights, "gain": self.gain}
        if not self.learned.all():  # ten of 1000 classes are a hundredth of the file
            kept = {name: values[:, self.learned] for name, values in kept.items()} | {"learned": self.learned}
        save_file(kept, folder / "relevance.safetensors")
        (folder / "layers.json").write_text(json.dumps(self.layers, indent=1))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        kept = load_file(folder / "relevance.safetensors")
        if (learned := kept.pop("learned", None)) is not None:
            every = {name: torch.zeros(len(values), len(learned)).double() for name, values in kept.items()}
            for name, values in kept.items():
                every[name][:, learned] = values
            kept = every
        return cls(json.loads((folder / "layers.json").read_text()), **kept)


def learn_relevance(
    model: nn.Module, batches: Iterable[Batch], layers: Layers = "relu", mu: float = 10.0, labels: Labels = "given"
) -> Relevance:
    """Learn the relevance of a model's features from one pass over batches of the training set.

    A batch has `image` (N, 3, H, W) and `label` (N,), or for a `Regressor` the labels (N,) named by
    `regression_names()`. `labels` are those of the data (`given`) or the model's predictions (`predicted`). `mu` bounds
    the sum of the weights of a class. A class without images has no relevant features. Raises `UserError` for unknown
    layers or labels, for a `mu` that is not positive, without images, and for single images of some classes only.
    Source: Oramas, Wang, Tuytelaars 2019.
    """
    if labels not in ("given", "predicted"):
        raise UserError(f"labels={labels!r} is unknown; use given or predicted")
    check_mu(mu)
    device = next(model.parameters()).device
    names = model.regression_names() if isinstance(model, Regressor) else None
    moments, sizes = None, {}
    for batch in batches:
        blocks, scores = layer_responses(model, batch["image"].to(device), layers)
        moments = moments or Moments()
        moments.add(joined(blocks), _labels(batch, scores, labels == "given", names))
        sizes = {name: block.shape[1] for name, block in blocks.items()}
    if moments is None:
        raise UserError("there are no training images to learn relevance from; give at least one batch")
    if labels == "given" and names is None:
        _check_counts(moments)
    gram, cross = moments.gram(), (moments.cross if names is None else moments.scaled()).cpu()
    # A class without images, or one that is never predicted, has only zero labels, and so no relevant features.
    present = cross.any(0)
    weights = torch.zeros_like(cross)
    rows = gram if isinstance(gram, GramRows) else gram.numpy()
    weights[:, present] = torch.from_numpy(mu_lasso(rows, cross[:, present].numpy(), mu))
    gain = cross.clone()
    gain[:, present] -= gram @ weights[:, present]
    return Relevance(sizes, weights, gain)


def _check_counts(moments: Moments) -> None:
    """Raise `UserError` for training images of some classes only, as ImageNet's few validation images.

    Classes may be left out altogether, as from Imagenette. Where others have a single image, no set was made to learn
    from, and features would be those of single images.
    """
    single, missing = (int((moments.labels == count).sum()) for count in (1, 0))
    if single and missing:
        raise UserError(
            f"the training set has no image of {missing} classes and a single one of {single}, whose features would be "
            "those of the image; give more images of each class that you give any of"
        )


def _labels(batch: Batch, scores: Tensor, given: bool, names: Sequence[str] | None) -> Tensor:
    """Return the labels (N, C) of a batch: one-hot classes, or the outputs `names` of a regression."""
    if names is not None:
        return torch.stack([batch[name] for name in names], 1).to(scores) if given else scores
    return nn.functional.one_hot(batch["label"].to(scores.device) if given else scores.argmax(1), scores.shape[1])
