"""Tables of networks: measures with intervals over test images, and differences of networks on the same images."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from report_samples import only, predictions
from scipy.stats import bootstrap, sem, ttest_1samp
from scipy.stats import t as student
from torch import Tensor

from evident.report.tables.network_measures import measures
from evident.report.tables.networks import COLUMNS, COMPARED, DIRECTION, Predictions, markdown, performance
from evident.report.tables.statistics import mean_interval

OF_SCORES = ["rmse", "mae", "r2", "tau"]
each_seed = pytest.mark.parametrize("seed", range(3))


def scenes(**models: dict[int, dict[str, Tensor]]) -> Predictions:
    """Return the predictions of networks, model=seeds, for one data set."""
    return {"landscapes": models}


def row(table: pd.DataFrame, **where: str) -> pd.Series:
    [index] = table.index[(table[list(where)] == pd.Series(where)).all(axis=1)]
    return table.loc[index]


# Measures


def test_every_network_has_a_row_per_measure() -> None:
    table, compared = performance(scenes(siam={0: predictions(0)}, cam={0: predictions(1)}))
    assert list(table) == COLUMNS
    assert list(compared) == COMPARED
    names = [*OF_SCORES, *(f"variance_{name}" for name in OF_SCORES), "attribute_precision"]
    ordered = [name for name in names if not name.endswith("tau")]  # tau is undefined for constant predictions
    assert list(zip(table["model"], table["measure"], strict=True)) == [
        *((model, name) for model in ("siam", "cam") for name in names),
        *(("constant", name) for name in ordered),
    ]
    rows = [*names, *names, *ordered]
    assert table["direction"].tolist() == [DIRECTION[name.removeprefix("variance_")] for name in rows]
    assert list(compared["measure"]) == names
    assert set(compared["model"] + compared["other"]) == {"siamcam"}


def test_n_is_the_number_of_images_that_a_measure_is_over() -> None:
    predicted = {**only(predictions(0, 30), "scores", "votes"), **only(predictions(0, 50), "attributes", "labels")}
    table, _ = performance(scenes(siam={0: predicted}))
    assert table.set_index("measure")["n"].to_dict() == {
        name: 50 if name == "attribute_precision" else 30 for name in table["measure"]
    }


def test_value_is_the_mean_over_seeds_with_students_interval() -> None:
    of_seeds = {seed: predictions(seed) for seed in (7, 3, 12)}
    table, _ = performance(scenes(siam=of_seeds))
    for name, measured in table[table["model"] == "siam"].set_index("measure").iterrows():
        each = torch.stack([measures(predicted)[str(name)] for predicted in of_seeds.values()]).numpy()
        assert measured["value"] == pytest.approx(each[:, 0].mean())
        assert measured["std"] == pytest.approx(each[:, 0].std(ddof=1))
        error = math.hypot(sem(each[:, 0]), each[:, 1:].mean(0).std(ddof=1))
        half = student.ppf(0.975, 2) * error
        assert measured[["ci_low", "ci_high"]].tolist() == pytest.approx(
            [each[:, 0].mean() - half, each[:, 0].mean() + half]
        )
        assert (measured["networks"], measured["seeds"]) == (3, "3 7 12")


def test_one_seed_has_no_deviation() -> None:
    table, _ = performance(scenes(siam={0: predictions(0)}))
    assert table["std"].isna().all()
    assert table["value"].notna().all()


def test_interval_of_the_mean_error_is_that_of_a_mean_over_images() -> None:
    predicted = predictions(0)
    table, _ = performance(scenes(siam={0: predicted}))
    errors = (predicted["scores"] - predicted["votes"])[:, 0].abs().double().numpy()
    mae = row(table, measure="mae", model="siam")
    assert mae[["value", "ci_low", "ci_high"]].tolist() == pytest.approx(mean_interval(errors[:, None])[:, 0].tolist())
    theirs = bootstrap((errors,), np.mean, method="percentile", n_resamples=20_000, rng=0).confidence_interval
    assert mae[["ci_low", "ci_high"]].tolist() == pytest.approx([theirs.low, theirs.high], abs=0.03)


@each_seed
def test_intervals_contain_their_values(seed: int) -> None:
    table, compared = performance(scenes(siam={0: predictions(seed)}, cam={0: predictions(seed + 10)}))
    table = table[table["model"] != "constant"]
    assert (table["ci_low"] < table["value"]).all()
    assert (table["value"] < table["ci_high"]).all()
    assert compared["difference"].between(compared["ci_low"], compared["ci_high"], inclusive="neither").all()


def test_without_predictions_both_tables_are_empty() -> None:
    for table, columns in zip(performance({}), (COLUMNS, COMPARED), strict=True):
        assert list(table) == columns
        assert len(table) == 0


# Differences of two networks


def test_network_and_its_copy_do_not_differ() -> None:
    of_seeds = {seed: predictions(seed) for seed in (0, 1)}
    table, compared = performance(scenes(siam=of_seeds, copy=of_seeds))
    assert len(compared) == 9 * 3  # for both seeds together, and for each
    assert (compared[["difference", "ci_low", "ci_high"]] == 0).all(axis=None)
    # The measures of each are uncertain all the same.
    table = table[table["model"] != "constant"]
    assert (table["ci_high"] > table["ci_low"]).all()


def test_differences_of_several_networks_are_paired_by_seed() -> None:
    siam, cam = ({seed: predictions(seed + shift) for seed in range(4)} for shift in (0, 10))
    _, compared = performance(scenes(siam=siam, cam=cam))
    each = compared[(compared["measure"] == "mae") & (compared["networks"] == 1)]["difference"]
    both = row(compared, measure="mae", seeds="0 1 2 3")
    narrowest = ttest_1samp(each, 0).confidence_interval()  # without the error of the images
    assert both["difference"] == pytest.approx(each.mean())
    assert both["ci_low"] < narrowest.low < narrowest.high < both["ci_high"]
    assert (both["networks"], both["n"], len(each)) == (4, len(siam[0]["votes"]), 4)


def test_interval_of_a_difference_is_that_of_differences_image_by_image() -> None:
    one, two = predictions(0), predictions(1, noise=3.0)
    _, compared = performance(scenes(siam={0: one}, cam={0: two}))
    errors = [(predicted["scores"] - predicted["votes"])[:, 0].abs().double().numpy() for predicted in (one, two)]
    mae = row(compared, measure="mae", model="siam", other="cam")
    expected = mean_interval((errors[0] - errors[1])[:, None])[:, 0]
    assert mae[["difference", "ci_low", "ci_high"]].tolist() == pytest.approx(expected.tolist())
    assert mae["difference"] < 0


def test_networks_are_compared_on_seeds_that_both_have() -> None:
    # Both predict the same on seed 1. Only siam has seed 0, where it is poor, and only cam has seed 2.
    siam = {0: predictions(0, noise=50.0), 1: predictions(1)}
    cam = {1: predictions(1), 2: predictions(2)}
    table, compared = performance(scenes(siam=siam, cam=cam))
    assert (compared[["difference", "ci_low", "ci_high"]] == 0).all(axis=None)
    assert set(compared["seeds"]) == {"1"}
    seeds = table.groupby("model")["seeds"].unique().str[0].to_dict()
    assert seeds == {"siam": "0 1", "cam": "1 2", "constant": ""}


def test_networks_are_compared_by_measures_that_both_have_on_the_same_data_set() -> None:
    landscapes = scenes(siam={0: predictions(0)}, cam={0: only(predictions(1), "scores", "votes")})
    table, compared = performance({**landscapes, "sun": {"siam": {0: predictions(2)}}})
    assert len(table[table["model"] != "constant"]) == 9 + 8 + 9
    assert len(compared) == 8
    assert set(compared["data"]) == {"landscapes"}
    assert "attribute_precision" not in set(compared["measure"])


def test_every_pair_of_three_networks_is_compared_once() -> None:
    _, compared = performance(scenes(**{model: {0: predictions(0)} for model in ("a", "b", "c")}))
    pairs = compared.loc[compared["measure"] == "tau", ["model", "other"]]
    assert pairs.to_numpy().tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]


def test_several_seeds_are_also_compared_one_by_one() -> None:
    models = {model: {seed: predictions(10 * seed + number) for seed in (0, 1)} for number, model in enumerate("ab")}
    _, compared = performance(scenes(**models))
    mae = compared[compared["measure"] == "mae"].set_index("seeds")["difference"]
    assert list(mae.index) == ["0 1", "0", "1"]
    assert mae["0 1"] == pytest.approx((mae["0"] + mae["1"]) / 2)
    for seed in (0, 1):
        errors = [(models[model][seed]["scores"] - models[model][seed]["votes"])[:, 0].abs().mean() for model in "ab"]
        assert mae[str(seed)] == pytest.approx((errors[0] - errors[1]).item(), abs=1e-6)


# Constant and ground-truth baselines


def test_constant_baseline_has_r2_zero_and_the_precision_of_chance() -> None:
    predicted = predictions(0)
    table, _ = performance(scenes(siam={0: predicted}))
    assert "-0.000" not in markdown(table)
    value = table[table["model"] == "constant"].set_index("measure")["value"]
    assert value["r2"] == pytest.approx(0)
    assert value["rmse"] == pytest.approx(predicted["votes"][:, 0].std(unbiased=False).item())
    assert value["attribute_precision"] == pytest.approx((predicted["labels"][:, :3] > 0.5).double().mean().item())


def test_true_scores_are_as_far_from_the_votes_as_these_are_from_them() -> None:
    predicted = predictions(0)
    predicted["true"] = predicted["votes"] + 0.5
    table, compared = performance(scenes(siam={0: predicted}))
    value = table[table["model"] == "truth"].set_index("measure")["value"]
    assert (value["mae"], value["tau"]) == (pytest.approx(0.5), 1)
    assert "attribute_precision" not in value
    assert len(compared) == 0


# Removals


def test_removals_are_a_measure_of_networks_and_not_of_baselines() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.uniform(-1, 1, (2, 30))
    one[4] = math.nan  # a scene that shows nothing to rank
    of_siam, of_cam = (
        {**predictions(seed), "removal": torch.from_numpy(values)} for seed, values in enumerate((one, two))
    )
    table, compared = performance(scenes(siam={0: of_siam}, cam={0: of_cam}))
    for model, values in (("siam", one), ("cam", two)):
        removal = row(table, model=model, measure="removal")
        assert removal[["value", "ci_low", "ci_high"]].tolist() == pytest.approx(mean_interval(values[:, None])[:, 0])
        assert (removal["direction"], removal["n"]) == ("higher", 30)
    assert row(compared, measure="removal")["difference"] == pytest.approx(np.nanmean(one) - two.mean())
    assert not ((table["measure"] == "removal") & table["model"].isin(["constant", "truth"])).any()
    head, _, siam, *_ = (line for line in markdown(table).splitlines() if line.startswith("|"))
    assert head.endswith("removal ↑ |")
    assert f"| {np.nanmean(one):.3f} [" in siam


def test_unknown_labels_have_no_measures() -> None:
    predicted = predictions(0)
    predicted["votes"][:, 1] = torch.nan
    table, _ = performance(scenes(siam={0: predicted}))
    assert not table["measure"].str.startswith("variance").any()
    assert set(table["model"]) == {"siam", "constant"}


def test_removals_of_several_seeds_have_students_interval() -> None:
    of_seeds = np.random.default_rng(1).uniform(-1, 1, (2, 20))
    siam = {seed: {"removal": torch.from_numpy(values)} for seed, values in enumerate(of_seeds)}
    table, _ = performance(scenes(siam=siam))
    assert table["measure"].tolist() == ["removal"]
    removal = table.iloc[0]
    narrowest = ttest_1samp(of_seeds.mean(1), 0).confidence_interval()
    assert removal["value"] == pytest.approx(of_seeds.mean())
    assert removal["ci_low"] < narrowest.low < narrowest.high < removal["ci_high"]
    assert removal["std"] == pytest.approx(of_seeds.mean(1).std(ddof=1))
    assert removal["seeds"] == "0 1"


# Markdown


def test_legend_explains_the_measures_and_rows_that_are_shown() -> None:
    removal = {**predictions(0), "removal": torch.rand(20, generator=torch.Generator().manual_seed(0))}
    table, _ = performance(scenes(siam={0: removal}))
    assert "removal: " in markdown(table)
    assert "removal: " not in markdown(table[table["measure"] != "removal"])
    assert "*constant*: " in markdown(table)
    assert "*truth*: " not in markdown(table)


def test_markdown_has_a_row_per_network_and_blanks_for_measures_it_does_not_have() -> None:
    cam = only(predictions(1), "attributes", "labels")
    table, _ = performance({**scenes(siam={0: predictions(0)}), "sun": {"cam": {0: cam}}})
    head, rule, siam, constant, of_cam, _ = (line for line in markdown(table).splitlines() if line.startswith("|"))
    names = [name.strip() for name in head.strip("|").split("|")]
    assert names[:4] == ["network", "rmse ↓", "mae ↓", "r2 ↑"]
    assert names[-2:] == ["variance tau ↑", "attribute precision ↑"]
    assert rule.count("---") == len(names) == 10
    tau = row(table, model="siam", measure="tau")
    assert f"| {tau['value']:.3f} [{tau['ci_low']:.3f}, {tau['ci_high']:.3f}] |" in siam
    assert siam.startswith("| siam on landscapes | ")
    assert constant.startswith("| *constant* on landscapes | ")
    precision = row(table, model="cam", measure="attribute_precision")["value"]
    assert of_cam.split("|")[2:-2] == ["  "] * 8
    assert of_cam.split("|")[-2].startswith(f" {precision:.3f} [")


def test_markdown_of_an_empty_table_is_empty() -> None:
    assert markdown(pd.DataFrame(columns=COLUMNS)) == ""
