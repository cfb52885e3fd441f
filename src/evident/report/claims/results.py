"""The tables of one experiment, as whoever judges a claim asks for them: scores, and comparisons of two."""

import functools
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from evident.errors import UserError

LEVEL = 0.05  # of Holm's p


@dataclass(frozen=True)
class Results:
    """The tables in `folder`/`experiment`; of one network, `model`, alone, where they are of several.

    Whatever is asked for and not there raises a `UserError` that names it and, for a whole table, its command; so does
    a table of several networks of which none is named.
    """

    folder: Path
    experiment: str
    model: str | None = None

    def read(self, table: str, of_one: bool = True) -> pd.DataFrame:
        """One table, as it is written; with the rows of all networks where it need not be `of_one`."""
        file = self.folder / self.experiment / f"{table}.csv"
        if not file.exists():
            raise UserError(f"{file} is missing; run python run.py experiment={self.experiment}")
        rows = pd.read_csv(file)
        if not of_one:
            return rows
        if self.model is not None:
            return rows[rows["model"] == self.model]
        if len(several := rows["model"].unique()) > 1:
            names = ", ".join(several)
            raise UserError(f"{file} is of several networks ({names}); run python run.py experiment={self.experiment}")
        return rows

    def performance(self, model: str, measure: str) -> pd.Series:
        """The row of `performance.csv`: value, ci_low, ci_high, n."""
        rows = self.read("performance", of_one=False)
        own = rows[(rows["model"] == model) & (rows["measure"] == measure)]
        if not len(own):
            raise self.absent("performance", f"{measure} of {model}")
        return own.iloc[0]

    def apart(self, measure: str, model: str, other: str) -> pd.DataFrame:
        """Rows of `performance_differences.csv`: over all seeds that both networks have, then, of several, each."""
        rows = self.read("performance_differences", of_one=False)
        own = rows[(rows["measure"] == measure) & (rows["model"] == model) & (rows["other"] == other)]
        if not len(own):
            raise self.absent("performance_differences", f"{measure} of {model} beside {other}")
        return own

    def absent(self, table: str, what: str) -> UserError:
        """The error of a table without rows that every whole run of the experiment has."""
        of = f" on {self.model}" if self.model else ""
        return UserError(f"results/{self.experiment}/{table}.csv has no {what}{of}; run its experiment whole")

    # Plain dictionaries: hundreds of numbers are asked for, one at a time.
    @functools.cached_property
    def _scores(self) -> dict[tuple[str, str], dict[Hashable, Any]]:
        return {(row["explainer"], row["metric"]): row for row in self.read("table").to_dict("records")}

    @functools.cached_property
    def _tests(self) -> dict[tuple[str, str, str], tuple[float, float]]:
        columns = ["metric", "explainer", "other", "difference", "p_holm"]
        rows = self.read("significance")[columns].itertuples(index=False)
        return {(metric, one, two): (difference, p) for metric, one, two, difference, p in rows}

    def score(self, explainer: str, metric: str) -> dict[Hashable, Any]:
        """The table's row: mean, ci_low, ci_high, n, direction and so on."""
        if (explainer, metric) not in self._scores:
            raise self.absent("table", f"{metric} of {explainer}")
        return self._scores[explainer, metric]

    def mean(self, explainer: str, metric: str) -> float:
        """The mean over images."""
        return self.score(explainer, metric)["mean"]

    def interval(self, explainer: str, metric: str) -> str:
        """Mean and 95 % interval in words."""
        row = self.score(explainer, metric)
        return f"{row['mean']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"

    def against(self, metric: str, explainer: str, other: str) -> tuple[float, float]:
        """Mean over images of the explainer's score minus the other's, and Holm's p."""
        for sign, pair in ((1, (explainer, other)), (-1, (other, explainer))):
            if (metric, *pair) in self._tests:
                difference, p = self._tests[(metric, *pair)]
                return sign * difference, p
        raise self.absent("significance", f"{metric} of {explainer} against {other}")

    def beats(self, metric: str, explainer: str, others: tuple[str, ...]) -> tuple[str, bool]:
        """Which of the others have worse scores, paired over images (Holm's p < 0.05), in words; whether all have."""
        sign = 1 if self.score(explainer, metric)["direction"] == "higher" else -1
        best = max(others, key=lambda other: sign * self.mean(other, metric))
        tests = [self.against(metric, explainer, other) for other in others]
        beaten = [sign * difference > 0 and p < LEVEL for difference, p in tests]
        words = (
            f"{metric.replace('_', ' ')} {self.mean(explainer, metric):.3f}, {'above' if sign > 0 else 'below'} "
            f"{sum(beaten)} of {len(others)} (best {best} {self.mean(best, metric):.3f})"
        )
        return words, all(beaten)
