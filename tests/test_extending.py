"""docs/extending.md works as written: a paper, a data set and a network outside the package."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from entry_point import ROOT, axes, run, written
from PIL import Image

BLOCK = re.compile(r"```(?:python|yaml)\n# file: (\S+)\n(.*?)```", re.DOTALL)
QUIET = ("scale=smoke", "logger=none")
# As axis of the sweep, so that the report looks for no other explainer.
[FEW] = axes(explainer="random,gradient")


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the files of docs/extending.md to a folder outside the repository, and return it."""
    folder = tmp_path_factory.mktemp("my_paper")
    for name, content in BLOCK.findall((ROOT / "docs" / "extending.md").read_text()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.fixture(autouse=True)
def on_python_path(paper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(paper))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


def search_path(paper: Path) -> str:
    return f"hydra.searchpath=[file://{paper / 'conf'}]"


def test_paper_appears_in_table_and_figures(paper: Path, store: Path) -> None:
    ended = run(search_path(paper), "experiment=rings", *QUIET, store=store)
    assert ended.returncode == 0, ended.stderr
    results = store / "results" / "rings"
    table = pd.read_csv(results / "table.csv").pivot(index="explainer", columns="metric", values="mean")
    assert set(table.index) == {"random", "oracle", "gradient", "rings"}
    assert table["mean_radius"].between(0, 1)["rings"]
    assert table["mean_radius"].drop("rings").isna().all(), "the metric applies only to explainers with a profile"
    assert table["average_precision"].notna().all()
    profiles = pd.read_csv(results / "profiles.csv")
    assert (set(profiles["explainer"]), len(profiles)) == ({"rings"}, 8)
    assert "profiles" in {file.stem for file in (results / "figures").iterdir()}
    assert "figures/profiles" in (results / "index.html").read_text()


def test_report_of_the_paper_is_rebuilt_byte_by_byte(paper: Path, store: Path, tmp_path: Path) -> None:
    ended = run(search_path(paper), "experiment=rings", "task=report", *QUIET, store=store, results=tmp_path)
    assert ended.returncode == 0, ended.stderr
    for name in ("table.csv", "profiles.csv"):
        assert (tmp_path / "rings" / name).read_bytes() == (store / "results" / "rings" / name).read_bytes()


def test_paper_explains_a_picture(paper: Path, store: Path) -> None:
    picture = store / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(picture)
    ended = run(search_path(paper), "task=explain", f"image={picture}", "explainer=rings", *QUIET, store=store)
    assert ended.returncode == 0, ended.stderr
    [folder] = (store / "results" / "explain").iterdir()
    assert len(json.loads((folder / "prediction.json").read_text())["profile"]) == 8
    assert {"profile.png", "overlay.png", "heatmap.png"} <= {file.name for file in folder.iterdir()}


@pytest.mark.slow
def test_paper_joins_another_experiment_without_changing_its_rows(paper: Path, store: Path, tmp_path: Path) -> None:
    flowers = ("experiment=an8flower", FEW, "metric=[average_precision]", *QUIET)
    ended = run(*flowers, store=store, results=tmp_path / "before")
    assert ended.returncode == 0, ended.stderr
    cells = written(store)
    ended = run(search_path(paper), *flowers, "explainer=rings", store=store, results=tmp_path / "after")
    assert ended.returncode == 0, ended.stderr
    assert cells.items() <= written(store).items(), "a cell of another explainer was computed again"
    before, after = (pd.read_csv(tmp_path / name / "an8flower" / "table.csv") for name in ("before", "after"))
    assert set(after["explainer"]) == {"random", "gradient", "rings"}
    assert set(after["metric"]) == set(before["metric"]), "the paper's own metric is not in other tables"
    pd.testing.assert_frame_equal(after[after["explainer"] != "rings"].reset_index(drop=True), before)


def test_edited_code_makes_only_the_cells_anew_that_depend_on_it(
    paper: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited = tmp_path / "edited"
    shutil.copytree(paper, edited)
    with open(edited / "rings" / "explainer.py", "a") as file:
        file.write("# edited\n")
    few = axes(explainer="gradient,rings", seed="0")
    ended = run(search_path(paper), "experiment=rings", *few, *QUIET, store=store, results=tmp_path)
    assert ended.returncode == 0, ended.stderr
    for folder in (paper, edited):
        monkeypatch.setenv("PYTHONPATH", str(folder))
        ended = run(search_path(folder), "experiment=rings", *few, *QUIET, store=store, results=tmp_path)
        assert ended.returncode == 0, ended.stderr
        lines = {line.split()[2]: line for line in ended.stderr.splitlines() if " seed " in line}
        assert "there already" in lines["gradient"]
        assert ("there already" in lines["rings"]) is (folder == paper)
    ended = run(search_path(edited), "experiment=rings", *few, "recompute=true", *QUIET, store=store, results=tmp_path)
    assert "there already" not in ended.stderr


def test_paper_is_unknown_without_the_search_path(store: Path, tmp_path: Path) -> None:
    ended = run("experiment=an8flower", FEW, "metric=[average_precision]", *QUIET, store=store, results=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "rings" not in (tmp_path / "an8flower" / "table.csv").read_text()
    assert run("explainer=rings", *QUIET, store=store).returncode == 1


def test_own_data_set_and_network_are_scored(paper: Path, tmp_path: Path) -> None:
    own = ("data=discs", "model=small_net", *axes(explainer="gradient,grad_cam,rings,oracle"))
    ended = run(search_path(paper), "experiment=an8flower", *own, *QUIET, store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    table = pd.read_csv(tmp_path / "results" / "an8flower" / "table.csv")
    assert set(table["data"] + " " + table["model"]) == {"discs small_net"}
    means = table.pivot(index="explainer", columns="metric", values="mean")
    assert means.loc["oracle", "average_precision"] == 1
    accuracy = json.loads((tmp_path / "results" / "an8flower" / "provenance.json").read_text())["models"][0]["accuracy"]
    assert accuracy["test"] > 0.9


def test_every_block_of_the_page_is_a_file(paper: Path) -> None:
    shown = (ROOT / "docs" / "extending.md").read_text()
    assert shown.count("# file: ") == len(
        [file for file in paper.rglob("*") if file.is_file() and "__pycache__" not in str(file)]
    )
