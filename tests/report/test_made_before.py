"""A report is left as it is only while cells, command, code, packages and its own files are the same."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf
from report_samples import finished_cell

from evident.report import made_before
from evident.report.experiment import Cell, Experiment
from evident.report.kept_scores import LeftOut
from evident.report.made_before import MadeBefore

LEFT_OUT: LeftOut = {"0123": ("grad_cam", "vit on photos", "it has no convolution")}
Report = tuple[DictConfig, list[Cell], LeftOut]
COMMAND = ["seed=0,1"]


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    """Return what a report was made of; its files are written, and it is remembered."""
    monkeypatch.setattr(made_before, "ROOT", tmp_path / "project")
    write(tmp_path / "project" / "src" / "module.py")
    write(tmp_path / "project" / "conf" / "config.yaml")
    config = OmegaConf.create(
        {
            "experiment": "paper/flowers",
            "gallery": "results",
            "paths": {"store": str(tmp_path / "store"), "results": str(tmp_path / "results")},
            "hydra": {"searchpath": []},
        }
    )
    cells = [finished_cell(tmp_path / "cells", explainer) for explainer in ("gradient", "rise")]
    for cell in cells:
        (cell.folder.path / "environment.json").write_text('{"commit": "one"}')
    for name in ("paper/flowers/table.md", "paper/flowers/figures/scores.webp", "scores/paper/flowers.zip"):
        write(tmp_path / "results" / name)
    made(config, cells, LEFT_OUT).remember()
    return config, cells, LEFT_OUT


def made(config: DictConfig, cells: list[Cell], left_out: LeftOut, command: Sequence[str] = COMMAND) -> MadeBefore:
    return MadeBefore(config, Experiment(cells, overrides=command), left_out)


def write(path: Path, text: str = "as it was") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_same_report_is_there_and_gives_its_text(report: Report) -> None:
    assert made(*report).is_there
    assert made(*report).text() == "as it was"


def test_order_of_the_cells_and_places_do_not_matter(report: Report) -> None:
    config, cells, left_out = report
    assert made(config, cells[::-1], left_out, [*COMMAND, "paths.store='store'", "logger=none"]).is_there


def test_what_python_compiles_does_not_matter(report: Report, tmp_path: Path) -> None:
    write(tmp_path / "project" / "src" / "__pycache__" / "module.cpython-311.pyc.1234")
    assert made(*report).is_there


def test_nothing_is_there_before_it_is_remembered(report: Report, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "store")
    assert not made(*report).is_there


@pytest.mark.parametrize(
    "file",
    [
        *("project/src/module.py", "project/conf/config.yaml", "project/conf/explainer/new.yaml"),
        *(
            "results/paper/flowers/table.md",
            "results/paper/flowers/figures/new.webp",
            "results/scores/paper/flowers.zip",
        ),
        "cells/photos_net_rise_0/environment.json",
    ],
)
def test_changed_or_new_file_asks_for_a_new_report(report: Report, tmp_path: Path, file: str) -> None:
    write(tmp_path / file, "changed")
    assert not made(*report).is_there


@pytest.mark.parametrize("file", ["paper/flowers/figures/scores.webp", "scores/paper/flowers.zip"])
def test_lost_file_asks_for_a_new_report(report: Report, tmp_path: Path, file: str) -> None:
    (tmp_path / "results" / file).unlink()
    assert not made(*report).is_there


@pytest.mark.parametrize(
    "change",
    [
        lambda config, cells, left_out: (config, cells[:1], left_out),
        lambda config, cells, left_out: (config, cells, {}),
        lambda config, cells, left_out: (config, cells, left_out, ["seed=0,1", "section=[scores]"]),
        lambda config, cells, left_out: (changed(config, "hydra.searchpath", ["file://own"]), cells, left_out),
        lambda config, cells, left_out: (changed(config, "gallery", "local"), cells, left_out),
        lambda config, cells, left_out: (changed(config, "experiment", "digits"), cells, left_out),
    ],
)
def test_other_cells_and_settings_ask_for_a_new_report(report: Report, change: Callable[..., Any]) -> None:
    assert not made(*change(*report)).is_there


def test_other_packages_ask_for_a_new_report(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made_before, "distributions", lambda: [])
    assert not made(*report).is_there


def changed(config: DictConfig, key: str, value: Any) -> DictConfig:
    config = config.copy()
    OmegaConf.update(config, key, value)
    return config
