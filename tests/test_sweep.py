"""Sweeps through the entry point: complete, interrupted, failing in part and parallel ones give the same bytes."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from entry_point import ROOT, SECONDS, Started, axes, command, made_once, options, run, written

from evident.cell_folder import EXAMPLES, SCORES, CellFolder

# As axis of the sweep, so that the report looks for no other explainer.
[FEW] = axes(explainer="random,oracle,gradient,grad_cam")
MASK_METRICS = ("iou_area", "iou_best", "pointing_game", "mass_accuracy", "rank_accuracy", "average_precision")
# Every metric of masks, and curves.
QUIET = ("scale=smoke", "logger=none", f"metric=[{','.join(MASK_METRICS)},perturbation_blur]")
TABLES = ["table.csv", "table.md", "significance.csv.gz", "curves.csv.gz"]
COLUMNS = ["experiment", "data", "model", "explainer", "seed", "image", "target", "metric", "axis", "at", "value"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run an uninterrupted sweep over a few explainers and return its store, which holds the results too."""

    def finish(store: Path) -> None:
        ended = run(FEW, *QUIET, store=store)
        assert ended.returncode == 0, ended.stderr
        assert "| gradient |" in ended.stdout

    return made_once(tmp_path_factory, "finished", finish)


def results_of(store: Path) -> Path:
    return store / "results" / "an8flower"


def test_sweep_writes_tables_figures_and_provenance(finished: Path) -> None:
    results = results_of(finished)
    names = {path.name for path in results.iterdir() if path.is_file()}
    assert names == {*TABLES, "sameness.csv", "cost.csv", "provenance.json", "index.html"}
    figures = {path.name for path in (results / "figures").iterdir()}
    assert figures == {"examples.webp", "scores.webp", "scores.pdf", "curves.webp", "curves.pdf"}
    provenance = json.loads((results / "provenance.json").read_text())
    assert len(provenance["cells"]) == 4
    assert provenance["seeds"] == [0]
    assert provenance["models"][0]["accuracy"]["test"] >= 0


def test_scores_have_one_value_per_image_metric_and_position(finished: Path) -> None:
    for done in finished.glob("cells/*/DONE"):
        scores = CellFolder(done.parent).read(SCORES)
        assert list(scores.columns) == COLUMNS
        assert ((scores["axis"] == "") == scores["at"].isna()).all()
        assert not scores.duplicated(["image", "metric", "axis", "at"]).any()
        assert (scores.groupby("metric")["image"].nunique() == 4).all()


def test_oracle_scores_one_and_others_less(finished: Path) -> None:
    table = pd.read_csv(results_of(finished) / "table.csv")
    labels = ["explainer", "data", "model", "metric", "direction"]
    statistics = ["mean", "ci_low", "ci_high", "se", "std", "n", "n_undefined", "networks", "seeds"]
    assert list(table.columns) == labels + statistics
    means = table.pivot_table("mean", "explainer", "metric")
    for metric in MASK_METRICS:
        assert means.loc["oracle", metric] == pytest.approx(1)
        assert means.drop("oracle")[metric].max() < 1


def test_random_scores_the_share_of_the_mask(finished: Path) -> None:
    table = pd.read_csv(results_of(finished) / "table.csv").set_index(["explainer", "metric"])["mean"]
    [cell] = [file.parent for file in finished.glob("cells/*/config.yaml") if "explainer: oracle" in file.read_text()]
    share = CellFolder(cell).read(EXAMPLES)["masks"].float().mean().item()
    for metric in ("mass_accuracy", "rank_accuracy", "average_precision"):
        assert table["random", metric] == pytest.approx(share, abs=0.01)


def test_second_run_computes_nothing(finished: Path) -> None:
    before = written(finished)
    for _ in range(2):  # the store may have moved since its report was written
        ended = run(FEW, *QUIET, store=finished)
        assert ended.returncode == 0, ended.stderr
        assert ended.stderr.count("there already") == 4
        assert "| gradient |" in ended.stdout
        assert written(finished) == before
    assert "an8flower: as the same cells and code wrote it before" in ended.stderr.replace("\n", " ")


