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
# Of what states contributions by name, and of networks that have attribute maps.
STATED_METRICS = ("stated_", "typical_", "split_error")
MAP_METRICS = ("maps_",)
# Where two classes are seen, or a mask may be empty, an image may have no score.
MAY_BE_UNDEFINED = (
    *("class_overlap", "mass_accuracy", "pointing_game", "explanation_keeps", "gini", "entropy", "stability"),
    *("discrimination_mass", "discrimination_half"),
    *(
        "stated_rank",
        "stated_removal_faithful",
        "stated_removal_true",
    ),  # a network that says next to nothing ranks nothing
)
# What each network must reach on its test images.
ACCURACY = {
    ("mnist", "mnist_net"): 0.988,
    ("an8flower_single_6c", "flower_net"): 0.97,
    ("an8flower_double_12c", "flower_net"): 0.97,
    ("imagenet", "squeezenet1_1"): 0.54,
    ("imagenet", "mobilenet_v2"): 0.62,
}
# The R² that networks of landscapes must reach; those with a part left out may well be worse.
R2, R2_OF_PARTS = 0.6, 0.25
WHOLE = ("siam", "scene_regressor", "unconstrained_attributes")


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
        accuracy = model["accuracy"]
        if model["data"] == "landscapes":
            assert accuracy["test_r2"] >= (R2 if model["model"] in WHOLE else R2_OF_PARTS)
        elif model["data"] == "sun_photos":  # few photos; what is better than chance, the tables say
            assert 0 < accuracy.get("test_attribute_precision", 0.5) < 1
        else:
            assert accuracy["test"] >= ACCURACY[model["data"], model["model"]]


@pytest.mark.parametrize("results", RESULTS, ids=name_of)
def test_every_explainer_has_every_metric_that_applies_to_it(results: Path) -> None:
    scores, learnt = means(results), explainers_with_features(results)
    of_features = scores.columns.str.startswith(FEATURE_METRICS)
    of_evidence = scores.columns.str.startswith(EVIDENCE_METRICS)
    of_stated, of_maps = (scores.columns.str.startswith(names) for names in (STATED_METRICS, MAP_METRICS))
    explainers = scores.index.get_level_values("explainer")
    evident, learns, states = explainers.str.startswith("fgvis"), explainers.isin(learnt), explainers == "siam"
    maps = states
    if of_maps.any():
        beside = scores.index.get_level_values("model") == "unconstrained_attributes"
        maps = states | (beside & (explainers == "cam"))
    everywhere = ~of_features & ~of_evidence & ~of_stated & ~of_maps
    assert scores.loc[:, everywhere & ~scores.columns.isin(MAY_BE_UNDEFINED)].notna().all().all()
    for applies, metrics in ((learns, of_features), (evident, of_evidence), (states, of_stated), (maps, of_maps)):
        assert scores.loc[applies, metrics].notna().all().all()
        assert scores.loc[~applies, metrics].isna().all().all()


@pytest.mark.parametrize("results", RESULTS, ids=name_of)
def test_next_to_nothing_is_undefined_and_enough_is_scored(results: Path) -> None:
    table = pd.read_csv(results / "table.csv")
    strict = table[~table["metric"].isin(MAY_BE_UNDEFINED)]
    # A landscape may show nothing that counts, or a single thing, which ranks nothing.
    scenes = table["data"].iloc[0] == "landscapes"
    assert (strict["n_undefined"] <= (0.05 * strict["n"] if scenes else 0)).all()
    # Photographs are few at the quick scale: every one takes seconds.
    photographs = "imagenet" in table["data"].iloc[0] or table["data"].iloc[0] == "sun_photos"
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


def test_the_true_map_scores_best_where_it_is_known() -> None:
    table = means(ROOT / "results" / "scenicness")
    for _, part in table.groupby(level="model"):
        if "oracle" in part.index.get_level_values("explainer"):
            oracle = part.xs("oracle", level="explainer").iloc[0]
            known = ["map_correlation", "map_sign", "mass_accuracy", "average_precision"]
            assert oracle[known].tolist() == pytest.approx([1, 1, 1, 1])
            rest = part.drop("oracle", level="explainer")
            for metric in ("map_correlation", "map_sign", "attribute_sign", "attribute_rank"):
                assert (rest[metric] < oracle[metric]).all()


README_COLUMNS = ("average_precision", "iou_best", "pointing_game", "deletion_mean_colour", "insertion_mean_colour")


def test_readme_shows_the_ten_best_methods_of_the_committed_table() -> None:
    table = pd.read_csv(ROOT / "results" / "an8flower" / "table.csv").pivot(
        index="explainer", columns="metric", values="mean"
    )
    methods = table.drop(["random", "centre", "edges", "oracle"])
    best = methods.sort_values("average_precision", ascending=False, kind="stable").head(10)
    lines = [
        f"| {name} | {' | '.join(f'{row[column]:.3f}' for column in README_COLUMNS)} |" for name, row in best.iterrows()
    ]
    assert "\n".join(lines) in (ROOT / "README.md").read_text()
