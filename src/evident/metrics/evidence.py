"""What the network says of an explanation that is an image itself: the evidence alone, and in other colours."""

from itertools import permutations

import torch
from torch import Tensor

from evident.errors import UserError
from evident.explainers.shared.evidence import Evidence
from evident.explainers.shared.targets import target_scores
from evident.metrics.contract import Explanation, metric
from evident.models.reference_images import reference_images

# The changes of colour, 3 x 3 matrices: every other order of the channels, then the luminance of Rec. 601 in each.
SWAPS = torch.stack([torch.eye(3)[list(order)] for order in list(permutations(range(3)))[1:]])
GREY = torch.tensor([0.299, 0.587, 0.114]).expand(1, 3, 3)


def _evidence(explanation: Explanation) -> Evidence:
    if explanation.evidence is None:
        raise UserError("this metric needs an explanation that is an image; choose an explainer that gives evidence")
    return explanation.evidence


@metric(
    direction={
        "explanation_score": "higher",
        "explanation_keeps": "higher",
        "complement_score": "lower",
        "mask_share": "neither",  # an empty mask is no good one: sizes compare at equal score, as `sparsity` does
    },
    needs=("evidence",),
)
def explanation_score(explanation: Explanation) -> dict[str, Tensor]:
    """Is the evidence enough for the class, is it all of it, and how much of the image is it? Each (N,) in [0, 1].

    With p the target's probability, x the image, e the explanation, c its complement and m the mask (N, 3, H, W):
    `explanation_score` p(e); `explanation_keeps` min(p(e) / p(x), 1), NaN where both are 0; `complement_score` p(c);
    `mask_share` the mean of m. Raises `UserError` without evidence. Source: PAPERS 2.1 and 2.3, claim (c).
    """
    evidence = _evidence(explanation)
    own, alone = evidence.score.double(), evidence.explanation_score.double()
    return {
        "explanation_score": alone,
        "explanation_keeps": (alone / own).clamp(max=1),
        "complement_score": evidence.complement_score.double(),
        "mask_share": evidence.mask.double().mean((1, 2, 3)),
    }


@metric(direction="neither", needs=("model", "evidence"))
def colour(explanation: Explanation, batch_size: int = 64) -> dict[str, Tensor]:
    """How far the score of the explanation hangs on its colours: its change, in [-1, 1], below 0 where it falls.

    With e the explanation, r the network's mean colour (both in pixels) and p the target's probability,

        p(r + M (e - r)) - p(e)        M a 3 x 3 matrix on the channels

    is `colour_swap` (N,), its mean over the five M that put the channels into another order, and `colour_grey` (N,),
    where M gives every channel the deviation's luminance. What changes is the deviation from the mean colour: what is
    no evidence has that colour, stays as it is, and tells the network nothing before or after. Values that leave
    [0, 1] are clipped. Neither is better: it says of a class whether its colour matters. `batch_size` images go
    through the network at once. Raises `UserError` without a model or evidence. Source: PAPERS 2.3, claim (g).
    """
    evidence, model = _evidence(explanation), explanation.model
    if model is None:
        raise UserError("colour needs the model that was explained; give it to the Explanation")
    shown = evidence.explanation
    changes = torch.cat([SWAPS, GREY]).to(shown)
    rows = torch.arange(len(changes) * len(shown), device=shown.device)
    probability = []
    with torch.no_grad():
        neutral = reference_images(shown, model, "mean_colour")
        for batch in rows.split(batch_size):
            change, image = torch.unravel_index(batch, (len(changes), len(shown)))
            deviation = torch.einsum("nij,njhw->nihw", changes[change], shown[image] - neutral[image])
            scores = model((neutral[image] + deviation).clamp(0, 1)).double().softmax(1)
            probability.append(target_scores(scores, explanation.target[image]))
    moved = torch.cat(probability).view(len(changes), -1) - evidence.explanation_score.double()
    return {"colour_swap": moved[:-1].mean(0), "colour_grey": moved[-1]}
