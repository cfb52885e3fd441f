"""The report of toy sections: what it writes, and in which order it unites what cells ask for."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure
from report_samples import finished_cell

from evident.cell_folder import NETWORK
from evident.errors import UserError
from evident.report.build import sections_of, write
from evident.report.experiment import Cell, Experiment
from evident.report.sections.contract import Part, PicturePart, Section


class Counted(Section):
    """Report how many cells there are under `name`: as a table, as a figure and as a line of text."""

    def __init__(self, name: str) -> None:
        self.name = name

    def report(self, experiment: Experiment) -> Part:
        figure = Figure(figsize=(1, 1))
        figure.text(0, 0, self.name)
        table = pd.DataFrame({"cells": [len(experiment.cells)], "share": [1 / 3]})
        return Part({self.name: table}, {f"{self.name}_figure": figure}, f"\n{self.name}: {len(experiment.cells)}\n")


class Paged(Section):
    """Write a folder with a page and a picture, which it names."""

    def __init__(self, picture: str = "a") -> None:
        self.picture_name = picture

    def report(self, experiment: Experiment) -> Part:
        return Part(folders={"all_maps": {"index.html": b"<html>", f"tiles/{self.picture_name}.webp": b"1"}})


class Silent(Section):
    """Have nothing to report."""


def counted(name: str) -> dict[str, Any]:
    return {"_target_": f"{__name__}.Counted", "name": name}


def cell_of(root: Path, explainer: str, sections: dict[str, Any], seed: int = 0) -> Cell:
    network = {"hash": f"h{seed}", "accuracy": {"test": 0.875}, "classes": ["cat", "dog"]}
    config = {"experiment": "toy", "scale": {"name": "smoke"}, "section": sections}
    cell = finished_cell(root, explainer, seed=seed, products={NETWORK: network}, config=config)
    (cell.folder.path / "environment.json").write_text('{"torch": "2"}')
    return cell


def report(cells: Sequence[Cell], results: Path, *overrides: str) -> str:
    return write(Experiment(cells, overrides=overrides), results)


def test_every_section_adds_its_tables_figures_and_text(tmp_path: Path) -> None:
    sections = {"second": counted("second"), "silent": {"_target_": f"{__name__}.Silent"}, "first": counted("first")}
    text = report([cell_of(tmp_path, name, sections) for name in ("rise", "cam")], tmp_path / "results")
    assert text == "# toy (smoke): net seed 0 on photos: 87.50% test accuracy\n\nsecond: 2\n\nfirst: 2\n"
    assert (tmp_path / "results" / "table.md").read_text() == text
    for name in ("first", "second"):
        assert (tmp_path / "results" / f"{name}.csv").read_text() == "cells,share\n2,0.333333\n"
    written = {str(file.relative_to(tmp_path / "results")) for file in (tmp_path / "results").rglob("*.*")}
    assert written == {
        *("table.md", "index.html", "provenance.json", "first.csv", "second.csv"),
        *("figures/first_figure.webp", "figures/second_figure.webp"),
    }
    page = (tmp_path / "results" / "index.html").read_text()
    assert page.index("second_figure.webp") < page.index("first_figure.webp")


@pytest.mark.parametrize(
    ("measures", "classes", "guesses"),
    [
        ({"test": 0.25}, 4, True),
        ({"test": 0.32}, 4, True),  # 9 % of the way from 25 to 100 %
        ({"test": 0.33}, 4, False),
        ({"test": 0.33}, 1000, False),
        ({"test": 0.54}, 2, True),
        ({"test": 0.56}, 2, False),
        ({"test_r2": 0.09}, 1, True),
        ({"test_r2": 0.11}, 1, False),
        ({}, 4, False),  # it is not known
    ],
)
def test_networks_that_predict_hardly_better_than_chance_are_named_in_a_caution(
    tmp_path: Path, measures: dict[str, float], classes: int, guesses: bool
) -> None:
    network = {"hash": "h", "accuracy": measures, "classes": list(map(str, range(classes))), "regression": False}
    cells = [cell_of(tmp_path, name, {"a": counted("a")}, seed=3) for name in ("rise", "cam")]
    for cell in cells:
        (cell.folder.path / NETWORK.file).write_text(json.dumps(network))
    _, *cautions, number = report(cells, tmp_path / "results").split("\n\n")
    named = ["**Caution**: net seed 3 on photos predicts hardly better than chance."] if guesses else []
    assert [caution.partition(" There")[0] for caution in cautions] == named
    assert number == "a: 2\n"


def test_tables_that_are_not_kept_stay_as_they_are(tmp_path: Path) -> None:
    cells = [cell_of(tmp_path, "cam", {"a": counted("curves"), "b": counted("table")})]
    results = tmp_path / "results"
    write(Experiment(cells), results)
    for name in ("curves.csv.gz", "table.csv"):
        (results / name).write_bytes(b"as it is")
    write(Experiment(cells), results, figures=False, as_they_are=("curves",))
    assert (results / "curves.csv.gz").read_bytes() == b"as it is"
    assert (results / "table.csv").read_text() == "cells,share\n1,0.333333\n"


def test_sections_of_different_cells_are_united_in_order(tmp_path: Path) -> None:
    one = cell_of(tmp_path, "cam", {"a": counted("a"), "b": counted("b")})
    other = cell_of(tmp_path, "rise", {"b": counted("other b"), "c": counted("c"), "a": counted("other a")})
    assert [section.name for section in sections_of([one, other]) if isinstance(section, Counted)] == ["a", "b", "c"]
    text = report([other, one], tmp_path / "results")
    assert text.endswith("\na: 2\n\nb: 2\n\nc: 2\n")
    assert {file.stem for file in (tmp_path / "results").glob("*.csv")} == {"a", "b", "c"}


def test_folder_of_a_section_is_written_whole_and_its_page_linked(tmp_path: Path) -> None:
    results = tmp_path / "results"
    for picture in ("a", "b"):
        sections = {"paged": {"_target_": f"{__name__}.Paged", "picture": picture}}
        report([cell_of(tmp_path / picture, "cam", sections)], results)
    assert (results / "all_maps" / "index.html").read_bytes() == b"<html>"
    assert [file.name for file in (results / "all_maps" / "tiles").iterdir()] == ["b.webp"]
    assert '<a href="all_maps/index.html">all maps</a>' in (results / "index.html").read_text()


def test_two_sections_cannot_write_one_folder(tmp_path: Path) -> None:
    sections = {name: {"_target_": f"{__name__}.Paged"} for name in ("one", "other")}
    with pytest.raises(RuntimeError, match="two sections write all_maps"):
        report([cell_of(tmp_path, "cam", sections)], tmp_path / "results")


def test_report_does_not_depend_on_the_order_of_cells(tmp_path: Path) -> None:
    cells = [cell_of(tmp_path, name, {"a": counted("a")}, seed) for name in ("rise", "cam") for seed in (1, 0)]
    written = []
    for folder, order in {"one": cells, "other": cells[::-1]}.items():
        report(order, tmp_path / folder)
        files = sorted((tmp_path / folder).rglob("*.*"))
        written.append({str(file.relative_to(tmp_path / folder)): file.read_bytes() for file in files})
    assert written[0] == written[1]


def test_provenance_names_command_environments_networks_and_cells(tmp_path: Path) -> None:
    cells = [cell_of(tmp_path, name, {}, seed) for name in ("rise", "cam") for seed in (1, 0)]
    (cells[0].folder.path / "environment.json").write_text('{"torch": "3"}')
    overrides = ["experiment=toy", "scale=smoke", "paths.store=s", "task=report", "logger=none", "hydra.mode=MULTIRUN"]
    report(cells, tmp_path / "results", *overrides)
    assert json.loads((tmp_path / "results" / "provenance.json").read_text()) == {
        "experiment": "toy",
        "scale": "smoke",
        "command": "python run.py experiment=toy scale=smoke",
        "environments": [{"torch": "2"}, {"torch": "3"}],
        "seeds": [0, 1],
        "models": [
            {"data": "photos", "model": "net", "seed": seed, "hash": f"h{seed}", "accuracy": {"test": 0.875}}
            for seed in (0, 1)
        ],
        "cells": {
            f"photos net {name} seed {seed}": f"photos_net_{name}_{seed}" for name in ("cam", "rise") for seed in (0, 1)
        },
    }


def test_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write to .*set paths.results to a writable folder"):
        report([cell_of(tmp_path, "cam", {})], tmp_path / "file" / "results")


def test_section_adds_nothing_unless_it_says_so(tmp_path: Path) -> None:
    cell = cell_of(tmp_path, "cam", {})
    assert Silent().report(Experiment([cell])) == Part({}, {}, "", {})
    assert Silent().picture(cell) == PicturePart({}, {}, {})


def test_compressed_table_replaces_the_plain_one_of_an_earlier_version(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    (results / "curves.csv").write_text("old")
    report([cell_of(tmp_path, "cam", {"curves": counted("curves")})], results)
    assert {file.name for file in results.glob("*.csv*")} == {"curves.csv.gz"}
    assert '<a href="curves.csv.gz">curves</a>' in (results / "index.html").read_text()
