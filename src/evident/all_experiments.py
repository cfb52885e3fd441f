"""`experiment=all`: every experiment by its own command, then claims, front page and a comparison with the record.

The commands are those that a user would type, `python run.py experiment=NAME` with the further overrides, so each one
computes only the cells that the store does not have and ends with its report. What it prints is kept in
`STORE/all/NAME.log`.
"""

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pandas as pd
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from evident.errors import UserError, writing
from evident.progress import console
from evident.report.overview import page
from evident.report.replication import in_one_line
from evident.store import STORE
from evident.sweep import CELLS

ROOT = Path(__file__).parents[2]
NOT_LISTED = ("all", "own")  # itself, and the pictures of a user
FIRST, LAST = "an8flower", "imagenet"  # the main job, and the longest one
EVERY = 5.0  # seconds between two looks at the store
log = logging.getLogger("evident")


def listed() -> list[str]:
    """Return the experiments of `conf/experiment`: the main job first, the longest one last, others by name."""
    folder = ROOT / "conf" / "experiment"
    names = {file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.yaml")}
    return sorted(names.difference(NOT_LISTED), key=lambda name: (name != FIRST, name == LAST, name))


def run(config: DictConfig, experiments: Sequence[str] | None = None) -> None:
    """Run the experiments, all by default; a failed one is named at the end, and then the exit code is 1.

    Claims and front page are those of the project's `results/`, and are not written for other `paths.results`. Raises
    `UserError` for an unknown experiment, or for a task that does not make the cells or the report of an experiment.
    """
    known = listed()
    chosen = known if experiments is None else list(experiments)
    if unknown := [name for name in chosen if name not in known]:
        raise UserError(f"all.experiments has {', '.join(unknown)}; use some of {' '.join(known)}")
    if config.task._target_ not in CELLS:
        raise UserError("experiment=all runs task=sweep or task=report; give another task one experiment")
    store, results = Path(config.paths.store), Path(config.paths.results)
    failed = run_each(chosen, store, _passed_on())
    if results.resolve() == ROOT / "results":
        failed |= judge(ROOT, store)
    else:
        log.info("claims and front page are of %s only: not written for paths.results=%s", ROOT / "results", results)
    print("\n".join(f"{name}: {in_one_line(results, name)}" for name in chosen))
    if failed:
        sys.exit("\n".join(["failed:", *(f"{name}: {why}" for name, why in failed.items())]))


def run_each(experiments: Sequence[str], store: Path, overrides: Sequence[str]) -> dict[str, str]:
    """Run the command of each experiment with the overrides, in order; return why each failed one did.

    The bar is in the seconds of the committed record (`recorded_seconds`), for cells that the store does not have yet:
    the time left is what they took there, times the pace of this run so far. Cells are recognised by their hashes, so
    at another scale or on another device the bar advances by whole experiments.
    """
    failed = {}
    seconds = recorded_seconds(ROOT / "results", experiments)
    cells = {name: recorded_cells(ROOT / "results", name) for name in experiments}
    missing = {name: seconds[name] * missing_share(cells[name], store) for name in experiments}
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("time left:"), TimeRemainingColumn()
    # The pace is the mean over the run: one experiment may compute nothing for minutes, because it trains.
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal, speed_estimate_period=1e9
    ) as shown:
        bar = shown.add_task("", total=sum(missing.values()))
        before = 0.0  # of experiments that have ended
        for place, name in enumerate(experiments, start=1):
            shown.update(bar, description=f"{place} of {len(experiments)}, {name}")

            def look(name: str = name, before: float = before) -> None:
                done = missing[name] - seconds[name] * missing_share(cells[name], store)
                shown.update(bar, completed=before + max(done, 0))

            began = time.monotonic()
            scale = (
                [] if any(given.startswith("scale=") for given in overrides) else recorded_scale(ROOT / "results", name)
            )
            command = [sys.executable, str(ROOT / "run.py"), f"experiment={name}", *scale, *overrides]
            why = logged(command, store / "all" / f"{name}.log", look)
            before += missing[name]  # also if it failed: the bar is about what is left to do
            shown.update(bar, completed=before)
            if why:
                failed[name] = why
            took, left = _rounded(time.monotonic() - began), shown.tasks[0].time_remaining
            rest = f"; about {_rounded(left)} left" if left else ""
            log.info("%d of %d, %s: %s in %s%s", place, len(experiments), name, "FAILED" if why else "done", took, rest)
    return failed


