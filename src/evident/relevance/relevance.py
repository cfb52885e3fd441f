"""Relevant features: the few that carry each class, learnt from the training set without any annotation.

X holds the responses of all training images (a column an image), L their labels as one-hot columns. All that the
mu-lasso needs of them are X X^T and X L^T, sums over images; so memory does not grow with their number. Of a regression
L holds the scores instead, scaled so that they go from 0 to 1 in the training set: what is relevant then makes a score
high. That is ours.
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

from evident.data.images import Batch
from evident.data.scenes.splits import SCORES
from evident.errors import UserError
from evident.models.regression import is_regression
from evident.relevance.mu_lasso import check_mu, mu_lasso
from evident.relevance.responses import Layers, joined, layer_responses

Labels = Literal["given", "predicted"]


class Feature(NamedTuple):
    """One filter of a layer's maps."""

    layer: str
    filter: int

    def __str__(self) -> str:
        return f"{self.layer}:{self.filter}"


@dataclass(frozen=True)
class Relevance:
    """How much each of m features matters to each of C classes.

    `layers` are the names of the layers and their numbers of filters, in the order of x; `weights` W (m, C) of the
    mu-lasso, float64; `gain` (m, C) is X L^T - X X^T W, what the fit would gain from more of a feature: it ranks the
    features that have no weight.
    """

    layers: dict[str, int]
    weights: Tensor
    gain: Tensor

    @cached_property
    def features(self) -> list[Feature]:
        """The m features in the order of x."""
        return [Feature(layer, k) for layer, size in self.layers.items() for k in range(size)]

    @cached_property
    def ranking(self) -> Tensor:
        """All features (m, C) of each class, the most relevant first: by weight, those without by gain."""
        by_gain = self.gain.argsort(dim=0, descending=True, stable=True)
        by_weight = self.weights.gather(0, by_gain).argsort(dim=0, descending=True, stable=True)
        return by_gain.gather(0, by_weight)

    @cached_property
    def controls(self) -> Tensor:
        """For each feature (m,) another of its layer, by lot and the same on every call; itself where it is alone."""
        generator = torch.Generator().manual_seed(0)
        starts, places = 0, []
        for size in self.layers.values():
            other = torch.randint(1, max(size, 2), (size,), generator=generator)
            places.append(starts + (torch.arange(size) + other) % size)
            starts += size
        return torch.cat(places)

    @property
    def counts(self) -> Tensor:
        """Number of relevant features (C,), those with a weight."""
        return (self.weights > 0).sum(0)

    def table(self, classes: Sequence[str]) -> pd.DataFrame:
        """A row a class (target, class) and relevant feature: rank from 1, place in x, control, m, feature, weight.

        `control` is the place of another feature of its layer, `m` the number of all features.
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
        """Write `relevance.safetensors` and the layers' names and sizes as `layers.json`."""
        save_file({"weights": self.weights, "gain": self.gain}, folder / "relevance.safetensors")
        (folder / "layers.json").write_text(json.dumps(self.layers, indent=1))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What `save` has written."""
        return cls(json.loads((folder / "layers.json").read_text()), **load_file(folder / "relevance.safetensors"))


class Moments:
    """Sums over images in float64: `gram` X X^T (m, m), `cross` X L^T (m, C), `total` X 1 (m,); L's range (C,)."""

    def __init__(self) -> None:
        self.gram = self.cross = self.total = torch.zeros(())
        self.lowest, self.highest = torch.tensor(torch.inf), torch.tensor(-torch.inf)

    def add(self, x: Tensor, wanted: Tensor) -> None:
        """Add the responses x (N, m) of images, and what L (N, C) says of them."""
        x, wanted = x.double(), wanted.double()
        self.gram = self.gram.to(x) + x.T @ x
        self.cross = self.cross.to(x) + x.T @ wanted
        self.total = self.total.to(x) + x.sum(0)
        self.lowest = torch.minimum(self.lowest.to(x), wanted.amin(0))
        self.highest = torch.maximum(self.highest.to(x), wanted.amax(0))

    def scaled(self) -> Tensor:
        """X L^T (m, C) of L scaled to [0, 1]; zero where all images have the same."""
        span = self.highest - self.lowest
        return (self.cross - self.total[:, None] * self.lowest) / span.where(span > 0, torch.inf)


def learn_relevance(
    model: nn.Module, batches: Iterable[Batch], layers: Layers = "relu", mu: float = 10.0, labels: Labels = "given"
) -> Relevance:
    """The relevance of the model's features, from one pass over the training set's `batches`.

    Batches have `image` (N, 3, H, W) and, of classes, `label` (N,), of a regression the votes' `average` and `variance`
    (N,). `labels` are those of the data (`given`) or the model's own (`predicted`). Raises `UserError` for layers that
    there are none of, other labels, a `mu` that is not positive, and a class without images.
    Source: PAPERS 1.2; Oramas, Wang, Tuytelaars 2019.
    """
    if labels not in ("given", "predicted"):
        raise UserError(f"labels={labels!r} is unknown; use given or predicted")
    check_mu(mu)
    device = next(model.parameters()).device
    moments, sizes = None, {}
    for batch in batches:
        blocks, scores = layer_responses(model, batch["image"].to(device), layers)
        moments = moments or Moments()
        moments.add(joined(blocks), _wanted(batch, scores, labels == "given", is_regression(model)))
        sizes = {name: block.shape[1] for name, block in blocks.items()}
    if moments is None:
        raise UserError("there are no training images to learn relevance from")
    gram, cross = moments.gram.cpu(), (moments.scaled() if is_regression(model) else moments.cross).cpu()
    said = cross.any(0)
    if labels == "given" and not said.all() and not is_regression(model):
        missing = ", ".join(map(str, (~said).nonzero().flatten().tolist()))
        raise UserError(f"no training image is of class {missing}, so nothing can be relevant to it; add some")
    # What the network never says has no relevant features: all its labels are zero.
    weights = torch.zeros_like(cross)
    weights[:, said] = torch.from_numpy(mu_lasso(gram.numpy(), cross[:, said].numpy(), mu))
    return Relevance(sizes, weights, cross - gram @ weights)


def _wanted(batch: Batch, scores: Tensor, given: bool, regression: bool) -> Tensor:
    """L (N, C) of one batch: a class as a one-hot row, or the scores of a regression."""
    if regression:
        return torch.stack([batch[score] for score in SCORES], 1).to(scores) if given else scores
    return nn.functional.one_hot(batch["label"].to(scores.device) if given else scores.argmax(1), scores.shape[1])
