"""`experiment=all`: every experiment in order, what failed, the time left, claims, and what is refused."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from entry_point import ROOT, run

from evident.all_experiments import (
    NOT_LISTED,
    judge,
    listed,
    logged,
    missing_share,
    recorded_cells,
    recorded_scale,
    recorded_seconds,
    run_each,
)

PAGES = [*(ROOT / "experiments").glob("*/README.md"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]


def test_every_file_of_an_experiment_is_run_and_a_page_names_it() -> None:
    folder = ROOT / "conf" / "experiment"
    files = {file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.yaml")}
    assert {*listed(), *NOT_LISTED} == files
    pages = "\n".join(page.read_text() for page in PAGES)
    for name in listed():
        assert re.search(rf"[`=]{name}\b", pages), name


def test_the_main_job_is_first_and_photographs_are_last() -> None:
    names = listed()
    assert (names[0], names[-1]) == ("an8flower", "imagenet")
    assert names[1:-1] == sorted(names[1:-1])


def test_failed_experiment_does_not_stop_the_next_and_is_named_at_the_end(tmp_path: Path) -> None:
    """ScenicOrNot cannot be downloaded, so without its folder the first experiment fails."""
    (tmp_path / "data").mkdir()
    overrides = (
        *("experiment=all", "all.experiments=[siam/scenicornot,an8flower]", "scale=smoke", "logger=none"),
        *("explainer=random", "metric=[average_precision]", "recorder=[scores]", "section=[scores]"),
        f"paths.data={tmp_path / 'data'}",
    )
    store = tmp_path / "store"
    ended = run(*overrides, store=store)
    assert ended.returncode == 1
    assert re.search(r"^1 of 2, siam/scenicornot: FAILED in 0:0", ended.stderr, re.M)
    assert re.search(r"^2 of 2, an8flower: done in 0:0", ended.stderr, re.M)
    assert re.search(r"^failed:\nsiam/scenicornot: .* FAILED .*scenicornot\.log\)$", ended.stderr, re.M)
    assert "claims and front page are of" in ended.stderr
    assert ended.stdout.splitlines() == [
        f"siam/scenicornot: not compared: {store}/results/siam/scenicornot/table.csv is missing; "
        "run python run.py experiment=siam/scenicornot",
        "an8flower: not compared: the run has scale=smoke, the record scale=quick; run it with scale=quick",
    ]
    assert set(pd.read_csv(store / "results" / "an8flower" / "table.csv")["explainer"]) == {"random"}
    assert "| *random* |" in (store / "all" / "an8flower.log").read_text()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["all.experiments=[an8flower,own,roses]"], "all.experiments has own, roses; use some of an8flower "),
        (["task=replicate"], "experiment=all runs task=sweep or task=report; give another task one experiment"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(overrides: list[str], message: str, tmp_path: Path) -> None:
    ended = run("experiment=all", *overrides, store=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith(message)


def record(results: Path, name: str, seconds: list[float]) -> None:
    """Write the record of one explainer with one network per element of `seconds`, four images each."""
    (results / name).mkdir(parents=True)
    row = {"explainer": "rise", "data": "d", "model": "m"}
    pd.DataFrame([{**row, "seconds_per_image": each} for each in seconds]).to_csv(
        results / name / "cost.csv", index=False
    )
    counts = [{**row, "metric": "a", "n": 3, "n_undefined": 1}, {**row, "metric": "b", "n": 4, "n_undefined": 0}]
    table = pd.DataFrame(counts)
    table[["n", "n_undefined"]] *= len(seconds)
    table.to_csv(results / name / "table.csv", index=False)


def test_recorded_seconds_are_those_of_all_images_and_an_unknown_experiment_has_the_mean(tmp_path: Path) -> None:
    record(tmp_path, "one", [1.0, 2.0])
    record(tmp_path, "two", [7.0])
    assert recorded_seconds(tmp_path, ["one", "two", "new"]) == {"one": 12, "two": 28, "new": 20}
    assert recorded_seconds(tmp_path, ["new"]) == {"new": 1}


def test_time_left_is_that_of_the_record_at_the_pace_of_this_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first three experiments take half a second for each recorded one; one is finished, two are left."""
    seconds = {"a": 1.0, "finished": 50.0, "b": 1.0, "c": 1.0, "d": 3.0}
    monkeypatch.setattr("evident.all_experiments.recorded_seconds", lambda *_: seconds)
    monkeypatch.setattr("evident.all_experiments.recorded_cells", lambda _, name: [name])
    (tmp_path / "cells" / "finished").mkdir(parents=True)
    (tmp_path / "cells" / "finished" / "DONE").touch()

    def logged(command: list[str], file: Path, look: Callable[[], None]) -> str:
        name = command[2].removeprefix("experiment=")
        assert command[3:] == ["scale=smoke"]
        assert file == tmp_path / "all" / f"{name}.log"
        if name != "finished":
            time.sleep(seconds[name] / 2)
        look()
        return "no data" if name == "b" else ""

    monkeypatch.setattr("evident.all_experiments.logged", logged)
    with caplog.at_level("INFO", logger="evident"):
        assert run_each(list(seconds), tmp_path, ["scale=smoke"]) == {"b": "no data"}
    first, finished, second, third, last = caplog.messages
    assert re.fullmatch(r"1 of 5, a: done in 0:00:0\d", first)  # one measurement is no pace yet
    assert re.fullmatch(r"2 of 5, finished: done in 0:00:00", finished)
    assert re.fullmatch(r"3 of 5, b: FAILED in 0:00:0\d; about 0:00:0[2-5] left", second)
    assert re.fullmatch(r"4 of 5, c: done in 0:00:0\d; about 0:00:0[2-5] left", third)
    assert re.fullmatch(r"5 of 5, d: done in 0:00:0\d", last)


