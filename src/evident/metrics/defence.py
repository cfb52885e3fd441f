"""What an explainer makes of a class that is in the image, and of classes that are not.

An explanation that is optimised for a class may reach it by adversarial noise instead of evidence. Evidence for a
class that is not in the image cannot be there: a high score of its explanation is noise. A defence has to keep the
score of the class that is there high and the others' low. Source: PAPERS 2.2 and 2.3, claim (a).
"""

import torch
from torch import Tensor

from evident.errors import UserError
from evident.explainers.shared.classes import class_of
from evident.explainers.shared.evidence import Evidence
from evident.metrics.contract import Explanation, metric


@metric(
    direction={
        "defence_predicted_explanation_score": "higher",
        "defence_least_likely_explanation_score": "lower",
        "defence_random_explanation_score": "lower",
        "defence_predicted_complement_score": "lower",
        "defence": "neither",  # what is left of, or marked for, a class that is not there
    },
    needs=("model", "explainer", "evidence"),
)
def defence(explanation: Explanation, seed: int = 0) -> dict[str, Tensor]:
    """Evidence for the most likely, the least likely and a random other class, by the explainer's own game.

    For each kind of class (`explainers.shared.classes`) three scores (N,) in [0, 1]: the class's probability in its
    explanation, `defence_KIND_explanation_score`, and in the complement, `defence_KIND_complement_score`, and the mean
    of the mask, `defence_KIND_mask_share`. The random class is neither the predicted one nor the one that is explained
    already, by a lot of image and seed. Raises `UserError` without a model, an explainer or its evidence.
    """
    images, target, model = explanation.images, explanation.target, explanation.model
    if model is None or explanation.explainer is None or explanation.evidence is None:
        raise UserError("defence needs the model and an explainer that gives evidence; give them to the Explanation")
    with torch.no_grad():
        scores = model(images)
    known = [(target, _scores(explanation.evidence))]
    named: dict[str, Tensor] = {}
    for kind in ("predicted", "least_likely", "random"):
        asked = class_of(kind, scores, target, images, seed)
        told, new = torch.full_like(known[0][1], torch.nan), torch.ones_like(asked, dtype=torch.bool)
        # No class of an image is optimised for twice.
        for classes, answers in known:
            told, new = told.where((classes != asked)[:, None], answers), new & (classes != asked)
        if new.any():
            with torch.enable_grad():
                told[new] = _scores(explanation.explainer.evidence(images[new], asked[new]))
        known.append((asked, told))
        names = ("explanation_score", "complement_score", "mask_share")
        named |= {f"defence_{kind}_{name}": score for name, score in zip(names, told.T, strict=True)}
    return named


def _scores(evidence: Evidence) -> Tensor:
    """Probability of the explanation, of the complement, and the mask's mean (N, 3)."""
    share = evidence.mask.double().mean((1, 2, 3))
    return torch.stack([evidence.explanation_score.double(), evidence.complement_score.double(), share], 1)
