"""What is special about VEBI's experiments: relevant features, their interpretation and ablation, and the settings."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from entry_point import axes, written
from explainer_configs import explainer_of
from omegaconf import OmegaConf
from smoke_runs import Run, axis, composed, different, finish, variants

from evident.models.flower_net import FlowerNet
from evident.relevance.responses import layer_responses
from evident.request import Request

COLUMNS = ["explainer", "data", "model", "seed", "target", "class", "rank", "place", "control", "m", "feature"]
COLUMNS += ["weight"]
MEANING = ["purity", "evidence", "purity_control", "evidence_control"]
COLOURS = ["blue", "pink", "red", "turquoise", "violet", "yellow"]
OF_FEATURES = ["ablation_relevant", "ablation_random", "ablation_least", "read_out"]
SETTINGS = [f"vebi/{file.stem}" for file in variants("vebi")]


@pytest.fixture
def finished(run_of: Callable[[str], Run]) -> Run:
    return run_of("vebi")


def relevances(of: Run) -> list[str]:
    return [name for name in written(of.store) if name.startswith("relevance/")]


def test_relevant_features_are_a_table_and_figures(finished: Run) -> None:
    sheets = {f"interpretation_petals_{colour}" for colour in COLOURS}
    assert finished.figures().keys() == {"examples", "scores", "curves", "ablation", "feature_maps", "spectra", *sheets}
    features = pd.read_csv(finished.results / "features.csv")
    assert list(features.columns) == [*COLUMNS, *MEANING]
    assert set(features["explainer"]) == {"vebi", "vebi_unresampled"}
    assert set(features["class"]) == {f"petals {colour}" for colour in COLOURS}
    assert features[MEANING[:2]].apply(lambda share: share.between(0, 1)).all(axis=None)
    assert (features.groupby(["explainer", "class"])["weight"].sum() <= 5.0001).all()  # mu


def test_ablation_is_reported_by_class(finished: Run) -> None:
    ablation = pd.read_csv(finished.results / "ablation.csv")
    assert list(ablation.columns) == ["explainer", "data", "model", "seed", "target", "metric", "mean", "n", "start"]
    counts = ablation.groupby(["explainer", "metric"])["n"].sum()
    assert counts.to_dict() == {
        (name, f"ablation_{choice}"): 4
        for name in ("vebi", "vebi_unresampled")
        for choice in ("relevant", "random", "least")
    }


def test_metrics_of_relevant_features_are_blank_for_other_explainers(finished: Run) -> None:
    table = finished.table()
    assert table.loc["random", OF_FEATURES].isna().all()
    assert table.drop("random").notna().all().all()
    assert table.drop(columns=OF_FEATURES).notna().all().all()


def test_both_deconvolutions_share_what_was_learned(finished: Run) -> None:
    assert len(relevances(finished)) == 1
    features = pd.read_csv(finished.results / "features.csv")
    learned = features[COLUMNS].drop(columns="explainer")
    ours, old = (learned[features["explainer"] == name].reset_index(drop=True) for name in ("vebi", "vebi_unresampled"))
    assert ours.equals(old)


def test_settings_need_no_interpretation_and_learn_nothing_new(
    finished: Run, settings_of: Callable[[str], Run]
) -> None:
    compared = settings_of("vebi")
    assert len(relevances(finished)) == 1  # the number of features shown changes nothing that is learned
    assert compared.figures().keys() == {"examples", "scores", "curves", "ablation", "feature_maps", "spectra"}
    assert list(pd.read_csv(compared.results / "features.csv").columns) == COLUMNS


@pytest.mark.real_data
def test_digits_have_features_but_no_evidence(tmp_path_factory: pytest.TempPathFactory) -> None:
    digits = finish("vebi/mnist", *axes(explainer="vebi"), store=tmp_path_factory.mktemp("digits"))
    sheets = {f"interpretation_{digit}" for digit in range(10)}
    assert digits.figures().keys() == {"examples", "scores", "curves", "ablation", "feature_maps", *sheets}
    features = pd.read_csv(digits.results / "features.csv")
    assert set(features["class"]) == set(range(10))
    assert features["purity"].between(0, 1).all()
    assert features["evidence"].isna().all()
    assert len(relevances(digits)) == 1


@pytest.mark.parametrize("name", [*SETTINGS, "lime/squares"])
def test_variant_differs_in_one_setting(name: str) -> None:
    builds = (explainer_of(explainer).build for explainer in (name.split("/")[0], name))
    assert len(different(*(OmegaConf.to_container(build, resolve=True) for build in builds))) == 1


def test_every_setting_is_compared() -> None:
    explainers = axis("vebi/settings", "explainer")
    assert {name for name in explainers if name.startswith("vebi")} == {"vebi", *SETTINGS}
    assert composed("experiment=vebi/settings").explained.split == "val"


@pytest.mark.parametrize("name", SETTINGS)
def test_layers_of_a_setting_exist_in_the_network(name: str) -> None:
    layers = OmegaConf.to_container(explainer_of(name).build, resolve=True)["layers"]
    blocks, _ = layer_responses(FlowerNet(6).eval(), torch.rand(1, 3, 112, 112), layers)
    assert blocks


def test_photographs_are_explained_by_all_layers_and_grids_have_scores_with_masks() -> None:
    singles, grids = (
        Request(composed(f"experiment=vebi/{name}", "model=resnet50", "explainer=vebi"))
        for name in ("imagenette", "imagenette_grids")
    )
    assert singles.config.explainer.build.layers == "all"
    assert singles.config.explainer.build.mu == 10
    assert singles.config.explainer.build == grids.config.explainer.build
    assert singles.network.identity == grids.network.identity  # so the relevance is learned once
    assert singles.metrics["ablation"].among_learned
    assert not singles.metrics.keys() & grids.metrics.keys()


@pytest.mark.real_data
def test_evidence_of_a_grid_of_photographs_is_a_quarter(tmp_path: Path) -> None:
    few = axes(explainer="oracle,random,grad_cam", model="squeezenet1_1")
    table = finish("vebi/imagenette_grids", *few, store=tmp_path).table()
    assert table.loc["oracle", "average_precision"] == 1
    assert table.loc["random", "mass_accuracy"] == pytest.approx(0.25, abs=0.01)
    assert table.loc["grad_cam", "average_precision"] > 0.4