@pytest.mark.parametrize(("given", "asked"), [([], ["scale=day"]), (["scale=smoke"], ["scale=smoke"])])
def test_experiment_has_the_scale_of_its_record_unless_one_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], asked: list[str]
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr("evident.all_experiments.ROOT", tmp_path)

    def logged(command: list[str], *_: object) -> str:
        commands.append(command)
        return ""

    monkeypatch.setattr("evident.all_experiments.logged", logged)
    folder = tmp_path / "results" / "imagenet"
    folder.mkdir(parents=True)
    (folder / "provenance.json").write_text(json.dumps({"scale": "day", "cells": {}}))
    assert run_each(["imagenet"], tmp_path, given) == {}
    assert [command[3:] for command in commands] == [asked]
    assert recorded_scale(tmp_path / "results", "new") == []


def test_failed_command_is_told_by_its_last_line(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "a.log"
    assert logged([sys.executable, "-c", "print('fine')"], file) == ""
    assert file.read_text() == "fine\n"
    assert logged([sys.executable, "-c", "import sys; sys.exit('no data')"], file) == f"no data ({file})"
    assert logged([sys.executable, "-c", "import sys; sys.exit(3)"], file) == f"exit code 3 ({file})"


def test_interrupt_ends_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evident.all_experiments.EVERY", 0.1)
    began = "import pathlib, time; pathlib.Path('{}').touch(); time.sleep(600)".format(tmp_path / "began")

    def interrupt() -> None:
        if (tmp_path / "began").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        logged([sys.executable, "-c", began], tmp_path / "a.log", interrupt)


def test_claims_of_every_paper_are_judged_and_the_front_page_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Path] = []
    monkeypatch.setattr("evident.all_experiments.page.write", shown.append)
    for paper, code in (("bad", "raise SystemExit('no table')"), ("good", "open('verdicts', 'w')")):
        (tmp_path / "experiments" / paper).mkdir(parents=True)
        (tmp_path / "experiments" / paper / "claims.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "store" / "all" / "claims_bad.log"
    assert judge(tmp_path, tmp_path / "store") == {"claims of bad": f"no table ({log})"}
    assert (tmp_path / "verdicts").exists()
    assert shown == [tmp_path]


def test_make_results_runs_every_experiment() -> None:
    printed = subprocess.run(
        ["make", "--dry-run", "--old-file=env", "results"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "run.py experiment=all" in printed.stdout


def test_cells_of_the_record_that_the_store_has_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "results" / "a").mkdir(parents=True)
    content = {"cells": {"one": "1", "two": "2", "three": "3", "four": "4"}}
    (tmp_path / "results" / "a" / "provenance.json").write_text(json.dumps(content))
    cells = recorded_cells(tmp_path / "results", "a")
    assert missing_share(cells, tmp_path) == 1
    (tmp_path / "cells" / "3").mkdir(parents=True)
    assert missing_share(cells, tmp_path) == 1  # it has begun only
    (tmp_path / "cells" / "3" / "DONE").touch()
    assert missing_share(cells, tmp_path) == 0.75
    assert missing_share(recorded_cells(tmp_path / "results", "b"), tmp_path) == 1
