"""Tables of one experiment, read for the claims of a paper: scores, intervals and paired comparisons."""

import functools
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from evident.errors import UserError

LEVEL = 0.05  # significance level for p-values after Holm's correction


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
        rows = self._read_all(table)
        if "model" not in rows:
            return rows
        if self.model is not None:
            return rows[rows["model"] == self.model]
        if len(several := rows["model"].unique()) > 1:
            raise UserError(f"{self._file(table)} has several networks ({', '.join(several)}); {self._advice()}")
        return rows

    def rows(self, table: str, **values: str) -> pd.DataFrame:
        """Return the rows of a table with these values in these columns, for example `explainer="vebi"`."""
        rows = self._read_all(table) if "model" in values else self.read(table)
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

    def difference(self, metric: str, explainer: str, other: str) -> tuple[float, float]:
        """Return the mean over images of the explainer's score minus the other's, and the p-value (Wilcoxon, Holm)."""
        for sign, pair in ((1, (explainer, other)), (-1, (other, explainer))):
            if (metric, *pair) in self._tests:
                difference, p = self._tests[(metric, *pair)]
                return sign * difference, p
        raise self.absent("significance", explainer=explainer, other=other, metric=metric)

    def beats(self, metric: str, explainer: str, others: tuple[str, ...]) -> tuple[str, bool]:
        """Return as text how many of the others score worse, and whether all do.

        Scores are paired over images; another explainer counts as worse if p < 0.05 after Holm's correction.
        """
        sign = 1 if self.score(explainer, metric)["direction"] == "higher" else -1
        best = max(others, key=lambda other: sign * self.mean(other, metric))
        tests = [self.difference(metric, explainer, other) for other in others]
        beaten = [sign * difference > 0 and p < LEVEL for difference, p in tests]
        words = (
            f"{in_words(metric)} {self.mean(explainer, metric):.3f}, {'above' if sign > 0 else 'below'} "
            f"{sum(beaten)} of {len(others)} (best {best} {self.mean(best, metric):.3f})"
        )
        return words, all(beaten)

    def _file(self, table: str) -> Path:
        return self.folder / self.experiment / f"{table}.csv"

    def _advice(self) -> str:
        return f"run python run.py {self.command or f'experiment={self.experiment}'}"

    def _read_all(self, table: str) -> pd.DataFrame:
        if not self._file(table).exists():
            raise UserError(f"{self._file(table)} is missing; {self._advice()}")
        return pd.read_csv(self._file(table))

    # Dictionaries, because a claim asks for hundreds of single numbers.
    @functools.cached_property
    def _scores(self) -> dict[tuple[str, str], dict[Hashable, Any]]:
        return {(row["explainer"], row["metric"]): row for row in self.read("table").to_dict("records")}

    @functools.cached_property
    def _tests(self) -> dict[tuple[str, str, str], tuple[float, float]]:
        columns = ["metric", "explainer", "other", "difference", "p_holm"]
        rows = self.read("significance")[columns].itertuples(index=False)
        return {(metric, one, two): (difference, p) for metric, one, two, difference, p in rows}


def interval(row: Mapping[Any, Any] | pd.Series, column: str = "mean", form: str = ".3f") -> str:
    """Return `row[column]` and its 95 % interval as text: `0.600 [0.580, 0.620]`."""
    return f"{row[column]:{form}} [{row['ci_low']:{form}}, {row['ci_high']:{form}}]"


def in_words(metric: str) -> str:
    """Return the name of a metric or measure as words: `average precision`."""
    return metric.replace("_", " ")
