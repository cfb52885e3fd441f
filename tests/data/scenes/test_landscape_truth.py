"""The formula of scenicness: exactly linear in the masks; votes and labels have the documented noise."""

import numpy as np
import pytest

from evident.data.render.landscape import truth
from evident.data.render.landscape.attributes import ATTRIBUTES

K = len(ATTRIBUTES)


def some_masks(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).random((*shape[:-2], K, *shape[-2:])) < 0.3


def test_templates_are_non_negative_with_mean_one():
    for shape in ((6, 6), (5, 9)):
        templates = truth.templates(*shape)
        assert templates.shape == (K, *shape)
        assert (templates >= 0).all()
        assert np.allclose(templates.mean((1, 2)), 1)


def test_wires_count_more_in_the_sky_and_water_more_in_the_foreground():
    templates = dict(zip(ATTRIBUTES, truth.templates(10, 10), strict=True))
    assert (np.diff(templates["wire"], axis=0) < 0).all()
    assert (np.diff(templates["running_water"], axis=0) > 0).all()
    assert (templates["trees"] == 1).all()
    assert templates["temple"].argmax(1).tolist() == [4] * 10


def test_score_and_contributions_equal_explicit_sums():
    masks = some_masks(7, 8)
    expected, variance = truth.BASE, truth.BIAS + truth.SPREAD
    for k, attribute in enumerate(ATTRIBUTES):
        taste, total = truth.TASTES[attribute], 0.0
        for row in range(7):
            for column in range(8):
                u, v = (column + 0.5) / 8, (row + 0.5) / 7
                across = u * (1 - u) / np.mean([(c + 0.5) / 8 * (1 - (c + 0.5) / 8) for c in range(8)])
                place = {"even": 1, "top": 2 * (1 - v), "bottom": 2 * v, "middle": across}[taste.place]
                total += place * masks[k, row, column] / 56
        assert truth.contributions(truth.seen(masks))[k] == pytest.approx(taste.score / taste.typical * total)
        expected += taste.score / taste.typical * total
        variance += taste.variance / taste.typical * total
    assert truth.score(truth.seen(masks)) == pytest.approx(expected)
    assert truth.variance(truth.seen(masks)) == pytest.approx(variance)


def test_maps_sum_to_contributions_and_contributions_to_the_score():
    masks = some_masks(3, 6, 5)
    seen = truth.seen(masks)
    assert np.allclose(truth.contribution_maps(masks).sum((-2, -1)), truth.contributions(seen), atol=1e-12)
    assert np.allclose(truth.BASE + truth.contributions(seen).sum(-1), truth.score(seen), atol=1e-12)
    assert not truth.contribution_maps(masks)[~masks].any()


def test_the_score_is_linear_in_the_masks():
    masks = some_masks(6, 6)
    left = masks.copy()
    left[..., 3:] = False
    right = masks & ~left
    parts = truth.score(truth.seen(left)) + truth.score(truth.seen(right)) - truth.BASE
    assert truth.score(truth.seen(masks)) == pytest.approx(parts)


def test_typical_share_of_an_attribute_has_the_effect_in_the_table():
    seen = np.diag(truth.TYPICAL)
    assert np.allclose(truth.score(seen) - truth.BASE, [truth.TASTES[name].score for name in ATTRIBUTES])
    changes = truth.variance(seen) - truth.BIAS - truth.SPREAD
    assert np.allclose(changes, [truth.TASTES[name].variance for name in ATTRIBUTES])


def test_only_wood_and_glass_do_not_count():
    neutral = [name for name in ATTRIBUTES if truth.TASTES[name].score == 0]
    assert neutral == ["wood", "glass"]


def test_votes_are_integers_from_one_to_ten_by_the_requested_number_of_raters():
    seen = np.random.default_rng(1).random((200, K)) * truth.TYPICAL * 2
    votes = truth.vote(seen, 5, 15, "test")
    counts = (votes.votes > 0).sum(1)
    assert set(counts) == set(range(5, 16))
    assert votes.votes.max() <= 10
    for cast, average, variance in zip(votes.votes, votes.average, votes.variance, strict=True):
        given = cast[cast > 0].astype(float)
        assert average == pytest.approx(given.mean())
        assert variance == pytest.approx(((given - given.mean()) ** 2).mean())


def test_votes_scatter_around_the_score_with_the_variance():
    seen = np.zeros((300, K))
    seen[:, ATTRIBUTES.index("temple")] = truth.TASTES["temple"].typical
    votes = truth.vote(seen, 40, 40, "test")
    # The mean bias of the 400 raters is not exactly zero.
    assert votes.average.mean() == pytest.approx(truth.score(seen[0]), abs=0.12)
    assert votes.variance.mean() == pytest.approx(truth.variance(seen[0]) + 1 / 12, rel=0.1)


@pytest.mark.parametrize(("attribute", "amount"), [("temple", 1), ("still_water", 8), ("road", 12)])
def test_expected_votes_are_those_of_many_raters(attribute: str, amount: float) -> None:
    seen = np.zeros((4000, K))
    seen[:, ATTRIBUTES.index(attribute)] = amount * truth.TASTES[attribute].typical  # up to votes that are clipped
    votes = truth.vote(seen, 5, 15, "test")
    average, variance = truth.expected(seen[:1], 5, 15)[0]
    assert votes.average.mean() == pytest.approx(average, abs=0.02)  # some three standard errors
    assert votes.variance.mean() == pytest.approx(variance, rel=0.03)


def test_votes_on_an_image_do_not_depend_on_other_images():
    seen = np.random.default_rng(1).random((6, K)) * truth.TYPICAL
    assert np.array_equal(truth.vote(seen, 5, 9, "a").votes[:3], truth.vote(seen[:3], 5, 9, "a").votes)
    assert not np.array_equal(truth.vote(seen, 5, 9, "a").votes, truth.vote(seen, 5, 9, "b").votes)


def test_annotators_report_larger_areas_more_often():
    areas = np.linspace(0, 1, 101)[:, None] * np.ones(K)
    probability = truth.probability(areas)
    assert (np.diff(probability, axis=0) > 0).all()
    assert np.allclose(probability[0], truth.SLIP)
    assert np.allclose(truth.probability(truth.TYPICAL / 5), 0.5)
    assert (probability[-1] > 0.94).all()


def test_labels_are_shares_of_three_annotators():
    areas = np.broadcast_to(truth.TYPICAL / 5, (2000, K))
    labels = truth.annotate(areas, "test")
    assert set(np.unique(labels * 3).round(9)) == {0, 1, 2, 3}
    shares = [(np.rint(labels * 3) == votes).mean() for votes in range(4)]
    assert np.allclose(shares, [1 / 8, 3 / 8, 3 / 8, 1 / 8], atol=0.01)
    assert np.array_equal(truth.annotate(areas[:5], "test"), labels[:5])
