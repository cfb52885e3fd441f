"""VEBI's experiments by the real entry point: what they leave behind, what they share, and the settings compared."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from entry_point import ROOT, run, written
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image

from evident.cli import prepare
from evident.models.flower_net import FlowerNet
from evident.relevance.responses import layer_responses

QUIET = ("scale=smoke", "logger=none")
FLOWERS = ("experiment=vebi/an8flower_single_6c", "explainer=random,vebi,vebi/unresampled", *QUIET)
COLUMNS = ["explainer", "data", "model", "seed", "target", "class", "rank", "place", "control", "m", "feature"]
COLUMNS += ["weight"]
MEANING = ["purity", "evidence", "purity_control", "evidence_control"]
COLOURS = ["blue", "pink", "red", "turquoise", "violet", "yellow"]
CONF = ROOT / "conf"
# Those of FGVis, which differ in the game and the filter, are tested with its experiments.
VARIANTS = sorted(file for file in (CONF / "explainer").glob("*/*.yaml") if file.parent.name != "fgvis")
SETTINGS = sorted((CONF / "explainer" / "vebi").glob("*.yaml"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the experiment on flowers, over a few explainers, results beside it."""
    store = tmp_path_factory.mktemp("vebi")
    ended = run(*FLOWERS, store=store)
    assert ended.returncode == 0, ended.stderr
    return store


def relevances(store: Path) -> list[str]:
    return [name for name in written(store) if name.startswith("relevance/")]


def figures_of(results: Path) -> set[str]:
    return {path.stem for path in (results / "figures").glob("*.png")}


def images_of(store: Path, explainer: str) -> dict[str, set[str]]:
    """The images that an explainer has explained, by experiment."""
    scores = [pd.read_parquet(file) for file in store.glob("cells/*/scores.parquet")]
    return {part["experiment"].iloc[0]: set(part["image"]) for part in scores if part["explainer"].iloc[0] == explainer}


def test_features_and_their_figures_join_the_results(finished: Path) -> None:
    results = finished / "results" / "vebi" / "an8flower_single_6c"
    sheets = {f"interpretation_petals_{colour}" for colour in COLOURS}
    assert figures_of(results) == {"examples", "scores", "curves", "ablation", "decoupled", "spectra", *sheets}
    features = pd.read_csv(results / "features.csv")
    assert list(features.columns) == [*COLUMNS, *MEANING]
    assert set(features["explainer"]) == {"vebi", "vebi_unresampled"}
    assert set(features["class"]) == {f"petals {colour}" for colour in COLOURS}
    assert features[MEANING[:2]].apply(lambda share: share.between(0, 1)).all(axis=None)
    assert (features.groupby(["explainer", "class"])["weight"].sum() <= 5.0001).all()  # mu


def test_ablation_is_told_class_by_class(finished: Path) -> None:
    ablation = pd.read_csv(finished / "results" / "vebi" / "an8flower_single_6c" / "ablation.csv")
    assert list(ablation.columns) == ["explainer", "data", "model", "seed", "target", "metric", "mean", "n"]
    counts = ablation.groupby(["explainer", "metric"])["n"].sum()
    assert counts.to_dict() == {
        (name, f"ablation_{choice}"): 4
        for name in ("vebi", "vebi_unresampled")
        for choice in ("relevant", "random", "least")
    }


def test_every_figure_is_a_picture_of_the_gallery(finished: Path) -> None:
    results = finished / "results" / "vebi" / "an8flower_single_6c"
    html = (results / "index.html").read_text()
    for name in figures_of(results):
        assert f'src="figures/{name}.png"' in html
        with Image.open(results / "figures" / f"{name}.png") as picture:
            assert min(picture.size) > 100


def test_what_needs_relevant_features_is_blank_where_nothing_was_learnt(finished: Path) -> None:
    results = finished / "results" / "vebi" / "an8flower_single_6c"
    table = pd.read_csv(results / "table.csv").pivot(index="explainer", columns="metric", values="mean")
    of_features = ["ablation_relevant", "ablation_random", "ablation_least", "read_out"]
    assert table.loc["random", of_features].isna().all()
    assert table.drop("random").notna().all().all()
    assert table.drop(columns=of_features).notna().all().all()
    assert "Blank:" in (results / "table.md").read_text()


