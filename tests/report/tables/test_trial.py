"""The trial of metrics on scores whose answer is known, and its statistics against independent derivations."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import kendalltau, spearmanr

from evident.report.tables.agreement import alpha, between_explainers, between_metrics
from evident.report.tables.doses import doses, ends, notices
from evident.report.tables.rankings import family_of, means, oriented, tau, tau_matrix, weights_of
from evident.report.tables.reliability import between_networks, between_references, halves, images_needed
from evident.report.tables.resampling import family_draws, mean_over_networks, taus, tied
from evident.report.tables.validity import (
    PERFECT,
    RANDOM,
    SHAPE,
    Trial,
    filled,
    misplaced,
    validity,
    with_planted,
)

METHODS = [f"method_{number}" for number in range(12)]
FAMILIES = {"first": ["method_0", "method_1"], "second": ["method_[2-4]"]}
TRIAL = Trial({"truth": "use"}, {"truth": ["cheat"]}, FAMILIES, ["random"], ["oracle"])


def scores(noise: float = 0.3, networks: int = 4, images: int = 16, seed: int = 0) -> pd.DataFrame:
    """Return scores of methods of increasing quality: a truth, a good metric, its opposite, and one that cheats."""
    draw = np.random.default_rng(seed)
    rows = []
    for network in range(networks):
        for image in range(images):
            for level, explainer in enumerate(["random", *METHODS, "oracle"]):
                labels = {"model": "net", "network": f"n{network}", "seed": network, "image": str(image)}
                for metric, slope in {"use": 1, "good": 1, "opposite": -1, "cheat": 1}.items():
                    value = slope * level + noise * draw.standard_normal()
                    rows.append({**labels, "explainer": explainer, "metric": metric, "value": value})
    return pd.DataFrame(rows)


def judged(noise: float = 0.3, **settings: int) -> Any:
    return validity(with_planted(scores(noise, **settings), TRIAL), TRIAL).summary.set_index("metric")


def test_scores_that_should_be_low_are_negated_and_others_left_out() -> None:
    labels = {"experiment": "e", "data": "d", "model": "m", "network": "n", "seed": 0, "image": "0", "explainer": "a"}
    table = pd.DataFrame(
        [
            {**labels, "metric": name, "at": at, "value": 2.0}
            for name, at in (("up", np.nan), ("down", np.nan), ("down", 0.5), ("shape", np.nan))
        ]
    )
    found: Any = oriented(table, {"up": "higher", "down": "lower", "shape": "neither"})
    assert dict(zip(found["metric"], found["value"], strict=True)) == {"up": 2, "down": -2}


def test_tau_is_that_of_scipy_and_leaves_out_gaps() -> None:
    draw = np.random.default_rng(0)
    first, second = draw.standard_normal((2, 9)).round(1)
    first[4] = np.nan
    known = ~np.isnan(first)
    assert tau(first, second, np.ones(9)) == pytest.approx(kendalltau(first[known], second[known]).statistic)
    assert np.isnan(tau(first[3:6], second[3:6], np.ones(3)))  # two explainers are no ranking


def test_each_family_weighs_one() -> None:
    assert family_of("method_3", FAMILIES) == "second"
    assert family_of("method_7", FAMILIES) == "method_7"
    assert weights_of(["method_0", "method_1", "method_2", "method_9"], FAMILIES).tolist() == [0.5, 0.5, 1, 1]
    # Repeating a method in its own family changes nothing.
    one, other = np.array([1.0, 2, 3, 4]), np.array([2.0, 1, 3, 4])
    twice = [0, 0, 1, 2, 3]
    repeated = tau(one[twice] + [0, 1e-9, 0, 0, 0], other[twice] + [0, 1e-9, 0, 0, 0], [0.5, 0.5, 1, 1, 1])
    # The pair of the two copies has the weight of a quarter and agrees.
    pairs = kendalltau(one, other).statistic * 6
    assert repeated == pytest.approx((pairs + 0.25) / 6.25)


def test_good_metric_agrees_its_opposite_disagrees_and_planted_ones_behave() -> None:
    found: Any = judged()
    assert found.loc["good", "tau"] > 0.95
    assert found.loc["opposite", "tau"] < -0.95
    assert 0.95 < found.loc[f"{PERFECT}_truth", "tau"] <= 1
    noise = found.loc[RANDOM]
    assert noise["ci_low"] < 0 < noise["ci_high"]
    assert found["networks"].eq(4).all()
    assert found["methods"].eq(len(METHODS)).all()  # neither the oracle nor the reference row is ranked


def test_metric_that_uses_the_truth_itself_is_not_judged() -> None:
    assert not {"cheat", "use"} & set(judged().index)


def test_family_that_makes_the_agreement_is_named() -> None:
    table = scores(noise=0)
    # Without the second family, `odd` orders nothing right.
    order = {name: position for position, name in enumerate(METHODS)}
    odd = table[table["metric"] == "use"].assign(metric="odd")
    odd["value"] = odd["explainer"].map(lambda name: 0 if name in METHODS[2:5] else -order.get(name, 0)).astype(float)
    found: Any = validity(pd.concat([table, odd]), TRIAL).summary.set_index("metric")
    assert found.loc["odd", "lowest"] == pytest.approx(-1)
    assert found.loc["odd", "lowest_without"] == "second"
    assert found.loc["good", "lowest"] == found.loc["good", "highest"] == pytest.approx(1)


def test_truths_differences_and_networks_are_listed_by_model() -> None:
    two = pd.concat([scores(), scores(seed=1).assign(model="other")])
    found = validity(two, TRIAL)
    assert found.summary[["model", "truth"]].drop_duplicates().to_numpy().tolist() == [
        ["net", "truth"],
        ["other", "truth"],
    ]
    first: Any = found.summary[found.summary["model"] == "net"].set_index("metric")
    own = found.networks[(found.networks["model"] == "net") & (found.networks["metric"] == "good")]
    assert own["tau"].mean() == pytest.approx(first.loc["good", "tau"])
    assert sorted(own["seed"]) == [0, 1, 2, 3]
    [pair] = found.differences[found.differences["model"] == "net"].to_dict("records")
    assert {pair["metric"], pair["other"]} == {"good", "opposite"}
    assert abs(pair["difference"]) == pytest.approx(first.loc["good", "tau"] - first.loc["opposite", "tau"])


def test_interval_of_an_arbitrary_order_contains_zero_as_often_as_it_says() -> None:
    """One order for all networks agrees by chance on all of them: an interval over networks alone would be wrong."""
    families = {f"family {k}": [f"method_{2 * k}", f"method_{2 * k + 1}"] for k in range(6)}
    trial = Trial({"truth": "use"}, {}, families, ["random"], ["oracle"])
    orders = validity(scores(), trial).orders
    assert orders["families"].tolist() == [6]
    assert 0 <= orders["wrong"].item() <= 0.15


def test_agreement_of_one_family_only_is_no_proof() -> None:
    """Methods of one family agree, the others are in arbitrary order: draws of families show it."""
    trial = Trial({"truth": "use"}, {}, {"large": [f"method_{k}" for k in range(9)]}, ["random"], ["oracle"])
    table = scores(noise=0)
    lucky = table[table["metric"] == "use"].assign(metric="lucky")
    swap = {"method_9": 2.5, "method_10": -3.0, "method_11": 1.5}
    lucky["value"] = lucky["explainer"].map(swap).fillna(lucky["value"])
    found: Any = validity(pd.concat([table, lucky]), trial).summary.set_index("metric")
    assert found.loc["lucky", "ci_low"] < 0 < found.loc["lucky", "ci_high"]
    assert found.loc["good", "ci_low"] > 0.9


def test_readers_of_the_truth_are_not_ranked_by_it() -> None:
    trial = Trial({"truth": "use"}, {}, FAMILIES, ["random"], ["oracle"], {"truth": ["method_1*"]})
    assert validity(scores(), trial).summary["methods"].unique().tolist() == [len(METHODS) - 3]  # 1, 10 and 11


def test_sparsity_is_planted_and_perfect_scores_have_noise() -> None:
    table = scores(noise=0)
    shape = table[table["metric"] == "opposite"].assign(metric="gini")
    planted = with_planted(table, TRIAL, shape)
    assert len(planted[planted["metric"] == SHAPE]) == len(shape)
    exact = table[table["metric"] == "use"]["value"]
    noise = planted[planted["metric"] == f"{PERFECT}_truth"]["value"].to_numpy() - exact.to_numpy()
    assert noise.std() == pytest.approx(0.05 * exact.std(), rel=0.1)


def test_undefined_score_counts_as_that_of_the_random_map_unless_the_metric_does_not_apply() -> None:
    table = scores(noise=0, networks=1, images=2)
    table.loc[table["explainer"].eq("method_3") & table["image"].eq("1") & table["metric"].eq("use"), "value"] = np.nan
    table.loc[table["explainer"].eq("method_5") & table["metric"].eq("use"), "value"] = np.nan
    found: Any = filled(table, "random").query("metric == 'use'").set_index(["explainer", "image"])["value"]
    assert found["method_3", "1"] == found["random", "0"] == 0
    assert found["method_3", "0"] == 4
    assert found["method_5"].isna().all()


def test_taus_of_draws_are_those_of_repeated_families() -> None:
    draw = np.random.default_rng(0)
    values, target = draw.standard_normal((3, 8)).round(1), draw.standard_normal(8)
    values[1, 2] = np.nan
    families = list("aabbccdd")
    weights = family_draws(families, np.full(8, 0.5))[:20]
    assert (weights[:, ::2] == weights[:, 1::2]).all()
    assert weights.sum(1).tolist() == [4] * 20
    expected = np.stack([tau(values, target, own) for own in weights])
    np.testing.assert_allclose(taus(values, target, weights), expected)
    assert tied(np.array([[1.0, 1, 2, np.nan]]), np.ones(4)).tolist() == pytest.approx([1 / 3])


def test_networks_are_averaged_as_often_as_drawn_and_gaps_left_out() -> None:
    found = np.array([[[1.0, np.nan]], [[3.0, 5.0]]])
    assert mean_over_networks(found, np.array([[1.0, 3.0]])).tolist() == [[2.5, 5]]


def test_metric_that_puts_random_above_better_methods_is_found() -> None:
    table = scores()
    blind = table[table["metric"] == "good"].assign(metric="blind")
    blind.loc[blind["explainer"] == "random", "value"] = METHODS.index("method_5") + 1.5
    found: Any = misplaced(pd.concat([table, blind]), TRIAL).set_index("metric")
    assert found.loc["good", "share"] == 0
    assert found.loc["opposite", "share"] == 1
    assert found.loc["good", "pairs"] == 4 * len(METHODS)
    assert found.loc["blind", "share"] == pytest.approx(6 / 12)


def test_methods_that_are_not_truly_better_do_not_count() -> None:
    table = scores()
    flat = table["metric"].eq("use") & table["explainer"].isin(["random", *METHODS[:4]])
    table.loc[flat, "value"] = np.random.default_rng(1).standard_normal(flat.sum())
    assert misplaced(table, TRIAL)["pairs"].max() <= 4 * len(METHODS) - 12


def test_noisy_metric_needs_more_images() -> None:
    table = scores(noise=0)
    draw = np.random.default_rng(2)
    for metric, sd in {"calm": 0.3, "noisy": 4.0, "noise": 1e3}.items():
        new = table[table["metric"] == "use"].assign(metric=metric)
        table = pd.concat([table, new.assign(value=new["value"] + sd * draw.standard_normal(len(new)))])
    found: Any = halves(table, TRIAL)
    needed: Any = images_needed(found).set_index("metric")
    assert needed.loc["use", "needed"] == 1
    assert needed.loc["calm", "needed"] <= 2
    assert 4 < needed.loc["noisy", "needed"] <= 32
    assert needed["largest"].eq(32).all()  # 64 images of four networks
    assert needed.index[needed["extrapolated"]].tolist() == ["noise"]
    assert np.isnan(needed.loc["noise", "needed"]) or needed.loc["noise", "needed"] > 500
    # By Student's theory a difference of one between neighbours has the error 4 sqrt(2 / n).
    curve = found[found["metric"] == "noisy"].set_index("images")["tau"]
    assert curve.is_monotonic_increasing


def test_needed_images_are_interpolated_between_sizes() -> None:
    table = pd.DataFrame({"model": "m", "metric": "a", "images": [1, 2, 4, 8], "tau": [0.2, 0.95, 0.8, 1.0]})
    assert images_needed(table)["needed"].item() == np.ceil(4 * 2**0.5)


def test_images_beyond_the_largest_size_follow_from_the_correlation() -> None:
    table = pd.DataFrame({"model": "m", "metric": "a", "images": [1, 8, 32], "tau": [0.1, 0.3, 0.5]})
    r, wanted = np.sin(np.pi * 0.5 / 2), np.sin(np.pi * 0.9 / 2)
    needed = images_needed(table)["needed"].item()
    longer = needed / 32  # Spearman and Brown's formula reaches the wanted correlation there, and not much earlier
    assert wanted <= longer * r / (1 + (longer - 1) * r) < wanted + 1e-3


def test_networks_agree_as_far_as_their_rankings_do() -> None:
    table = scores(noise=0, networks=3)
    last = table["network"].eq("n2") & table["metric"].eq("good")
    table.loc[last, "value"] *= -1
    found: Any = between_networks(table, TRIAL).set_index("metric")
    assert found.loc["use", "tau"] == pytest.approx(1)
    assert found.loc["good", "tau"] == pytest.approx((1 - 1 - 1) / 3)
    assert found["pairs"].eq(3).all()


def test_references_are_compared_by_the_last_part_of_the_name() -> None:
    table = scores(noise=0, networks=1)
    names = {"good": "deletion_blur", "opposite": "deletion_mean_colour", "use": "insertion_blur"}
    table = table.assign(metric=table["metric"].map(lambda name: names.get(name, name)))
    found: Any = between_references(table, TRIAL, ["mean_colour", "blur"])
    assert found["metric"].tolist() == ["deletion"]
    assert found["tau"].tolist() == pytest.approx([-1])


def test_dose_at_which_a_metric_falls_is_found() -> None:
    draw = np.random.default_rng(3)
    ladder = {f"shift_{step}": ("shift", step / 4) for step in (1, 2, 3, 4)}
    falls = {"sharp": (0.5, 0.4, 0.2, 0), "slow": (1, 1, 0.5, 0), "deaf": (1, 1, 1, 1)}
    rows = []
    for metric, shares in falls.items():
        for name, share in zip(["oracle", *ladder, "random"], [1, *shares, 0], strict=True):
            for network in range(4):
                labels = {"model": "m", "network": f"n{network}", "seed": network, "explainer": name, "metric": metric}
                rows += [
                    {**labels, "image": str(image), "value": share + 0.02 * draw.standard_normal()}
                    for image in range(8)
                ]
    table = doses(pd.DataFrame(rows), ladder, "oracle", "random")
    sharp = table[table["metric"] == "sharp"]
    assert sharp["share"].tolist() == pytest.approx([0.5, 0.4, 0.2, 0], abs=0.03)
    assert sharp["loss"].tolist() == pytest.approx([0.5, 0.6, 0.8, 1], abs=0.03)
    assert ((sharp["ci_low"] < sharp["loss"]) & (sharp["loss"] < sharp["ci_high"])).all()
    found: Any = notices(table).set_index("metric")
    assert found.loc["sharp", "noticed"] == 0.25
    assert found.loc["slow", "noticed"] == 0.75
    assert np.isnan(found.loc["deaf", "noticed"])
    assert found.loc["sharp", "steps"] == 1


def test_metric_by_which_the_oracle_is_no_better_than_random_has_nothing_to_lose() -> None:
    ladder = {"method_3": ("shift", 0.5)}
    found: Any = doses(scores(), ladder, "oracle", "random").set_index("metric")
    assert 0 < found.loc["good", "share"] < 1
    assert np.isnan(found.loc["opposite", "share"])


def test_places_of_the_oracle_and_of_random_are_counted() -> None:
    table = scores(noise=0)
    above = table[table["explainer"] == "oracle"].assign(explainer="corrupted", value=99.0)
    found: Any = ends(pd.concat([table, above]), "oracle", "random", ["corrupted"]).set_index("metric")
    assert found.loc["good", "oracle_rank"] == 1
    assert found.loc["good", "random_below"] == 1
    assert found.loc["opposite", "oracle_rank"] == len(METHODS) + 1
    assert found.loc["opposite", "random_below"] == 0


def test_alpha_is_krippendorffs() -> None:
    """Derive alpha again from the distances of all pairs (Krippendorff 2004, chapter 11)."""
    assert alpha([[1, 1], [2, 2], [3, 3]]) == 1
    values = np.random.default_rng(0).integers(0, 6, (7, 3)).astype(float)
    units, raters = values.shape
    observed = np.mean(
        [np.mean([(a - b) ** 2 for i, a in enumerate(u) for j, b in enumerate(u) if i != j]) for u in values]
    )
    every = values.ravel()
    expected = np.sum((every[:, None] - every) ** 2) / (units * raters * (units * raters - 1))
    assert alpha(values) == pytest.approx(1 - observed / expected)
    assert np.isnan(alpha(np.ones((3, 2))))


def test_metrics_agree_as_far_as_their_rankings_do() -> None:
    table = scores(noise=0)
    matrix, _ = between_metrics(table, TRIAL)
    assert matrix.loc["use", "good"] == pytest.approx(1)
    assert matrix.loc["use", "opposite"] == pytest.approx(-1)
    _, same = between_metrics(table[table["metric"].isin(["use", "good"])], TRIAL)
    assert same == pytest.approx(1)


def test_explainers_agree_by_spearmans_correlation() -> None:
    draw = torch.Generator().manual_seed(0)
    first, second = (torch.rand(3, 6, 5, generator=draw, dtype=torch.float64) for _ in range(2))
    second[2] = 1  # constant
    found: Any = between_explainers({"a": [first[:1], first[1:]], "b": [second]})
    expected = [spearmanr(first[n].flatten(), second[n].flatten()).statistic for n in range(2)]
    assert found.loc["a", "b"] == found.loc["b", "a"] == pytest.approx(np.mean(expected))
    assert found.loc["a", "a"] == pytest.approx(1)


def test_matrix_of_taus_is_symmetric() -> None:
    matrix = tau_matrix(means(scores(networks=1)), np.ones(14))
    np.testing.assert_allclose(matrix, matrix.T)
    np.testing.assert_allclose(np.diag(matrix), 1)
