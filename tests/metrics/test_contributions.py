"""Agreement with true contributions: known answers on images of four pixels, plain loops, scipy and scikit-learn."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau, pearsonr
from sklearn.metrics import average_precision_score
from torch import Tensor, nn

from evident.contracts import SumsContributions
from evident.errors import UserError
from evident.metrics.contract import Curve, Explanation
from evident.metrics.contributions import (
    attribute_contributions,
    attribute_maps,
    contribution_map,
    split_error,
    stated_contributions,
)
from evident.values import Truth

nan = math.nan
each_seed = pytest.mark.parametrize("seed", range(3))
OF_SIGNS = [contribution_map, attribute_contributions]


def truth(masks: Tensor, contributions: Tensor) -> Truth:
    """Divide each contribution among the pixels of its attribute; all other pixels contribute nothing."""
    shares = masks.double() / masks.sum((2, 3), keepdim=True).clamp(min=1)
    typical = torch.arange(masks.shape[1]).expand_as(contributions)
    return Truth(masks, contributions, torch.einsum("nk,nkhw->nhw", contributions.double(), shares), typical)


def of(true: Truth | None, signed: Tensor | None = None, **fields: Any) -> Explanation:
    count, height, width = (1, 2, 2) if true is None else true.contribution_map.shape
    blank = torch.zeros(count, height, width)
    images = torch.zeros(count, 3, height, width)
    return Explanation(images, torch.zeros(count).long(), blank, truth=true, signed=signed, **fields)


def on_map(signed, true_map) -> dict[str, Tensor]:
    """Return `contribution_map` of one map, given the true map."""
    signed, true_map = (torch.as_tensor(values, dtype=torch.float64)[None] for values in (signed, true_map))
    masks = torch.zeros(1, 1, *true_map.shape[1:], dtype=torch.bool)
    return contribution_map(of(Truth(masks, torch.zeros(1, 1), true_map, torch.zeros(1, 1)), signed))


def quadrants() -> Tensor:
    """Return masks (1, 4, 4, 4): upper left, upper right, lower left and lower right."""
    return torch.eye(4, dtype=torch.bool).view(1, 4, 2, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)


# Water, sky and a mast in three quarters; the road is not visible.
VISIBLE = torch.tensor([True, True, True, False])
QUARTERS = truth(quadrants() & VISIBLE[:, None, None], torch.tensor([[2.0, 0.5, -1.0, 0.0]]))


def quarters(*sums: float) -> Tensor:
    """Return a map with these sums over the quarters, and unequal pixels."""
    parts = torch.tensor([[0.1, 0.2], [0.3, 0.4]]).repeat(2, 2)
    return torch.einsum("k,nkhw,hw->nhw", torch.tensor(sums).double(), quadrants().double(), parts.double())


def scenes(seed: int, count: int = 5, attributes: int = 6, height: int = 12, width: int = 16) -> Truth:
    """Return scenes whose attributes overlap; some attributes are not visible."""
    generator = torch.Generator().manual_seed(seed)
    visible = torch.rand(count, attributes, generator=generator) < 0.7
    visible[:, :3] = True
    masks = torch.rand(count, attributes, height, width, generator=generator) < 0.2
    masks &= visible[..., None, None]
    contributions = torch.randn(count, attributes, generator=generator, dtype=torch.float64).where(visible, 0)
    return truth(masks, contributions)


def maps(seed: int, true: Truth) -> Tensor:
    """Return the true maps with noise."""
    generator = torch.Generator().manual_seed(seed + 100)
    exact = true.contribution_map
    return exact + exact.std() * torch.randn(exact.shape, generator=generator, dtype=torch.float64)


# The truth and its negative


@each_seed
@pytest.mark.parametrize("scale", [1.0, 1e-6, 40.0])
def test_true_map_scores_one_at_any_scale(seed, scale):
    scores = contribution_map(of(true := scenes(seed), true.contribution_map * scale))
    torch.testing.assert_close(scores["map_correlation"], torch.ones(5).double())
    assert scores["map_sign"].tolist() == [1] * 5


@each_seed
def test_negative_of_the_true_map_has_correlation_minus_one_and_sign_zero(seed):
    scores = contribution_map(of(true := scenes(seed), -true.contribution_map))
    torch.testing.assert_close(scores["map_correlation"], -torch.ones(5).double())
    assert scores["map_sign"].tolist() == [0] * 5


def test_true_map_scores_one_on_separate_attributes_and_its_negative_the_minimum():
    right = attribute_contributions(of(QUARTERS, QUARTERS.contribution_map))
    assert (right["attribute_sign"].item(), right["attribute_rank"].item()) == (1, 1)
    wrong = attribute_contributions(of(QUARTERS, -QUARTERS.contribution_map))
    assert (wrong["attribute_sign"].item(), wrong["attribute_rank"].item()) == (0, -1)


@each_seed
def test_true_stated_contributions_score_one_and_their_negatives_the_minimum(seed):
    true = scenes(seed)
    right = stated_contributions(of(true, contributions=true.contributions))
    assert (right["stated_sign"].tolist(), right["stated_rank"].tolist()) == ([1] * 5, [1] * 5)
    wrong = stated_contributions(of(true, contributions=-true.contributions))
    assert (wrong["stated_sign"].tolist(), wrong["stated_rank"].tolist()) == ([0] * 5, [-1] * 5)


# Known answers: contribution_map


def test_correlation_of_four_pixels():
    # Centred: (-3, -1, 1, 3) / 2 and (1, 1, -1, -1), with product -4 and lengths sqrt(5) and 2.
    score = on_map([[1, 2], [3, 4]], [[1, 1], [-1, -1]])["map_correlation"]
    assert score.item() == pytest.approx(-2 / math.sqrt(5))


def test_map_sign_weights_pixels_by_their_magnitude():
    # Of 1 + 2 + 3 + 4, the 1 and the 3 have the true sign.
    assert on_map([[1, 2], [-3, 4]], [[5, -1], [-1, -9]])["map_sign"].item() == pytest.approx(0.4)


def test_map_sign_counts_pixels_without_contribution_as_wrong():
    assert on_map([[1, -3], [0, 0]], [[1, 0], [1, -1]])["map_sign"].item() == 0.25


def test_correlation_ignores_an_offset_and_sign_does_not():
    added = on_map([[4, 2], [2, 2]], [[2, 0], [-1, -1]])
    plain = on_map([[2, 0], [0, 0]], [[2, 0], [-1, -1]])
    assert added["map_correlation"].item() == pytest.approx(plain["map_correlation"].item())
    assert (plain["map_sign"].item(), added["map_sign"].item()) == (1, 0.4)


def test_map_with_small_variance_has_a_correlation():
    true_map = scenes(0, count=1).contribution_map[0]
    assert on_map(1e3 + 1e-4 * true_map, true_map)["map_correlation"].item() == pytest.approx(1, abs=1e-5)


# Known answers: attribute_contributions and stated_contributions


def test_one_of_three_attributes_has_the_true_sign():
    scores = attribute_contributions(of(QUARTERS, quarters(3, -1, 1, 0)))
    assert scores["attribute_sign"].item() == pytest.approx(1 / 3)
    # Of three pairs, only that of the second and third attribute is out of order.
    assert scores["attribute_rank"].item() == pytest.approx(1 / 3)


def test_attribute_with_sum_zero_counts_as_wrong_sign():
    assert attribute_contributions(of(QUARTERS, quarters(2, 0.5, 0, 0)))["attribute_sign"].item() == pytest.approx(
        2 / 3
    )


def test_attribution_outside_attributes_has_no_effect():
    for elsewhere in (0, -50):
        scores = attribute_contributions(of(QUARTERS, quarters(3, 2, -1, elsewhere)))
        assert (scores["attribute_sign"].item(), scores["attribute_rank"].item()) == (1, 1)


def test_pixel_of_two_attributes_counts_for_both():
    masks = torch.tensor([[[[1, 1], [0, 0]], [[0, 1], [0, 1]]]], dtype=torch.bool)
    contributions = torch.tensor([[1.0, 2.0]])
    # 3 + 1 is less than 1 + 4, so the second attribute ranks higher.
    scores = attribute_contributions(of(truth(masks, contributions), torch.tensor([[[3.0, 1.0], [0.0, 4.0]]])))
    assert (scores["attribute_sign"].item(), scores["attribute_rank"].item()) == (1, 1)


def test_stated_contributions_of_invisible_attributes_do_not_count():
    for road in (-7.0, 0.0, 7.0):
        scores = stated_contributions(of(QUARTERS, contributions=torch.tensor([[1.0, -0.1, 0.3, road]])))
        assert scores["stated_sign"].item() == pytest.approx(1 / 3)
        assert scores["stated_rank"].item() == pytest.approx(1 / 3)


def test_stated_absent_is_the_share_of_invisible_attributes():
    # The road is not visible.
    for road, share in ((-1.0, 0.5), (0.0, 0.0), (3.0, 0.75)):
        scores = stated_contributions(of(QUARTERS, contributions=torch.tensor([[0.7, -0.1, 0.2, road]])))
        assert scores["stated_absent"].item() == pytest.approx(share)
    assert stated_contributions(of(QUARTERS, contributions=torch.zeros(1, 4)))["stated_absent"].isnan()


def test_typical_rank_does_not_depend_on_stated_contributions():
    for stated in (torch.ones(1, 4), -torch.ones(1, 4)):
        rank = stated_contributions(of(QUARTERS, contributions=stated))["typical_rank"]
        assert rank.item() == pytest.approx(kendalltau([0, 1, 2], QUARTERS.contributions[0, :3]).statistic)


def test_stated_scores_do_not_depend_on_the_map():
    fields = {"contributions": torch.tensor([[1.0, 0.3, -0.1, 0.0]])}
    scores = stated_contributions(of(QUARTERS, **fields))
    assert scores == stated_contributions(of(QUARTERS, -QUARTERS.contribution_map, **fields))
    assert (scores["stated_sign"].item(), scores["stated_rank"].item()) == (1, 1)


# Known answers: attribute_maps


def scored(true: Truth, each: Tensor, **settings: int) -> dict[str, Curve]:
    scores = attribute_maps(of(true, attribute_maps=each), **settings)
    assert list(scores) == ["maps_pointing", "maps_precision"]
    return scores


def test_true_masks_as_maps_score_one_for_visible_attributes():
    for curve in scored(QUARTERS, QUARTERS.attribute_masks.float()).values():
        assert curve.at.tolist() == [0, 1, 2, 3]
        assert curve.values[0, :3].tolist() == [1, 1, 1]
        assert curve.values[0, 3].isnan()
        assert curve.score.tolist() == [1]


def test_exchanged_maps_miss_their_attributes():
    exchanged = QUARTERS.attribute_masks[:, [1, 0, 2, 3]].float()
    curves = scored(QUARTERS, exchanged)
    assert curves["maps_pointing"].values[0, :3].tolist() == [0, 0, 1]
    assert curves["maps_pointing"].score.item() == pytest.approx(1 / 3)
    # A map of zeros ties all pixels, and a quarter of them show the attribute.
    torch.testing.assert_close(curves["maps_precision"].values[0, :3], torch.tensor([0.25, 0.25, 1]).double())
    assert curves["maps_precision"].score.item() == pytest.approx(0.5)


def test_small_maps_are_upsampled_to_the_image():
    small = QUARTERS.attribute_masks[:, :, ::2, ::2].float()
    assert small.shape == (1, 4, 2, 2)
    assert scored(QUARTERS, small)["maps_precision"].score.tolist() == [1]


def test_map_of_an_invisible_attribute_has_no_effect():
    each = QUARTERS.attribute_masks.float()
    each[0, 3] = 100 * torch.rand(4, 4, generator=torch.Generator().manual_seed(0))
    for curve in scored(QUARTERS, each).values():
        assert curve.values[0, 3].isnan()
        assert curve.score.tolist() == [1]


@pytest.mark.parametrize("batch_size", [1, 2, 5, 1000])
def test_batch_size_changes_no_bit_of_attribute_maps(batch_size):
    true = scenes(0)
    each = torch.rand(5, 6, 6, 8, generator=torch.Generator().manual_seed(0))
    for one, other in zip(scored(true, each).values(), scored(true, each, batch_size=batch_size).values(), strict=True):
        torch.testing.assert_close(one.values, other.values, rtol=0, atol=0, equal_nan=True)
        assert torch.equal(one.score, other.score)


# Known answers: split_error


class Sum(nn.Module, SumsContributions):
    """Compute two scores from the sum of an image and a bias, with weights 1 and -2."""

    def contribution_map(self, images: Tensor) -> Tensor:
        return images.sum(1, keepdim=True) * torch.tensor([1.0, -2.0])[:, None, None]

    def output_bias(self) -> Tensor:
        return torch.tensor([5.0, -1.0])

    def forward(self, images: Tensor) -> Tensor:
        return self.output_bias() + images.sum((1, 2, 3))[:, None] * torch.tensor([1.0, -2.0])


def split(contributions: list[list[float]], sums: list[float], target: list[int]) -> list[float]:
    """Return `split_error` for images that sum to 12."""
    images = torch.full((len(target), 3, 2, 2), 1.0)
    signed = torch.tensor(sums)[:, None, None] * torch.tensor([[0.5, 0.25], [0.25, 0.0]])
    explanation = Explanation(
        images, torch.tensor(target), signed, model=Sum(), signed=signed, contributions=torch.tensor(contributions)
    )
    result = split_error(explanation)
    assert result.dtype == torch.float64
    return result.tolist()


def test_exact_sums_have_split_error_zero():
    assert split([[10.0, 2.0], [-30.0, 6.0]], [12.0, -24.0], [0, 1]) == [0, 0]


def test_split_error_is_the_larger_of_both_differences():
    contributions = [[10.0, 5.0], [10.0, 2.0], [0.0, 8.0]]
    assert split(contributions, [12.0, 11.5, 17.0], [0, 0, 0]) == [3, 0.5, 5]


def test_split_error_of_a_non_finite_map_is_nan():
    assert math.isnan(split([[10.0, 2.0]], [nan], [0])[0])


# Undefined scores and errors


@pytest.mark.parametrize("value", [0.0, 0.1, -1 / 3, 7e20])
def test_correlation_of_a_constant_map_is_nan(value):
    assert on_map(torch.full((7, 9), value), scenes(0, 1, 2, 7, 9).contribution_map[0])["map_correlation"].isnan()
    assert on_map(scenes(0, 1, 2, 7, 9).contribution_map[0], torch.full((7, 9), value))["map_correlation"].isnan()


def test_sign_and_rank_of_a_zero_map_are_nan():
    zero = of(QUARTERS, torch.zeros(1, 4, 4))
    assert contribution_map(zero)["map_sign"].isnan()
    assert attribute_contributions(zero)["attribute_rank"].isnan()


@pytest.mark.parametrize("metric", OF_SIGNS, ids=lambda metric: metric.__name__)
@pytest.mark.parametrize("value", [nan, math.inf, -math.inf])
def test_non_finite_map_is_nan_for_its_image_only(metric, value):
    true = scenes(0)
    signed = maps(0, true)
    whole = metric(of(true, signed))
    signed[2, 3, 3] = value
    for name, scores in metric(of(true, signed)).items():
        torch.testing.assert_close(scores, whole[name].where(torch.arange(5) != 2, nan), rtol=0, atol=0, equal_nan=True)


def test_stated_nan_is_nan_for_its_image_only():
    true = scenes(0)
    stated = true.contributions.clone()
    stated[3, 0] = nan
    for name, scores in stated_contributions(of(true, contributions=stated)).items():
        assert scores.isnan().tolist() == [False, False, False, name != "typical_rank", False]


def test_single_visible_attribute_has_a_sign_and_no_rank():
    masks = quadrants()
    masks[:, 1:] = False
    true = truth(masks, torch.tensor([[2.0, 0.0, 0.0, 0.0]]))
    by_map = attribute_contributions(of(true, quarters(1, 2, 3, 4)))
    assert by_map["attribute_sign"].item() == 1
    assert by_map["attribute_rank"].isnan()
    by_name = stated_contributions(of(true, contributions=torch.tensor([[-1.0, 2.0, 3.0, 4.0]])))
    assert by_name["stated_sign"].item() == 0
    assert by_name["stated_rank"].isnan()


@pytest.mark.parametrize("others", [slice(0), slice(None)], ids=["one image", "several images"])
def test_image_without_visible_attributes_is_nan_and_others_are_not(others):
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
def test_missing_truth_is_named(metric):
    fields = {"contributions": torch.zeros(1, 4), "attribute_maps": torch.zeros(1, 4, 2, 2)}
    with pytest.raises(UserError, match="scenes of known truth"):
        metric(of(None, torch.zeros(1, 2, 2), **fields))


@pytest.mark.parametrize(
    ("metric", "missing"),
    [
        (contribution_map, "needs signed heatmaps"),
        (attribute_contributions, "needs signed heatmaps"),
        (stated_contributions, "contributions by attribute"),
        (attribute_maps, "network that predicts attributes"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_missing_field_is_named(metric, missing):
    with pytest.raises(UserError, match=missing):
        metric(of(QUARTERS))


@pytest.mark.parametrize(("model", "stated"), [(Sum(), None), (nn.Identity(), torch.zeros(1, 4)), (None, None)])
def test_split_error_without_a_sum_is_named(model, stated):
    with pytest.raises(UserError, match="contributions that sum to the score"):
        split_error(of(QUARTERS, torch.zeros(1, 4, 4), model=model, contributions=stated))


# Plain loops and other libraries


@each_seed
def test_correlation_equals_scipy_and_numpy(seed):
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
        right = sum(abs(a_i) for a_i, t_i in zip(a, t, strict=True) if a_i * t_i > 0)
        expected.append(right / sum(map(abs, a)))
    np.testing.assert_allclose(contribution_map(of(true, signed))["map_sign"], expected, rtol=1e-12)


def slow_agreement(stated: Tensor, true: Truth) -> tuple[list[float], list[float]]:
    """Return shares of true signs and scipy's tau-b over visible attributes, image by image."""
    signs, ranks = [], []
    for one, contributions, masks in zip(stated, true.contributions, true.attribute_masks, strict=True):
        visible = [k for k in range(len(masks)) if masks[k].any()]
        signs.append(sum(one[k] * contributions[k] > 0 for k in visible).item() / len(visible))
        ranks.append(kendalltau(one[visible], contributions[visible]).statistic)
    return signs, ranks


