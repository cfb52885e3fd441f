"""Comparison of a run with the record: prediction intervals, verdicts and errors."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from entry_point import ROOT, run
from omegaconf import OmegaConf
from scipy import stats

from evident.errors import UserError
from evident.report import replication
from evident.report.replication import against_commit, compare

NETWORKS = 4


def rows(mean: np.ndarray, half: np.ndarray | float) -> pd.DataFrame:
    """Return a table with these means and half widths of intervals."""
    names = pd.DataFrame(
        {"explainer": [f"row_{k}" for k in range(len(mean))], "data": "d", "model": "m", "metric": "x"}
    )
    return names.assign(mean=mean, ci_low=mean - half, ci_high=mean + half)


def drawn(seed: int, count: int = 4000, shift: float = 0.0, shared: float = 0.0) -> pd.DataFrame:
    """Return a table of `count` numbers: true mean 0.5, Student's interval over NETWORKS networks.

    `shift` is in units of each interval's half width. `shared` is the correlation of two numbers.
    """
    rng = np.random.default_rng(seed)
    own, common = rng.normal(size=(NETWORKS, count)), rng.normal(size=(NETWORKS, 1))
    networks = 0.5 + 0.1 * (np.sqrt(1 - shared) * own + np.sqrt(shared) * common)
    half = stats.t.ppf(0.975, NETWORKS - 1) * networks.std(0, ddof=1) / np.sqrt(NETWORKS)
    return rows(networks.mean(0) + shift * half, half)


def test_five_percent_of_the_numbers_of_an_unseen_run_are_outside() -> None:
    found = compare(drawn(1), drawn(0))
    assert found.numbers == 4000
    # Four standard deviations of a count with probability 0.05.
    assert len(found.outside) / 4000 == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 4000))


def test_run_shifted_by_one_half_width_is_not_confirmed() -> None:
    assert not compare(drawn(1, shift=1), drawn(0)).confirmed
    assert not compare(drawn(1, shift=-1), drawn(0)).confirmed


def test_most_runs_of_correlated_numbers_are_confirmed_and_few_of_the_shifted_ones() -> None:
    """Numbers of one table share networks: 300 numbers with a correlation of 0.3, 100 pairs of runs."""
    pairs = [[drawn(2 * k + second, 300, shared=0.3) for second in (0, 1)] for k in range(100)]
    shifted = [drawn(2 * k + 1, 300, shift=1, shared=0.3) for k in range(100)]
    assert sum(compare(run, record).confirmed for record, run in pairs) >= 85
    assert sum(compare(run, record).confirmed for (record, _), run in zip(pairs, shifted, strict=True)) <= 15


def test_same_table_is_confirmed_whatever_its_intervals() -> None:
    for half in (0.0, 0.1, np.nan):
        found = compare(rows(np.array([0.2, 0.0, -3.0]), half), rows(np.array([0.2, 0.0, -3.0]), half))
        assert found.confirmed
        assert found.line() == (
            "confirmed: 0 of 3 numbers outside the record's 95 % prediction intervals; 5% are expected, 10% allowed"
        )


@pytest.mark.parametrize(("value", "inside"), [(0.5 + 0.1414, True), (0.5 + 0.1415, False), (0.5 - 0.1415, False)])
def test_prediction_interval_is_wider_by_the_square_root_of_two(value: float, inside: bool) -> None:
    found = compare(rows(np.array([value]), 0.3), rows(np.array([0.5]), 0.1))
    assert found.confirmed is inside
    lines = found.text().splitlines()
    assert lines[-1] == found.line()
    assert lines[:-1] == ([] if inside else [f"row_0 d m x: {value:.4g}, record 0.5 [0.3586, 0.6414]"])


def test_number_defined_in_one_table_only_is_outside() -> None:
    nothing, number = rows(np.array([np.nan]), np.nan), rows(np.array([0.5]), 0.1)
    assert len(compare(nothing, number).outside) == len(compare(number, nothing).outside) == 1
    assert compare(nothing, nothing).numbers == 0


def test_rows_without_counterpart_are_named() -> None:
    two, other = rows(np.array([0.5, 0.5]), 0.1), rows(np.array([0.5, 0.5]), 0.1).replace("row_1", "rise")
    found = compare(other, two)
    assert (found.numbers, found.missing, found.new) == (1, ["row_1 d m x"], ["rise d m x"])
    assert not found.confirmed
    assert found.line().startswith(
        "incomplete: 0 of 1 numbers outside the record's 95 % prediction intervals; 1 missing"
    )
    assert "rise d m x: not in the record" in found.text()
    assert compare(pd.concat([two, other.tail(1)]), two).confirmed


def write(folder: Path, table: pd.DataFrame, scale: str = "quick") -> None:
    folder.mkdir(parents=True)
    table.to_csv(folder / "table.csv", index=False)
    (folder / "provenance.json").write_text(json.dumps({"scale": scale}))


def replicate(results: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return run("task=replicate", "experiment=mnist", f"paths.results={results}", *overrides, store=results)


def test_task_lists_what_another_record_does_not_confirm_and_writes_nothing(tmp_path: Path) -> None:
    write(tmp_path / "run" / "mnist", rows(np.array([0.9, 0.5]), 0.1))
    write(tmp_path / "record" / "mnist", rows(np.array([0.5, 0.5]), 0.1))
    before = sorted(tmp_path.rglob("*.csv"))
    ended = replicate(tmp_path / "run", f"against={tmp_path}/record")
    assert ended.returncode == 1
    assert ended.stdout.splitlines() == [
        "row_0 d m x: 0.9, record 0.5 [0.3586, 0.6414]",
        "not confirmed: 1 of 2 numbers outside the record's 95 % prediction intervals; 5% are expected, 10% allowed",
    ]
    assert sorted(tmp_path.rglob("*.csv")) == before
    assert replicate(tmp_path / "run", f"against={tmp_path}/run").returncode == 0


def test_missing_run_or_record_and_another_scale_are_errors(tmp_path: Path) -> None:
    def last_line(*overrides: str) -> str:
        return replicate(tmp_path / "run", *overrides).stderr.splitlines()[-1]

    assert last_line() == f"{tmp_path}/run/mnist/table.csv is missing; run python run.py experiment=mnist"
    write(tmp_path / "run" / "mnist", rows(np.array([0.5]), 0.1), "smoke")
    write(tmp_path / "record" / "mnist", rows(np.array([0.5]), 0.1))
    assert last_line(f"against={tmp_path}/none").endswith("is missing; against=DIR takes a folder such as results")
    expected = "the run has scale=smoke, the record scale=quick; run it with scale=quick"
    assert last_line(f"against={tmp_path}/record") == expected


def test_record_is_that_of_the_commit(tmp_path: Path) -> None:
    def committed(file: str) -> bytes:
        return subprocess.run(["git", "show", f"HEAD:results/{file}"], cwd=ROOT, capture_output=True, check=True).stdout

    folder = tmp_path / "an8flower"
    folder.mkdir()
    for name in ("table.csv", "provenance.json"):
        (folder / name).write_bytes(committed(f"an8flower/{name}"))
    numbers = len(pd.read_csv(folder / "table.csv").dropna(subset="mean"))
    found = against_commit(tmp_path, "an8flower")
    assert f" 0 of {numbers} numbers" in found, found
    assert found.endswith(" (python run.py task=replicate experiment=an8flower lists them)")
    write(tmp_path / "unknown", rows(np.array([0.5]), 0.1))
    assert against_commit(tmp_path, "unknown") == ""
    (folder / "provenance.json").write_text('{"scale": "smoke"}')
    assert against_commit(tmp_path, "an8flower") == (
        "not compared with the committed results: the run has scale=smoke, the record scale=quick; run it with "
        "scale=quick"
    )


def test_without_a_checkout_nothing_is_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "an8flower", rows(np.array([0.5]), 0.1))
    monkeypatch.setattr(replication, "ROOT", tmp_path)
    assert against_commit(tmp_path, "an8flower") == ""
    config = OmegaConf.create({"paths": {"results": str(tmp_path)}, "experiment": "an8flower", "against": None})
    with pytest.raises(UserError, match=r"^results/an8flower/provenance\.json is not committed; name another record"):
        replication.replicate(config)
