"""Tables of one experiment, read for the claims of a paper: scores, intervals and paired comparisons."""

import functools
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evident.errors import UserError
from evident.report.claims.effects import LEVEL, Effect
from evident.report.table_files import file_name
from evident.report.tables.scores import networks_of
from evident.report.tables.statistics import holm, student_p


@dataclass(frozen=True)
class Results:
    """Read the tables of `experiment` in `folder`.

    `model` selects one network in tables with several; `command` holds the arguments of run.py that make the tables,
    by default `experiment=NAME`. Every method raises `UserError` with the command if the table is missing or has no
    such rows. It also raises `UserError` if the table has rows of several networks and neither `model` nor the query
    names one of them.
    """

    folder: Path
    experiment: str
    model: str | None = None
    command: str = ""

    def read(self, table: str) -> pd.DataFrame:
        """Return a table as it was written; only the rows of one network if it has a column `model`."""
        rows = self.every(table)
        if "model" not in rows:
            return rows
        if self.model is not None:
            return rows[rows["model"] == self.model]
        if len(several := rows["model"].unique()) > 1:
            raise UserError(f"{self._file(table)} has several networks ({', '.join(several)}); {self._advice()}")
        return rows

    def every(self, table: str) -> pd.DataFrame:
        """Return a table as it was written, with the rows of all networks."""
        if not self._file(table).exists():
            raise UserError(f"{self._file(table)} is missing; {self._advice()}")
        return pd.read_csv(self._file(table))

    def rows(self, table: str, **values: str) -> pd.DataFrame:
        """Return the rows of a table with these values in these columns, for example `explainer="vebi"`."""
        rows = self.every(table) if "model" in values else self.read(table)
        for column, value in values.items():
            rows = rows[rows[column] == value]
        if rows.empty:
            raise self.absent(table, **values)
        return rows

    def absent(self, table: str, **values: str) -> UserError:
        """Return the error for rows that are missing from a table, although a complete run writes them."""
        names = {"model": self.model, **values} if self.model else values
        query = ", ".join(f"{column}={value}" for column, value in names.items())
        return UserError(f"{self._file(table)} has no row with {query}; {self._advice()}")

    def performance(self, model: str, measure: str) -> pd.Series:
        """Return the row of `performance.csv` for a network: value, ci_low, ci_high, n."""
        return self.rows("performance", model=model, measure=measure).iloc[0]

    def performance_differences(self, measure: str, model: str, other: str) -> pd.DataFrame:
        """Return the differences of two networks: over all common seeds, then for each seed if there are several."""
        return self.rows("performance_differences", model=model, other=other, measure=measure)

    def score(self, explainer: str, metric: str) -> dict[Hashable, Any]:
        """Return the row of `table.csv`: mean, ci_low, ci_high, n, direction and so on."""
        if (explainer, metric) not in self._scores:
            raise self.absent("table", explainer=explainer, metric=metric)
        return self._scores[explainer, metric]

    def mean(self, explainer: str, metric: str) -> float:
        """Return the mean score over images."""
        return self.score(explainer, metric)["mean"]

    def interval(self, explainer: str, metric: str) -> str:
        """Return the mean score and its 95 % interval as text."""
        return interval(self.score(explainer, metric))

    def difference(self, metric: str, explainer: str, other: str, margin: float = 0) -> Effect:
        """Return how much better the explainer's score is than the other's, paired; p is not corrected.

        Better is higher or lower, as the metric says; a metric without a better direction counts as higher. With a
        `margin`, scores that are worse by less count as equal: the effect is the distance to such a score.
        """
        sign = self._sign(explainer, metric)
        for turned, pair in ((1, (explainer, other)), (-1, (other, explainer))):
            if row := self._tests.get((metric, *pair)):
                value = sign * turned * row["difference"] + margin
                p = student_p(value, float(row["se"]), self._units(row)) if margin else row["p"]
                return self._effect(value, float(p), row, self.score(explainer, metric))
        raise self.absent("significance", explainer=explainer, other=other, metric=metric)

    def above(self, metric: str, explainer: str, least: float) -> Effect:
        """Return by how much the mean score is above `least`."""
        return self._from(metric, explainer, least, 1)

    def below(self, metric: str, explainer: str, most: float) -> Effect:
        """Return by how much the mean score is below `most`."""
        return self._from(metric, explainer, most, -1)

    def apart(self, score: Mapping[Any, Any], other: Mapping[Any, Any]) -> Effect:
        """Return how far the mean of a row of the table is above that of another, of which no pairs are known."""
        errors = [float(row["se"]) for row in (score, other)]
        value, units = score["mean"] - other["mean"], min(self._units(row) for row in (score, other))
        return replace(
            self._effect(value, 1.0, score, score), units=units, p=float(student_p(value, math.hypot(*errors), units))
        )

    def beats(self, metric: str, explainer: str, others: tuple[str, ...]) -> tuple[str, list[Effect]]:
        """Return as text how many of the others score worse, with p < 0.05 after Holm's correction, and the effects."""
        better = self._sign(explainer, metric)
        best = max(others, key=lambda other: better * self.mean(other, metric))
        effects = [self.difference(metric, explainer, other) for other in others]
        beaten = [
            effect.value > 0 and p < LEVEL
            for effect, p in zip(effects, holm(np.array([effect.p for effect in effects])), strict=True)
        ]
        words = (
            f"{in_words(metric)} {self.mean(explainer, metric):.3f}, significantly "
            f"{'above' if better > 0 else 'below'} {sum(beaten)} of {len(others)} "
            f"(best {best} {self.mean(best, metric):.3f})"
        )
        return words, effects

    def _from(self, metric: str, explainer: str, threshold: float, sign: int) -> Effect:
        row = self.score(explainer, metric)
        value = sign * (row["mean"] - threshold)
        return self._effect(value, float(student_p(value, float(row["se"]), self._units(row))), row, row)

    def _effect(self, value: float, p: float, row: Mapping[Any, Any], score: Mapping[Any, Any]) -> Effect:
        networks = int(score["of_networks"])
        return Effect(value, p, networks, int(score["n"] + score["n_undefined"]) // networks, self._units(row))

    @staticmethod
    def _units(row: Mapping[Any, Any]) -> int:
        """Return the sample size: networks, or the images of a single one."""
        return int(row["networks"] if row["networks"] > 1 else row["n"])

    def _sign(self, explainer: str, metric: str) -> int:
        return -1 if self.score(explainer, metric)["direction"] == "lower" else 1

    def _file(self, table: str) -> Path:
        return self.folder / self.experiment / file_name(table)

    def _advice(self) -> str:
        return f"run python run.py {self.command or f'experiment={self.experiment}'}"

    # Dictionaries, because a claim asks for hundreds of single numbers.
    @functools.cached_property
    def _scores(self) -> dict[tuple[str, str], dict[Hashable, Any]]:
        table = self.read("table")
        table = table.assign(of_networks=networks_of(table))
        return {(row["explainer"], row["metric"]): row for row in table.to_dict("records")}

    @functools.cached_property
    def _tests(self) -> dict[tuple[str, str, str], dict[Hashable, Any]]:
        rows = self.read("significance").to_dict("records")
        return {(row["metric"], row["explainer"], row["other"]): row for row in rows}


def interval(row: Mapping[Any, Any] | pd.Series, column: str = "mean", form: str = ".3f") -> str:
    """Return `row[column]` and its 95 % interval as text: `0.600 [0.580, 0.620]`."""
    return f"{row[column]:{form}} [{row['ci_low']:{form}}, {row['ci_high']:{form}}]"


def in_words(metric: str) -> str:
    """Return the name of a metric or measure as words: `average precision`."""
    return metric.replace("_", " ")