def test_report_that_was_changed_by_hand_is_written_again(finished: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    for change in ("", "changed"):
        if change:
            (results / "an8flower" / "table.csv").write_text(change)
        ended = run(FEW, *QUIET, store=finished, results=results)
        assert ended.returncode == 0, ended.stderr
    for name in TABLES:
        assert (results / "an8flower" / name).read_bytes() == (results_of(finished) / name).read_bytes()


@pytest.mark.parametrize("task", ["sweep", "report"])
def test_nothing_is_launched_if_every_cell_is_there(finished: Path, tmp_path: Path, task: str) -> None:
    refused = "hydra/launcher=processes", "hydra.launcher.n_jobs=0"  # joblib refuses to start no processes
    ended = run(f"task={task}", FEW, *QUIET, *refused, store=finished, results=tmp_path)
    assert ended.returncode == 0, ended.stderr
    ended = run(f"task={task}", FEW, *QUIET, *refused, "model=none", store=finished, results=tmp_path)
    assert "model=none is unknown" in ended.stderr
    # A cell that is missing is launched, by a sweep, and named by a report.
    ended = run(f"task={task}", FEW, *QUIET, *refused, "seed=5", store=finished, results=tmp_path)
    assert ended.returncode != 0
    assert ("n_jobs == 0" in ended.stderr) is (task == "sweep")
    assert ("missing" in ended.stderr) is (task == "report")


def test_experiment_in_a_folder_has_report_and_scores_in_that_folder(finished: Path, tmp_path: Path) -> None:
    own = tmp_path / "conf" / "experiment" / "paper" / "few.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("# @package _global_\ndefaults: [/experiment/an8flower, _self_]\nexperiment: paper/few\n")
    given = ("experiment=paper/few", f"hydra.searchpath=[file://{tmp_path / 'conf'}]", FEW, *QUIET)
    ended = run(*given, store=finished, results=tmp_path)
    assert ended.returncode == 0, ended.stderr
    table = tmp_path / "paper" / "few" / "table.csv"
    assert table.read_text() == (results_of(finished) / "table.csv").read_text()
    assert (tmp_path / "scores" / "paper" / "few.zip").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"conf", "paper", "scores"}


def test_report_is_rebuilt_byte_by_byte(finished: Path, tmp_path: Path) -> None:
    ended = run("task=report", FEW, *QUIET, store=finished, results=tmp_path)
    assert ended.returncode == 0, ended.stderr
    for path in results_of(finished).rglob("*.*"):
        again = tmp_path / "an8flower" / path.relative_to(results_of(finished))
        assert again.read_bytes() == path.read_bytes(), path.name


