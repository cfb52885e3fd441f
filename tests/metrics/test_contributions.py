"""Explanations beside what is truly worth what: on worlds of four pixels, by plain loops, and by the peers' answers."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau, pearsonr
from sklearn.metrics import average_precision_score
from torch import Tensor, nn

from evident.data.scenes.splits import Truth
from evident.errors import UserError
from evident.metrics.contract import Curve, Explanation
from evident.metrics.contributions import (
    attribute_contributions,
    attribute_maps,
    contribution_map,
    split_error,
    stated_contributions,
)

nan = math.nan
each_seed = pytest.mark.parametrize("seed", range(3))
OF_SIGNS = [contribution_map, attribute_contributions]


def truth(masks: Tensor, contributions: Tensor) -> Truth:
    """Each contribution shared out among the pixels of its attribute; what none of them shows is worth nothing."""
    shares = masks.double() / masks.sum((2, 3), keepdim=True).clamp(min=1)
    typical = torch.arange(masks.shape[1]).expand_as(contributions)
    return Truth(masks, contributions, torch.einsum("nk,nkhw->nhw", contributions.double(), shares), typical)


def of(true: Truth | None, signed: Tensor | None = None, **said: Any) -> Explanation:
    count, height, width = (1, 2, 2) if true is None else true.contribution_map.shape
    blank = torch.zeros(count, height, width)
    images = torch.zeros(count, 3, height, width)
    return Explanation(images, torch.zeros(count).long(), blank, truth=true, signed=signed, **said)


def on_map(signed, true_map) -> dict[str, Tensor]:
    """`contribution_map` of one map beside another."""
    signed, true_map = (torch.as_tensor(values, dtype=torch.float64)[None] for values in (signed, true_map))
    masks = torch.zeros(1, 1, *true_map.shape[1:], dtype=torch.bool)
    return contribution_map(of(Truth(masks, torch.zeros(1, 1), true_map, torch.zeros(1, 1)), signed))


def quadrants() -> Tensor:
    """Masks (1, 4, 4, 4): upper left, upper right, lower left and lower right."""
    return torch.eye(4, dtype=torch.bool).view(1, 4, 2, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)


# Water, sky and a mast in three quarters, and a road that is nowhere.
VISIBLE = torch.tensor([True, True, True, False])
QUARTERS = truth(quadrants() & VISIBLE[:, None, None], torch.tensor([[2.0, 0.5, -1.0, 0.0]]))


def quarters(*sums: float) -> Tensor:
    """A map that gives each quarter such a sum, in unequal parts."""
    parts = torch.tensor([[0.1, 0.2], [0.3, 0.4]]).repeat(2, 2)
    return torch.einsum("k,nkhw,hw->nhw", torch.tensor(sums).double(), quadrants().double(), parts.double())


def scenes(seed: int, count: int = 5, attributes: int = 6, height: int = 12, width: int = 16) -> Truth:
    """Scenes whose attributes overlap, and some of which are in none of their pixels."""
    generator = torch.Generator().manual_seed(seed)
    visible = torch.rand(count, attributes, generator=generator) < 0.7
    visible[:, :3] = True
    masks = torch.rand(count, attributes, height, width, generator=generator) < 0.2
    masks &= visible[..., None, None]
    worth = torch.randn(count, attributes, generator=generator, dtype=torch.float64).where(visible, 0)
    return truth(masks, worth)


def maps(seed: int, true: Truth) -> Tensor:
    """Explanations that are somewhat true."""
    generator = torch.Generator().manual_seed(seed + 100)
    right = true.contribution_map
    return right + right.std() * torch.randn(right.shape, generator=generator, dtype=torch.float64)


# The whole truth and its opposite


@each_seed
@pytest.mark.parametrize("scale", [1.0, 1e-6, 40.0])
def test_the_true_map_scores_one_in_any_units(seed, scale):
    scores = contribution_map(of(true := scenes(seed), true.contribution_map * scale))
    torch.testing.assert_close(scores["map_correlation"], torch.ones(5).double())
    assert scores["map_sign"].tolist() == [1] * 5


@each_seed
def test_the_negative_of_the_true_map_scores_minus_one_and_has_no_sign_right(seed):
    scores = contribution_map(of(true := scenes(seed), -true.contribution_map))
    torch.testing.assert_close(scores["map_correlation"], -torch.ones(5).double())
    assert scores["map_sign"].tolist() == [0] * 5


def test_of_attributes_that_lie_apart_the_true_map_says_all_and_its_negative_the_opposite():
    right = attribute_contributions(of(QUARTERS, QUARTERS.contribution_map))
    assert (right["attribute_sign"].item(), right["attribute_rank"].item()) == (1, 1)
    wrong = attribute_contributions(of(QUARTERS, -QUARTERS.contribution_map))
    assert (wrong["attribute_sign"].item(), wrong["attribute_rank"].item()) == (0, -1)


@each_seed
def test_true_statements_score_one_and_their_negatives_the_least(seed):
    true = scenes(seed)
    right = stated_contributions(of(true, contributions=true.contributions))
    assert (right["stated_sign"].tolist(), right["stated_rank"].tolist()) == ([1] * 5, [1] * 5)
    wrong = stated_contributions(of(true, contributions=-true.contributions))
    assert (wrong["stated_sign"].tolist(), wrong["stated_rank"].tolist()) == ([0] * 5, [-1] * 5)


# Known answers: the map


def test_correlation_of_four_pixels():
    # Centred, (-3, -1, 1, 3) / 2 and (1, 1, -1, -1): a product of -4, lengths of sqrt(5) and 2.
    score = on_map([[1, 2], [3, 4]], [[1, 1], [-1, -1]])["map_correlation"]
    assert score.item() == pytest.approx(-2 / math.sqrt(5))


def test_sign_counts_what_is_said_by_how_loudly_it_is_said():
    # Of 1 + 2 + 3 + 4, the 1 and the 3 are said with the right sign.
    assert on_map([[1, 2], [-3, 4]], [[5, -1], [-1, -9]])["map_sign"].item() == pytest.approx(0.4)


def test_what_is_said_where_nothing_is_worth_anything_has_no_right_sign():
    assert on_map([[1, -3], [0, 0]], [[1, 0], [1, -1]])["map_sign"].item() == 0.25


def test_correlation_ignores_what_is_added_everywhere_and_sign_does_not():
    added = on_map([[4, 2], [2, 2]], [[2, 0], [-1, -1]])
    plain = on_map([[2, 0], [0, 0]], [[2, 0], [-1, -1]])
    assert added["map_correlation"].item() == pytest.approx(plain["map_correlation"].item())
    assert (plain["map_sign"].item(), added["map_sign"].item()) == (1, 0.4)


def test_a_map_that_hardly_varies_is_still_a_map():
    true_map = scenes(0, count=1).contribution_map[0]
    assert on_map(1e3 + 1e-4 * true_map, true_map)["map_correlation"].item() == pytest.approx(1, abs=1e-5)


# Known answers: attributes


def test_three_quarters_of_which_one_has_the_right_sign():
    scores = attribute_contributions(of(QUARTERS, quarters(3, -1, 1, 0)))
    assert scores["attribute_sign"].item() == pytest.approx(1 / 3)
    # Of three pairs, the second and the third attribute's is out of order.
    assert scores["attribute_rank"].item() == pytest.approx(1 / 3)


def test_an_attribute_that_is_given_nothing_does_not_have_its_sign():
    assert attribute_contributions(of(QUARTERS, quarters(2, 0.5, 0, 0)))["attribute_sign"].item() == pytest.approx(
        2 / 3
    )


def test_what_is_said_of_places_without_attributes_changes_nothing():
    for elsewhere in (0, -50):
        scores = attribute_contributions(of(QUARTERS, quarters(3, 2, -1, elsewhere)))
        assert (scores["attribute_sign"].item(), scores["attribute_rank"].item()) == (1, 1)


def test_a_pixel_that_shows_two_attributes_is_given_to_both():
    masks = torch.tensor([[[[1, 1], [0, 0]], [[0, 1], [0, 1]]]], dtype=torch.bool)
    contributions = torch.tensor([[1.0, 2.0]])
    # 3 + 1 is less than 1 + 4, though most is said where the first one is alone.
    scores = attribute_contributions(of(truth(masks, contributions), torch.tensor([[[3.0, 1.0], [0.0, 4.0]]])))
    assert (scores["attribute_sign"].item(), scores["attribute_rank"].item()) == (1, 1)


def test_statements_of_what_is_not_visible_do_not_count():
    for road in (-7.0, 0.0, 7.0):
        scores = stated_contributions(of(QUARTERS, contributions=torch.tensor([[1.0, -0.1, 0.3, road]])))
        assert scores["stated_sign"].item() == pytest.approx(1 / 3)
        assert scores["stated_rank"].item() == pytest.approx(1 / 3)


def test_what_is_stated_of_things_that_are_not_there_is_a_share_of_all():
    # The fourth quarter shows nothing that is known.
    for road, share in ((-1.0, 0.5), (0.0, 0.0), (3.0, 0.75)):
        scores = stated_contributions(of(QUARTERS, contributions=torch.tensor([[0.7, -0.1, 0.2, road]])))
        assert scores["stated_absent"].item() == pytest.approx(share)
    assert stated_contributions(of(QUARTERS, contributions=torch.zeros(1, 4)))["stated_absent"].isnan()


def test_what_things_are_usually_worth_is_ranked_without_a_look():
    for said in (torch.ones(1, 4), -torch.ones(1, 4)):
        found = stated_contributions(of(QUARTERS, contributions=said))["typical_rank"]
        assert found.item() == pytest.approx(kendalltau([0, 1, 2], QUARTERS.contributions[0, :3]).statistic)


def test_what_is_stated_by_name_does_not_hang_on_any_map():
    said = {"contributions": torch.tensor([[1.0, 0.3, -0.1, 0.0]])}
    scores = stated_contributions(of(QUARTERS, **said))
    assert scores == stated_contributions(of(QUARTERS, -QUARTERS.contribution_map, **said))
    assert (scores["stated_sign"].item(), scores["stated_rank"].item()) == (1, 1)


# Known answers: the maps of attributes


def found(true: Truth, each: Tensor, **settings: int) -> dict[str, Curve]:
    scores = attribute_maps(of(true, attribute_maps=each), **settings)
    assert list(scores) == ["maps_pointing", "maps_precision"]
    return scores


def test_masks_as_maps_find_every_attribute_that_is_visible():
    for curve in found(QUARTERS, QUARTERS.attribute_masks.float()).values():
        assert curve.at.tolist() == [0, 1, 2, 3]
        assert curve.values[0, :3].tolist() == [1, 1, 1]
        assert curve.values[0, 3].isnan()
        assert curve.score.tolist() == [1]


def test_attributes_whose_maps_are_exchanged_are_not_found():
    exchanged = QUARTERS.attribute_masks[:, [1, 0, 2, 3]].float()
    curves = found(QUARTERS, exchanged)
    assert curves["maps_pointing"].values[0, :3].tolist() == [0, 0, 1]
    assert curves["maps_pointing"].score.item() == pytest.approx(1 / 3)
    # Where nothing is said all pixels tie, and a quarter of them are the attribute's.
    torch.testing.assert_close(curves["maps_precision"].values[0, :3], torch.tensor([0.25, 0.25, 1]).double())
    assert curves["maps_precision"].score.item() == pytest.approx(0.5)


def test_a_map_of_one_place_for_each_quarter_is_enlarged_to_the_image():
    small = QUARTERS.attribute_masks[:, :, ::2, ::2].float()
    assert small.shape == (1, 4, 2, 2)
    assert found(QUARTERS, small)["maps_precision"].score.tolist() == [1]


def test_a_map_of_an_attribute_that_is_not_visible_changes_nothing():
    each = QUARTERS.attribute_masks.float()
    each[0, 3] = 100 * torch.rand(4, 4, generator=torch.Generator().manual_seed(0))
    for curve in found(QUARTERS, each).values():
        assert curve.values[0, 3].isnan()
        assert curve.score.tolist() == [1]


@pytest.mark.parametrize("batch_size", [1, 2, 5, 1000])
def test_batch_size_changes_no_bit(batch_size):
    true = scenes(0)
    each = torch.rand(5, 6, 6, 8, generator=torch.Generator().manual_seed(0))
    for one, other in zip(found(true, each).values(), found(true, each, batch_size=batch_size).values(), strict=True):
        torch.testing.assert_close(one.values, other.values, rtol=0, atol=0, equal_nan=True)
        assert torch.equal(one.score, other.score)


# Known answers: the sum


class Sum(nn.Module):
    """A score that is a bias and the sum of an image, and twice that of the other sign."""

    def bias(self) -> Tensor:
        return torch.tensor([5.0, -1.0])

    def forward(self, images: Tensor) -> Tensor:
        return self.bias() + images.sum((1, 2, 3))[:, None] * torch.tensor([1.0, -2.0])


def split(contributions: list[list[float]], sums: list[float], target: list[int]) -> list[float]:
    """Of images that sum to 12."""
    images = torch.full((len(target), 3, 2, 2), 1.0)
    signed = torch.tensor(sums)[:, None, None] * torch.tensor([[0.5, 0.25], [0.25, 0.0]])
    said = {"signed": signed, "contributions": torch.tensor(contributions)}
    result = split_error(Explanation(images, torch.tensor(target), signed, model=Sum(), **said))
    assert result.dtype == torch.float64
    return result.tolist()


def test_what_sums_to_the_score_of_its_own_target_has_no_error():
    assert split([[10.0, 2.0], [-30.0, 6.0]], [12.0, -24.0], [0, 1]) == [0, 0]


def test_the_sum_that_is_further_off_counts_by_its_distance():
    contributions = [[10.0, 5.0], [10.0, 2.0], [0.0, 8.0]]
    assert split(contributions, [12.0, 11.5, 17.0], [0, 0, 0]) == [3, 0.5, 5]


def test_the_sum_of_a_map_that_is_not_finite_is_undefined():
    assert math.isnan(split([[10.0, 2.0]], [nan], [0])[0])


# Where there is no answer


@pytest.mark.parametrize("value", [0.0, 0.1, -1 / 3, 7e20])
def test_a_constant_map_correlates_with_nothing(value):
    assert on_map(torch.full((7, 9), value), scenes(0, 1, 2, 7, 9).contribution_map[0])["map_correlation"].isnan()
    assert on_map(scenes(0, 1, 2, 7, 9).contribution_map[0], torch.full((7, 9), value))["map_correlation"].isnan()


def test_a_map_that_says_nothing_has_no_sign_and_orders_nothing():
    silent = of(QUARTERS, torch.zeros(1, 4, 4))
    assert contribution_map(silent)["map_sign"].isnan()
    assert attribute_contributions(silent)["attribute_rank"].isnan()


@pytest.mark.parametrize("metric", OF_SIGNS, ids=lambda metric: metric.__name__)
@pytest.mark.parametrize("value", [nan, math.inf, -math.inf])
def test_a_map_that_is_not_finite_is_undefined_and_leaves_its_neighbours_alone(metric, value):
    true = scenes(0)
    signed = maps(0, true)
    whole = metric(of(true, signed))
    signed[2, 3, 3] = value
    for name, scores in metric(of(true, signed)).items():
        torch.testing.assert_close(scores, whole[name].where(torch.arange(5) != 2, nan), rtol=0, atol=0, equal_nan=True)


def test_statements_that_are_no_numbers_are_undefined_and_leave_their_neighbours_alone():
    true = scenes(0)
    stated = true.contributions.clone()
    stated[3, 0] = nan
    for name, scores in stated_contributions(of(true, contributions=stated)).items():
        assert scores.isnan().tolist() == [False, False, False, name != "typical_rank", False]


def test_of_one_visible_attribute_there_is_a_sign_and_no_order():
    masks = quadrants()
    masks[:, 1:] = False
    true = truth(masks, torch.tensor([[2.0, 0.0, 0.0, 0.0]]))
    by_map = attribute_contributions(of(true, quarters(1, 2, 3, 4)))
    assert by_map["attribute_sign"].item() == 1
    assert by_map["attribute_rank"].isnan()
    by_name = stated_contributions(of(true, contributions=torch.tensor([[-1.0, 2.0, 3.0, 4.0]])))
    assert by_name["stated_sign"].item() == 0
    assert by_name["stated_rank"].isnan()


@pytest.mark.parametrize("others", [slice(0), slice(None)], ids=["alone", "beside others"])
def test_where_nothing_is_visible_nothing_is_told_of_attributes(others):
    rest = scenes(0)
    true = Truth(*(torch.cat([torch.zeros_like(rows[:1]), rows[others]]) for rows in rest))
    count = len(true.contributions)
    signed, each = torch.rand(count, 12, 16), torch.rand(count, 6, 3, 4)
    stated = torch.rand(count, 6)
    explanation = of(true, signed, contributions=stated, attribute_maps=each)
    curves = attribute_maps(explanation)
    assert all(curve.values[0].isnan().all() for curve in curves.values())
    scores = {**attribute_contributions(explanation), **stated_contributions(explanation)}
    assert scores.pop("stated_absent")[0] == 1
    for values in [*scores.values(), *(curve.score for curve in curves.values())]:
        assert values[0].isnan()
        assert values[1:].isfinite().all()


@pytest.mark.parametrize(
    "metric", [*OF_SIGNS, stated_contributions, attribute_maps], ids=lambda metric: metric.__name__
)
def test_scenes_of_unknown_truth_are_named(metric):
    said = {"contributions": torch.zeros(1, 4), "attribute_maps": torch.zeros(1, 4, 2, 2)}
    with pytest.raises(UserError, match="truth is known"):
        metric(of(None, torch.zeros(1, 2, 2), **said))


@pytest.mark.parametrize(
    ("metric", "missing"),
    [
        (contribution_map, "explanation with its sign"),
        (attribute_contributions, "explanation with its sign"),
        (stated_contributions, "contributions by attribute"),
        (attribute_maps, "network with attribute maps"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_the_explainer_does_not_tell_is_named(metric, missing):
    with pytest.raises(UserError, match=missing):
        metric(of(QUARTERS))


@pytest.mark.parametrize(("model", "stated"), [(Sum(), None), (nn.Identity(), torch.zeros(1, 4)), (None, None)])
def test_a_score_that_is_no_sum_of_contributions_is_named(model, stated):
    with pytest.raises(UserError, match="contributions that sum to the score"):
        split_error(of(QUARTERS, torch.zeros(1, 4, 4), model=model, contributions=stated))


# The formulas a second time, slowly, and the peers' answers


@each_seed
def test_correlation_equals_scipys_pearsonr_and_numpys(seed):
    true = scenes(seed)
    signed = maps(seed, true)
    ours = contribution_map(of(true, signed))["map_correlation"]
    pairs = [(a.flatten().numpy(), t.flatten().numpy()) for a, t in zip(signed, true.contribution_map, strict=True)]
    np.testing.assert_allclose(ours, [pearsonr(*pair).statistic for pair in pairs], rtol=1e-12)
    np.testing.assert_allclose(ours, [np.corrcoef(*pair)[0, 1] for pair in pairs], rtol=1e-12)


@each_seed
def test_sign_equals_its_formula_by_plain_loops(seed):
    true = scenes(seed)
    signed = maps(seed, true)
    expected = []
    for a, t in zip(signed.flatten(1).tolist(), true.contribution_map.flatten(1).tolist(), strict=True):
        right = sum(abs(said) for said, worth in zip(a, t, strict=True) if said * worth > 0)
        expected.append(right / sum(map(abs, a)))
    np.testing.assert_allclose(contribution_map(of(true, signed))["map_sign"], expected, rtol=1e-12)


def slow_agreement(said: Tensor, true: Truth) -> tuple[list[float], list[float]]:
    """Shares of right signs, and scipy's tau-b, of visible attributes, image by image."""
    signs, ranks = [], []
    for one, contributions, masks in zip(said, true.contributions, true.attribute_masks, strict=True):
        visible = [k for k in range(len(masks)) if masks[k].any()]
        signs.append(sum(one[k] * contributions[k] > 0 for k in visible).item() / len(visible))
        ranks.append(kendalltau(one[visible], contributions[visible]).statistic)
    return signs, ranks


