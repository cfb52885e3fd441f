"""Evidence as an image: its scores, and what they owe to its colours, on networks whose answers are known by hand."""

from itertools import permutations

import pytest
import torch
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.shared.evidence import Evidence, evidence
from evident.metrics.contract import Explanation, direction_of
from evident.metrics.evidence import colour, explanation_score
from evident.models.flower_net import FlowerNet
from evident.models.normalise import Normalise


def of(marked: Evidence, target: Tensor, model: nn.Module | None = None) -> Explanation:
    return Explanation(marked.explanation, target, marked.mask.mean(1), model=model, evidence=marked)


def told(own: list[float], alone: list[float], without: list[float], mask: Tensor) -> Explanation:
    """Evidence of those scores; the pictures have no say in it."""
    pictures = torch.zeros(len(own), 3, 4, 4)
    marked = Evidence(mask, pictures, pictures, *map(torch.tensor, (own, alone, without)))
    return of(marked, torch.zeros(len(own)).long())


def test_scores_are_those_of_explanation_and_complement() -> None:
    mask = torch.zeros(3, 3, 4, 4)
    mask[1, 0] = 1
    mask[2] = 0.5
    scores = explanation_score(told([0.8, 0.5, 0.5], [0.4, 0.9, 0.5], [0.1, 0.2, 0.3], mask))
    for name, expected in {
        "explanation_score": [0.4, 0.9, 0.5],
        "explanation_keeps": [0.5, 1, 1],
        "complement_score": [0.1, 0.2, 0.3],
        "mask_share": [0, 1 / 3, 0.5],
    }.items():
        assert scores[name].dtype == torch.float64
        assert scores[name].tolist() == pytest.approx(expected)
    assert list(scores) == ["explanation_score", "explanation_keeps", "complement_score", "mask_share"]


def test_what_keeps_nothing_of_nothing_is_undefined() -> None:
    keeps = explanation_score(told([0.0, 0.0], [0.0, 0.3], [0.0, 0.0], torch.zeros(2, 3, 4, 4)))["explanation_keeps"]
    assert keeps.isnan().tolist() == [True, False]


def test_the_whole_image_keeps_its_score_and_leaves_the_mean_colour() -> None:
    model, images, target = FlowerNet(6).eval(), torch.rand(2, 3, 16, 16), torch.tensor([1, 4])
    scores = explanation_score(of(evidence(model, images, target, torch.ones_like(images)), target))
    assert scores["explanation_keeps"].tolist() == [1, 1]
    assert scores["mask_share"].tolist() == [1, 1]
    with torch.no_grad():
        grey = model(torch.full_like(images, 0.5)).softmax(1)[range(2), target]
    torch.testing.assert_close(scores["complement_score"], grey.double())


class Channel(nn.Module):
    """Class c has the image's mean in colour channel c as probability."""

    def __init__(self, mean: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> None:
        super().__init__()
        self.normalise = Normalise(mean, (1.0, 1.0, 1.0))

    def forward(self, images: Tensor) -> Tensor:
        means = images.double().mean((2, 3))
        return torch.cat([means, 1 - means.sum(1, keepdim=True)], 1).log()


def of_one_colour(colours: list[list[float]]) -> Tensor:
    return torch.tensor(colours)[:, :, None, None].expand(-1, -1, 4, 4)


def moved(model: nn.Module, images: Tensor, target: list[int], mask: Tensor | None = None, **settings) -> dict:
    mask = torch.ones_like(images) if mask is None else mask
    marked = evidence(model, images, torch.tensor(target), mask)
    return {name: score.tolist() for name, score in colour(of(marked, torch.tensor(target), model), **settings).items()}


def test_where_the_class_is_a_colour_its_score_goes_with_the_colour() -> None:
    change = moved(Channel(), of_one_colour([[0.3, 0, 0], [0.2, 0.2, 0.2]]), [0, 0])
    # Of five other orders of the channels one leaves red where it is, two each make it green and blue.
    assert change["colour_swap"] == pytest.approx([0.3 / 5 - 0.3, 0])
    assert change["colour_grey"] == pytest.approx([0.299 * 0.3 - 0.3, 0], abs=1e-7)


def test_a_class_may_gain_by_other_colours() -> None:
    change = moved(Channel(), of_one_colour([[0, 0.4, 0]]), [0])
    assert change["colour_swap"] == pytest.approx([0.4 * 2 / 5])
    assert change["colour_grey"] == pytest.approx([0.587 * 0.4])


def test_what_is_no_evidence_stays_the_mean_colour() -> None:
    model, images = Channel((0.1, 0.2, 0.3)), of_one_colour([[0.3, 0.2, 0.3]])
    change = moved(model, images, [0], torch.zeros_like(images))
    assert change["colour_swap"] == [0]
    assert change["colour_grey"] == [0]
    # Only the deviation (0.2, 0, 0) of the marked half moves.
    half = torch.zeros_like(images)
    half[:, :, :2] = 1
    change = moved(model, images, [0], half)
    assert change["colour_swap"] == pytest.approx([(0.2 / 5 - 0.2) / 2])
    assert change["colour_grey"] == pytest.approx([(0.299 * 0.2 - 0.2) / 2])


def small_network() -> nn.Module:
    """One to which the mean colour says nothing, and single pixels and colours something."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 12, 3, stride=2, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    layers.append(nn.Linear(48, 6, bias=False))
    nn.init.normal_(layers[-1].weight)
    return nn.Sequential(Normalise((0.6, 0.3, 0.5)), *layers).eval()


def test_colour_equals_its_formula_by_plain_loops() -> None:
    model = small_network()
    images, mask, target = torch.rand(3, 3, 16, 16), torch.rand(3, 3, 16, 16), torch.tensor([0, 3, 5])
    marked = evidence(model, images, target, mask)
    result = colour(of(marked, target, model))
    model.double()
    for n in range(3):
        shown, neutral = marked.explanation[n].double(), model[0].mean[0].double()
        deviation = shown - neutral
        weight = torch.tensor([0.299, 0.587, 0.114]).double()
        swapped = [deviation[list(order)] for order in permutations(range(3)) if order != (0, 1, 2)]
        pictures = [*swapped, (deviation * weight[:, None, None]).sum(0).expand(3, 16, 16)]
        with torch.no_grad():
            before = model(shown[None]).softmax(1)[0, target[n]]
            after = [model((neutral + p).clamp(0, 1)[None]).softmax(1)[0, target[n]] for p in pictures]
        swap, grey = sum(after[:5]) / 5 - before, after[5] - before
        assert result["colour_swap"][n].item() == pytest.approx(swap.item(), abs=1e-6)
        assert result["colour_grey"][n].item() == pytest.approx(grey.item(), abs=1e-6)
    assert result["colour_swap"].abs().min() > 1e-3


def test_neither_is_better_and_what_is_missing_is_named() -> None:
    assert direction_of(colour, "colour_swap") == "neither"
    assert direction_of(explanation_score, "mask_share") == "neither"
    explanation = told([1.0], [1.0], [0.0], torch.ones(1, 3, 4, 4))
    with pytest.raises(UserError, match="colour needs the model"):
        colour(explanation)
    for score in (colour, explanation_score):
        with pytest.raises(UserError, match="needs an explanation that is an image"):
            score(Explanation(torch.zeros(1, 3, 4, 4), torch.zeros(1).long(), torch.zeros(1, 4, 4), model=Channel()))
