"""The section of the gallery: for which data sets it is written, and where."""

import logging
from pathlib import Path

import pytest
import yaml
from entry_point import ROOT
from gallery_samples import shown_cell

from evident.cell_folder import EXAMPLES
from evident.errors import UserError
from evident.report.experiment import Cell, Experiment
from evident.report.sections.contract import Part
from evident.report.sections.gallery import Gallery

CONF = yaml.safe_load((ROOT / "conf" / "section" / "gallery.yaml").read_text())["gallery"]
SCORES = {"hit": [0.5, 0.25]}


def section(networks: int | None = None) -> Gallery:
    return Gallery(CONF["published"], CONF["longest"], networks)


def photographs(root: Path, where: str) -> Cell:
    return shown_cell(root, "rise", SCORES, data="imagenet", config={"gallery": where})


def test_only_rendered_data_and_digits_may_be_published(tmp_path: Path) -> None:
    names = {
        yaml.safe_load(path.read_text()).get("name", path.stem) for path in (ROOT / "conf" / "data").glob("*.yaml")
    }
    cells = {name: shown_cell(tmp_path, "rise", SCORES, data=name) for name in names if not name.startswith("${")}
    published = {name for name, cell in cells.items() if section().report(Experiment([cell])).folders}
    assert published == {
        *("an8flower_single_6c", "an8flower_double_12c", "an8flower_composites", "an8flower_grids"),
        *("an8flower_single_6c_shuffled", "mnist", "mnist_shuffled", "landscapes"),
    }


def test_gallery_is_a_page_a_script_and_tiles(tmp_path: Path) -> None:
    part = section().report(Experiment([shown_cell(tmp_path, "rise", SCORES)]))
    [(name, files)] = part.folders.items()
    assert name == "gallery"
    assert {Path(file).suffix for file in files} == {".html", ".js", ".webp"}
    assert not (tmp_path / "store").exists()


def test_photographs_are_not_published_and_a_line_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "evident"):
        part = section().report(Experiment([photographs(tmp_path, "results")]))
    assert part == Part()
    assert "gallery of imagenet: not written" in caplog.text
    assert "gallery=local" in caplog.text
    assert not (tmp_path / "store").exists()


def test_local_gallery_is_written_to_the_store_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "evident"):
        part = section().report(Experiment([photographs(tmp_path, "local")]))
    assert part == Part()
    [page] = (tmp_path / "store" / "gallery").rglob("index.html")
    assert str(page) in caplog.text
    assert (page.parent / "manifest.js").is_file()
    assert list(page.parent.glob("tiles/*.webp"))


def test_unknown_place_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gallery=here is unknown; use results, or local"):
        section().report(Experiment([photographs(tmp_path, "here")]))


def test_first_networks_of_each_model_are_shown(tmp_path: Path) -> None:
    cells = [shown_cell(tmp_path, "rise", SCORES, model=model, seed=seed) for model in ("a", "b") for seed in (11, 10)]
    text = section(networks=1).report(Experiment(cells)).folders["gallery"]["manifest.js"].decode()
    assert text.count('"seed":10') == 2
    assert '"seed":11' not in text


def test_cells_without_kept_images_have_no_gallery(tmp_path: Path) -> None:
    cell = shown_cell(tmp_path, "rise", SCORES)
    (cell.folder.path / EXAMPLES.file).unlink()
    assert section().report(Experiment([cell])) == Part()
