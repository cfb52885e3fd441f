"""Explanations that are images: scores and effect of colours, by known answers and by plain loops."""

from dataclasses import replace
from itertools import permutations

import pytest
import torch
from samples import unbiased_network
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.shared.evidence import evidence
from evident.metrics.contract import Explanation, direction_of
from evident.metrics.evidence import colour, contrast, explanation_score
from evident.models.flower_net import FlowerNet
from evident.models.normalise import Normalise
from evident.values import Evidence


def of(marked: Evidence, target: Tensor, model: nn.Module | None = None) -> Explanation:
    return Explanation(marked.explanation, target, marked.mask.mean(1), model=model, evidence=marked)


def scored(own: list[float], alone: list[float], without: list[float], mask: Tensor) -> Explanation:
    """Return evidence with the scores of image, explanation and complement; its images are black."""
    black = torch.zeros(len(own), 3, 4, 4)
    marked = Evidence(mask, black, black, *map(torch.tensor, (own, alone, without)))
    return of(marked, torch.zeros(len(own)).long())


def test_scores_are_those_of_explanation_complement_and_mask() -> None:
    mask = torch.zeros(3, 3, 4, 4)
    mask[1, 0] = 1
    mask[2] = 0.5
    scores = explanation_score(scored([0.8, 0.5, 0.5], [0.4, 0.9, 0.5], [0.1, 0.2, 0.3], mask))
    for name, expected in {
        "explanation_score": [0.4, 0.9, 0.5],
        "explanation_keeps": [0.5, 1, 1],
        "complement_score": [0.1, 0.2, 0.3],
        "mask_share": [0, 1 / 3, 0.5],
    }.items():
        assert scores[name].dtype == torch.float64
        assert scores[name].tolist() == pytest.approx(expected)
    assert list(scores) == ["explanation_score", "explanation_keeps", "complement_score", "mask_share"]


def test_explanation_keeps_is_nan_if_both_scores_are_zero() -> None:
    keeps = explanation_score(scored([0.0, 0.0], [0.0, 0.3], [0.0, 0.0], torch.zeros(2, 3, 4, 4)))["explanation_keeps"]
    assert keeps.isnan().tolist() == [True, False]


def test_full_mask_keeps_the_score_and_its_complement_is_the_mean_colour() -> None:
    model, images, target = FlowerNet(6).eval(), torch.rand(2, 3, 16, 16), torch.tensor([1, 4])
    scores = explanation_score(of(evidence(model, images, target, torch.ones_like(images)), target))
    assert scores["explanation_keeps"].tolist() == [1, 1]
    assert scores["mask_share"].tolist() == [1, 1]
    with torch.no_grad():
        grey = model(torch.full_like(images, 0.5)).softmax(1)[range(2), target]
    torch.testing.assert_close(scores["complement_score"], grey.double())


def test_contrast_is_the_share_to_which_what_is_shown_is_faded() -> None:
    model, images, target = FlowerNet(6).eval(), torch.rand(4, 3, 16, 16), torch.tensor([1, 4, 0, 2])
    mask = torch.zeros_like(images)
    mask[0, :, :5] = 1  # a part of the image, as it is
    mask[1] = 0.27  # the whole image, faded
    mask[2, 0, :3], mask[2, 1, :3] = 1, 0.5
    found = contrast(replace(of(evidence(model, images, target, mask), target, model), images=images))
    assert found[:2].tolist() == pytest.approx([1, 0.27])
    full, half = ((images[2, channel, :3] - 0.5).abs().sum().item() for channel in (0, 1))
    assert found[2].item() == pytest.approx((full + half / 4) / (full + half / 2), rel=1e-5)
    assert found[3].isnan()  # nothing is shown


def test_contrast_without_model_or_evidence_raises() -> None:
    marked = scored([0.5], [0.5], [0.5], torch.ones(1, 3, 4, 4))
    with pytest.raises(UserError, match="contrast needs the model"):
        contrast(marked)
    with pytest.raises(UserError, match="needs an explanation that is an image"):
        contrast(replace(marked, evidence=None))


