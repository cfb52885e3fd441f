"""What networks of scenes are worth: the measures beside the peers', of images that count more or less than once."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file
from scipy.stats import bootstrap, kendalltau
from sklearn.metrics import average_precision_score, mean_absolute_error, r2_score, root_mean_squared_error
from torch import Tensor

from evident.models.siam.measures import attribute_precision, scenicness_measures
from evident.report.cells import Cell
from evident.report.tables.attributes import by_attribute, is_over_attributes
from evident.report.tables.networks import (
    COLUMNS,
    COMPARED,
    DIRECTION,
    average_precision,
    markdown,
    measures,
    performance,
    scenicness,
)
from evident.report.tables.statistics import RESAMPLES, draws, mean_interval

nan = math.nan
NAMES = ["sky", "lake", "mast", "road"]
OF_SCORES = ["rmse", "mae", "r2", "tau"]
each_seed = pytest.mark.parametrize("seed", range(3))


def predictions(seed: int, images: int = 40, noise: float = 2.0) -> dict[str, Tensor]:
    """What a network says of the same test scenes as any other; nobody saw a road."""
    world, network = (torch.Generator().manual_seed(number) for number in (1000, seed))
    votes = torch.randint(2, 20, (images, 2), generator=world) / 2
    labels = torch.randint(0, 4, (images, len(NAMES)), generator=world) / 3
    labels[:, 3] = 1 / 3
    scores = votes + noise * torch.randn(images, 2, generator=network)
    attributes = (labels + noise * torch.randn(images, len(NAMES), generator=network)).round(decimals=1)
    return {"scores": scores, "votes": votes, "attributes": attributes, "labels": labels}


def only(said: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    return {name: said[name] for name in names}


def cell(
    folder: Path,
    model: str,
    seed: int = 0,
    explainer: str = "siam",
    data: str = "landscapes",
    says: dict[str, Tensor] | None = None,
) -> Cell:
    """A cell with what its network says of test scenes, or without."""
    folder = folder / f"{data} {model} {explainer} {seed}"
    folder.mkdir()
    if says:
        save_file(says, folder / "predictions.safetensors")
        (folder / "attributes.json").write_text(json.dumps(NAMES))
    named = {"explainer": {"name": explainer}, "data": {"name": data}, "model": {"name": model}, "seed": seed}
    return Cell(OmegaConf.create(named), folder)


def row(table: pd.DataFrame, **where: str) -> pd.Series:
    [index] = table.index[(table[list(where)] == pd.Series(where)).all(axis=1)]
    return table.loc[index]


# Scenicness, of images that count


def test_images_that_count_once_are_measured_as_when_the_network_was_trained():
    said = predictions(0)
    for column, prefix in enumerate(("", "variance_")):
        ours = scenicness(said["scores"][:, column], said["votes"][:, column], torch.ones(1, 40))
        theirs = scenicness_measures(said["scores"], said["votes"])
        assert list(ours) == OF_SCORES
        for name, [value] in ours.items():
            assert value.dtype == torch.float64
            assert value.item() == pytest.approx(theirs[f"{prefix}{name}"], rel=1e-12)


@each_seed
def test_images_that_count_twice_are_there_twice(seed):
    s, y = (predictions(seed)[name][:, 0].round().double() for name in ("scores", "votes"))
    counts = torch.randint(0, 4, (5, 40), generator=torch.Generator().manual_seed(seed))
    ours = scenicness(s, y, counts)
    for draw in range(5):
        said, truth = (values.repeat_interleave(counts[draw]).numpy() for values in (s, y))
        theirs = {
            "rmse": root_mean_squared_error(truth, said),
            "mae": mean_absolute_error(truth, said),
            "r2": r2_score(truth, said),
            "tau": kendalltau(said, truth).statistic,
        }
        assert {name: values[draw].item() for name, values in ours.items()} == pytest.approx(theirs, rel=1e-12)


def test_the_truth_itself_is_measured_exactly_and_its_mean_explains_nothing():
    y = torch.tensor([3.0, 5.0, 7.0])
    perfect = scenicness(y, y, torch.tensor([[1, 1, 1], [2, 0, 1]]))
    exactly = {"rmse": [0, 0], "mae": [0, 0], "r2": [1, 1], "tau": [1, 1]}
    assert {name: values.tolist() for name, values in perfect.items()} == exactly
    # Counted 3 5 7 and 3 3 7 7, both about 5, the second further from it.
    mean = scenicness(torch.full((3,), 5.0), y, torch.tensor([[1, 1, 1], [2, 0, 2]]))
    assert mean["r2"].tolist() == [0, 0]
    assert mean["mae"].tolist() == pytest.approx([4 / 3, 2])
    assert mean["tau"].isnan().all()


def test_draws_of_one_vote_alone_leave_r2_and_tau_undefined():
    result = scenicness(
        torch.tensor([1.0, 2.0, 3.0]), torch.tensor([5.0, 5.0, 6.0]), torch.tensor([[2, 1, 0], [1, 1, 1]])
    )
    for name in ("r2", "tau"):
        assert result[name].isnan().tolist() == [True, False]
    assert result["mae"].tolist() == pytest.approx([(2 * 4 + 3) / 3, (4 + 3 + 3) / 3])


# Average precision, of images that count


@each_seed
@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_average_precision_equals_scikit_learns_of_repeated_and_of_weighted_images(seed, decimals):
    generator = torch.Generator().manual_seed(seed)
    present = torch.rand(30, generator=generator) < 0.4
    predicted = (present + torch.randn(30, generator=generator)).round(decimals=decimals)
    counts = torch.cat([torch.ones(1, 30), torch.randint(0, 4, (5, 30), generator=generator)])
    ours = average_precision(predicted, present, counts)
    assert ours.dtype == torch.float64
    for value, repeats in zip(ours.tolist(), counts.long(), strict=True):
        repeated = (values.repeat_interleave(repeats).numpy() for values in (present, predicted))
        assert value == pytest.approx(average_precision_score(*repeated), rel=1e-12)
        weighted = average_precision_score(present.numpy(), predicted.numpy(), sample_weight=repeats.numpy())
        assert value == pytest.approx(weighted, rel=1e-12)


def test_average_precision_is_one_where_what_is_present_comes_first_and_its_share_where_all_tie():
    present = torch.tensor([True, False, True, False])
    counts = torch.tensor([[1, 1, 1, 1], [3, 1, 0, 5]])
    assert average_precision(present.float(), present, counts).tolist() == [1, 1]
    assert average_precision(torch.zeros(4), present, counts).tolist() == [0.5, 3 / 9]


def test_average_precision_is_undefined_where_nothing_present_counts():
    present = torch.tensor([True, False, False])
    counts = torch.tensor([[0, 2, 1], [0, 0, 0], [1, 1, 1]])
    assert average_precision(torch.tensor([0.3, 0.1, 0.2]), present, counts).isnan().tolist() == [True, True, False]
    assert average_precision(torch.rand(3), torch.zeros(3, dtype=torch.bool), counts).isnan().all()


# All measures of one network


def test_the_first_of_all_measures_is_that_of_the_images_as_they_are():
    said = predictions(1)
    found = measures(said)
    expected = scenicness_measures(said["scores"], said["votes"])
    expected["attribute_precision"] = attribute_precision(said["attributes"], said["labels"]).nanmean().item()
    assert set(found) == set(expected)
    for name, values in found.items():
        assert values.shape == (1 + RESAMPLES,)
        assert values[0].item() == pytest.approx(expected[name])


@pytest.mark.parametrize("draw", [0, 1, RESAMPLES - 1])
def test_the_others_are_those_of_images_drawn_again(draw):
    said = predictions(1)
    counts = torch.from_numpy(draws(40)[draw]).long()
    again = {name: rows.repeat_interleave(counts, 0) for name, rows in said.items()}
    expected = scenicness_measures(again["scores"], again["votes"])
    of_scores = measures(only(said, "scores", "votes"))
    assert {name: values[1 + draw].item() for name, values in of_scores.items()} == pytest.approx(expected)


@pytest.mark.parametrize("draw", [0, RESAMPLES - 1])
def test_scenes_with_and_without_an_attribute_are_drawn_apart(draw):
    said = only(predictions(1), "attributes", "labels")
    each = []
    for k in range(3):
        present = said["labels"][:, k] > 0.5
        counts = torch.zeros(40).long()
        for those in (present, ~present):
            counts[those] = torch.from_numpy(draws(int(those.sum()))[draw]).long()
        assert counts[present].sum() == present.sum()
        each.append(
            average_precision_score(
                present.repeat_interleave(counts), said["attributes"][:, k].repeat_interleave(counts)
            )
        )
    assert measures(said)["attribute_precision"][1 + draw].item() == pytest.approx(np.mean(each))


def test_one_scene_that_shows_an_attribute_is_in_every_draw():
    labels = torch.zeros(30, 1)
    labels[4] = 1
    found = measures({"attributes": torch.arange(30.0)[:, None], "labels": labels})["attribute_precision"]
    assert found.isfinite().all()


def test_a_network_is_measured_at_what_it_says():
    said = predictions(0)
    assert list(measures(only(said, "attributes", "labels"))) == ["attribute_precision"]
    assert list(measures(only(said, "scores", "votes"))) == [*OF_SCORES, *(f"variance_{name}" for name in OF_SCORES)]
    assert measures({}) == {}


def test_the_two_sets_of_scenes_may_be_of_different_sizes():
    said = {**only(predictions(0, 30), "scores", "votes"), **only(predictions(0, 50), "attributes", "labels")}
    assert {len(values) for values in measures(said).values()} == {1 + RESAMPLES}


# Tables of networks


def test_every_network_has_a_row_a_measure(tmp_path: Path):
    table, compared = performance(
        [cell(tmp_path, "siam", says=predictions(0)), cell(tmp_path, "cam", says=predictions(1))], NO_CURVES
    )
    assert list(table) == COLUMNS
    assert list(compared) == COMPARED
    names = [*OF_SCORES, *(f"variance_{name}" for name in OF_SCORES), "attribute_precision"]
    ordered = [name for name in names if not name.endswith("tau")]  # what is the same for all has no order
    assert list(zip(table["model"], table["measure"], strict=True)) == [
        *((model, name) for model in ("siam", "cam") for name in names),
        *(("constant", name) for name in ordered),
    ]
    told = [*names, *names, *ordered]
    assert table["direction"].tolist() == [DIRECTION[name.removeprefix("variance_")] for name in told]
    assert list(compared["measure"]) == names
    assert set(compared["model"] + compared["other"]) == {"siamcam"}


def test_n_is_the_number_of_scenes_of_the_measures_own_set(tmp_path: Path):
    said = {**only(predictions(0, 30), "scores", "votes"), **only(predictions(0, 50), "attributes", "labels")}
    table, _ = performance([cell(tmp_path, "siam", says=said)], NO_CURVES)
    assert table.set_index("measure")["n"].to_dict() == {
        name: 50 if name == "attribute_precision" else 30 for name in table["measure"]
    }


def test_a_value_is_the_mean_over_seeds_and_its_interval_that_of_the_mean(tmp_path: Path):
    of_seeds = {seed: predictions(seed) for seed in (7, 3, 12)}
    table, _ = performance([cell(tmp_path, "siam", seed, says=said) for seed, said in of_seeds.items()], NO_CURVES)
    for name, measured in table[table["model"] == "siam"].set_index("measure").iterrows():
        each = torch.stack([measures(said)[name] for said in of_seeds.values()]).numpy()
        assert measured["value"] == pytest.approx(each[:, 0].mean())
        assert measured["std"] == pytest.approx(each[:, 0].std(ddof=1))
        interval = np.quantile(each[:, 1:].mean(0), [0.025, 0.975])
        assert measured[["ci_low", "ci_high"]].tolist() == pytest.approx(interval.tolist())
        assert measured["seeds"] == "3 7 12"


def test_one_seed_has_no_deviation(tmp_path: Path):
    table, _ = performance([cell(tmp_path, "siam", says=predictions(0))], NO_CURVES)
    assert table["std"].isna().all()
    assert table["value"].notna().all()


def test_the_interval_of_the_mean_error_is_that_of_any_mean_over_images(tmp_path: Path):
    of_seeds = [predictions(seed) for seed in range(2)]
    table, _ = performance([cell(tmp_path, "siam", seed, says=said) for seed, said in enumerate(of_seeds)], NO_CURVES)
    errors = torch.stack([(said["scores"] - said["votes"])[:, 0].abs() for said in of_seeds]).mean(0).double().numpy()
    mae = row(table, measure="mae", model="siam")
    assert mae[["value", "ci_low", "ci_high"]].tolist() == pytest.approx(mean_interval(errors[:, None])[:, 0].tolist())
    theirs = bootstrap((errors,), np.mean, method="percentile", n_resamples=20_000, rng=0).confidence_interval
    assert mae[["ci_low", "ci_high"]].tolist() == pytest.approx([theirs.low, theirs.high], abs=0.03)


@each_seed
def test_intervals_contain_their_values(tmp_path: Path, seed):
    cells = [cell(tmp_path, "siam", says=predictions(seed)), cell(tmp_path, "cam", says=predictions(seed + 10))]
    table, compared = performance(cells, NO_CURVES)
    table = table[table["model"] != "constant"]
    assert (table["ci_low"] < table["value"]).all()
    assert (table["value"] < table["ci_high"]).all()
    assert compared["difference"].between(compared["ci_low"], compared["ci_high"], inclusive="neither").all()


# Differences of two networks


def test_a_network_and_its_copy_do_not_differ_at_all(tmp_path: Path):
    cells = [cell(tmp_path, model, seed, says=predictions(seed)) for model in ("siam", "copy") for seed in (0, 1)]
    table, compared = performance(cells, NO_CURVES)
    assert len(compared) == 9 * 3  # of both seeds, and of each
    assert (compared[["difference", "ci_low", "ci_high"]] == 0).all(axis=None)
    # Each by itself is uncertain.
    table = table[table["model"] != "constant"]
    assert (table["ci_high"] > table["ci_low"]).all()


def test_the_interval_of_a_difference_is_that_of_differences_image_by_image(tmp_path: Path):
    one, two = predictions(0), predictions(1, noise=3.0)
    _, compared = performance([cell(tmp_path, "siam", says=one), cell(tmp_path, "cam", says=two)], NO_CURVES)
    errors = [(said["scores"] - said["votes"])[:, 0].abs().double().numpy() for said in (one, two)]
    mae = row(compared, measure="mae", model="siam", other="cam")
    expected = mean_interval((errors[0] - errors[1])[:, None])[:, 0]
    assert mae[["difference", "ci_low", "ci_high"]].tolist() == pytest.approx(expected.tolist())
    assert mae["difference"] < 0


def test_networks_are_compared_on_the_seeds_that_both_have(tmp_path: Path):
    # On seed 1 they are the same; the other seed, at which one of them is hopeless, the other never saw.
    cells = [
        cell(tmp_path, "siam", 0, says=predictions(0, noise=50.0)),
        cell(tmp_path, "siam", 1, says=predictions(1)),
        cell(tmp_path, "cam", 1, says=predictions(1)),
        cell(tmp_path, "cam", 2, says=predictions(2)),
    ]
    table, compared = performance(cells, NO_CURVES)
    assert (compared[["difference", "ci_low", "ci_high"]] == 0).all(axis=None)
    assert set(compared["seeds"]) == {"1"}
    seeds = table.groupby("model")["seeds"].unique().str[0].to_dict()
    assert seeds == {"siam": "0 1", "cam": "1 2", "constant": ""}


def test_networks_are_compared_by_the_measures_that_both_have_on_the_same_scenes(tmp_path: Path):
    cells = [
        cell(tmp_path, "siam", says=predictions(0)),
        cell(tmp_path, "cam", says=only(predictions(1), "scores", "votes")),
        cell(tmp_path, "siam", data="sun", says=predictions(2)),
    ]
    table, compared = performance(cells, NO_CURVES)
    assert len(table[table["model"] != "constant"]) == 9 + 8 + 9
    assert len(compared) == 8
    assert set(compared["data"]) == {"landscapes"}
    assert "attribute_precision" not in set(compared["measure"])


def test_of_three_networks_every_pair_is_compared_once(tmp_path: Path):
    said = predictions(0)
    _, compared = performance([cell(tmp_path, model, says=said) for model in ("a", "b", "c")], NO_CURVES)
    pairs = compared.loc[compared["measure"] == "tau", ["model", "other"]]
    assert pairs.to_numpy().tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]


def test_of_several_seeds_each_is_compared_too(tmp_path: Path):
    said = {(model, seed): predictions(10 * seed + number) for number, model in enumerate("ab") for seed in (0, 1)}
    _, compared = performance([cell(tmp_path, *of, says=says) for of, says in said.items()], NO_CURVES)
    mae = compared[compared["measure"] == "mae"].set_index("seeds")["difference"]
    assert list(mae.index) == ["0 1", "0", "1"]
    assert mae["0 1"] == pytest.approx((mae["0"] + mae["1"]) / 2)
    for seed in (0, 1):
        errors = [(said[model, seed]["scores"] - said[model, seed]["votes"])[:, 0].abs().mean() for model in "ab"]
        assert mae[str(seed)] == pytest.approx((errors[0] - errors[1]).item(), abs=1e-6)


# What would be said without a look, and by one who knows


def test_what_is_the_same_for_every_scene_explains_nothing_and_finds_an_attribute_by_chance(tmp_path: Path):
    said = predictions(0)
    table, _ = performance([cell(tmp_path, "siam", says=said)], NO_CURVES)
    assert "-0.000" not in markdown(table)
    value = table[table["model"] == "constant"].set_index("measure")["value"]
    assert value["r2"] == pytest.approx(0)
    assert value["rmse"] == pytest.approx(said["votes"][:, 0].std(unbiased=False).item())
    assert value["attribute_precision"] == pytest.approx((said["labels"][:, :3] > 0.5).double().mean().item())


def test_who_knows_the_true_score_is_as_far_from_the_votes_as_they_are_from_it(tmp_path: Path):
    said = predictions(0)
    said["true"] = said["votes"] + 0.5
    table, compared = performance([cell(tmp_path, "siam", says=said)], NO_CURVES)
    value = table[table["model"] == "truth"].set_index("measure")["value"]
    assert (value["mae"], value["tau"]) == (pytest.approx(0.5), 1)
    assert "attribute_precision" not in value
    assert len(compared) == 0


# Which cells count


def test_a_network_counts_once_however_many_explainers_it_has(tmp_path: Path):
    once = cell(tmp_path, "siam", says=predictions(0))
    again = [cell(tmp_path, "siam", explainer=name, says=predictions(0)) for name in ("rise", "grad_cam")]
    pd.testing.assert_frame_equal(performance([once, *again], NO_CURVES)[0], performance([once], NO_CURVES)[0])


def test_cells_that_kept_nothing_have_no_rows(tmp_path: Path):
    silent = [cell(tmp_path, "published"), cell(tmp_path, "other", data="sun")]
    for table, columns in zip(performance(silent, NO_CURVES), (COLUMNS, COMPARED), strict=True):
        assert list(table) == columns
        assert len(table) == 0
    told = cell(tmp_path, "siam", says=predictions(0))
    table, compared = performance([silent[0], told, silent[1]], NO_CURVES)
    assert set(table["model"]) == {"siam", "constant"}
    assert len(compared) == 0


def of_images(values: list[float], explainer: str = "siam", model: str = "siam", seed: int = 0) -> pd.DataFrame:
    """What explained scenes say of a network, in long form, with a curve over attributes each."""
    place = {"explainer": explainer, "data": "landscapes", "model": model, "seed": seed, "metric": "removal_network"}
    rows = [{**place, "image": str(n), "at": at, "value": v} for n, v in enumerate(values) for at in (nan, 3.0)]
    return pd.DataFrame(rows)


def test_what_a_network_knows_of_removals_is_its_own_whoever_explains(tmp_path: Path):
    rng = np.random.default_rng(0)
    one, two = rng.uniform(-1, 1, (2, 30))
    one[4] = nan  # a scene that shows nothing to rank
    cells = [cell(tmp_path, model, says=predictions(seed)) for seed, model in enumerate(("siam", "cam"))]
    scores = pd.concat([of_images(one), of_images(one, "rise"), of_images(two, "rise", "cam")], ignore_index=True)
    table, compared = performance(cells, scores)
    for model, values in (("siam", one), ("cam", two)):
        told = row(table, model=model, measure="removal")
        assert told[["value", "ci_low", "ci_high"]].tolist() == pytest.approx(mean_interval(values[:, None])[:, 0])
        assert (told["direction"], told["n"]) == ("higher", 30)
    assert row(compared, measure="removal")["difference"] == pytest.approx(np.nanmean(one) - two.mean())
    assert not ((table["measure"] == "removal") & table["model"].isin(["constant", "truth"])).any()
    head, _, siam, *_ = (line for line in markdown(table).splitlines() if line.startswith("|"))
    assert head.endswith("removal ↑ |")
    assert f"| {np.nanmean(one):.3f} [" in siam
    assert "removal: " in markdown(table)
    assert "removal: " not in markdown(table[table["measure"] != "removal"])
    assert "*constant*: " in markdown(table)
    assert "*truth*: " not in markdown(table)


def test_removals_of_several_seeds_are_of_the_mean_over_seeds(tmp_path: Path):
    of_seeds = np.random.default_rng(1).uniform(-1, 1, (2, 20))
    scores = pd.concat([of_images(values, seed=seed) for seed, values in enumerate(of_seeds)], ignore_index=True)
    table, _ = performance([], scores)  # of cells that kept no predictions
    assert table["measure"].tolist() == ["removal"]
    told = table.iloc[0]
    interval = mean_interval(of_seeds.mean(0)[:, None])[:, 0]
    assert told[["value", "ci_low", "ci_high"]].tolist() == pytest.approx(interval)
    assert told["std"] == pytest.approx(of_seeds.mean(1).std(ddof=1))
    assert told["seeds"] == "0 1"


# The table to read


def test_the_table_to_read_has_a_row_a_network_and_blanks_for_what_it_does_not_say(tmp_path: Path):
    cells = [
        cell(tmp_path, "siam", says=predictions(0)),
        cell(tmp_path, "cam", data="sun", says=only(predictions(1), "attributes", "labels")),
    ]
    table, _ = performance(cells, NO_CURVES)
    head, rule, siam, constant, cam, _ = (line for line in markdown(table).splitlines() if line.startswith("|"))
    names = [name.strip() for name in head.strip("|").split("|")]
    assert names[:4] == ["network", "rmse ↓", "mae ↓", "r2 ↑"]
    assert names[-2:] == ["variance tau ↑", "attribute precision ↑"]
    assert rule.count("---") == len(names) == 10
    tau = row(table, model="siam", measure="tau")
    assert f"| {tau['value']:.3f} [{tau['ci_low']:.3f}, {tau['ci_high']:.3f}] |" in siam
    assert siam.startswith("| siam on landscapes | ")
    assert constant.startswith("| *constant* on landscapes | ")
    precision = row(table, model="cam", measure="attribute_precision")["value"]
    assert cam.split("|")[2:-2] == ["  "] * 8
    assert cam.split("|")[-2].startswith(f" {precision:.3f} [")


def test_without_networks_that_say_anything_there_is_nothing_to_read():
    assert markdown(pd.DataFrame(columns=COLUMNS)) == ""


# Attribute by attribute


def points(
    metric: str, values: list[list[float]], explainer: str = "siam", seed: int = 0, **where: str
) -> pd.DataFrame:
    """Scores of images in long form: of each image a curve over attributes, and what it comes to."""
    place = {"explainer": explainer, "data": "landscapes", "model": "siam", "seed": seed, "metric": metric, **where}
    rows = [
        {**place, "image": str(image), "at": at, "value": value}
        for image, curve in enumerate(values)
        for at, value in [(nan, 77.0), *enumerate(curve)]
    ]
    return pd.DataFrame(rows)


NO_CURVES = points("gini", [[]])


def test_precision_of_a_networks_attributes_is_the_mean_over_seeds_by_name(tmp_path: Path):
    of_seeds = [predictions(seed) for seed in range(2)]
    table = by_attribute([cell(tmp_path, "siam", seed, says=said) for seed, said in enumerate(of_seeds)], NO_CURVES)
    assert list(table) == ["explainer", "data", "model", "attribute", "metric", "mean", "n"]
    # Nobody saw a road.
    assert table["attribute"].tolist() == ["sky", "lake", "mast"]
    assert set(table["metric"]) == {"attribute_precision"}
    assert set(table["explainer"]) == {""}
    present = of_seeds[0]["labels"] > 0.5
    for k, measured in table.iterrows():
        theirs = [average_precision_score(present[:, k], said["attributes"][:, k]) for said in of_seeds]
        assert measured["mean"] == pytest.approx(np.mean(theirs))
        assert measured["n"] == present[:, k].sum()


def test_a_network_without_attributes_has_no_precision_of_any(tmp_path: Path):
    assert len(by_attribute([cell(tmp_path, "cam", says=only(predictions(0), "scores", "votes"))], NO_CURVES)) == 0


def test_curves_over_attributes_are_means_over_the_images_that_show_them(tmp_path: Path):
    scores = pd.concat(
        [
            points("maps_pointing", [[1.0, nan, 0.0, nan], [0.0, 1.0, 0.0, nan]]),
            points("maps_pointing", [[1.0, nan, 1.0, nan], [1.0, 0.5, 0.0, nan]], seed=1),
            points("removal_true", [[-2.0, nan, nan, 3.0], [-1.0, nan, nan, nan]], explainer="rise"),
        ]
    )
    table = by_attribute([cell(tmp_path, "siam", says=only(predictions(0), "scores", "votes"))], scores)
    expected = [
        ("siam", "sky", "maps_pointing", 0.75, 2),
        ("siam", "lake", "maps_pointing", 0.75, 1),
        ("siam", "mast", "maps_pointing", 0.25, 2),
        ("rise", "sky", "removal_true", -1.5, 2),
        ("rise", "road", "removal_true", 3, 1),
    ]
    rows = table[["explainer", "attribute", "metric", "mean", "n"]].itertuples(index=False, name=None)
    assert sorted(rows) == sorted(expected)
    assert set(table["data"] + " " + table["model"]) == {"landscapes siam"}


def test_networks_come_before_their_explainers_in_one_table(tmp_path: Path):
    scores = points("removal_network", [[1.0, 2.0, 3.0, 4.0]])
    table = by_attribute([cell(tmp_path, "siam", says=predictions(0))], scores)
    assert table["metric"].tolist() == ["attribute_precision"] * 3 + ["removal_network"] * 4
    assert table["mean"].tolist()[3:] == [1, 2, 3, 4]


def test_attributes_are_those_of_the_data_set(tmp_path: Path):
    cells = [cell(tmp_path, "siam", data=data, says=predictions(0)) for data in ("landscapes", "sun")]
    (cells[1].folder / "attributes.json").write_text(json.dumps(["sailing", "hiking", "working", "camping"]))
    scores = pd.concat([points("maps_precision", [[0.5] * 4], data=data) for data in ("landscapes", "sun")])
    table = by_attribute(cells, scores)
    for metric, count in {"attribute_precision": 3, "maps_precision": 4}.items():
        names = table[table["metric"] == metric].groupby("data")["attribute"].agg(list)
        assert names.to_dict() == {
            "landscapes": NAMES[:count],
            "sun": ["sailing", "hiking", "working", "camping"][:count],
        }


def test_curves_over_pixels_and_scores_of_images_are_of_no_attribute(tmp_path: Path):
    scores = pd.concat([points("deletion_blur", [[1.0, 0.5]]), points("map_correlation", [[]])])
    table = by_attribute([cell(tmp_path, "published")], scores)
    assert list(table) == ["explainer", "data", "model", "attribute", "metric", "mean", "n"]
    assert len(table) == 0


def test_curves_over_attributes_are_known_by_their_names():
    over = ["maps_pointing", "removal_network", "stated_removal_true", "typical_removal_true", "removal_true"]
    others = ["map_correlation", "map_sign", "attribute_sign", "stated_rank", "deletion_blur", "attribute_precision"]
    assert is_over_attributes(pd.Series(over + others)).tolist() == [True] * 5 + [False] * 6
    assert is_over_attributes(pd.Series([], dtype=object)).tolist() == []
