"""Verdicts from effects, in every case."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from evident.report.claims.effects import (
    Effect,
    deciding,
    exactly,
    from_interval,
    from_share,
    judge,
    judged,
    over_networks,
    sample,
)


def effect(value: float, p: float, units: int = 20) -> Effect:
    return Effect(value, p, networks=1, images=units, units=units)


@pytest.mark.parametrize(
    ("effects", "verdict"),
    [
        ([effect(0.1, 0.049)], "holds"),
        ([effect(0.1, 0.051)], "undecided"),
        ([effect(-0.1, 0.049)], "refuted"),
        ([effect(-0.1, 0.051)], "undecided"),
        ([effect(0, 0)], "undecided"),  # of no spread at all
        ([effect(0.1, 0.024), effect(0.1, 0.049)], "holds"),  # Holm: 0.048 and 0.049
        ([effect(0.1, 0.026), effect(0.1, 0.049)], "undecided"),  # 0.052 for both
        ([effect(0.1, 0.001), effect(-0.1, 0.001)], "refuted"),
        ([effect(0.1, 0.001), effect(-0.1, 0.5)], "undecided"),
        ([effect(0.1, float("nan"))], "undecided"),
        ([effect(0.1, 0.5, units=5)], "underpowered"),  # five units that agree: 2 ** -4
        ([effect(0.1, 0.5, units=6)], "undecided"),
        ([effect(0.1, 0.5, units=6), effect(0.1, 0.5)], "underpowered"),
        ([effect(0.1, 0.01, units=3)], "holds"),
    ],
)
def test_verdict_follows_signs_and_corrected_p_values(effects: list[Effect], verdict: str) -> None:
    assert judge(effects) == judge(effects[::-1]) == verdict


def test_sample_states_networks_images_and_tests() -> None:
    assert sample([Effect(1, 0, 6, 16, 6)] * 3) == "6 networks x 16 images, 3 tests"
    assert judged([Effect(1, 0, 1, 15, 15)], "features") == ("1 network x 15 features, 1 test", "holds", "")
    assert [exactly(condition) for condition in (True, False)] == ["holds", "refuted"]


def test_values_of_networks_are_tested_by_student() -> None:
    values = pd.Series(np.random.default_rng(0).normal(0.3, 0.5, 6))
    found = over_networks(values, 16)
    assert found == Effect(values.mean(), found.p, 6, 16, 6)
    assert found.p == pytest.approx(ttest_1samp(values, 0).pvalue)


def test_interval_of_a_table_gives_the_same_test() -> None:
    values = np.random.default_rng(0).normal(0.3, 0.5, 30)
    low, high = ttest_1samp(values, 0).confidence_interval()
    for networks, images in ((1, 30), (30, 64)):  # the interval is over images, or over networks
        row = {"difference": values.mean(), "ci_low": low, "ci_high": high, "networks": networks, "n": images}
        found = from_interval(pd.Series(row), "difference", 0.1)
        assert (found.networks, found.images, found.units) == (networks, images, 30)
        assert found.value == pytest.approx(values.mean() - 0.1)
        assert found.p == pytest.approx(ttest_1samp(values, 0.1).pvalue)


@pytest.mark.parametrize("tests", [1, 5])
def test_deciding_sample_repeats_what_was_measured(tests: int) -> None:
    values = np.random.default_rng(1).normal(0.3, 1, 8)
    effects = [over_networks(pd.Series(values), 16)] * tests
    needed = deciding(effects)
    assert needed is not None
    assert judge(effects) != "holds"
    corrected = []
    for units in (needed - 1, needed):  # samples of this size with the same mean and deviation
        spread = np.linspace(-1, 1, units)
        same = values.mean() + spread * values.std(ddof=1) / spread.std(ddof=1)
        corrected.append(tests * ttest_1samp(same, 0).pvalue)
    assert corrected[1] < 0.05 <= corrected[0]
    assert judged(effects) == (
        f"8 networks x 16 images, {tests} test{'s' * (tests > 1)}",
        "undecided",
        f"{needed} networks",
    )


def test_contrary_effects_are_decided_by_the_clearest_against_the_claim() -> None:
    for_, against = effect(0.1, 0.5), effect(-0.1, 0.06)
    only, both = deciding([for_]), deciding([for_, against])
    assert only is not None
    assert both is not None
    assert 20 < both < only
    assert judged([effect(0, 1)])[2] == "more than 1,000 images"


def test_share_is_tested_exactly() -> None:
    # 4 of 10 where 0.1 is expected: P(X >= 4) = 1 - sum_{k<4} C(10, k) 0.1^k 0.9^(10-k) = 0.0128; no smaller count
    # is as unlikely.
    effect = from_share(4, 10, 0.1)
    assert effect.value == pytest.approx(0.3)
    assert effect.p == pytest.approx(0.0127952, abs=1e-6)
    assert (effect.networks, effect.images, effect.units) == (1, 10, 10)
    assert from_share(0, 10, 0.1).value < 0
