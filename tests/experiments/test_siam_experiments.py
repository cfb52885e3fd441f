"""What is special about SIAM's experiments: which cells they have, networks, attributes, scenes, and real photos."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from entry_point import run, written
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file
from smoke_runs import QUIET, Run, axes, composed, experiments, requests

from evident.cell_folder import CONTRIBUTIONS, SCORES
from evident.data.render.landscape.attributes import ATTRIBUTES
from evident.data.scenes.photos import split_of
from evident.data.scenes.sun_attributes import ATTRIBUTES as OF_SUN

OF_SIAM = ["stated_sign", "stated_rank", "maps_pointing", "maps_precision"]
EXPLAINED = {
    "siam": ["random", "oracle", "siam", "gradient"],
    "scene_regressor": ["random", "oracle", "cam", "gradient"],
}


@pytest.fixture
def finished(run_of: Callable[[str], Run]) -> Run:
    return run_of("siam")


def test_explainer_for_one_kind_of_network_has_no_row_for_others(finished: Run) -> None:
    table = finished.table("model", "explainer")
    assert {model: set(table.loc[model].index) for model in EXPLAINED} == {
        model: set(names) for model, names in EXPLAINED.items()
    }
    assert len(finished.cells) == 8
    assert set(finished.cells) == {
        f"landscapes {model} {name} seed 0" for model in EXPLAINED for name in EXPLAINED[model]
    }


def test_oracle_scores_one(finished: Run) -> None:
    table = finished.table("model", "explainer")
    for model in EXPLAINED:
        for metric in ("map_correlation", "map_sign", "average_precision"):
            assert table.loc[(model, "oracle"), metric] == pytest.approx(1, abs=1e-6)


def test_score_of_the_network_is_no_score_of_its_explainers(finished: Run) -> None:
    assert "removal_faithful" in finished.table("model", "explainer").columns
    for name in ("table.csv", "significance.csv.gz"):
        assert "removal_network" not in set(pd.read_csv(finished.results / name)["metric"])


def test_metrics_of_stated_contributions_are_blank_but_for_siam(finished: Run) -> None:
    table = finished.table("model", "explainer")
    assert table.loc[("siam", "siam"), OF_SIAM].notna().all()
    assert table.drop(("siam", "siam"))[OF_SIAM].isna().all(axis=None)


def test_performance_of_networks_has_intervals_and_differences(finished: Run) -> None:
    performance = pd.read_csv(finished.results / "performance.csv")
    of = {model: set(part["measure"]) for model, part in performance.groupby("model")}
    scores = {f"{prefix}{name}" for prefix in ("", "variance_") for name in ("rmse", "mae", "r2", "tau")}
    both = scores | {"attribute_precision"}
    assert of == {
        "siam": both | {"removal"}, "scene_regressor": scores | {"removal"},
        "constant": both - {"tau", "variance_tau"}, "truth": scores,
    }  # fmt: skip
    assert (performance["n"] == np.where(performance["measure"] == "removal", 2, 8)).all()
    assert performance["std"].isna().all()  # there is one seed
    differences = pd.read_csv(finished.results / "performance_differences.csv").set_index("measure")
    assert set(differences.index) == scores | {"removal"}
    assert (differences["model"] == "siam").all()
    assert (differences["other"] == "scene_regressor").all()
    value = performance.pivot(index="measure", columns="model", values="value").loc[differences.index]
    by_hand = value["siam"] - value["scene_regressor"]
    assert differences["difference"].to_list() == pytest.approx(by_hand.to_list(), abs=1e-4)  # written with six digits
    assert (differences["ci_low"] <= differences["ci_high"]).all()


def test_attributes_are_reported_by_name(finished: Run) -> None:
    attributes = pd.read_csv(finished.results / "attributes.csv.gz")
    assert set(attributes["attribute"]) <= set(ATTRIBUTES)
    of = {name: set(part["metric"]) for name, part in attributes.groupby(attributes["explainer"].fillna("network"))}
    removals = {"removal_network", "removal_faithful", "removal_true"}
    stated = {"stated_removal_faithful", "stated_removal_true", "typical_removal_true"}
    assert of.pop("network") == {"attribute_precision"}
    assert of.pop("siam") == removals | stated | {"maps_pointing", "maps_precision"}
    assert of == dict.fromkeys(("random", "oracle", "cam", "gradient"), removals)
    true = attributes[attributes["metric"] == "removal_true"].groupby("attribute")["mean"]
    assert (true.max() == true.min()).all()  # for every explainer


def test_scenes_errors_and_removals_are_figures(finished: Run) -> None:
    assert {"scenes", "overestimates", "underestimates", "removal"} <= finished.figures().keys()


def test_cells_keep_what_the_figures_of_scenes_show(finished: Run) -> None:
    folders = finished.folders()
    own, cam = (folders[of].read(CONTRIBUTIONS) for of in (("siam", "siam"), ("scene_regressor", "cam")))
    assert own["contributions"].shape == (2, len(ATTRIBUTES))
    assert own["images"].shape == (len(own["shown"]), 3, 96, 96)
    assert (own["label"] == cam["label"]).all()
    assert "images" not in cam
    assert not folders["siam", "gradient"].has(CONTRIBUTIONS)


def test_picture_is_explained_by_its_attributes(finished: Run, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "hill.png")
    before = written(finished.store)
    asked = ("task=explain", f"image={tmp_path / 'hill.png'}", "model=siam", "explainer=siam", *QUIET)
    ended = run(*asked, store=finished.store, results=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert written(finished.store) == before
    folder = tmp_path / "explain" / "hill_siam_siam_class0"
    prediction = json.loads((folder / "prediction.json").read_text())
    assert prediction["scores"].keys() == {"average", "variance"}
    assert prediction["target"] == {"index": 0, "class": "average", "score": prediction["scores"]["average"]}
    stated = prediction["contributions"]
    assert sorted(stated) == sorted(ATTRIBUTES)
    assert np.all(np.diff(np.abs([*stated.values()])) <= 0)
    networks = [load_file(file) for file in finished.store.glob("models/*/network.safetensors")]
    [bias] = [weights[name].item() for weights in networks if (name := "scenicness.average.bias") in weights]
    assert bias + sum(stated.values()) == pytest.approx(prediction["scores"]["average"], abs=1e-5)
    with Image.open(folder / "explanation.png") as picture:
        assert min(picture.size) > 100


def test_explainer_that_supports_no_network_of_the_sweep_ends_in_one_line(tmp_path: Path) -> None:
    ended = run("experiment=scenicness", *axes(model="scene_regressor", explainer="siam"), *QUIET, store=tmp_path)
    assert ended.returncode != 0
    assert ended.stdout == ""
    [line] = ended.stderr.splitlines()
    assert line.startswith("no explainer asked for supports a network of the sweep")
    assert not (tmp_path / "cells").exists()


PHOTOS = [number for number in range(1, 25) if number != 5]  # one of 24 places has no photo
SPLITS = {"train": 12, "val": 4, "test": 7}
BROKEN = 19


def write_photo(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (36, 48, 3), dtype=np.uint8)).save(path)


def write_scenicornot(folder: Path) -> dict[str, tuple[float, float]]:
    """Write places as the site exports them, with photos as its users download them; return average and variance."""
    votes = {number: np.random.default_rng(number).integers(1, 11, 5) for number in range(1, 25)}
    lines = ["ID\tLat\tLon\tAverage\tVariance\tVotes\tGeograph URI"]
    for number, own in votes.items():
        rated = f"{own.mean():.4f}\t{own.var():.4f}\t{','.join(map(str, own))}"
        lines.append(f"{number}\t51.7\t-2.2\t{rated}\thttps://www.geograph.org.uk/photo/{number + 100}")
    for number in PHOTOS:
        write_photo(folder / "images" / f"{number % 10 + 1}" / f"{number}.jpg", number)
    (folder / "votes.tsv").write_text("\n".join(lines) + "\n")
    [broken] = folder.glob(f"images/*/{BROKEN}.jpg")
    broken.write_bytes(broken.read_bytes()[:-300])
    return {str(number): (own.mean(), own.var()) for number, own in votes.items()}


def write_sun(folder: Path) -> dict[str, int]:
    """Write photos with three annotators' votes on each attribute; return the number of photos in each split."""
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


