"""FGVis's experiments by the real entry point: what they leave behind, and the settings compared."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from entry_point import ROOT, run, written
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file

from evident.cli import prepare

QUIET = ("scale=smoke", "logger=none")
FLOWERS = ("experiment=fgvis/an8flower", "explainer=random,fgvis,fgvis/generation_undefended", *QUIET)
OF_EVIDENCE = ["explanation_score", "explanation_keeps", "complement_score", "mask_share", "colour_swap", "colour_grey"]
CONF = ROOT / "conf"
EXPERIMENTS = sorted((CONF / "experiment" / "fgvis").glob("*.yaml"))
VARIANTS = sorted((CONF / "explainer" / "fgvis").glob("*.yaml"))
GAMES = ("preservation", "generation", "deletion", "repression")
SETTINGS = [file for file in VARIANTS if not file.stem.startswith(GAMES)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the experiment on flowers, over a few explainers, results beside it."""
    store = tmp_path_factory.mktemp("fgvis")
    ended = run(*FLOWERS, store=store)
    assert ended.returncode == 0, ended.stderr
    return store


def figures_of(results: Path) -> set[str]:
    return {path.stem for path in (results / "figures").glob("*.png")}


def cells_of(store: Path, experiment: str) -> dict[str, Path]:
    """The cell of each explainer."""
    folders = {file.parent: pd.read_parquet(file) for file in store.glob("cells/*/scores.parquet")}
    of = {folder: scores.iloc[0] for folder, scores in folders.items()}
    return {row["explainer"]: folder for folder, row in of.items() if row["experiment"] == experiment}


def test_explanations_games_and_colours_are_figures_of_the_gallery(finished: Path) -> None:
    results = finished / "results" / "fgvis" / "an8flower"
    assert figures_of(results) == {"examples", "scores", "curves", "explanations", "games", "colour"}
    html = (results / "index.html").read_text()
    for name in figures_of(results):
        assert f'src="figures/{name}.png"' in html
        with Image.open(results / "figures" / f"{name}.png") as picture:
            assert min(picture.size) > 100


def test_what_needs_evidence_is_blank_where_an_explanation_is_no_image(finished: Path) -> None:
    results = finished / "results" / "fgvis" / "an8flower"
    table = pd.read_csv(results / "table.csv").pivot(index="explainer", columns="metric", values="mean")
    assert table.loc["random", OF_EVIDENCE].isna().all()
    assert table.drop(columns=OF_EVIDENCE).notna().all().all()
    assert table.loc[["fgvis", "fgvis_generation_undefended"], OF_EVIDENCE].notna().all().all()
    assert table.loc["fgvis", "explanation_keeps"] >= 0.9 - 1e-4  # what the search has it keep
    assert "Blank:" in (results / "table.md").read_text()


def test_every_image_that_is_shown_has_its_evidence(finished: Path) -> None:
    cells = cells_of(finished, "fgvis/an8flower")
    kept = load_file(cells["fgvis"] / "examples.safetensors")
    for name in ("evidence_masks", "explanations", "complements"):
        assert kept[name].shape == kept["images"].shape
    assert ((kept["explanation_scores"] >= 0.9 * kept["scores"] - 1e-4) & (kept["scores"] <= 1)).all()
    assert "explanations" not in load_file(cells["random"] / "examples.safetensors")


def test_colours_are_told_class_by_class(finished: Path) -> None:
    colours = pd.read_csv(finished / "results" / "fgvis" / "an8flower" / "colour.csv")
    assert list(colours.columns) == ["explainer", "data", "model", "seed", "target", "class", "metric", "mean", "n"]
    counts = colours.groupby(["explainer", "metric"])["n"].sum()
    ours = [(name, metric) for name in ("fgvis", "fgvis_generation_undefended") for metric in OF_EVIDENCE[-2:]]
    assert counts.to_dict() == dict.fromkeys(ours, 4)
    assert colours["class"].str.startswith("petals ").all()
    assert colours["mean"].between(-1, 1).all()


