"""Scores of explanations that are images: the network's output for the evidence alone, and in other colours."""

from itertools import permutations

import torch
from torch import Tensor

from evident.errors import UserError
from evident.explainers.shared.targets import target_scores
from evident.metrics.contract import Explanation, metric
from evident.models.reference_images import reference_images
from evident.values import Evidence

# Colour changes as 3 x 3 matrices: all other orders of the channels, and the luminance of Rec. 601 in each channel.
SWAPS = torch.stack([torch.eye(3)[list(order)] for order in list(permutations(range(3)))[1:]])
GREY = torch.tensor([0.299, 0.587, 0.114]).expand(1, 3, 3)


def _evidence(explanation: Explanation) -> Evidence:
    if explanation.evidence is None:
        raise UserError(
            "this metric needs an explanation that is an image; use an explainer that gives evidence, such as fgvis"
        )
    return explanation.evidence


@metric(
    direction={
        "explanation_score": "higher",
        "explanation_keeps": "higher",
        "complement_score": "lower",
        # An empty mask is useless, so smaller is not better: `sparsity` compares sizes at equal score.
        "mask_share": "neither",
    },
    needs=("evidence",),
)
def explanation_score(explanation: Explanation) -> dict[str, Tensor]:
    """Compute the scores of explanation and complement and the size of the mask, each (N,).

    p in [0, 1] is the target's probability, x the image, e the explanation, c its complement and m the mask:

        explanation_score   p(e): is the evidence sufficient for the class?
        explanation_keeps   min(p(e) / p(x), 1), NaN where both are 0
        complement_score    p(c): does the image without the evidence still show the class?
        mask_share          mean of m

    For a regression p is the output itself, and scores have its units. Raises `UserError` without evidence.
    Source: Wagner et al. 2019 (claim c of experiments/fgvis).
    """
    evidence = _evidence(explanation)
    own, alone = evidence.score.double(), evidence.explanation_score.double()
    return {
        "explanation_score": alone,
        "explanation_keeps": (alone / own).clamp(max=1),
        "complement_score": evidence.complement_score.double(),
        "mask_share": evidence.mask.double().mean((1, 2, 3)),
    }


@metric(direction="higher", needs=("model", "evidence"))
def contrast(explanation: Explanation) -> Tensor:
    """Compute the contrast (N,) in [0, 1] of what the mask shows, relative to the contrast of the image there.

        sum m |e - r| / sum m |x - r|        over pixels and channels

    with x the image, e the explanation, r the network's mean colour and m the mask. The weights m make the mean one
    over the part that is shown. A mask of zeros and ones scores 1; one that fades what it shows to the share c scores
    c. NaN where nothing is shown: for an empty mask, or one on pixels of the mean colour. Raises `UserError` without a
    model or evidence.
    """
    evidence, model = _evidence(explanation), explanation.model
    if model is None:
        raise UserError("contrast needs the model that was explained; give it to the Explanation")
    neutral = reference_images(explanation.images, model, "mean_colour")
    shown, whole = ((image - neutral).abs().double() for image in (evidence.explanation, explanation.images))
    weights = evidence.mask.double()
    return (weights * shown).sum((1, 2, 3)) / (weights * whole).sum((1, 2, 3))


@metric(direction="neither", needs=("model", "evidence"))
def colour(explanation: Explanation, batch_size: int = 64) -> dict[str, Tensor]:
    """Compute how much the score of the explanation changes with its colours, in [-1, 1]; negative where it falls.

    With e the explanation, r the network's mean colour (both in pixels) and p the target's probability:

        p(r + M (e - r)) - p(e)        M a 3 x 3 matrix on the channels

    `colour_swap` (N,) is the mean over the five M that permute the channels, `colour_grey` (N,) uses the M that gives
    every channel the luminance. M changes the deviation from the mean colour, so pixels without evidence keep the mean
    colour, which is neutral for the network. Values are clipped to [0, 1]. Neither direction is better: the measure
    says whether the colour of a class matters. `batch_size` images pass the network at once. Raises `UserError`
    without a model or evidence. Source: Wagner et al. 2019 (claim g of experiments/fgvis).
    """
    evidence, model = _evidence(explanation), explanation.model
    if model is None:
        raise UserError("colour needs the model that was explained; give it to the Explanation")
    shown = evidence.explanation
    matrices = torch.cat([SWAPS, GREY]).to(shown)
    rows = torch.arange(len(matrices) * len(shown), device=shown.device)
    probability = []
    with torch.no_grad():
        neutral = reference_images(shown, model, "mean_colour")
        for batch in rows.split(batch_size):
            matrix, image = torch.unravel_index(batch, (len(matrices), len(shown)))
            deviation = torch.einsum("nij,njhw->nihw", matrices[matrix], shown[image] - neutral[image])
            scores = model((neutral[image] + deviation).clamp(0, 1)).double().softmax(1)
            probability.append(target_scores(scores, explanation.target[image]))
    change = torch.cat(probability).view(len(matrices), -1) - evidence.explanation_score.double()
    return {"colour_swap": change[:-1].mean(0), "colour_grey": change[-1]}
