"""Whether a run confirms the committed record of its experiment: every number against its prediction interval."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from evident.errors import UserError

ROOT = Path(__file__).parents[3]
ROW = ["explainer", "data", "model", "metric"]
EXPECTED = 0.05  # share of numbers that lie outside a 95 % interval by chance
# Numbers of one table share networks and images, so this share varies. In simulations of 300 numbers and four networks,
# with correlations of 0.3 to 0.5, a run of the same truth stays below this limit in nine cases of ten, and one that is
# shifted by one half-width exceeds it in 84 to 97 %.
LIMIT = 0.1
ROUNDING = 1e-5  # relative: tables have six digits


class OtherScale(UserError):
    """Say that a run and the record have different scales."""


@dataclass(frozen=True)
class Replication:
    """Hold the comparison of a run with the record.

    `outside` has a row for each number outside its interval: explainer, data, model, metric, record, low, high, run.
    `numbers` counts those compared; `missing` and `new` name the rows that only the record or only the run has.
    """

    numbers: int
    outside: pd.DataFrame
    missing: list[str]
    new: list[str]

    @property
    def confirmed(self) -> bool:
        """Whether at most 10 % of the numbers are outside, and none of the record is missing."""
        return self.numbers > 0 and not self.missing and len(self.outside) <= LIMIT * self.numbers

    def line(self) -> str:
        """Return the verdict as one line."""
        share = f"{len(self.outside)} of {self.numbers} numbers outside the record's 95 % prediction intervals"
        for rows, place in ((self.missing, "missing in the run"), (self.new, "not in the record")):
            share += f"; {len(rows)} {place}" if rows else ""
        verdict = "confirmed" if self.confirmed else "incomplete" if self.missing else "not confirmed"
        return f"{verdict}: {share}; {EXPECTED:.0%} are expected, {LIMIT:.0%} allowed"

    def text(self) -> str:
        """Return the verdict, and a line for every number outside, and for every one that has no counterpart."""
        lines = [
            f"{' '.join(row[:4])}: {row.run:.4g}, record {row.record:.4g} [{row.low:.4g}, {row.high:.4g}]"
            for row in self.outside.itertuples(index=False)
        ]
        lines += [f"{row}: missing in the run" for row in self.missing]
        lines += [f"{row}: not in the record" for row in self.new]
        return "\n".join([*lines, self.line()])


def compare(run: pd.DataFrame, record: pd.DataFrame) -> Replication:
    """Compare the means of two tables of an experiment, of the form of `table.csv`.

    The prediction interval of a second, independent run is the record's confidence interval, sqrt(2) times as wide on
    either side of the mean: the difference of two means of the same accuracy varies sqrt(2) times as much as one of
    them. Numbers that are undefined in both tables are not compared.
    """
    both = record.merge(run[[*ROW, "mean"]], on=ROW, how="outer", suffixes=("", "_run"), indicator="found")
    names = both[ROW].astype(str).agg(" ".join, axis=1)
    pairs = both[both["found"] == "both"]
    pairs = pairs[pairs["mean"].notna() | pairs["mean_run"].notna()]
    mean, other = pairs["mean"], pairs["mean_run"]
    slack = ROUNDING * mean.abs()
    low = mean - np.sqrt(2) * (mean - pairs["ci_low"]).fillna(0) - slack
    high = mean + np.sqrt(2) * (pairs["ci_high"] - mean).fillna(0) + slack
    inside = other.between(low, high)
    outside = pairs[ROW].assign(record=mean, low=low, high=high, run=other)[~inside]
    return Replication(
        len(pairs),
        outside.reset_index(drop=True),
        names[both["found"] == "left_only"].tolist(),
        names[both["found"] == "right_only"].tolist(),
    )


def against_commit(results: Path, experiment: str) -> str:
    """Return in one line how the run in `results`/experiment compares with the committed results; empty if none are.

    The line says so where they have another scale, because the numbers are then not comparable.
    """
    try:
        found = _compare(results, experiment, _committed)
    except OtherScale as error:
        return f"not compared with the committed results: {error}"
    except UserError:
        return ""
    return f"{found.line()} (python run.py task=replicate experiment={experiment} lists them)"


def in_one_line(results: Path, experiment: str) -> str:
    """Return how the run in `results`/experiment compares with the committed results, or why it cannot be compared."""
    try:
        return _compare(results, experiment, _committed).line()
    except UserError as error:
        return f"not compared: {error}"


def replicate(config: DictConfig) -> None:
    """Print how the results of an experiment compare with the record; exit with 1 if they do not confirm it.

    The record is that of the commit, or of the folder `against`, which is laid out as `results/` is. Nothing is
    written. Raises `UserError` if the run or the record is missing, or if their scales differ.
    """
    found = _compare(Path(config.paths.results), config.experiment, record_of(config))
    print(found.text())
    if not found.confirmed:
        sys.exit(1)


def record_of(config: DictConfig) -> Callable[[str], bytes]:
    """Return a function that reads a file of the record: of the commit, or of the folder `against`."""

    def given(file: str) -> bytes:
        path = Path(config.against) / file
        if not path.exists():
            raise UserError(f"{path} is missing; against=DIR takes a folder such as results")
        return path.read_bytes()

    return _committed if config.against is None else given


def table_of(record: Callable[[str], bytes], experiment: str) -> pd.DataFrame:
    """Return the table of an experiment of a record, as `record_of` gives it."""
    return pd.read_csv(io.BytesIO(record(f"{experiment}/table.csv")))


def _compare(results: Path, experiment: str, record: Callable[[str], bytes]) -> Replication:
    """Compare a run with the record, whose files the function `record` reads; raises `UserError` as `replicate`."""
    folder = results / experiment
    if not (folder / "table.csv").exists():
        raise UserError(f"{folder}/table.csv is missing; run python run.py experiment={experiment}")
    scales = [
        json.loads(content)["scale"]
        for content in ((folder / "provenance.json").read_bytes(), record(f"{experiment}/provenance.json"))
    ]
    if scales[0] != scales[1]:
        raise OtherScale(f"the run has scale={scales[0]}, the record scale={scales[1]}; run it with scale={scales[1]}")
    return compare(pd.read_csv(folder / "table.csv"), table_of(record, experiment))


def _committed(file: str) -> bytes:
    """Return a file of `results/` as it was committed; raise `UserError` if it was not."""
    command = ["git", "show", f"HEAD:results/{file}"]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(f"results/{file} is not committed; name another record by against=DIR") from error