def test_a_second_run_computes_nothing(finished: Path, tmp_path: Path) -> None:
    before = written(finished)
    ended = run(*FLOWERS, store=finished, results=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("there already") == 3
    assert written(finished) == before
    first = finished / "results" / "fgvis" / "an8flower"
    for path in first.rglob("*.*"):
        again = tmp_path / "fgvis" / "an8flower" / path.relative_to(first)
        assert again.read_bytes() == path.read_bytes(), path.name


def test_settings_are_compared_on_validation_images(finished: Path, tmp_path: Path) -> None:
    ended = run("experiment=fgvis/settings", "explainer=fgvis,fgvis/keep_0.5", *QUIET, store=finished, results=tmp_path)
    assert ended.returncode == 0, ended.stderr
    images = [
        set(pd.read_parquet(cells_of(finished, name)["fgvis"] / "scores.parquet")["image"])
        for name in ("fgvis/settings", "fgvis/an8flower")
    ]
    assert [len(names) for names in images] == [4, 4]
    assert images[0].isdisjoint(images[1])
    provenance = json.loads((tmp_path / "fgvis" / "settings" / "provenance.json").read_text())
    told = [f"an8flower_single_6c flower_net {name} seed 0" for name in ("fgvis", "fgvis_keep_0.5")]
    assert list(provenance["cells"]) == told


@pytest.mark.real_data
def test_what_is_not_there_is_asked_for_beside_what_is(tmp_path: Path) -> None:
    ours = ["fgvis_generation", "fgvis_generation_undefended"]
    asked = "explainer=fgvis/generation,fgvis/generation_undefended"
    ended = run("experiment=fgvis/defence_mnist", asked, *QUIET, store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    results = tmp_path / "results" / "fgvis" / "defence_mnist"
    table = pd.read_csv(results / "table.csv").pivot(index="explainer", columns="metric", values="mean")
    assert list(table.index) == ours
    names = ("explanation_score", "complement_score", "mask_share")
    assert set(table.columns) == {
        f"defence_{kind}_{name}" for kind in ("predicted", "least_likely", "random") for name in names
    }
    assert ((table >= 0) & (table <= 1)).all(axis=None)
    assert {"explanations", "games"} <= figures_of(results)


def composed(*overrides: str) -> Any:
    """The config of a run, Hydra's own part included."""
    prepare()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides), return_hydra_config=True)


def swept(experiment: str, axis: str = "explainer") -> list[str]:
    return [name.strip() for name in composed(f"experiment={experiment}").hydra.sweeper.params[axis].split(",")]


def name_of(file: Path) -> str:
    return f"fgvis/{file.stem}"


@pytest.mark.parametrize("file", EXPERIMENTS, ids=name_of)
def test_an_experiment_is_called_by_its_file_and_compares_each_explainer_once(file: Path) -> None:
    assert composed(f"experiment={name_of(file)}").experiment == name_of(file)
    explainers = swept(name_of(file))
    assert len(set(explainers)) == len(explainers)
    for name in explainers:
        assert (CONF / "explainer" / f"{name}.yaml").is_file(), name


@pytest.mark.parametrize("file", VARIANTS, ids=name_of)
def test_a_variant_is_called_by_its_settings_and_differs_in_no_other(file: Path) -> None:
    explainer, other = (composed(f"explainer={name}").explainer for name in ("fgvis", name_of(file)))
    assert other.name == f"fgvis_{file.stem}"
    assert other.keys() == explainer.keys()
    ours, theirs = (OmegaConf.to_container(each.build, resolve=True) for each in (explainer, other))
    differ = {key: theirs[key] for key in theirs if ours.get(key) != theirs[key]}
    assert ours.keys() <= theirs.keys()
    game, _, undefended = file.stem.partition("_")
    if game in GAMES:
        assert undefended in ("", "undefended")
        expected = {} if game == ours["game"] else {"game": game}
        assert differ == expected | ({"defended": False} if undefended else {})
    else:
        setting, _, value = file.stem.rpartition("_")
        assert differ == {setting: pytest.approx(float(value))}


@pytest.mark.parametrize("experiment", ["fgvis/settings", "fgvis/settings_imagenet"])
def test_every_setting_is_compared(experiment: str) -> None:
    expected = {"random", "fgvis", "fgvis/preservation_undefended", *map(name_of, SETTINGS)}
    assert set(swept(experiment)) == expected
    assert composed(f"experiment={experiment}").explained.split == "val"


def test_every_game_is_compared_with_and_without_the_filter() -> None:
    every = {f"fgvis/{game}{suffix}" for game in GAMES for suffix in ("", "_undefended")}
    assert set(swept("fgvis/games")) == every - {"fgvis/preservation"} | {"fgvis"}


@pytest.mark.parametrize("experiment", ["fgvis/defence", "fgvis/defence_mnist"])
def test_what_is_not_there_has_to_look_as_convincing_as_what_is(experiment: str) -> None:
    config = composed(f"experiment={experiment}", "explainer=fgvis/generation")
    assert config.explainer.build.goal == "best"
    assert config.explainer.build.game == "generation"
    kept = {f"fgvis/{game}{suffix}" for game in GAMES[:3] for suffix in ("", "_undefended")}
    assert set(swept(experiment)) == kept - {"fgvis/preservation"} | {"fgvis"}
