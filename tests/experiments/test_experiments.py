"""What holds for every experiment of conf/experiment, and for the run of every paper."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from entry_point import ROOT, run, written
from explainer_configs import explainer_of
from omegaconf import OmegaConf
from PIL import Image
from smoke_runs import (
    CONF,
    RUNS,
    SETTINGS,
    Run,
    axis,
    cells,
    different,
    experiments,
    requests,
    sweep_of,
)

from evident import store
from evident.cell_folder import SCORES
from evident.contracts import ForSomeNetworks

EXPLAINERS = CONF / "explainer"
IN_FOLDERS = sorted(EXPLAINERS.glob("*/*.yaml"))
VARIANTS = [file for file in IN_FOLDERS if file.parent.with_suffix(".yaml").is_file()]
# Rows that globs of explainers do not find, because they judge metrics, not networks.
APART = [file for file in IN_FOLDERS if file not in VARIANTS]


def name_of(file: Path) -> str:
    return file.relative_to(EXPLAINERS).with_suffix("").as_posix()


@pytest.mark.parametrize("experiment", experiments())
def test_experiment_is_named_after_its_file(experiment: str) -> None:
    assert sweep_of(experiment).experiment == experiment


@pytest.mark.parametrize("experiment", experiments())
def test_axes_name_existing_configs_and_cells_are_unique(experiment: str) -> None:
    every = [tuple(cell.items()) for cell in cells(experiment)]
    assert len(every) == len(set(every)) > 0
    for group in ("explainer", "model"):
        for name in axis(experiment, group):
            assert (CONF / group / f"{name}.yaml").is_file(), name
    assert axis(experiment, "explainer")


@pytest.mark.parametrize("experiment", experiments())
def test_cells_that_apply_differ_and_leave_out_no_model(experiment: str) -> None:
    # Cells of a model differ by the name of the explainer; without a list for each model, two of them are enough.
    every = requests(experiment, None if sweep_of(experiment).explainers_by_model else 2)
    applying = [request for request in every if request.applies]
    assert len({store.digest(request.identity) for request in applying}) == len(applying)
    assert {request.labels["model"] for request in applying} == {request.labels["model"] for request in every}
    applied = {request.labels["explainer"] for request in applying}
    for request in every:
        assert request.labels["explainer"] in applied or issubclass(request.explainer, ForSomeNetworks)


def test_names_of_explainers_are_unique() -> None:
    names = [OmegaConf.load(file).name for file in EXPLAINERS.rglob("*.yaml")]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("file", VARIANTS, ids=name_of)
def test_variant_is_named_after_its_explainer_and_differs_in_its_settings_only(file: Path) -> None:
    explainer, variant = (explainer_of(name) for name in (file.parent.name, name_of(file)))
    assert variant.name == f"{explainer.name}_{file.stem}"
    assert variant.keys() - {"title"} == explainer.keys() - {"title"}
    # As written: a variant may name the layer that one of the networks has chosen, and a setting may be the budget.
    written = (OmegaConf.to_container(each, resolve=False) for each in (explainer, variant))
    assert set(different(*written)) - {"budget", "build", "title"} == {"name"}
    assert OmegaConf.load(file).build  # a variant may name a default, so that it stays if the default changes
    assert variant.build._target_ == explainer.build._target_


@pytest.mark.parametrize("file", APART, ids=name_of)
def test_file_of_a_folder_without_an_explainer_is_a_reference_row(file: Path) -> None:
    apart = explainer_of(name_of(file))
    assert apart.name == f"{file.parent.name}_{file.stem}"
    assert apart.reference_row


@pytest.mark.parametrize("paper", RUNS)
def test_every_paper_has_a_folder_of_claims_and_experiments(paper: str) -> None:
    assert (ROOT / "experiments" / paper / "README.md").is_file()
    assert experiments(paper)


@pytest.mark.parametrize("paper", RUNS)
def test_report_has_every_cell_of_the_store(paper: str, run_of: Callable[[str], Run]) -> None:
    finished = run_of(paper)
    names = {tuple(cell.split()[1:3]) for cell in finished.cells}
    assert names == finished.folders().keys()
    assert len(names) == len(finished.cells)
    table = pd.read_csv(finished.results / "table.csv")
    assert set(zip(table["model"], table["explainer"], strict=True)) == names


@pytest.mark.parametrize("paper", RUNS)
def test_every_figure_is_an_image_in_the_gallery(paper: str, run_of: Callable[[str], Run]) -> None:
    finished = run_of(paper)
    files = set(finished.figures().values())
    drawn = set((finished.results / "figures").iterdir())
    assert files == {file for file in drawn if file.suffix != ".pdf"}
    assert {file.with_suffix(".webp") for file in drawn - files} <= files
    for file in files:
        with Image.open(file) as image:
            assert min(image.size) > 100


@pytest.mark.parametrize("paper", RUNS)
def test_second_run_computes_nothing_and_writes_the_same_bytes(
    paper: str, run_of: Callable[[str], Run], tmp_path: Path
) -> None:
    finished = run_of(paper)
    before = written(finished.store)
    ended = run(*finished.overrides, store=finished.store, results=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("there already") == len(finished.cells)
    assert written(finished.store) == before
    files = [file.relative_to(finished.results) for file in finished.results.rglob("*.*")]
    assert files
    for file in files:
        again = tmp_path / finished.experiment / file
        assert again.read_bytes() == (finished.results / file).read_bytes(), file


@pytest.mark.parametrize("paper", SETTINGS)
def test_settings_are_compared_on_validation_images(
    paper: str, run_of: Callable[[str], Run], settings_of: Callable[[str], Run]
) -> None:
    tested, compared = run_of(paper), settings_of(paper)
    [model] = {model for model, _ in tested.folders()}
    images = [set(of.folders()[model, paper].read(SCORES)["image"]) for of in (tested, compared)]
    assert [len(names) for names in images] == [4, 4]
    assert images[0].isdisjoint(images[1])
    asked = [name.replace("/", "_") for name in SETTINGS[paper].split(",")]
    assert compared.cells == [f"an8flower_single_6c {model} {name} seed 0" for name in asked]
