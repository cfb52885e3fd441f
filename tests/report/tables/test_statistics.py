"""Intervals and tests against scipy and by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap, wilcoxon

from evident.report.tables.statistics import holm, mean_interval, paired_tests


def test_interval_agrees_with_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(1).gamma(2, size=(80, 1))
    mean, low, high = mean_interval(values)[:, 0]
    theirs = bootstrap((values[:, 0],), np.mean, method="percentile", n_resamples=20_000, rng=0)
    assert mean == pytest.approx(values.mean())
    assert low == pytest.approx(theirs.confidence_interval.low, abs=0.02)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=0.02)


def test_interval_covers_the_true_mean_with_its_nominal_probability() -> None:
    draws = np.random.default_rng(2).normal(size=(60, 1000))
    _, low, high = mean_interval(draws)
    assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(0.95, abs=0.03)


def test_undefined_scores_are_left_out_of_mean_and_interval() -> None:
    values = np.array([[1.0, np.nan], [np.nan, np.nan], [1.0, np.nan]])
    assert mean_interval(values)[:, 0] == pytest.approx([1, 1, 1])
    assert np.isnan(mean_interval(values)[:, 1]).all()


def test_holm_agrees_with_values_computed_by_hand() -> None:
    # Sorted: 0.01 * 4, 0.02 * 3, 0.03 * 2, 0.2 * 1; then made monotone.
    assert holm(np.array([0.03, 0.01, 0.2, 0.02])) == pytest.approx([0.06, 0.04, 0.2, 0.06])
    assert holm(np.array([0.6, 0.7])) == pytest.approx([1, 1])


def test_pairs_are_tested_on_images_where_both_are_defined() -> None:
    rng = np.random.default_rng(0)
    scores = pd.DataFrame({"a": rng.random(30), "b": rng.random(30) + 0.3, "c": rng.random(30)})
    scores["d"] = scores["a"]
    scores.loc[:4, "b"] = np.nan
    scores.index = pd.MultiIndex.from_product([range(30), [0]], names=["image", "seed"])
    tests = paired_tests(scores).set_index(["explainer", "other"])
    assert len(tests) == 6
    assert tests.loc[("a", "b"), "n"] == 25
    assert tests.loc[("a", "b"), "p"] == pytest.approx(wilcoxon(scores["a"].iloc[5:], scores["b"].iloc[5:]).pvalue)
    assert tests.loc[("a", "d"), "p"] == 1
    assert (tests["p_holm"] >= tests["p"]).all()


@pytest.mark.parametrize("images", [5, 20, 60])
def test_every_pair_is_tested_as_if_it_were_the_only_one(images: int) -> None:
    rng = np.random.default_rng(images)
    coarse, fine = rng.integers(0, 3, (images, 3)), rng.random((images, 4))
    scores = pd.DataFrame(np.hstack([coarse, fine]), columns=list("abcdefg"))
    scores.loc[1, "c"] = scores.loc[[0, 2], "f"] = scores.loc[3:, "g"] = np.nan
    scores["h"] = scores["g"].isna() * scores["d"].where(scores["g"].isna())
    scores.index = pd.MultiIndex.from_product([range(images), [0]], names=["image", "seed"])
    tests = paired_tests(scores)
    assert len(tests) == 28
    for row in tests.itertuples():
        difference = (scores[row.explainer] - scores[row.other]).dropna()
        assert row.n == len(difference)
        assert row.difference == pytest.approx(difference.mean(), nan_ok=True)
        assert row.p == (wilcoxon(difference).pvalue if difference.any() else 1)


def test_one_explainer_has_no_pair() -> None:
    index = pd.MultiIndex.from_product([range(3), [0]], names=["image", "seed"])
    assert paired_tests(pd.DataFrame({"a": [1.0, 2.0, 3.0]}, index)).empty


def test_explainers_are_compared_on_seeds_that_both_have() -> None:
    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_product([range(20), [0, 1]], names=["image", "seed"])
    of_seed_1 = index.get_level_values("seed") == 1
    # b equals a on seed 0 and has no scores on seed 1, where a is far better.
    a = pd.Series(rng.random(40) + of_seed_1, index)
    b = a.where(~of_seed_1)
    tests = paired_tests(pd.DataFrame({"a": a, "b": b}))
    assert tests["difference"].tolist() == [0]
    assert tests["p"].tolist() == [1]
    assert tests["n"].tolist() == [20]