def _rounded(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _passed_on() -> list[str]:
    """Return the overrides of the command, for the commands of the experiments."""
    given = HydraConfig.get().overrides
    own = [override for override in given.task if not override.lstrip("+").startswith(("experiment=", "all."))]
    return [*own, *(override for override in given.hydra if not override.startswith("hydra.mode="))]


def recorded_scale(results: Path, experiment: str) -> list[str]:
    """Return the override for the scale of the committed results, which are to come out again; none without results."""
    file = results / experiment / "provenance.json"
    return [f"scale={json.loads(file.read_text())['scale']}"] if file.is_file() else []


def recorded_seconds(results: Path, experiments: Sequence[str]) -> dict[str, float]:
    """Return the seconds that explaining took in the committed results of each experiment, by `cost.csv`.

    Training and metrics are not recorded; they are taken to be in proportion. An experiment that is not on record is
    taken as long as the mean of the others.
    """
    known = {}
    for name in experiments:
        cost, table = (results / name / f"{file}.csv" for file in ("cost", "table"))
        if cost.is_file() and table.is_file():
            row = ["explainer", "data", "model"]
            scored = pd.read_csv(table)
            images = (scored["n"] + scored["n_undefined"]).groupby([scored[key] for key in row]).max()
            each = pd.read_csv(cost).groupby(row)["seconds_per_image"].mean()
            known[name] = float((each * images).sum())
    others = sum(known.values()) / len(known) if known else 1.0
    return {name: known.get(name, others) for name in experiments}


def recorded_cells(results: Path, experiment: str) -> list[str]:
    """Return the hashes of the cells of the committed results; none if there are none."""
    file = results / experiment / "provenance.json"
    return list(json.loads(file.read_text())["cells"].values()) if file.is_file() else []


def missing_share(cells: Sequence[str], store: Path) -> float:
    """Return the share of the cells that the store does not have; 1 if there are none."""
    finished = sum((store / "cells" / name / "DONE").exists() for name in cells)
    return 1 - finished / len(cells) if cells else 1.0


def logged(command: Sequence[str], file: Path, look: Callable[[], None] = lambda: None) -> str:
    """Run a command, print to `file`, and call `look` every few seconds; return why it failed, or nothing."""
    with ExitStack() as opened:
        with writing(file.parent, STORE):
            file.parent.mkdir(parents=True, exist_ok=True)
            output = opened.enter_context(file.open("w"))
        process = opened.enter_context(subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT))
        try:
            while True:
                try:
                    code = process.wait(EVERY)
                    break
                except subprocess.TimeoutExpired:
                    look()
        except BaseException:  # an interrupt: the store is whole whenever it comes
            process.terminate()
            raise
    if not code:
        return ""
    lines = [line for line in file.read_text(errors="replace").splitlines() if line.strip()]
    return f"{lines[-1] if lines else f'exit code {code}'} ({file})"


def judge(root: Path, store: Path) -> dict[str, str]:
    """Write the verdicts on the claims of each paper and the front page of `root`; return why a script failed."""
    failed = {}
    for script in sorted((root / "experiments").glob("*/claims.py")):
        paper = script.parent.name
        if why := logged([sys.executable, str(script)], store / "all" / f"claims_{paper}.log"):
            failed[f"claims of {paper}"] = why
    page.write(root)
    return failed