@each_seed
def test_sign_and_rank_of_attributes_equal_scipy_image_by_image(seed):
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
def test_sign_and_rank_of_stated_contributions_equal_scipy_with_ties(seed, dtype):
    true = scenes(seed)
    stated = torch.randint(-2, 3, true.contributions.shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    signs, ranks = slow_agreement(stated, true)
    ours = stated_contributions(of(true, contributions=stated))
    np.testing.assert_allclose(ours["stated_sign"], signs, rtol=1e-7)
    np.testing.assert_allclose(ours["stated_rank"], ranks, rtol=0, atol=1e-12)


def upsampling_matrix(size: int, whole: int) -> np.ndarray:
    """Return the matrix (whole, size) that interpolates linearly, with replicated ends."""
    at = np.clip((np.arange(whole) + 0.5) * size / whole - 0.5, 0, size - 1)
    return np.maximum(0, 1 - abs(at[:, None] - np.arange(size)))


@each_seed
def test_attribute_maps_equal_scikit_learn_on_upsampled_maps(seed):
    true = scenes(seed)
    # Integers are up-sampled four times without rounding, so ties are the same in both libraries.
    each = torch.randint(0, 5, (5, 6, 3, 4), generator=torch.Generator().manual_seed(seed)).double()
    curves = scored(true, each)
    masks = true.attribute_masks.numpy()
    pointing, precision = np.full((5, 6), nan), np.full((5, 6), nan)
    for image, k in np.argwhere(masks.any((2, 3))):
        large, mask = upsampling_matrix(3, 12) @ each[image, k].numpy() @ upsampling_matrix(4, 16).T, masks[image, k]
        pointing[image, k] = mask[large == large.max()].mean()
        precision[image, k] = average_precision_score(mask.flatten(), large.flatten())
    for name, expected in {"maps_pointing": pointing, "maps_precision": precision}.items():
        np.testing.assert_allclose(curves[name].values, expected, rtol=1e-9)
        np.testing.assert_allclose(curves[name].score, np.nanmean(expected, 1), rtol=1e-9)
    assert np.isnan(precision).any()
