"""What is committed in results/ holds what the issue of the project's first table asks of it."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from entry_point import ROOT

RESULTS = sorted(path.parent for path in (ROOT / "results").rglob("provenance.json"))
MASK_METRICS = ["iou_area", "iou_best", "pointing_game", "mass_accuracy", "rank_accuracy", "average_precision"]

# Of what has learnt relevant features alone, and of what explains by an image alone.
FEATURE_METRICS = ("ablation_", "read_out")
EVIDENCE_METRICS = ("explanation_", "complement_", "mask_share", "colour_", "defence_")
# Where two classes are seen, or a mask may be empty, an image may have no score.
MAY_BE_UNDEFINED = (
    *("class_overlap", "mass_accuracy", "pointing_game", "explanation_keeps", "gini", "entropy", "stability"),
    *("discrimination_mass", "discrimination_half"),
)
# What each network must reach on its test images.
ACCURACY = {
    ("mnist", "mnist_net"): 0.988,
    ("an8flower_single_6c", "flower_net"): 0.97,
    ("an8flower_double_12c", "flower_net"): 0.97,
    ("imagenet", "squeezenet1_1"): 0.54,
    ("imagenet", "mobilenet_v2"): 0.62,
}


def name_of(results: Path) -> str:
    return results.relative_to(ROOT / "results").as_posix()


def means(results: Path) -> pd.DataFrame:
    table = pd.read_csv(results / "table.csv")
    several = ["data", "model"] if table[["data", "model"]].drop_duplicates().shape[0] > 1 else []
    return table.pivot(index=[*several, "explainer"], columns="metric", values="mean")


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
    assert provenance["models"]
    for model in provenance["models"]:
        assert model["accuracy"]["test"] >= ACCURACY[model["data"], model["model"]]


@pytest.mark.parametrize("results", RESULTS, ids=name_of)
def test_every_explainer_has_every_metric_that_applies_to_it(results: Path) -> None:
    scores, learnt = means(results), explainers_with_features(results)
    of_features = scores.columns.str.startswith(FEATURE_METRICS)
    of_evidence = scores.columns.str.startswith(EVIDENCE_METRICS)
    explainers = scores.index.get_level_values("explainer")
    evident, learns = explainers.str.startswith("fgvis"), explainers.isin(learnt)
    assert scores.loc[:, ~of_features & ~of_evidence & ~scores.columns.isin(MAY_BE_UNDEFINED)].notna().all().all()
    for applies, metrics in ((learns, of_features), (evident, of_evidence)):
        assert scores.loc[applies, metrics].notna().all().all()
        assert scores.loc[~applies, metrics].isna().all().all()


@pytest.mark.parametrize("results", RESULTS, ids=name_of)
def test_next_to_nothing_is_undefined_and_enough_is_scored(results: Path) -> None:
    table = pd.read_csv(results / "table.csv")
    strict = table[~table["metric"].isin(MAY_BE_UNDEFINED)]
    assert (strict["n_undefined"] == 0).all()
    # Photographs are few at the quick scale: every one takes seconds.
    photographs = "imagenet" in table["data"].iloc[0]
    assert (table["n"] + table["n_undefined"]).min() >= (8 if photographs else 60)


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