def test_what_was_learnt_serves_both_ways_back_to_the_image(finished: Path) -> None:
    assert len(relevances(finished)) == 1
    features = pd.read_csv(finished / "results" / "vebi" / "an8flower_single_6c" / "features.csv")
    learnt = features[COLUMNS].drop(columns="explainer")
    ours, old = (learnt[features["explainer"] == name].reset_index(drop=True) for name in ("vebi", "vebi_unresampled"))
    assert ours.equals(old)


def test_a_second_run_computes_nothing(finished: Path, tmp_path: Path) -> None:
    before = written(finished)
    ended = run(*FLOWERS, store=finished, results=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("there already") == 3
    assert written(finished) == before
    first = finished / "results" / "vebi" / "an8flower_single_6c"
    for path in first.rglob("*.*"):
        again = tmp_path / "vebi" / "an8flower_single_6c" / path.relative_to(first)
        assert again.read_bytes() == path.read_bytes(), path.name


def test_settings_are_compared_on_validation_images(finished: Path, tmp_path: Path) -> None:
    learnt = relevances(finished)
    ended = run("experiment=vebi/settings", "explainer=vebi,vebi/top_1", *QUIET, store=finished, results=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert relevances(finished) == learnt  # what is shown of it is no matter of learning
    images = images_of(finished, "vebi")
    assert len(images["vebi/settings"]) == len(images["vebi/an8flower_single_6c"]) == 4
    assert images["vebi/settings"].isdisjoint(images["vebi/an8flower_single_6c"])
    results = tmp_path / "vebi" / "settings"
    assert figures_of(results) == {"examples", "scores", "curves", "ablation", "decoupled", "spectra"}
    assert list(pd.read_csv(results / "features.csv").columns) == COLUMNS  # nothing was interpreted
    provenance = json.loads((results / "provenance.json").read_text())
    assert list(provenance["cells"]) == [
        f"an8flower_single_6c flower_net {name} seed 0" for name in ("vebi", "vebi_top_1")
    ]


@pytest.mark.real_data
def test_digits_have_features_and_no_evidence(tmp_path: Path) -> None:
    ended = run("experiment=vebi/mnist", "explainer=vebi", *QUIET, store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    results = tmp_path / "results" / "vebi" / "mnist"
    sheets = {f"interpretation_{digit}" for digit in range(10)}
    assert figures_of(results) == {"examples", "scores", "curves", "ablation", "decoupled", *sheets}
    features = pd.read_csv(results / "features.csv")
    assert set(features["class"]) == set(range(10))
    assert features["purity"].between(0, 1).all()
    assert features["evidence"].isna().all()
    assert len(relevances(tmp_path)) == 1


def composed(*overrides: str) -> Any:
    """The config of a run, Hydra's own part included."""
    prepare()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides), return_hydra_config=True)


def name_of(file: Path) -> str:
    return f"{file.parent.name}/{file.stem}"


@pytest.mark.parametrize("file", VARIANTS, ids=name_of)
def test_a_variant_differs_in_one_setting_and_is_called_by_it(file: Path) -> None:
    explainer, other = (composed(f"explainer={name}").explainer for name in (file.parent.name, name_of(file)))
    assert other.name == f"{explainer.name}_{file.stem}"
    ours, theirs = (OmegaConf.to_container(each.build, resolve=True) for each in (explainer, other))
    assert len([key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)]) == 1
    assert other.keys() == explainer.keys()


def test_every_setting_is_compared() -> None:
    config = composed("experiment=vebi/settings")
    explainers = [name.strip() for name in config.hydra.sweeper.params.explainer.split(",")]
    assert len(set(explainers)) == len(explainers)
    assert {name for name in explainers if name.startswith("vebi")} == {"vebi", *map(name_of, SETTINGS)}


@pytest.mark.parametrize("file", SETTINGS, ids=name_of)
def test_the_layers_of_a_setting_are_those_of_the_network(file: Path) -> None:
    layers = OmegaConf.to_container(composed(f"explainer={name_of(file)}").explainer.build, resolve=True)["layers"]
    blocks, _ = layer_responses(FlowerNet(6).eval(), torch.rand(1, 3, 112, 112), layers)
    assert blocks
