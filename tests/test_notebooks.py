"""The notebooks run from top to bottom, at the smallest scale, and show pictures."""

from pathlib import Path

import nbformat
import pytest
from entry_point import ROOT
from nbclient import NotebookClient

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def outputs_of(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def pictures_in(notebook: nbformat.NotebookNode) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs_of(notebook))


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs_as_it_is_written(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVIDENT_STORE", str(tmp_path))
    monkeypatch.setenv("EVIDENT_SCALE", "smoke")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    committed = nbformat.read(file, as_version=4)
    client = NotebookClient(
        nbformat.read(file, as_version=4), timeout=300, resources={"metadata": {"path": file.parent}}
    )
    run = client.execute()
    assert pictures_in(run) == pictures_in(committed) > 0


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_committed_notebook_shows_what_it_gave_and_no_error(file: Path) -> None:
    committed = nbformat.read(file, as_version=4)
    nbformat.validate(committed)
    assert all(cell.execution_count for cell in committed.cells if cell.cell_type == "code")
    assert not [
        output for output in outputs_of(committed) if output.output_type == "error" or output.get("name") == "stderr"
    ]
    assert file.stat().st_size < 3_000_000


def test_each_paper_has_a_tour_and_there_is_one_for_a_baseline_of_ones_own() -> None:
    papers = {folder.name for folder in (ROOT / "experiments").iterdir() if folder.is_dir()}
    assert {file.stem for file in NOTEBOOKS} == papers | {"add_a_baseline"}
