"""Notebooks: they run from top to bottom at the smallest scale, and are committed with their figures."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from entry_point import ROOT
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def outputs_of(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def figures_in(notebook: nbformat.NotebookNode) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs_of(notebook))


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KernelManager]:
    """Start one kernel for all notebooks, because its imports take longer than most of them."""
    settings = {"EVIDENT_STORE": str(tmp_path_factory.mktemp("store")), "EVIDENT_SCALE": "smoke"}
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=ROOT / "notebooks", env={**os.environ, **settings, "OMP_NUM_THREADS": "1"})
    yield manager
    manager.shutdown_kernel(now=True)


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_notebook_runs_and_shows_as_many_figures_as_committed(file: Path, kernel: KernelManager) -> None:
    committed, notebook = (nbformat.read(file, as_version=4) for _ in range(2))
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))  # the names of the notebook before
    client = NotebookClient(notebook, timeout=300, km=kernel)
    run = client.execute()
    client.kc.stop_channels()
    assert figures_in(run) == figures_in(committed) > 0


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_committed_notebook_has_outputs_and_no_errors(file: Path) -> None:
    committed = nbformat.read(file, as_version=4)
    nbformat.validate(committed)
    assert all(cell.execution_count for cell in committed.cells if cell.cell_type == "code")
    assert not [
        output for output in outputs_of(committed) if output.output_type == "error" or output.get("name") == "stderr"
    ]
    assert file.stat().st_size < 3_000_000


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_first_cell_states_network_data_and_budget(file: Path) -> None:
    first = nbformat.read(file, as_version=4).cells[0]
    assert first.cell_type == "markdown"
    assert re.search(r"\*\*Shown\.\*\* \*Network\*: .+\*Data\*: .+\*Budget\*: .+\.", first.source, re.S)


def test_each_paper_the_own_baseline_and_the_results_have_a_notebook() -> None:
    # The trial of metrics reproduces no paper, and photographs are VEBI's.
    claims = {folder.parent.name for folder in (ROOT / "experiments").glob("*/claims.py")}
    papers = claims - {"metrics", "photographs"}
    assert {file.stem for file in NOTEBOOKS} == papers | {"add_a_baseline", "05_read_the_results"}