def test_real_photos_in_their_published_layout_are_learned_from_and_explained(tmp_path: Path) -> None:
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

    of = Run("siam/scenicornot", (), place, place / "results" / "siam" / "scenicornot")
    assert {"scenes", "overestimates", "underestimates"} <= of.figures().keys()
    assert "removal" not in of.figures()
    performance = pd.read_csv(of.results / "performance.csv").set_index(["model", "measure"])["n"]["siam"]
    assert performance["rmse"] == 6
    assert performance["attribute_precision"] == of_sun["test"]
    assert {"gini", "entropy", "insertion_mean_colour"} <= set(of.table("model", "explainer").columns)

    tested = [str(number) for number in PHOTOS[16:] if number != BROKEN]
    folders = of.folders()
    assert folders.keys() == {("siam", "siam"), ("siam", "gradient")}
    for folder in folders.values():
        assert list(dict.fromkeys(folder.read(SCORES)["image"])) == tested
    kept = folders["siam", "siam"].read(CONTRIBUTIONS)
    np.testing.assert_allclose(kept["label"], [votes[name][0] for name in tested], atol=1e-4)
    assert kept["images"].shape == (6 + 2 * 6, 3, 96, 96)
    assert kept["contributions"].shape == (6, len(OF_SUN))


@pytest.mark.parametrize("experiment", ["scenicness", *experiments("siam")])
def test_siam_explains_siam_and_cam_explains_its_baselines(experiment: str) -> None:
    cells = [request.labels for request in requests(experiment) if request.applies]
    applied = {(labels["model"].split("_")[0], labels["explainer"]) for labels in cells}
    assert ("siam", "siam") in applied
    assert ("siam", "cam") not in applied
    assert not {("scene", "siam"), ("unconstrained", "siam")} & applied


