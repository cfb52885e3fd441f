"""How much a class hangs on its few relevant features: they are zeroed inside the network, or others in their place.

For an image of class j, whose relevant features are the n_j of weight w_kj > 0 (`evident.relevance`):

    a(k) = 1[the network, with min(k, n_j) features of class j zeroed, says j],    k = 0, 1, ..., K = max_j n_j

and which features those are:

    relevant    the most relevant of the class, by rank
    random      as many of the same layers by lot; a(k) is the mean over several draws
    least       as many of the same layers, the least relevant first

"Of the same layers": the i-th feature zeroed is one of the layer that holds the i-th relevant feature, so that the
three differ in nothing but the choice of filters. The mean of a(k) over images is the accuracy on their classes. Where
a few features carry a class, that falls at once without them and hardly moves without the others.
Source: PAPERS 1.7; Oramas, Wang, Tuytelaars 2019, arXiv 1712.06302.
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
def ablation(explanation: Explanation, draws: int = 10, seed: int = 0, batch_size: int = 256) -> dict[str, Curve]:
    """Is the target still predicted without k of its relevant features, or of `draws` random or the least relevant?

    Curves (N, K + 1) in [0, 1] over k, named `ablation_relevant`, `ablation_random` and `ablation_least`, whose score
    is their end: all relevant features, or as many others, are gone. NaN for a class without relevant features.
    `batch_size` pairs of image and ablation go through the network at once. Raises `UserError` without a model or its
    relevance, and without draws.
    """
    images, target, model, relevance = explanation.images, explanation.target, explanation.model, explanation.relevance
    if model is None or relevance is None:
        raise UserError("ablation needs the model and the relevance of its features; give both to the Explanation")
    if draws < 1:
        raise UserError(f"draws={draws} leaves no random features; use 1 or more")
    most = int(relevance.counts.max())
    at = torch.arange(most + 1, dtype=torch.float64, device=images.device)
    classes, place = target.unique(return_inverse=True)
    turns = torch.stack([_turns(relevance, j, draws, seed) for j in classes.tolist()]).to(images.device)
    counts = relevance.counts.to(images.device)[target, None]
    removed = torch.minimum(at.long(), counts)
    # Beyond n_j nothing more is removed, and without anything removed all choices are the same network.
    new = removed.diff(dim=1, prepend=torch.full_like(counts, -1)) > 0
    asked = (new & (counts > 0))[:, None].repeat(1, turns.shape[1], 1)
    asked[:, 1:, 0] = False
    values = torch.full(asked.shape, torch.nan, dtype=torch.float64, device=images.device)
    with untouched(model), torch.no_grad():
        for rows in asked.nonzero().split(batch_size) if asked.any() else ():
            image, choice, point = rows.unbind(1)
            zeroed = turns[place[image], choice] < removed[image, point, None]
            layers = zip(relevance.layers, zeroed.split(list(relevance.layers.values()), dim=1), strict=True)
            said = _scores_without(model, images[image], dict(layers)).argmax(1)
            values[image, choice, point] = (said == target[image]).double()
    values[:, :, 0] = values[:, :1, 0]
    last_new = torch.where(new, torch.arange(len(at), device=images.device), 0).cummax(1).values
    values = values.gather(2, last_new[:, None].expand_as(values))
    relevant, least, lots = values[:, 0], values[:, 1], values[:, 2:].mean(1)
    named = {"ablation_relevant": relevant, "ablation_random": lots, "ablation_least": least}
    return {name: Curve(at, rows, score=rows[:, -1]) for name, rows in named.items()}


@metric(direction="higher", needs=("model", "relevance"))
def read_out(explanation: Explanation) -> Tensor:
    """Do the relevant features alone tell the class: 1[argmax_j w_j . x = target] (N,), of responses x (PAPERS 1.2).

    Raises `UserError` without a model or its relevance.
    """
    model, relevance = explanation.model, explanation.relevance
    if model is None or relevance is None:
        raise UserError("read_out needs the model and the relevance of its features; give both to the Explanation")
    x = responses(model, explanation.images, list(relevance.layers)).double()
    return ((x @ relevance.weights.to(x.device)).argmax(1) == explanation.target).double()


def _turns(relevance: Relevance, target: int, draws: int, seed: int) -> Tensor:
    """The turn (2 + draws, m) at which each feature is zeroed, m where it never is: relevant, least, each draw."""
    ranking = relevance.ranking[:, target]
    lots = [np.random.default_rng((seed, target, draw)).permutation(len(ranking)) for draw in range(draws)]
    orders = torch.stack([ranking, ranking.flip(0), *map(torch.from_numpy, lots)])
    sizes = torch.tensor(list(relevance.layers.values()))
    layer = torch.arange(len(sizes)).repeat_interleave(sizes)
    # Layer after layer, each in its order: the n-th slot of a layer is that of its n-th feature in every order, so
    # that it has the turn of the layer's n-th most relevant feature.
    slots = orders.gather(1, layer[orders].argsort(dim=1, stable=True))
    turn = ranking.argsort()
    turn = turn.where(turn < relevance.counts[target], len(turn))
    return torch.empty_like(orders).scatter(1, slots, turn[slots[0]].expand_as(orders))


def _scores_without(model: nn.Module, images: Tensor, zeroed: Mapping[str, Tensor]) -> Tensor:
    """Class scores of images, of which row n lacks the filters that zeroed[layer] (N, K) marks in its row n."""
    seen = set()

    def visit(call: LayerCall) -> Tensor:
        if call.name not in zeroed:
            return call.output
        seen.add(call.name)
        filters = zeroed[call.name].view(call.output.shape[:2] + (1,) * (call.output.dim() - 2))
        return call.output.masked_fill(filters, 0)

    with LayerCalls(model, visit):
        scores = model(images)
    if missing := ", ".join(zeroed.keys() - seen):
        raise UserError(f"{type(model).__name__} has no layer {missing}; give the relevance of this network")
    return scores
