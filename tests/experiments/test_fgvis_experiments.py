"""What is special about FGVis's experiments: explanations that are images, games, absent classes and the settings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf
from smoke_runs import Run, axis, composed, different, explainer_of, finish, variants

from evident.cell_folder import EVIDENCE, EXAMPLES

OF_EVIDENCE = ["explanation_score", "explanation_keeps", "complement_score", "mask_share", "colour_swap", "colour_grey"]
GAMES = ("preservation", "generation", "deletion", "repression")
VARIANTS = [f"fgvis/{file.stem}" for file in variants("fgvis")]
SETTINGS = [name for name in VARIANTS if not name.removeprefix("fgvis/").startswith(GAMES)]
# The games by name: those with files of their own at the top, and the others.
TOP = {"preservation": "fgvis", "deletion": "fgvis_deletion"}
FILTERED = {game: TOP.get(game, f"fgvis/{game}") for game in GAMES}
UNFILTERED = {game: f"fgvis/{game}_undefended" for game in GAMES}


@pytest.fixture
def finished(run_of: Callable[[str], Run]) -> Run:
    return run_of("fgvis")


def build(name: str) -> dict[str, Any]:
    settings: Any = OmegaConf.to_container(explainer_of(name).build, resolve=True)
    return settings


def test_explanations_games_and_colours_are_figures(finished: Run) -> None:
    assert finished.figures().keys() == {"examples", "scores", "curves", "explanations", "games", "colour"}


def test_metrics_of_evidence_are_blank_for_explainers_without_evidence(finished: Run) -> None:
    table = finished.table()
    assert table.loc["random", OF_EVIDENCE].isna().all()
    assert table.drop(columns=OF_EVIDENCE).notna().all().all()
    assert table.loc[["fgvis", "fgvis_generation_undefended"], OF_EVIDENCE].notna().all().all()
    assert table.loc["fgvis", "explanation_keeps"] >= 0.9 - 1e-4  # the search ensures this
    assert "Blank:" in (finished.results / "table.md").read_text()


def test_every_example_keeps_its_evidence(finished: Run) -> None:
    folders = {explainer: folder for (_, explainer), folder in finished.folders().items()}
    images, kept = folders["fgvis"].read(EXAMPLES)["images"], folders["fgvis"].read(EVIDENCE)
    for name in ("mask", "explanation", "complement"):
        assert kept[name].shape == images.shape
    assert ((kept["explanation_score"] >= 0.9 * kept["score"] - 1e-4) & (kept["score"] <= 1)).all()
    assert not folders["random"].has(EVIDENCE)


def test_colours_are_reported_by_class(finished: Run) -> None:
    colours = pd.read_csv(finished.results / "colour.csv")
    assert list(colours.columns) == ["explainer", "data", "model", "seed", "target", "class", "metric", "mean", "n"]
    counts = colours.groupby(["explainer", "metric"])["n"].sum()
    ours = [(name, metric) for name in ("fgvis", "fgvis_generation_undefended") for metric in OF_EVIDENCE[-2:]]
    assert counts.to_dict() == dict.fromkeys(ours, 4)
    assert colours["class"].str.startswith("petals ").all()
    assert colours["mean"].between(-1, 1).all()


@pytest.mark.real_data
def test_absent_classes_are_scored_beside_the_present_one(tmp_path: Path) -> None:
    digits = finish("fgvis/defence_mnist", "explainer=fgvis/generation,fgvis/generation_undefended", store=tmp_path)
    table = digits.table()
    assert list(table.index) == ["fgvis_generation", "fgvis_generation_undefended"]
    names = ("explanation_score", "complement_score", "mask_share")
    assert set(table.columns) == {
        f"defence_{kind}_{name}" for kind in ("predicted", "least_likely", "random") for name in names
    }
    assert ((table >= 0) & (table <= 1)).all(axis=None)
    assert {"explanations", "games"} <= digits.figures().keys()


@pytest.mark.parametrize("name", [*VARIANTS, "fgvis_deletion"])
def test_variant_is_named_after_its_settings_and_differs_in_no_other(name: str) -> None:
    stem = name.removeprefix("fgvis")[1:]
    ours, theirs = build("fgvis"), build(name)
    assert ours.keys() <= theirs.keys()
    game, _, undefended = stem.partition("_")
    if game in GAMES:
        assert undefended in ("", "undefended")
        expected = {} if game == ours["game"] else {"game": game}
        assert different(ours, theirs) == expected | ({"defended": False} if undefended else {})
    else:
        setting, _, value = stem.rpartition("_")
        assert different(ours, theirs) == {setting: pytest.approx(float(value))}


@pytest.mark.parametrize("experiment", ["fgvis/settings", "fgvis/settings_imagenet"])
def test_every_setting_is_compared(experiment: str) -> None:
    assert set(axis(experiment, "explainer")) == {"random", "fgvis", UNFILTERED["preservation"], *SETTINGS}
    assert composed(f"experiment={experiment}").explained.split == "val"


def test_every_game_is_compared_with_and_without_the_filter() -> None:
    assert set(axis("fgvis/games", "explainer")) == {*FILTERED.values(), *UNFILTERED.values()}


@pytest.mark.parametrize("experiment", ["fgvis/defence", "fgvis/defence_mnist"])
def test_absent_classes_have_to_reach_the_score_of_the_best_class(experiment: str) -> None:
    config = composed(f"experiment={experiment}", "explainer=fgvis/generation")
    assert config.explainer.build.goal == "best"
    assert config.explainer.build.game == "generation"
    games = {name for game in GAMES[:3] for name in (FILTERED[game], UNFILTERED[game])}
    assert set(axis(experiment, "explainer")) == games
