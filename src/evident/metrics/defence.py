"""Defence against adversarial noise: scores of explanations for the predicted class and for absent classes.

An explanation that is optimised for a class may raise its score by adversarial noise instead of evidence. An image has
no evidence for a class that it does not show, so a high score of an explanation for such a class is noise. A defence
must separate them: reach the class that is present, and no absent one. Source: Wagner et al. 2019 (claim a of
experiments/fgvis).
"""

import torch
from torch import Tensor

from evident.contracts import GivesEvidence
from evident.errors import UserError
from evident.explainers.shared.classes import class_of
from evident.metrics.contract import Explanation, metric
from evident.values import Evidence

KINDS = ("predicted", "nearest", "least_likely", "random")
NAMES = ("explanation_score", "complement_score", "mask_share", "reached")


@metric(
    direction={
        "defence_predicted_explanation_score": "higher",
        "defence_predicted_reached": "higher",
        "defence_predicted_complement_score": "lower",
        **{f"defence_{kind}_{name}": "lower" for kind in KINDS[1:] for name in ("explanation_score", "reached")},
        "defence": "neither",  # complements and masks of classes that the image does not show
    },
    needs=("model", "explainer", "evidence", GivesEvidence),
)
def defence(explanation: Explanation, seed: int = 0) -> dict[str, Tensor]:
    """Compute evidence for the predicted class and for three classes that are not in the image, and score it.

    KIND is `predicted`, `nearest`, `least_likely` or `random` (`explainers.shared.classes`). Each kind has four scores
    (N,) in [0, 1]: the class's probability for its explanation, `defence_KIND_explanation_score`, and for the
    complement, `defence_KIND_complement_score`; the mean of the mask, `defence_KIND_mask_share`; and how much of the
    probability of the image's best class the explanation reached, `defence_KIND_reached` = min(p(e) / max_c p_c(x), 1).
    The nearest and the random class are neither the predicted class nor the target; the random one depends on the image
    and the seed. Raises `UserError` without a model and for an explainer that gives no evidence.
    """
    images, target, model = explanation.images, explanation.target, explanation.model
    explainer, evidence = explanation.explainer, explanation.evidence
    if model is None or evidence is None or not isinstance(explainer, GivesEvidence):
        raise UserError("defence needs the model and an explainer that gives evidence; give them to the Explanation")
    with torch.no_grad():
        scores = model(images)
    best = scores.double().softmax(1).amax(1)
    known = [(target, _scores(evidence))]
    named: dict[str, Tensor] = {}
    for kind in KINDS:
        wanted = class_of(kind, scores, target, images, seed)
        result, new = torch.full_like(known[0][1], torch.nan), torch.ones_like(wanted, dtype=torch.bool)
        # Each class of an image is optimised once.
        for classes, earlier in known:
            result, new = result.where((classes != wanted)[:, None], earlier), new & (classes != wanted)
        if new.any():
            with torch.enable_grad():
                result[new] = _scores(explainer.evidence(images[new], wanted[new]))
        known.append((wanted, result))
        reached = (result[:, 0] / best).clamp(max=1)
        named |= {f"defence_{kind}_{name}": s for name, s in zip(NAMES, (*result.T, reached), strict=True)}
    return named


def _scores(evidence: Evidence) -> Tensor:
    """Return the probability for the explanation and for the complement, and the mean of the mask (N, 3)."""
    share = evidence.mask.double().mean((1, 2, 3))
    return torch.stack([evidence.explanation_score.double(), evidence.complement_score.double(), share], 1)
