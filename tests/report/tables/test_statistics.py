"""Intervals and tests against scipy and by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap, ttest_1samp, wilcoxon

from evident.report.tables.statistics import estimate, holm, mean_interval, paired_tests, student_p


def rows(images: int, networks: int = 1, seeds: int = 1) -> pd.MultiIndex:
    names = ["network", "image", "seed"]
    return pd.MultiIndex.from_product([map(str, range(networks)), range(images), range(seeds)], names=names)


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
    scores.index = rows(30)
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
    scores.index = rows(images)
    tests = paired_tests(scores)
    assert len(tests) == 28
    for row in tests.itertuples():
        difference = (scores[row.explainer] - scores[row.other]).dropna()
        assert row.n == len(difference)
        assert row.difference == pytest.approx(difference.mean(), nan_ok=True)
        assert row.p == (wilcoxon(difference).pvalue if difference.any() else 1)


def test_one_explainer_has_no_pair() -> None:
    assert paired_tests(pd.DataFrame({"a": [1.0, 2.0, 3.0]}, rows(3))).empty


def test_explainers_are_compared_on_seeds_that_both_have() -> None:
    rng = np.random.default_rng(0)
    index = rows(20, seeds=2)
    of_seed_1 = index.get_level_values("seed") == 1
    # b equals a on seed 0 and has no scores on seed 1, where a is far better.
    a = pd.Series(rng.random(40) + of_seed_1, index)
    b = a.where(~of_seed_1)
    tests = paired_tests(pd.DataFrame({"a": a, "b": b}))
    assert tests["difference"].tolist() == [0]
    assert tests["p"].tolist() == [1]
    assert tests["n"].tolist() == [20]


def test_several_networks_are_the_sample_of_their_means() -> None:
    rng = np.random.default_rng(0)
    values = pd.DataFrame({"a": rng.random(40), "b": rng.random(40)}, rows(10, networks=4).droplevel("seed"))
    values.loc[("2", slice(None)), "b"] = np.nan
    found = estimate(values)
    for name, networks in (("a", 4), ("b", 3)):
        means = values[name].groupby("network").mean().dropna()
        interval = ttest_1samp(means, 0).confidence_interval()
        assert found.loc[name, "networks"] == networks == len(means)
        assert found.loc[name, "n"] == 10 * networks
        assert found.loc[name, ["mean", "se"]].tolist() == pytest.approx([means.mean(), means.sem()])
        assert found.loc[name, ["ci_low", "ci_high"]].tolist() == pytest.approx(list(interval))


def test_column_of_a_single_network_has_the_interval_over_its_own_images() -> None:
    rng = np.random.default_rng(0)
    index = rows(30, networks=2).droplevel("seed")
    both = pd.DataFrame({"a": rng.random(60), "b": rng.random(60)}, index)
    both.loc[("1", slice(None)), "b"] = np.nan
    alone = both.loc[["0"], ["b"]]
    found, expected = estimate(both).loc["b"], estimate(alone).loc["b"]
    assert found.to_dict() == pytest.approx(expected.to_dict())
    assert expected["se"] == pytest.approx(alone["b"].sem())
    assert expected[["mean", "ci_low", "ci_high"]].tolist() == pytest.approx(mean_interval(alone.to_numpy())[:, 0])


def test_intervals_over_networks_cover_the_truth_where_those_over_images_do_not() -> None:
    """Networks differ by 0.1, the images of one network hardly: 500 experiments of four networks with ten images."""
    rng = np.random.default_rng(3)
    networks = np.repeat(rng.normal(0, 0.1, (4, 500)), 10, axis=0)
    values = pd.DataFrame(networks + rng.normal(0, 0.01, networks.shape), rows(10, networks=4).droplevel("seed"))

    def covered(low: np.ndarray, high: np.ndarray) -> float:
        return float(((low <= 0) & (high >= 0)).mean())

    found = estimate(values)
    assert covered(found["ci_low"].to_numpy(), found["ci_high"].to_numpy()) == pytest.approx(0.95, abs=0.03)
    assert covered(*mean_interval(values.to_numpy())[1:]) < 0.7


def test_students_test_from_the_standard_error_agrees_with_scipys() -> None:
    values = np.random.default_rng(0).normal(0.3, 0.5, (5, 7))
    p = student_p(values.mean(0), values.std(0, ddof=1) / np.sqrt(5), 5)
    assert p == pytest.approx(ttest_1samp(values, 0).pvalue)
    # No spread at zero, up to rounding and elsewhere, where the sign test remains; a single unit.
    found = student_p([0.0, 0.1 + 0.2 - 0.3, 0.1, 0.1], [0.0, 0.0, 0.0, np.nan], [4, 4, 4, 1])
    assert found.tolist() == [1, 1, 2**-3, 1]


def test_two_explainers_are_compared_network_by_network() -> None:
    rng = np.random.default_rng(0)
    index = rows(5, networks=4)
    scores = pd.DataFrame({"a": rng.random(20), "b": rng.random(20) + 1}, index)
    [test] = paired_tests(scores).to_dict("records")
    means = (scores["a"] - scores["b"]).groupby("network").mean()
    assert test["p"] == test["p_holm"] == pytest.approx(ttest_1samp(means, 0).pvalue)
    assert (test["networks"], test["n"]) == (4, 20)
    assert [test["difference"], test["se"]] == pytest.approx([means.mean(), means.sem()])
    assert [test["ci_low"], test["ci_high"]] == pytest.approx(list(ttest_1samp(means, 0).confidence_interval()))
