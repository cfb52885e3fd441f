"""The real entry point: sweeps that end, go on, fail in part, and give the same bytes."""

import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from entry_point import ROOT, Started, command, options, run, written
from safetensors.torch import load_file

FEW = "explainer=random,oracle,gradient,grad_cam"
QUIET = ("scale=smoke", "logger=none")
TABLES = ["table.csv", "table.md", "significance.csv", "curves.csv"]
COLUMNS = ["experiment", "data", "model", "explainer", "seed", "image", "target", "metric", "at", "value"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of an uninterrupted sweep over a few explainers, results beside it."""
    store = tmp_path_factory.mktemp("finished")
    ended = run(FEW, *QUIET, store=store)
    assert ended.returncode == 0, ended.stderr
    assert "| gradient |" in ended.stdout
    return store


def results_of(store: Path) -> Path:
    return store / "results" / "an8flower"


def test_a_sweep_leaves_tables_figures_and_provenance(finished: Path) -> None:
    results = results_of(finished)
    names = {path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file()}
    figures = {f"figures/{name}.png" for name in ("examples", "scores", "curves")}
    assert names == {*TABLES, "cost.csv", "provenance.json", "index.html", *figures}
    provenance = json.loads((results / "provenance.json").read_text())
    assert len(provenance["cells"]) == 4
    assert provenance["seeds"] == [0]
    assert provenance["models"][0]["accuracy"]["test"] >= 0


def test_scores_are_long_and_one_an_image(finished: Path) -> None:
    for file in (finished / "cells").glob("*/scores.parquet"):
        scores = pd.read_parquet(file)
        assert list(scores.columns) == COLUMNS
        assert not scores.duplicated(["image", "metric", "at"]).any()
        assert (scores.groupby("metric")["image"].nunique() == 4).all()


def test_the_reference_rows_lie_where_they_must(finished: Path) -> None:
    table = pd.read_csv(results_of(finished) / "table.csv")
    described = ["explainer", "data", "model", "metric", "direction"]
    counted = ["mean", "ci_low", "ci_high", "std", "n", "n_undefined", "seeds"]
    assert list(table.columns) == described + counted
    means = table.pivot_table("mean", "explainer", "metric")
    for metric in (
        "iou_area",
        "iou_best",
        "pointing_game",
        "mass_accuracy",
        "rank_accuracy",
        "average_precision",
    ):
        assert means.loc["oracle", metric] == pytest.approx(1)
        assert means.drop("oracle")[metric].max() < 1


def test_random_lies_at_its_expectation(finished: Path) -> None:
    table = pd.read_csv(results_of(finished) / "table.csv").set_index(["explainer", "metric"])["mean"]
    [cell] = [file.parent for file in finished.glob("cells/*/config.yaml") if "explainer: oracle" in file.read_text()]
    share = load_file(cell / "examples.safetensors")["masks"].float().mean().item()
    for metric in ("mass_accuracy", "rank_accuracy", "average_precision"):
        assert table["random", metric] == pytest.approx(share, abs=0.01)


def test_a_second_run_does_nothing_over_again(finished: Path) -> None:
    before = written(finished)
    ended = run(FEW, *QUIET, store=finished)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("there already") == 4
    assert written(finished) == before


def test_the_report_is_rebuilt_from_the_scores_alone(finished: Path, tmp_path: Path) -> None:
    ended = run("task=report", FEW, *QUIET, store=finished, results=tmp_path)
    assert ended.returncode == 0, ended.stderr
    for path in results_of(finished).rglob("*.*"):
        again = tmp_path / "an8flower" / path.relative_to(results_of(finished))
        assert again.read_bytes() == path.read_bytes(), path.name


def test_killed_at_any_moment_it_ends_with_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    moments: list[Callable[[], bool]] = [
        lambda: any(tmp_path.glob("data/.*.making")),
        lambda: any(tmp_path.glob("models/.*.making")),
        lambda: any(tmp_path.glob("cells/.*.making")) and any(tmp_path.glob("models/*/DONE")),
        lambda: len(list(tmp_path.glob("cells/*/DONE"))) >= 2,
        lambda: len(list(tmp_path.glob("cells/*/DONE"))) == 4,
    ]
    for number, moment in enumerate(moments):
        made = written(tmp_path)
        assert kill_when(moment, tmp_path), f"ended before moment {number} came"
        assert made.items() <= written(tmp_path).items(), "something done was made again"
    ended = run(FEW, *QUIET, store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert not list(tmp_path.glob("*/.*.making"))
    for name in TABLES:
        assert (results_of(tmp_path) / name).read_bytes() == (results_of(finished) / name).read_bytes(), name


def kill_when(moment: Callable[[], bool], store: Path) -> bool:
    started = Started(FEW, *QUIET, store=store)
    while started.process.is_alive():
        if moment():
            started.process.kill()
            return started.ended().returncode == -signal.SIGKILL
        time.sleep(0.005)
    return False


def test_a_failing_cell_is_kept_and_the_others_go_on(finished: Path, tmp_path: Path) -> None:
    broken = ("explainer=gradient,grad_cam", "model.layer=no_such_layer")
    ended = run(*broken, *QUIET, store=finished, results=tmp_path)
    assert ended.returncode == 1
    [failed] = (finished / "cells").glob("*/FAILED")
    assert "no_such_layer" in failed.read_text()
    assert str(failed.parent) in ended.stderr
    assert "grad_cam seed 0: FAILED" in ended.stderr
    assert "| gradient |" in ended.stdout


def test_a_damaged_cell_is_named_and_left_alone(finished: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    ended = run("explainer=random", *QUIET, store=store)
    assert ended.returncode == 0, ended.stderr
    [scores] = store.glob("cells/*/scores.parquet")
    scores.write_bytes(scores.read_bytes()[:100])
    ended = run("explainer=random", *QUIET, store=store)
    assert ended.returncode == 1
    assert f"{scores} is damaged; delete the folder {scores.parent} and run again" in ended.stderr
    assert scores.stat().st_size == 100


def test_two_sweeps_at_once_share_one_store(finished: Path, tmp_path: Path) -> None:
    sweeps = [Started(FEW, *QUIET, store=tmp_path, results=tmp_path / f"results{number}") for number in range(2)]
    ended = [sweep.ended() for sweep in sweeps]
    assert [one.returncode for one in ended] == [0, 0], [one.stderr for one in ended]
    assert len(list(tmp_path.glob("models/*/DONE"))) == 1
    assert len(list(tmp_path.glob("cells/*/DONE"))) == 4
    for number in range(2):
        again = tmp_path / f"results{number}" / "an8flower" / "table.csv"
        assert again.read_bytes() == (results_of(finished) / "table.csv").read_bytes()


def test_parallel_cells_give_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    parallel = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    ended = subprocess.run(command(FEW, *QUIET, *parallel, store=tmp_path), **options())
    assert ended.returncode == 0, ended.stderr
    for name in TABLES:
        assert (results_of(tmp_path) / name).read_bytes() == (results_of(finished) / name).read_bytes(), name


def test_a_baseline_of_ones_own_joins_the_table(finished: Path, tmp_path: Path) -> None:
    """The README's own words, tried."""
    [described] = re.findall(r"```yaml\n(# DeepLift.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    (tmp_path / "explainer").mkdir()
    (tmp_path / "explainer" / "deep_lift.yaml").write_text(described)
    place = f"hydra.searchpath=[file://{tmp_path}]"
    ended = run(place, "explainer=deep_lift", *QUIET, store=finished, results=tmp_path)
    assert ended.returncode == 0, ended.stderr
    for name in ("deep_lift", "gradient", "grad_cam"):
        assert f"| {name} |" in ended.stdout
    assert "FAILED" not in ended.stderr


def test_a_setting_of_one_explainer_replaces_its_row_and_leaves_the_others(finished: Path, tmp_path: Path) -> None:
    changed = ("explainer=grad_cam", "explainer.build.layer=features.8")
    ended = run(*changed, *QUIET, store=finished, results=tmp_path)
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


def test_two_seeds_are_two_networks_and_one_row(tmp_path: Path) -> None:
    ended = run("explainer=random,gradient", "seed=0,1", *QUIET, store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert len(list(tmp_path.glob("models/*/DONE"))) == 2
    table = pd.read_csv(results_of(tmp_path) / "table.csv")
    assert set(table["seeds"]) == {"0 1"}
    assert set(table["n"]) == {8}
    assert set(pd.read_csv(results_of(tmp_path) / "significance.csv")["n"]) == {4}


def test_the_report_needs_no_network(finished: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(finished / "cells", store / "cells")
    ended = run("task=report", FEW, *QUIET, store=store)
    assert ended.returncode == 0, ended.stderr
    again = results_of(store) / "table.md"
    assert again.read_bytes() == (results_of(finished) / "table.md").read_bytes()


def test_an_interrupt_says_that_one_can_go_on(tmp_path: Path) -> None:
    settings = {key: value for key, value in options().items() if key in ("cwd", "env", "text")}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    long = "scale.an8flower.epochs=1000"
    process = subprocess.Popen(command(FEW, long, *QUIET, store=tmp_path), **quiet, **settings)
    while process.poll() is None and not any(tmp_path.glob("models/.*.making")):
        time.sleep(0.01)
    # Well into the training: while a library is still being imported, a bare `except` of its own may swallow it.
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=100)
    assert process.returncode == 1
    assert error.strip().endswith("stopped; the same command goes on from here")


@pytest.mark.real_data
def test_mnist_runs_whole_and_has_no_mask_metrics(tmp_path: Path) -> None:
    ended = run("experiment=mnist", *QUIET, store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    table = pd.read_csv(tmp_path / "results" / "mnist" / "table.csv")
    assert {"iou_area", "pointing_game"}.isdisjoint(table["metric"])
    assert {"deletion_mean_colour", "insertion_blur"} <= set(table["metric"])
    assert table["mean"].notna().all()


def test_the_default_experiment_runs_whole_with_its_loggers(tmp_path: Path) -> None:
    ended = run("scale=smoke", store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    table = pd.read_csv(results_of(tmp_path) / "table.csv")
    assert table["explainer"].nunique() == len(list(tmp_path.glob("cells/*/DONE"))) >= 18
    assert len(list(tmp_path.glob("logs/wandb/offline-run-*"))) >= 18
    assert len(list(tmp_path.glob("logs/an8flower/*/metrics.csv"))) >= 18