class Channel(nn.Module):
    """Predict class c with the mean of colour channel c as probability."""

    def __init__(self, mean: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> None:
        super().__init__()
        self.normalise = Normalise(mean, (1.0, 1.0, 1.0))

    def forward(self, images: Tensor) -> Tensor:
        means = images.double().mean((2, 3))
        return torch.cat([means, 1 - means.sum(1, keepdim=True)], 1).log()


def of_one_colour(colours: list[list[float]]) -> Tensor:
    return torch.tensor(colours)[:, :, None, None].expand(-1, -1, 4, 4)


def colour_change(model: nn.Module, images: Tensor, target: list[int], mask: Tensor | None = None, **settings) -> dict:
    mask = torch.ones_like(images) if mask is None else mask
    marked = evidence(model, images, torch.tensor(target), mask)
    return {name: score.tolist() for name, score in colour(of(marked, torch.tensor(target), model), **settings).items()}


def test_class_of_one_colour_loses_its_score_without_the_colour() -> None:
    change = colour_change(Channel(), of_one_colour([[0.3, 0, 0], [0.2, 0.2, 0.2]]), [0, 0])
    # Of the five other orders of channels, one keeps red; two make it green and two blue.
    assert change["colour_swap"] == pytest.approx([0.3 / 5 - 0.3, 0])
    assert change["colour_grey"] == pytest.approx([0.299 * 0.3 - 0.3, 0], abs=1e-7)


def test_score_may_increase_with_other_colours() -> None:
    change = colour_change(Channel(), of_one_colour([[0, 0.4, 0]]), [0])
    assert change["colour_swap"] == pytest.approx([0.4 * 2 / 5])
    assert change["colour_grey"] == pytest.approx([0.587 * 0.4])


def test_pixels_without_evidence_keep_the_mean_colour() -> None:
    model, images = Channel((0.1, 0.2, 0.3)), of_one_colour([[0.3, 0.2, 0.3]])
    change = colour_change(model, images, [0], torch.zeros_like(images))
    assert change["colour_swap"] == [0]
    assert change["colour_grey"] == [0]
    # Only the deviation (0.2, 0, 0) of the marked half changes.
    half = torch.zeros_like(images)
    half[:, :, :2] = 1
    change = colour_change(model, images, [0], half)
    assert change["colour_swap"] == pytest.approx([(0.2 / 5 - 0.2) / 2])
    assert change["colour_grey"] == pytest.approx([(0.299 * 0.2 - 0.2) / 2])


def test_colour_equals_its_formula_by_plain_loops() -> None:
    model = unbiased_network()
    images, mask, target = torch.rand(3, 3, 16, 16), torch.rand(3, 3, 16, 16), torch.tensor([0, 3, 5])
    marked = evidence(model, images, target, mask)
    result = colour(of(marked, target, model))
    model.double()
    for n in range(3):
        shown, neutral = marked.explanation[n].double(), model[0].mean[0].double()
        deviation = shown - neutral
        weight = torch.tensor([0.299, 0.587, 0.114]).double()
        swapped = [deviation[list(order)] for order in permutations(range(3)) if order != (0, 1, 2)]
        changed = [*swapped, (deviation * weight[:, None, None]).sum(0).expand(3, 16, 16)]
        with torch.no_grad():
            before = model(shown[None]).softmax(1)[0, target[n]]
            after = [model((neutral + p).clamp(0, 1)[None]).softmax(1)[0, target[n]] for p in changed]
        swap, grey = sum(after[:5]) / 5 - before, after[5] - before
        assert result["colour_swap"][n].item() == pytest.approx(swap.item(), abs=1e-6)
        assert result["colour_grey"][n].item() == pytest.approx(grey.item(), abs=1e-6)
    assert result["colour_swap"].abs().min() > 1e-3


def test_measures_without_a_direction_and_missing_fields() -> None:
    assert direction_of(colour, "colour_swap") == "neither"
    assert direction_of(explanation_score, "mask_share") == "neither"
    explanation = scored([1.0], [1.0], [0.0], torch.ones(1, 3, 4, 4))
    with pytest.raises(UserError, match="colour needs the model"):
        colour(explanation)
    for score in (colour, explanation_score):
        with pytest.raises(UserError, match="needs an explanation that is an image"):
            score(Explanation(torch.zeros(1, 3, 4, 4), torch.zeros(1).long(), torch.zeros(1, 4, 4), model=Channel()))
