"""Defence: which classes are explained, and their scores, with an explainer of known scores."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from captum.attr import Attribution
from torch import Tensor, nn

from evident.contracts import GivesEvidence
from evident.errors import UserError
from evident.explainers.shared.targets import targets
from evident.metrics.contract import Explanation, direction_of
from evident.metrics.defence import defence
from evident.values import Evidence

KINDS = ("predicted", "nearest", "least_likely", "random")
SCORES = torch.tensor([[3.0, 1.0, 0.0, 2.0], [0.0, 1.0, 2.0, 3.0], [1.0, 0.0, 5.0, 2.0]])


class Fixed(nn.Module):
    """Return row n of SCORES for image n, whose pixels are n / 10."""

    def forward(self, images: Tensor) -> Tensor:
        return SCORES[(images[:, 0, 0, 0] * 10).round().long()]


class KnownScores(Attribution, GivesEvidence):
    """Give class j of image n the score 0.1 j + 0.01 n for its explanation, half of it for the complement, mask j / 10.

    `explained` holds the pairs (image, class) of each call.
    """

    def __init__(self) -> None:
        super().__init__(nn.Identity())
        self.explained: list[list[tuple[int, int]]] = []

    def evidence(self, inputs: Tensor, target: Tensor | int) -> Evidence:
        assert torch.is_grad_enabled()
        target, number = targets(target, len(inputs)), (inputs[:, 0, 0, 0] * 10).round()
        self.explained.append(list(zip(number.long().tolist(), target.tolist(), strict=True)))
        score = 0.1 * target + 0.01 * number
        return Evidence((target / 10)[:, None, None, None].expand_as(inputs), inputs, inputs, score, score, score / 2)


def explanation(target: list[int]) -> tuple[Explanation, KnownScores]:
    images = (torch.arange(3) / 10)[:, None, None, None].expand(3, 3, 4, 4).contiguous()
    explainer, classes = KnownScores(), torch.tensor(target)
    marked = explainer.evidence(images, classes)
    explainer.explained.clear()
    return Explanation(images, classes, torch.zeros(3, 4, 4), None, Fixed(), None, explainer, marked), explainer


def classes(scores: dict[str, Tensor], kind: str) -> list[int]:
    return (scores[f"defence_{kind}_mask_share"] * 10).round().long().tolist()


def test_predicted_nearest_least_likely_and_random_class_are_explained() -> None:
    whole, _ = explanation([1, 1, 1])
    with torch.no_grad():
        scores = defence(whole)
    assert classes(scores, "predicted") == [0, 3, 2]
    assert classes(scores, "nearest") == [3, 2, 3]  # the second of image 0 is 3; of image 2, class 1 is the target
    assert classes(scores, "least_likely") == [2, 0, 1]
    for drawn, predicted in zip(classes(scores, "random"), [0, 3, 2], strict=True):
        assert drawn in range(4)
        assert drawn not in (1, predicted)


def test_scores_are_those_of_image_and_class() -> None:
    scores = defence(explanation([1, 1, 1])[0])
    for kind in KINDS:
        expected = [0.1 * j + 0.01 * n for n, j in enumerate(classes(scores, kind))]
        assert scores[f"defence_{kind}_explanation_score"].tolist() == pytest.approx(expected)
        assert scores[f"defence_{kind}_complement_score"].tolist() == pytest.approx([e / 2 for e in expected])
    assert all(score.dtype == torch.float64 for score in scores.values())
    assert len(scores) == 16


def test_reached_is_the_share_of_the_highest_probability_of_the_image() -> None:
    scores = defence(explanation([1, 1, 1])[0])
    best = SCORES.double().softmax(1).amax(1)
    for kind in KINDS:
        expected = (scores[f"defence_{kind}_explanation_score"] / best).clamp(max=1)
        torch.testing.assert_close(scores[f"defence_{kind}_reached"], expected)
        assert 0 < scores[f"defence_{kind}_reached"].max() < 1


def test_each_class_of_an_image_is_explained_once() -> None:
    whole, explainer = explanation([0, 3, 0])
    scores = defence(whole)
    pairs = [pair for call in explainer.explained for pair in call]
    assert len(set(pairs)) == len(pairs)
    assert not {(0, 0), (1, 3), (2, 0)} & set(pairs)
    assert scores["defence_predicted_explanation_score"].tolist() == pytest.approx([0, 0.31, 0.22])
    # Here the target of all images is the predicted class, so it is not explained again.
    whole, explainer = explanation([0, 3, 2])
    scores = defence(whole)
    assert len(explainer.explained) <= 3
    assert scores["defence_predicted_explanation_score"].tolist() == pytest.approx([0, 0.31, 0.22])


def test_random_class_depends_on_the_seed() -> None:
    drawn = {tuple(classes(defence(explanation([1, 1, 1])[0], seed=seed), "random")) for seed in range(10)}
    assert len(drawn) > 1


def test_low_scores_of_absent_classes_are_better() -> None:
    assert direction_of(defence, "defence_predicted_explanation_score") == "higher"
    assert direction_of(defence, "defence_least_likely_explanation_score") == "lower"
    assert direction_of(defence, "defence_random_explanation_score") == "lower"
    assert direction_of(defence, "defence_nearest_reached") == "lower"
    assert direction_of(defence, "defence_predicted_reached") == "higher"
    assert direction_of(defence, "defence_random_mask_share") == "neither"


def test_random_class_may_be_the_least_likely_class() -> None:
    # For image 0 the random class is 1, 2 (the least likely) or 3.
    for seed in range(10):
        whole, explainer = explanation([0, 3, 1])
        scores = defence(whole, seed=seed)
        for kind in KINDS:
            expected = [0.1 * j + 0.01 * n for n, j in enumerate(classes(scores, kind))]
            assert scores[f"defence_{kind}_explanation_score"].tolist() == pytest.approx(expected)
        pairs = [pair for call in explainer.explained for pair in call]
        assert len(set(pairs)) == len(pairs)


@pytest.mark.parametrize("missing", ["model", "explainer", "evidence"])
def test_missing_field_is_named(missing: str) -> None:
    whole, _ = explanation([0, 0, 0])
    fields: dict[str, Any] = {missing: None}
    with pytest.raises(UserError, match="defence needs the model and an explainer that gives evidence"):
        defence(replace(whole, **fields))
