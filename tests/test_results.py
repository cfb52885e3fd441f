"""What is committed in results/ holds what the issue of the project's first table asks of it."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from entry_point import ROOT

RESULTS = sorted(path.parent for path in (ROOT / "results").rglob("provenance.json"))
MASK_METRICS = ["iou_area", "iou_best", "pointing_game", "mass_accuracy", "rank_accuracy", "average_precision"]

# Of what has learnt relevant features alone.
FEATURE_METRICS = ["ablation_relevant", "ablation_random", "ablation_least", "read_out"]


def name_of(results: Path) -> str:
    return results.relative_to(ROOT / "results").as_posix()


def means(results: Path) -> pd.DataFrame:
    return pd.read_csv(results / "table.csv").pivot(index="explainer", columns="metric", values="mean")


def explainers_with_features(results: Path) -> list[str]:
    file = results / "features.csv"
    return list(pd.read_csv(file)["explainer"].unique()) if file.exists() else []


@pytest.mark.parametrize("results", RESULTS, ids=name_of)
def test_they_were_made_by_committed_code(results: Path) -> None:
    provenance = json.loads((results / "provenance.json").read_text())
    for environment in provenance["environments"]:
        assert re.fullmatch("[0-9a-f]{40}", environment["commit"])


@pytest.mark.parametrize("results", RESULTS, ids=name_of)
def test_the_networks_are_as_good_as_they_must_be(results: Path) -> None:
    provenance = json.loads((results / "provenance.json").read_text())
    least = 0.988 if "mnist" in results.name else 0.97
    assert provenance["models"]
    for model in provenance["models"]:
        assert model["accuracy"]["test"] >= least


@pytest.mark.parametrize("results", RESULTS, ids=name_of)
def test_nothing_is_undefined_and_every_explainer_has_every_metric(results: Path) -> None:
    table = pd.read_csv(results / "table.csv")
    assert (table["n_undefined"] == 0).all()
    assert table["n"].min() >= 60
    scores, learnt = means(results), explainers_with_features(results)
    of_features = scores.columns.isin(FEATURE_METRICS)
    assert scores.loc[:, ~of_features].notna().all().all()
    assert scores.loc[learnt, of_features].notna().all().all()
    assert scores.drop(learnt).loc[:, of_features].isna().all().all()


@pytest.mark.parametrize("name", ["an8flower", "an8flower_double_12c"])
def test_the_reference_rows_lie_where_they_must(name: str) -> None:
    table = means(ROOT / "results" / name)
    assert (table.loc["oracle", MASK_METRICS] == 1).all()
    # Pointing at one pixel of the mask is all that the pointing game asks: a method may well equal the oracle there.
    assert (table.drop("oracle")[MASK_METRICS].drop(columns="pointing_game") < 1).all().all()
    # On maps of pure chance these three expect the share of the image that the mask covers: one number.
    chance = table.loc["random", ["mass_accuracy", "rank_accuracy", "average_precision"]]
    assert chance.max() - chance.min() < 0.005


def test_the_readme_shows_the_committed_table() -> None:
    table = (ROOT / "results" / "an8flower" / "table.md").read_text()
    shown = re.search(r"<!-- results/an8flower/table.md -->\n(.*?)<!-- end -->", (ROOT / "README.md").read_text(), re.S)
    body = "\n".join(line for line in table.splitlines() if line.startswith("|"))
    assert shown is not None
    assert body in shown.group(1)
