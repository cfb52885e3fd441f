"""SIAM's experiments by the real entry point: what they leave behind, which cells they have, photos as they come."""

import csv
import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from entry_point import ROOT, run, written
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file

from evident import cell, store
from evident.cli import prepare
from evident.data.render.landscape.attributes import ATTRIBUTES
from evident.data.scenes.photos import split_of
from evident.data.scenes.sun_attributes import ATTRIBUTES as OF_SUN

QUIET = ("scale=smoke", "logger=none")
CONF = ROOT / "conf"
EXPERIMENTS = ["scenicness", *(f"siam/{file.stem}" for file in sorted((CONF / "experiment" / "siam").glob("*.yaml")))]
OF_SIAM = ["stated_sign", "stated_rank", "maps_pointing", "maps_precision"]
EXPLAINED = {
    "siam": ["random", "oracle", "siam", "gradient"],
    "scene_regressor": ["random", "oracle", "cam", "gradient"],
}


def axes(**names: str) -> tuple[str, ...]:
    """The sweep's own axes narrowed, so that the report need not look for the other cells."""
    return tuple(f"hydra.sweeper.params.{axis}='{values}'" for axis, values in names.items())


def scenicness(explainers: str) -> tuple[str, ...]:
    """The experiment on landscapes, over two networks and these explainers."""
    return (
        *("experiment=scenicness", "explained.images=2", *QUIET),
        *axes(model="siam,scene_regressor", explainer=explainers),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the experiment, results beside it."""
    place = tmp_path_factory.mktemp("scenicness")
    ended = run(*scenicness("random,oracle,siam,cam,gradient"), store=place)
    assert ended.returncode == 0, ended.stderr
    return place


def table_of(results: Path) -> pd.DataFrame:
    """Means by network and explainer, a column a metric."""
    table = pd.read_csv(results / "table.csv")
    return table.pivot(index=["model", "explainer"], columns="metric", values="mean")


def figures_of(results: Path) -> set[str]:
    return {path.stem for path in (results / "figures").glob("*.png")}


def cells_of(place: Path) -> dict[tuple[str, str], Path]:
    """The cell of each network and explainer."""
    first = {file.parent: pd.read_parquet(file).iloc[0] for file in place.glob("cells/*/scores.parquet")}
    return {(row["model"], row["explainer"]): folder for folder, row in first.items()}


def test_an_explanation_of_one_kind_of_network_has_no_row_on_another(finished: Path) -> None:
    results = finished / "results" / "scenicness"
    table = table_of(results)
    assert {model: set(table.loc[model].index) for model in EXPLAINED} == {
        model: set(names) for model, names in EXPLAINED.items()
    }
    told = json.loads((results / "provenance.json").read_text())["cells"]
    assert list(told) == [f"landscapes {model} {name} seed 0" for model in EXPLAINED for name in EXPLAINED[model]]
    assert len(cells_of(finished)) == len(told)


def test_what_is_true_scores_one(finished: Path) -> None:
    table = table_of(finished / "results" / "scenicness")
    for model in EXPLAINED:
        for metric in ("map_correlation", "map_sign", "average_precision"):
            assert table.loc[(model, "oracle"), metric] == pytest.approx(1, abs=1e-6)


def test_what_a_network_knows_is_no_column_of_explainers(finished: Path) -> None:
    results = finished / "results" / "scenicness"
    assert "removal_faithful" in table_of(results).columns
    for name in ("table", "significance"):
        assert "removal_network" not in set(pd.read_csv(results / f"{name}.csv")["metric"])


def test_what_is_stated_by_name_is_blank_but_for_siam(finished: Path) -> None:
    results = finished / "results" / "scenicness"
    table = table_of(results)
    assert table.loc[("siam", "siam"), OF_SIAM].notna().all()
    assert table.drop(("siam", "siam"))[OF_SIAM].isna().all(axis=None)
    assert "Blank:" in (results / "table.md").read_text()


def test_how_well_the_networks_do_is_told_with_intervals_and_compared(finished: Path) -> None:
    results = finished / "results" / "scenicness"
    performance = pd.read_csv(results / "performance.csv")
    of = {model: set(part["measure"]) for model, part in performance.groupby("model")}
    scores = {f"{prefix}{name}" for prefix in ("", "variance_") for name in ("rmse", "mae", "r2", "tau")}
    told = scores | {"attribute_precision"}
    assert of == {
        "siam": told | {"removal"}, "scene_regressor": scores | {"removal"},
        "constant": told - {"tau", "variance_tau"}, "truth": scores,
    }  # fmt: skip
    assert (performance["n"] == np.where(performance["measure"] == "removal", 2, 8)).all()
    assert performance["std"].isna().all()  # of one seed
    differences = pd.read_csv(results / "performance_differences.csv").set_index("measure")
    assert set(differences.index) == scores | {"removal"}
    assert (differences["model"] == "siam").all()
    assert (differences["other"] == "scene_regressor").all()
    value = performance.pivot(index="measure", columns="model", values="value").loc[differences.index]
    by_hand = value["siam"] - value["scene_regressor"]
    assert differences["difference"].to_list() == pytest.approx(by_hand.to_list(), abs=1e-4)  # written with six digits
    assert (differences["ci_low"] <= differences["ci_high"]).all()


def test_attributes_are_told_by_name(finished: Path) -> None:
    attributes = pd.read_csv(finished / "results" / "scenicness" / "attributes.csv")
    assert set(attributes["attribute"]) <= set(ATTRIBUTES)
    of = {name: set(part["metric"]) for name, part in attributes.groupby(attributes["explainer"].fillna("network"))}
    removals = {"removal_network", "removal_faithful", "removal_true"}
    stated = {"stated_removal_faithful", "stated_removal_true", "typical_removal_true"}
    assert of.pop("network") == {"attribute_precision"}
    assert of.pop("siam") == removals | stated | {"maps_pointing", "maps_precision"}
    assert of == dict.fromkeys(("random", "oracle", "cam", "gradient"), removals)
    true = attributes[attributes["metric"] == "removal_true"].groupby("attribute")["mean"]
    assert (true.max() == true.min()).all()  # whoever explains


def test_scenes_errors_and_removals_are_pictures_of_the_gallery(finished: Path) -> None:
    results = finished / "results" / "scenicness"
    assert {"scenes", "overestimates", "underestimates", "removal"} <= figures_of(results)
    html = (results / "index.html").read_text()
    for name in figures_of(results):
        assert f'src="figures/{name}.png"' in html
        with Image.open(results / "figures" / f"{name}.png") as picture:
            assert min(picture.size) > 100


def test_what_a_figure_of_scenes_is_drawn_from_lies_in_the_cells(finished: Path) -> None:
    cells = cells_of(finished)
    own, cam = (load_file(cells[of] / "scenes.safetensors") for of in (("siam", "siam"), ("scene_regressor", "cam")))
    assert own["contributions"].shape == (2, len(ATTRIBUTES))
    assert own["images"].shape == (len(own["shown"]), 3, 96, 96)
    assert (own["votes"] == cam["votes"]).all()
    assert "images" not in cam
    assert not (cells["siam", "gradient"] / "scenes.safetensors").exists()


def test_a_second_run_computes_nothing_and_draws_the_same(finished: Path, tmp_path: Path) -> None:
    before = written(finished)
    ended = run(*scenicness("siam,cam"), store=finished, results=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("there already") == 2
    assert written(finished) == before
    # Of the networks, and of what explains its own network.
    same = ["performance.csv", "performance_differences.csv"]
    same += [f"figures/{name}.png" for name in ("scenes", "overestimates", "underestimates", "removal")]
    first, again = (results / "scenicness" for results in (finished / "results", tmp_path))
    for name in same:
        assert (again / name).read_bytes() == (first / name).read_bytes(), name


def test_a_picture_is_explained_by_what_is_in_it(finished: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "hill.png")
    before = written(finished)
    asked = ("task=explain", f"image={tmp_path / 'hill.png'}", "model=siam", "explainer=siam", *QUIET)
    ended = run(*asked, store=finished, results=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert written(finished) == before
    folder = tmp_path / "explain" / "hill_siam_siam_class0"
    prediction = json.loads((folder / "prediction.json").read_text())
    assert prediction["scores"].keys() == {"average", "variance"}
    assert prediction["target"] == {"index": 0, "class": "average", "score": prediction["scores"]["average"]}
    stated = prediction["contributions"]
    assert sorted(stated) == sorted(ATTRIBUTES)
    assert np.all(np.diff(np.abs([*stated.values()])) <= 0)
    networks = [load_file(file) for file in finished.glob("models/*/network.safetensors")]
    [bias] = [weights[name].item() for weights in networks if (name := "scenicness.average.bias") in weights]
    assert bias + sum(stated.values()) == pytest.approx(prediction["scores"]["average"], abs=1e-5)
    with Image.open(folder / "explanation.png") as picture:
        assert min(picture.size) > 100


def test_an_explainer_of_none_of_the_networks_ends_in_one_line(tmp_path: Path) -> None:
    ended = run("experiment=scenicness", *axes(model="scene_regressor", explainer="siam"), *QUIET, store=tmp_path)
    assert ended.returncode != 0
    told = "no explainer asked for explains a network of the sweep, or is wanted of it (only); choose another\n"
    assert (ended.stdout, ended.stderr) == ("", told)
    assert not (tmp_path / "cells").exists()


PHOTOS = [number for number in range(1, 25) if number != 5]  # of 24 places, one has no photo
SPLITS = {"train": 12, "val": 4, "test": 7}
BROKEN = 19


def write_photo(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (36, 48, 3), dtype=np.uint8)).save(path)


def write_scenicornot(folder: Path) -> dict[str, tuple[float, float]]:
    """Places as the site exports them, photos as everyone fetches them; average and variance by ID."""
    votes = {number: np.random.default_rng(number).integers(1, 11, 5) for number in range(1, 25)}
    lines = ["ID\tLat\tLon\tAverage\tVariance\tVotes\tGeograph URI"]
    for number, own in votes.items():
        told = f"{own.mean():.4f}\t{own.var():.4f}\t{','.join(map(str, own))}"
        lines.append(f"{number}\t51.7\t-2.2\t{told}\thttps://www.geograph.org.uk/photo/{number + 100}")
    for number in PHOTOS:
        write_photo(folder / "images" / f"{number % 10 + 1}" / f"{number}.jpg", number)
    (folder / "votes.tsv").write_text("\n".join(lines) + "\n")
    [broken] = folder.glob(f"images/*/{BROKEN}.jpg")
    broken.write_bytes(broken.read_bytes()[:-300])
    return {str(number): (own.mean(), own.var()) for number, own in votes.items()}


def write_sun(folder: Path) -> dict[str, int]:
    """Photos with three annotators' votes on each attribute; how many fall to each split."""
    by_split: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    names = (f"sun_{number:04d}" for number in range(200))
    while min(map(len, by_split.values())) < 2:
        name = next(names)
        by_split[split_of(name, 0)].append(name)
    draw = np.random.default_rng(0)
    folder.mkdir(parents=True)
    with gzip.open(folder / "attributes.csv.gz", "wt", newline="") as file:
        table = csv.writer(file)
        table.writerow(["class", "image", *OF_SUN])
        for seed, name in enumerate(name for part in by_split.values() for name in part):
            table.writerow(["b/beach", f"{name}.jpg", *(f"{votes / 3:.6g}" for votes in draw.integers(0, 4, 33))])
            write_photo(folder / "images" / "b" / "beach" / f"{name}.jpg", seed)
    return {split: len(part) for split, part in by_split.items()}


def test_real_photos_in_their_own_layout_are_learnt_from_and_explained(tmp_path: Path) -> None:
    data, place = tmp_path / "data", tmp_path / "store"
    votes, of_sun = write_scenicornot(data / "scenicornot"), write_sun(data / "sun")
    settings = [f"data.sets.scenicness.build.{split}={count}" for split, count in SPLITS.items()]
    settings += [f"data.sets.{name}.build.resize=107" for name in ("scenicness", "attributes")]
    settings += ["data.sets.scenicness.build.unreadable=0.2", "data.size=96", "explained.images=6"]
    narrowed = axes(model="siam", explainer="siam,gradient")
    ended = run("experiment=siam/scenicornot", *QUIET, *narrowed, *settings, f"paths.data={data}", store=place)
    assert ended.returncode == 0, ended.stderr
    [line] = {line for line in ended.stderr.splitlines() if "cannot be read" in line}
    counted, _, listed = line.rpartition(": ")
    assert counted == "scenicornot test: 1 of 7 photos cannot be read and are left out"
    assert [Path(file).stem for file in pd.read_csv(listed)["file"]] == [str(BROKEN)]

    results = place / "results" / "siam" / "scenicornot"
    assert {"scenes", "overestimates", "underestimates"} <= figures_of(results)
    assert "removal" not in figures_of(results)
    performance = pd.read_csv(results / "performance.csv").set_index(["model", "measure"])["n"]["siam"]
    assert performance["rmse"] == 6
    assert performance["attribute_precision"] == of_sun["test"]
    assert {"gini", "entropy", "insertion_mean_colour"} <= set(table_of(results).columns)

    tested = [str(number) for number in PHOTOS[16:] if number != BROKEN]
    cells = cells_of(place)
    assert cells.keys() == {("siam", "siam"), ("siam", "gradient")}
    for folder in cells.values():
        assert list(dict.fromkeys(pd.read_parquet(folder / "scores.parquet")["image"])) == tested
    held = load_file(cells["siam", "siam"] / "scenes.safetensors")
    np.testing.assert_allclose(held["votes"], [votes[name] for name in tested], atol=1e-4)
    assert held["images"].shape == (6 + 2 * 6, 3, 96, 96)
    assert held["contributions"].shape == (6, len(OF_SUN))


@contextmanager
def configs() -> Iterator[None]:
    prepare()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def composed(*overrides: str) -> Any:
    """The config of a run, Hydra's own part included."""
    return compose("config", list(overrides), return_hydra_config=True)


def swept(experiment: str) -> dict[str, list[str]]:
    """The names on each axis."""
    params = composed(f"experiment={experiment}").hydra.sweeper.params
    return {axis: [name.strip() for name in params[axis].split(",")] for axis in ("model", "explainer")}


@cache
def cells_composed(experiment: str) -> list[Any]:
    """The config of every cell of one seed, with no photos or weights at hand.

    What an explainer's file says does not hang on the network's, nor the other way round, until it is resolved.
    """
    with configs():
        names = swept(experiment)
        asked = (f"experiment={experiment}", "paths.data=none", "seed=0")
        first = {axis: f"{axis}={of_axis[0]}" for axis, of_axis in names.items()}
        models = [composed(*asked, f"model={name}", first["explainer"]) for name in names["model"]]
        explainers = [composed(*asked, first["model"], f"explainer={name}") for name in names["explainer"]]
    found = []
    for model in models:
        for explainer in explainers:
            config = model.copy()
            config.explainer = explainer.explainer
            found.append(config)
    return found


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_cell_composes_and_those_that_apply_differ(experiment: str) -> None:
    cells = cells_composed(experiment)
    assert {config.experiment for config in cells} == {experiment}
    applying = [config for config in cells if cell.applies(config)]
    digests = {store.digest(cell.identity(config)) for config in applying}
    assert len(digests) == len(applying)
    assert {config.model.name for config in applying} == {config.model.name for config in cells}
    assert {config.explainer.name for config in applying} == {config.explainer.name for config in cells}
    applied = {(config.model.name.split("_")[0], config.explainer.name) for config in applying}
    assert ("siam", "siam") in applied
    assert ("siam", "cam") not in applied
    assert not {("scene", "siam"), ("unconstrained", "siam")} & applied


def test_what_an_experiment_leaves_to_some_explainers_the_others_do_not_explain() -> None:
    cells = cells_composed("scenicness")
    every = {config.explainer.name for config in cells}
    explained: dict[str, set[str]] = {config.model.name: set() for config in cells}
    for config in filter(cell.applies, cells):
        explained[config.model.name].add(config.explainer.name)
    left_out = {
        *("cam", "excitation_backprop", "deconvolution", "grad_cam_pp", "guided_grad_cam", "guided_grad_cam_pp"),
        *("meaningful_perturbation", "extremal_perturbation"),
    }
    assert explained == {
        "siam": every - left_out,
        "scene_regressor": every - {"siam"},
        "unconstrained_attributes": {"cam"},
    }


@pytest.mark.parametrize("scale", ["smoke", "quick", "paper"])
def test_learning_at_once_takes_as_many_steps_as_the_three_stages_have_together(scale: str) -> None:
    with configs():
        given = ("data=landscapes", f"scale={scale}")
        staged, joint = (composed(f"model={name}", *given) for name in ("siam", "siam/joint"))
    stages = [OmegaConf.to_container(config.data.training.stages, resolve=True) for config in (staged, joint)]
    assert stages[1] == {"attributes": 0, "scenicness": 0, "joint": sum(stages[0].values())}
    assert len(set(stages[0].values())) == 1
    # Of as many stages one after the other, the rate falls at the same shares of the whole.
    assert list(joint.data.training.milestones) == [3 * epoch for epoch in staged.data.training.milestones]
    assert (joint.model.name, joint.model.build) == ("siam_joint", staged.model.build)


def test_learning_apart_is_the_three_stages_without_the_one_for_both() -> None:
    with configs():
        staged, separate = (composed(f"model={name}", "data=landscapes") for name in ("siam", "siam/separate"))
    expected = OmegaConf.to_container(staged.data.training, resolve=True)
    expected["stages"]["joint"] = 0
    assert OmegaConf.to_container(separate.data.training, resolve=True) == expected
    assert (separate.model.name, separate.model.build) == ("siam_separate", staged.model.build)