@each_seed
def test_sign_and_rank_of_attributes_equal_scipys_image_by_image(seed):
    true = scenes(seed)
    signed = maps(seed, true)
    sums = torch.tensor(
        [[image[mask].sum() for mask in of_image] for image, of_image in zip(signed, true[0], strict=True)]
    )
    signs, ranks = slow_agreement(sums, true)
    ours = attribute_contributions(of(true, signed))
    np.testing.assert_allclose(ours["attribute_sign"], signs, rtol=1e-7)
    np.testing.assert_allclose(ours["attribute_rank"], ranks, rtol=0, atol=1e-12)


@each_seed
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_sign_and_rank_of_statements_equal_scipys_ties_included(seed, dtype):
    true = scenes(seed)
    stated = torch.randint(-2, 3, true.contributions.shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    signs, ranks = slow_agreement(stated, true)
    ours = stated_contributions(of(true, contributions=stated))
    np.testing.assert_allclose(ours["stated_sign"], signs, rtol=1e-7)
    np.testing.assert_allclose(ours["stated_rank"], ranks, rtol=0, atol=1e-12)


def enlarging(size: int, whole: int) -> np.ndarray:
    """The matrix (whole, size) that interpolates a line of places linearly, those outside being the last ones."""
    at = np.clip((np.arange(whole) + 0.5) * size / whole - 0.5, 0, size - 1)
    return np.maximum(0, 1 - abs(at[:, None] - np.arange(size)))


@each_seed
def test_maps_of_attributes_score_as_scikit_learn_does_on_enlarged_maps(seed):
    true = scenes(seed)
    # Numbers that are enlarged four times without rounding, so that what ties here ties there.
    each = torch.randint(0, 5, (5, 6, 3, 4), generator=torch.Generator().manual_seed(seed)).double()
    curves = found(true, each)
    masks = true.attribute_masks.numpy()
    pointing, precision = np.full((5, 6), nan), np.full((5, 6), nan)
    for image, k in np.argwhere(masks.any((2, 3))):
        large, mask = enlarging(3, 12) @ each[image, k].numpy() @ enlarging(4, 16).T, masks[image, k]
        pointing[image, k] = mask[large == large.max()].mean()
        precision[image, k] = average_precision_score(mask.flatten(), large.flatten())
    for name, expected in {"maps_pointing": pointing, "maps_precision": precision}.items():
        np.testing.assert_allclose(curves[name].values, expected, rtol=1e-9)
        np.testing.assert_allclose(curves[name].score, np.nanmean(expected, 1), rtol=1e-9)
    assert np.isnan(precision).any()
