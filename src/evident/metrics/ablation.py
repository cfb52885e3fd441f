"""Ablation of relevant features: how much a class depends on the few features that are relevant to it.

The features are zeroed inside the network. Class j has n_j relevant features, those with weight w_kj > 0
(`evident.relevance`). For an image of class j:

    a(k) = 1[the network with min(k, n_j) features zeroed predicts j],    k = 0, 1, ..., K = max_j n_j

There are three choices of the features to zero:

    relevant    the most relevant features of the class, by rank
    random      as many random features of the same layers; a(k) is the mean over several draws
    least       as many features of the same layers, the least relevant first

"Of the same layers" means that the i-th zeroed feature belongs to the layer of the i-th relevant feature, so the three
choices differ only in the filters. The mean of a(k) over images is the accuracy on their classes. If a few features
carry a class, the accuracy drops at once without them and hardly changes without the others.
Source: Oramas, Wang, Tuytelaars 2019, arXiv 1712.06302.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from evident.errors import UserError
from evident.metrics.contract import Curve, Explanation, metric
from evident.models.calls import LayerCall, LayerCalls
from evident.models.untouched import untouched
from evident.relevance.relevance import Relevance
from evident.relevance.responses import responses


@metric(
    direction={"ablation_relevant": "lower", "ablation_random": "higher", "ablation_least": "higher"},
    needs=("model", "relevance"),
)
def ablation(
    explanation: Explanation, draws: int = 10, seed: int = 0, batch_size: int = 256, among_learned: bool = False
) -> dict[str, Curve]:
    """Compute whether the target is still predicted with k features zeroed: relevant, random or least relevant ones.

    Returns the curves a(k) (N, K + 1) in [0, 1], named `ablation_relevant`, `ablation_random` (mean of `draws`) and
    `ablation_least`. The score is the last value of a curve: all relevant features, or as many others, are zeroed. NaN
    for a class without relevant features. With `among_learned`, for relevance of some classes only, as from Imagenette
    of ten of 1000, the same curves follow with `_learned` in their names: predicted is then the best of these classes.
    `batch_size` pairs of image and ablation pass the network at once. Raises `UserError` without a model, without
    relevance, and for `draws` below 1.
    """
    images, target, model, relevance = explanation.images, explanation.target, explanation.model, explanation.relevance
    if model is None or relevance is None:
        raise UserError("ablation needs the model and the relevance of its features; give both to the Explanation")
    if draws < 1:
        raise UserError(f"draws={draws} must be 1 or more")
    largest = int(relevance.counts.max())
    at = torch.arange(largest + 1, dtype=torch.float64, device=images.device)
    classes, row = target.unique(return_inverse=True)
    steps = torch.stack([_steps(relevance, j, draws, seed) for j in classes.tolist()]).to(images.device)
    counts = relevance.counts.to(images.device)[target, None]
    removed = torch.minimum(at.long(), counts)
    # Nothing more is zeroed beyond n_j, and with nothing zeroed all choices are the same network.
    new = removed.diff(dim=1, prepend=torch.full_like(counts, -1)) > 0
    evaluated = (new & (counts > 0))[:, None].repeat(1, steps.shape[1], 1)
    evaluated[:, 1:, 0] = False
    learned = relevance.learned.to(images.device)
    values = torch.full((2, *evaluated.shape), torch.nan, dtype=torch.float64, device=images.device)
    with untouched(model), torch.no_grad():
        for batch in evaluated.nonzero().split(batch_size) if evaluated.any() else ():
            image, choice, point = batch.unbind(1)
            zeroed = steps[row[image], choice] < removed[image, point, None]
            layers = zip(relevance.layers, zeroed.split(list(relevance.layers.values()), dim=1), strict=True)
            scores = _scores_without(model, images[image], dict(layers))
            for among, own in enumerate((scores, scores.masked_fill(~learned, -torch.inf))):
                values[among, image, choice, point] = (own.argmax(1) == target[image]).double()
    values[..., 0] = values[:, :, :1, 0]
    last_new = torch.where(new, torch.arange(len(at), device=images.device), 0).cummax(1).values
    values = values.gather(3, last_new[:, None].expand_as(values))
    named = {"relevant": values[:, :, 0], "random": values[:, :, 2:].mean(2), "least": values[:, :, 1]}
    return {
        f"ablation_{choice}{suffix}": Curve(at, rows[among], score=rows[among, :, -1], axis="features")
        for among, suffix in enumerate(["", "_learned"] if among_learned else [""])
        for choice, rows in named.items()
    }


@metric(direction="higher", needs=("model", "relevance"))
def read_out(explanation: Explanation) -> Tensor:
    """Compute whether the relevant features alone give the class: 1[argmax_j w_j . x = target] (N,).

    x (N, m) are the responses and w_j (m,) the weights of class j (Oramas et al. 2019). Raises `UserError` without a
    model or without relevance.
    """
    model, relevance = explanation.model, explanation.relevance
    if model is None or relevance is None:
        raise UserError("read_out needs the model and the relevance of its features; give both to the Explanation")
    x = responses(model, explanation.images, list(relevance.layers)).double()
    return ((x @ relevance.weights.to(x.device)).argmax(1) == explanation.target).double()


def _steps(relevance: Relevance, target: int, draws: int, seed: int) -> Tensor:
    """Return the step (2 + draws, m) at which each feature is zeroed, m for never: relevant, least, each draw."""
    ranking = relevance.ranking[:, target]
    random = [np.random.default_rng((seed, target, draw)).permutation(len(ranking)) for draw in range(draws)]
    orders = torch.stack([ranking, ranking.flip(0), *map(torch.from_numpy, random)])
    sizes = torch.tensor(list(relevance.layers.values()))
    layer = torch.arange(len(sizes)).repeat_interleave(sizes)
    # Each order, sorted by layer: in every order, the n-th feature of a layer stands in the same slot, so it is zeroed
    # at the step of the layer's n-th most relevant feature.
    slots = orders.gather(1, layer[orders].argsort(dim=1, stable=True))
    step = ranking.argsort()
    step = step.where(step < relevance.counts[target], len(step))
    return torch.empty_like(orders).scatter(1, slots, step[slots[0]].expand_as(orders))


def _scores_without(model: nn.Module, images: Tensor, zeroed: Mapping[str, Tensor]) -> Tensor:
    """Return class scores of images; image n is computed without the filters marked in zeroed[layer][n] (N, K)."""
    seen = set()
    # A copy of each layer would take a third of the pass, so layers that lose nothing stay; one look at the device.
    losing = torch.stack([filters.any() for filters in zeroed.values()]).tolist()
    changed = {name for name, loses in zip(zeroed, losing, strict=True) if loses}

    def visit(call: LayerCall) -> Tensor:
        seen.add(call.name)
        if call.name not in changed:
            return call.output
        filters = zeroed[call.name].view(call.output.shape[:2] + (1,) * (call.output.dim() - 2))
        return call.output.masked_fill(filters, 0)

    with LayerCalls(model, visit):
        scores = model(images)
    if missing := ", ".join(zeroed.keys() - seen):
        raise UserError(f"{type(model).__name__} has no layer {missing}; give the relevance of this network")
    return scores
