r"""Sanity: whether a heatmap depends on what its network has learnt.

The same image is explained for the same target by another network, whose weights are random or were learnt from
shuffled labels, and the two heatmaps are compared (`similarity`). A map that stays the same cannot say anything about
the network.

Parameter randomisation. Of n layers with weights, counted from the output, `cascading` permutes the first k, and
`independent` the k-th alone, at 5 depths k from 1 to n; the position on the curve is k / n (`models.randomised`).

What the scores do not say (corrections to Adebayo et al. 2018):

- Our heatmaps have no sign. A map that changes its sign only counts as the same (Sundararajan, Taly 2018,
  arXiv 1806.04205).
- Some similarity comes from the image and the task, not from the method: on digits every map that is multiplied by the
  image is zero outside of them (Yona, Greenfeld 2021, arXiv 2110.14297).
- With random weights in the upper layers only, the lower ones still select the same pixels. So the score is the
  similarity after *all* layers, and a curve does not rank methods (Binder et al. 2023, arXiv 2211.12486).
- Explainers that sample draw the same masks for both networks, so what their draws add to a map stays the same.
- A noisy map changes more than a smooth one (Hedström et al. 2024, arXiv 2401.06465): a low similarity says that a map
  depends on the weights, not that it is right.
"""

from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from evident.errors import UserError
from evident.metrics.contract import Curve, Explanation, Need, heatmaps, metric
from evident.metrics.similarity import similarities
from evident.models.randomised import randomised, weighted_layers

NEEDS: tuple[Need, ...] = ("model", "rebuild", "training_images")


@metric(direction="lower", needs=NEEDS)
def randomisation_cascading(explanation: Explanation, depths: int = 5, seed: int = 0) -> dict[str, Curve]:
    """Follow the similarity of the heatmap to that of a network whose layers are randomised from the output backwards.

    Returns the curves `cascading_ssim`, `cascading_spearman` and `cascading_abs_correlation` (N, at most `depths`) in
    [-1, 1] over the share of random layers. The score is the last value: all layers are random. A network with few
    layers has fewer points. `seed` draws the permutations; explainers that learn learn again. Costs one explanation
    per depth. Raises `UserError` without a model, for a network without weights, and for `depths` below 2.
    Source: Adebayo et al. 2018, arXiv 1810.03292, with permuted instead of new weights.
    """
    curves = _curves(explanation, depths, seed, lambda k, n: range(n - k, n))
    return {f"cascading_{name}": Curve(at, values, values[:, -1], "depths") for name, (at, values) in curves.items()}


@metric(direction="lower", needs=NEEDS)
def randomisation_independent(explanation: Explanation, depths: int = 5, seed: int = 0) -> dict[str, Curve]:
    """Compare the heatmap with those of networks of which one layer alone is randomised.

    Returns the curves `independent_ssim`, `independent_spearman` and `independent_abs_correlation` over the depth of
    this layer, from the output; the score is the mean over the depths. All else as in `randomisation_cascading`.
    """
    curves = _curves(explanation, depths, seed, lambda k, n: (n - k,))
    return {f"independent_{name}": Curve(at, values, values.mean(1), "depths") for name, (at, values) in curves.items()}


@metric(direction="lower", needs=("rebuild", "shuffled"))
def label_randomisation(explanation: Explanation) -> dict[str, Tensor]:
    """Compare the heatmap with that of a network that was trained on shuffled labels.

    Returns `label_ssim`, `label_spearman` and `label_abs_correlation` (N,) in [-1, 1]. Costs one explanation. Raises
    `UserError` without such a network.
    Source: Adebayo et al. 2018, arXiv 1810.03292.
    """
    if explanation.shuffled is None:
        raise UserError("label_randomisation needs a network trained on shuffled labels; give it to the Explanation")
    found = similarities(explanation.heatmap, _heatmap(explanation, explanation.shuffled))
    return {f"label_{name}": values for name, values in found.items()}


def _curves(
    explanation: Explanation, depths: int, seed: int, chosen: Callable[[int, int], Collection[int]]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return positions (T,) and values (N, T) of each similarity; `chosen(k, n)` are the layers that are random."""
    model, given = explanation.model, explanation.training_images
    if model is None:
        raise UserError("parameter randomisation needs the model that was explained; give it to the Explanation")
    if depths < 2:
        raise UserError(f"depths={depths} must be 2 or more: the last layer and all layers")
    n = len(weighted_layers(model))
    # Evenly from 1 to n, rounded to whole layers; some coincide where there are few.
    counts = sorted({1 + ((n - 1) * step + (depths - 1) // 2) // (depths - 1) for step in range(depths)})
    images = None if given is None else lambda: given().to(explanation.images)
    found = [
        similarities(explanation.heatmap, _heatmap(explanation, randomised(model, chosen(k, n), seed, images)))
        for k in counts
    ]
    at = torch.tensor(counts, dtype=torch.float64, device=explanation.images.device) / n
    return {name: (at, torch.stack([values[name] for values in found], 1)) for name in found[0]}


def _heatmap(explanation: Explanation, network: nn.Module) -> Tensor:
    """Return the heatmaps (N, H, W) that the same explainer gives for another network."""
    if explanation.rebuild is None:
        raise UserError("randomisation explains other networks; give a function that rebuilds the explainer for one")
    return heatmaps(explanation.rebuild(network), explanation.images, explanation.target, explanation.mask).detach()