def test_scenicness_restricts_the_explainers_of_siam() -> None:
    every = {request.labels["explainer"] for request in requests("scenicness")}
    explained: dict[str, set[str]] = {request.labels["model"]: set() for request in requests("scenicness")}
    for request in requests("scenicness"):
        if request.applies:
            explained[request.labels["model"]].add(request.labels["explainer"])
    left_out = {
        *("cam", "excitation_backprop", "deconvolution", "grad_cam_pp", "guided_grad_cam", "guided_grad_cam_pp"),
        *("hires_cam", "layer_cam"),
        *("meaningful_perturbation", "extremal_perturbation"),
    }
    assert explained == {
        "siam": every - left_out,
        "scene_regressor": every - {"siam"},
    }


@pytest.mark.parametrize("scale", ["smoke", "quick", "paper"])
def test_joint_training_takes_as_many_steps_as_the_three_stages_together(scale: str) -> None:
    given = ("data=landscapes", f"scale={scale}")
    staged, joint = (composed(f"model={name}", *given) for name in ("siam", "siam/joint"))
    stages = [OmegaConf.to_container(config.data.training.stages, resolve=True) for config in (staged, joint)]
    assert stages[1] == {"attributes": 0, "scenicness": 0, "joint": sum(stages[0].values())}
    assert len(set(stages[0].values())) == 1
    assert (joint.model.name, joint.model.build) == ("siam_joint", staged.model.build)


def test_separate_training_is_the_three_stages_without_the_joint_one() -> None:
    staged, separate = (composed(f"model={name}", "data=landscapes") for name in ("siam", "siam/separate"))
    expected = OmegaConf.to_container(staged.data.training, resolve=True)
    expected["stages"]["joint"] = 0
    assert OmegaConf.to_container(separate.data.training, resolve=True) == expected
    assert (separate.model.name, separate.model.build) == ("siam_separate", staged.model.build)