def test_tables_are_rebuilt_from_kept_scores_without_the_store(finished: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    shutil.copytree(finished / "results", results)
    for table in results.glob("an8flower/table.*"):
        table.write_text("changed")
    ended = run("task=report", FEW, *QUIET, store=tmp_path / "empty", results=results)
    assert ended.returncode == 0, ended.stderr
    assert "tables from kept scores" in ended.stderr
    assert not list((tmp_path / "empty").glob("cells/*"))
    for path in results_of(finished).rglob("*.*"):
        assert (results / "an8flower" / path.relative_to(results_of(finished))).read_bytes() == path.read_bytes()
    # Without the kept scores the same command names what is missing; a sweep computes it.
    ended = run("task=report", FEW, *QUIET, store=tmp_path / "empty", results=tmp_path / "none")
    assert ended.returncode != 0
    assert ended.stderr.count("missing (") == 4


@pytest.mark.slow
def test_killed_sweep_continues_to_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    moments: list[Callable[[], bool]] = [
        lambda: any(tmp_path.glob("data/.*.making")),
        lambda: any(tmp_path.glob("models/.*.making")),
        lambda: any(tmp_path.glob("cells/.*.making")) and any(tmp_path.glob("models/*/DONE")),
        lambda: len(list(tmp_path.glob("cells/*/DONE"))) >= 2,
        lambda: len(list(tmp_path.glob("cells/*/DONE"))) == 4,
    ]
    for number, moment in enumerate(moments):
        made = written(tmp_path)
        assert kill_when(moment, tmp_path), f"the sweep ended before moment {number}"
        assert made.items() <= written(tmp_path).items(), "a finished artefact was made again"
    ended = run(FEW, *QUIET, store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert not list(tmp_path.glob("*/.*.making"))
    for name in TABLES:
        assert (results_of(tmp_path) / name).read_bytes() == (results_of(finished) / name).read_bytes(), name


def kill_when(moment: Callable[[], bool], store: Path) -> bool:
    """Start a sweep and kill it at `moment`; return whether that happened before it ended."""
    started = Started(FEW, *QUIET, store=store)
    while started.process.is_alive():
        if moment():
            started.process.kill()
            return started.ended().returncode == -signal.SIGKILL
        time.sleep(0.005)
    return False


def test_failure_of_a_cell_is_kept_and_other_cells_are_computed(finished: Path, tmp_path: Path) -> None:
    broken = ("explainer=gradient,grad_cam", "model.layer=no_such_layer")
    ended = run(FEW, *broken, *QUIET, store=finished, results=tmp_path)
    assert ended.returncode == 1
    [failed] = (finished / "cells").glob("*/FAILED")
    assert "no_such_layer" in failed.read_text()
    assert str(failed.parent) in ended.stderr
    assert "grad_cam seed 0: FAILED" in ended.stderr
    assert "| gradient |" in ended.stdout


def test_damaged_cell_is_named_and_not_changed(tmp_path: Path) -> None:
    store = tmp_path / "store"
    ended = run(*axes(explainer="random"), *QUIET, store=store)
    assert ended.returncode == 0, ended.stderr
    [scores] = store.glob("cells/*/scores.parquet")
    scores.write_bytes(scores.read_bytes()[:100])
    ended = run(*axes(explainer="random"), *QUIET, store=store)
    assert ended.returncode == 1
    assert f"{scores} is damaged; delete the folder {scores.parent} and run again" in ended.stderr
    assert scores.stat().st_size == 100


@pytest.mark.slow
def test_two_sweeps_at_once_share_a_store(finished: Path, tmp_path: Path) -> None:
    sweeps = [Started(FEW, *QUIET, store=tmp_path, results=tmp_path / f"results{number}") for number in range(2)]
    ended = [sweep.ended() for sweep in sweeps]
    assert [process.returncode for process in ended] == [0, 0], [process.stderr for process in ended]
    assert len(list(tmp_path.glob("models/*/DONE"))) == 1
    assert len(list(tmp_path.glob("cells/*/DONE"))) == 4
    for number in range(2):
        again = tmp_path / f"results{number}" / "an8flower" / "table.csv"
        assert again.read_bytes() == (results_of(finished) / "table.csv").read_bytes()


@pytest.mark.slow
def test_cells_in_parallel_processes_give_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    ended = subprocess.run(command(FEW, *QUIET, "hydra/launcher=processes", store=tmp_path), **options())
    assert ended.returncode == 0, ended.stderr
    for name in TABLES:
        assert (results_of(tmp_path) / name).read_bytes() == (results_of(finished) / name).read_bytes(), name


@pytest.mark.slow
def test_lost_worker_of_a_cluster_costs_only_its_cell(finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="needs hydra-submitit-launcher; run pip install '.[cluster]'")
    line = command(FEW, *QUIET, "hydra/launcher=submitit_local", store=tmp_path)
    with subprocess.Popen(line, **{**started(), "stderr": subprocess.PIPE}) as sweep:
        lost = kill_a_worker(sweep, tmp_path)
        assert sweep.stderr is not None
        printed = sweep.stderr.read()
    assert sweep.returncode == 1
    assert printed.splitlines()[-1].startswith("a worker was lost (Job ")
    assert "Traceback" not in printed
    # The jobs of the other cells go on without the sweep.
    until = time.monotonic() + 4 * SECONDS
    while len(kept := cells_of(tmp_path)) < 3 and time.monotonic() < until:
        time.sleep(0.1)
    assert len(kept) == 3
    assert lost not in kept
    assert [path.name for path in tmp_path.glob("cells/.*.making")] == [f".{lost}.making"]
    before = written(tmp_path)
    # Four interpreters start at once, on two cores that other tests use too.
    ended = subprocess.run(line, **{**options(), "timeout": 4 * SECONDS})
    assert ended.returncode == 0, ended.stderr
    assert not list(tmp_path.glob(".finished.*"))
    assert before.items() <= written(tmp_path).items(), "a finished artefact was made again"
    assert cells_of(tmp_path) == {*kept, lost}
    for name in TABLES:
        assert (results_of(tmp_path) / name).read_bytes() == (results_of(finished) / name).read_bytes(), name


def cells_of(store: Path) -> set[str]:
    return {done.parent.name for done in store.glob("cells/[!.]*/DONE")}


def started() -> dict:
    """Return the arguments of `subprocess.Popen` that fit those of `subprocess.run`."""
    given = options()
    return {name: given[name] for name in ("cwd", "env", "text")} | {"stdout": subprocess.DEVNULL}


def kill_a_worker(sweep: subprocess.Popen, store: Path) -> str:
    """Kill the process that computes a cell as soon as one does; return the cell's hash."""
    while sweep.poll() is None:
        for scratch in store.glob("cells/.*.making"):
            cell = scratch.name.removeprefix(".").removesuffix(".making")
            holder = holder_of(scratch.with_name(f".{cell}.lock"))
            # A cell waits for its network, and the first one makes it: that would be lost too.
            if holder is not None and any(store.glob("models/[!.]*/DONE")):
                os.kill(holder, signal.SIGKILL)
                return cell
        time.sleep(0.005)
    pytest.fail("the sweep ended before a worker computed a cell")


def holder_of(lock: Path) -> int | None:
    """Return the process that holds a file lock, by Linux's list of locks: number, kind, ..., pid, device:inode."""
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if fields[1] == "FLOCK" and fields[5].endswith(f":{lock.stat().st_ino}"):
            return int(fields[4])
    return None


def test_baseline_of_the_readme_joins_the_table(finished: Path, tmp_path: Path) -> None:
    [content] = re.findall(r"```yaml\n(# VarGrad.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    (tmp_path / "explainer").mkdir()
    (tmp_path / "explainer" / "var_grad.yaml").write_text(content)
    outside = f"hydra.searchpath=[file://{tmp_path}]"
    ended = run(outside, FEW, "explainer=var_grad", *QUIET, store=finished, results=tmp_path)
    assert ended.returncode == 0, ended.stderr
    for name in ("var grad", "gradient", "Grad-CAM"):
        assert f"| {name} |" in ended.stdout
    assert "FAILED" not in ended.stderr


def test_changed_setting_of_an_explainer_replaces_its_row_only(finished: Path, tmp_path: Path) -> None:
    changed = ("explainer=grad_cam", "explainer.build.layer=features.8")
    ended = run(FEW, *changed, *QUIET, store=finished, results=tmp_path)
    assert ended.returncode == 0, ended.stderr
    before, after = (
        pd.read_csv(folder / "an8flower" / "table.csv").set_index(["explainer", "metric"])["mean"]
        for folder in (finished / "results", tmp_path)
    )
    assert after.index.is_unique
    assert after["grad_cam", "iou_area"] != before["grad_cam", "iou_area"]
    assert after[after.index.get_level_values(0) != "grad_cam"].equals(before.drop("grad_cam", level=0))
    provenance = json.loads((tmp_path / "an8flower" / "provenance.json").read_text())
    assert "explainer.build.layer=features.8" in provenance["command"]


def test_two_seeds_train_two_networks_for_one_row_and_every_cell_is_logged(tmp_path: Path) -> None:
    ended = run(*axes(explainer="random,gradient"), "seed=0,1", "scale=smoke", store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert len(list(tmp_path.glob("models/*/DONE"))) == 2
    table = pd.read_csv(results_of(tmp_path) / "table.csv")
    assert set(table["seeds"]) == {"0 1"}
    assert set(table["n"]) == {8}
    assert set(table["networks"]) == {2}
    assert set(pd.read_csv(results_of(tmp_path) / "significance.csv.gz")["n"]) == {8}
    scores = pd.concat(map(pd.read_parquet, tmp_path.glob("cells/*/scores.parquet")))
    images = [set(of["image"]) for _, of in scores.groupby("seed")]
    assert [len(block) for block in images] == [4, 4]
    assert not images[0] & images[1]  # every network explains images of its own
    # The default loggers have a run for every cell.
    assert len(list(tmp_path.glob("logs/wandb/offline-run-*"))) == 4
    assert len(list(tmp_path.glob("logs/an8flower/*/metrics.csv"))) == 4


def test_tables_do_not_depend_on_the_order_of_the_sweep(finished: Path, tmp_path: Path) -> None:
    turned = "hydra.sweeper.params.explainer='grad_cam,gradient,random,oracle'"
    ended = run("task=report", turned, *QUIET, store=finished, results=tmp_path)
    assert ended.returncode == 0, ended.stderr
    for name in TABLES:
        assert (tmp_path / "an8flower" / name).read_bytes() == (results_of(finished) / name).read_bytes(), name


def test_report_needs_only_the_cells(finished: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(finished / "cells", store / "cells")
    ended = run("task=report", FEW, *QUIET, store=store)
    assert ended.returncode == 0, ended.stderr
    again = results_of(store) / "table.md"
    assert again.read_bytes() == (results_of(finished) / "table.md").read_bytes()


def test_interrupt_says_how_to_continue(tmp_path: Path) -> None:
    started = Started(FEW, "scale.data.an8flower.epochs=100000", *QUIET, store=tmp_path)
    while started.process.is_alive() and not any(tmp_path.glob("models/.*.making")):
        time.sleep(0.01)
    assert started.process.pid is not None
    # A bare `except` of a library may swallow an interrupt: then the user presses the keys again.
    for _ in range(10):
        time.sleep(1)
        os.kill(started.process.pid, signal.SIGINT)
        started.process.join(20)
        if not started.process.is_alive():
            break
    else:
        started.process.kill()
        pytest.fail("ten interrupts did not end the run")
    ended = started.ended()
    assert ended.returncode == 1
    assert ended.stderr.strip().endswith("stopped; the same command continues from here")


@pytest.mark.real_data
def test_mnist_has_no_mask_metrics(tmp_path: Path) -> None:
    digits = ("experiment=mnist", "scale=smoke", "logger=none", *axes(explainer="random,gradient,grad_cam,vebi"))
    ended = run(*digits, store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    table = pd.read_csv(tmp_path / "results" / "mnist" / "table.csv")
    assert {"iou_area", "pointing_game"}.isdisjoint(table["metric"])
    assert {"deletion_mean_colour", "insertion_blur"} <= set(table["metric"])
    assert table["mean"].notna().all()


@pytest.mark.slow
def test_default_experiment_runs_every_explainer(tmp_path: Path) -> None:
    ended = run(*QUIET, "metric=[mass_accuracy]", "section=[scores]", store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    table = pd.read_csv(results_of(tmp_path) / "table.csv")
    assert table["explainer"].nunique() == len(list(tmp_path.glob("cells/*/DONE"))) >= 18
