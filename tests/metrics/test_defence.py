"""Defence: which classes an explainer is asked for, and what it says of them, with a game whose end is known."""

import pytest
import torch
from captum.attr import Attribution
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.shared.evidence import Evidence
from evident.metrics.contract import Explanation, direction_of
from evident.metrics.defence import defence

KINDS = ("predicted", "least_likely", "random")
SCORES = torch.tensor([[3.0, 1.0, 0.0, 2.0], [0.0, 1.0, 2.0, 3.0], [1.0, 0.0, 5.0, 2.0]])


class Fixed(nn.Module):
    """Image n, whose pixels are n / 10, has the n-th row of SCORES."""

    def forward(self, images: Tensor) -> Tensor:
        return SCORES[(images[:, 0, 0, 0] * 10).round().long()]


class Game(Attribution):
    """Class j of image n keeps 0.1 j + 0.01 n in its explanation, half of it in the complement, j / 10 of the mask."""

    def __init__(self) -> None:
        super().__init__(nn.Identity())
        self.asked: list[list[tuple[int, int]]] = []

    def evidence(self, inputs: Tensor, target: Tensor) -> Evidence:
        assert torch.is_grad_enabled()
        number = (inputs[:, 0, 0, 0] * 10).round()
        self.asked.append(list(zip(number.long().tolist(), target.tolist(), strict=True)))
        score = 0.1 * target + 0.01 * number
        return Evidence((target / 10)[:, None, None, None].expand_as(inputs), inputs, inputs, score, score, score / 2)


def explanation(target: list[int]) -> tuple[Explanation, Game]:
    images = (torch.arange(3) / 10)[:, None, None, None].expand(3, 3, 4, 4).contiguous()
    game, classes = Game(), torch.tensor(target)
    marked = game.evidence(images, classes)
    game.asked.clear()
    return Explanation(images, classes, torch.zeros(3, 4, 4), None, Fixed(), None, game, marked), game


def classes(scores: dict[str, Tensor], kind: str) -> list[int]:
    return (scores[f"defence_{kind}_mask_share"] * 10).round().long().tolist()


def test_the_best_the_worst_and_another_class_are_asked_for() -> None:
    explained, _ = explanation([1, 1, 1])
    with torch.no_grad():
        scores = defence(explained)
    assert classes(scores, "predicted") == [0, 3, 2]
    assert classes(scores, "least_likely") == [2, 0, 1]
    for drawn, predicted in zip(classes(scores, "random"), [0, 3, 2], strict=True):
        assert drawn in range(4)
        assert drawn not in (1, predicted)


def test_each_score_is_that_of_the_image_and_the_class() -> None:
    scores = defence(explanation([1, 1, 1])[0])
    for kind in KINDS:
        expected = [0.1 * j + 0.01 * n for n, j in enumerate(classes(scores, kind))]
        assert scores[f"defence_{kind}_explanation_score"].tolist() == pytest.approx(expected)
        assert scores[f"defence_{kind}_complement_score"].tolist() == pytest.approx([e / 2 for e in expected])
    assert all(score.dtype == torch.float64 for score in scores.values())
    assert len(scores) == 9


def test_no_class_is_optimised_for_twice() -> None:
    explained, game = explanation([0, 3, 0])
    scores = defence(explained)
    asked = [pair for pairs in game.asked for pair in pairs]
    assert len(set(asked)) == len(asked)
    assert not {(0, 0), (1, 3), (2, 0)} & set(asked)
    assert scores["defence_predicted_explanation_score"].tolist() == pytest.approx([0, 0.31, 0.22])
    # Where all images are explained for the predicted class already, it is not asked again at all.
    explained, game = explanation([0, 3, 2])
    scores = defence(explained)
    assert len(game.asked) == 2
    assert scores["defence_predicted_explanation_score"].tolist() == pytest.approx([0, 0.31, 0.22])


def test_the_random_class_hangs_on_the_seed() -> None:
    drawn = {tuple(classes(defence(explanation([1, 1, 1])[0], seed=seed), "random")) for seed in range(10)}
    assert len(drawn) > 1


def test_scores_of_classes_that_are_not_there_are_better_low() -> None:
    assert direction_of(defence, "defence_predicted_explanation_score") == "higher"
    assert direction_of(defence, "defence_least_likely_explanation_score") == "lower"
    assert direction_of(defence, "defence_random_explanation_score") == "lower"
    assert direction_of(defence, "defence_random_mask_share") == "neither"


def test_a_random_class_that_is_the_least_likely_has_its_scores() -> None:
    # Of image 0 the lot is between 1, 2 (the least likely) and 3.
    for seed in range(10):
        explained, game = explanation([0, 3, 1])
        scores = defence(explained, seed=seed)
        for kind in KINDS:
            expected = [0.1 * j + 0.01 * n for n, j in enumerate(classes(scores, kind))]
            assert scores[f"defence_{kind}_explanation_score"].tolist() == pytest.approx(expected)
        asked = [pair for pairs in game.asked for pair in pairs]
        assert len(set(asked)) == len(asked)


@pytest.mark.parametrize("lacking", ["model", "explainer", "evidence"])
def test_what_is_missing_is_named(lacking: str) -> None:
    whole, _ = explanation([0, 0, 0])
    parts = {"model": whole.model, "explainer": whole.explainer, "evidence": whole.evidence, lacking: None}
    with pytest.raises(UserError, match="defence needs the model and an explainer that gives evidence"):
        defence(Explanation(whole.images, whole.target, whole.heatmap, **parts))
