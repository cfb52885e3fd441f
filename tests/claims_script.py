"""What the tests of claims share: each paper's script as a module, tables on disk, and changes of single values.

For each paper, tests/experiments/PAPER_tables.py has tables on which every claim holds.
"""

import importlib.util
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from entry_point import ROOT

from evident.report.claims.verdicts import Claim
from evident.report.table_files import encode, file_name

Tables = dict[tuple[str, str], pd.DataFrame]  # by experiment and name of the table
Means = Mapping[str, Mapping[str, float]]  # by metric and explainer
ERROR = 0.0002  # standard error of every number


def load_claims(paper: str) -> Any:
    """Return experiments/`paper`/claims.py as a module; experiments/ is not a package."""
    spec = importlib.util.spec_from_file_location(f"{paper}_claims", ROOT / "experiments" / paper / "claims.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_tables(tables: Tables, results: Path, seeds: Sequence[int]) -> Path:
    """Write tables and provenance as the report does; return `results`."""
    for (experiment, table), frame in tables.items():
        folder = results / experiment
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file_name(table)).write_bytes(encode(table, frame))
        made = {"scale": "quick", "experiment": experiment, "models": [{"hash": str(seed)} for seed in seeds]}
        (folder / "provenance.json").write_text(json.dumps(made))
    return results


def failing(claims: Iterable[Claim]) -> set[str]:
    return {claim.name for claim in claims if claim.verdict not in ("holds", "post hoc")}


def matches(frame: pd.DataFrame, rows: Mapping[str, Any]) -> pd.Series:
    """Return which rows have all these values; there is at least one."""
    chosen = pd.Series(True, index=frame.index)
    for column, value in rows.items():
        chosen &= frame[column] == value
    assert chosen.any()
    return chosen


@dataclass(frozen=True)
class Change:
    """Set `values` in the rows of a table that have all values `rows`; exactly the claims `fails` fail then."""

    experiment: str
    table: str
    rows: Mapping[str, Any]
    values: Mapping[str, Any]
    fails: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.experiment} {self.table} {dict(self.rows)} {dict(self.values)}"

    def of(self, tables: Tables) -> Tables:
        """Return the tables with this change."""
        place = (self.experiment, self.table)
        frame, chosen = tables[place], matches(tables[place], self.rows)
        return {**tables, place: frame.assign(**{c: frame[c].mask(chosen, value) for c, value in self.values.items()})}


@dataclass(frozen=True)
class Missing:
    """Drop the rows of a table that have all values `rows`; the error describes the row as `row`."""

    experiment: str
    table: str
    rows: Mapping[str, Any]
    row: str

    def __str__(self) -> str:
        return f"{self.experiment} {self.table} {dict(self.rows)}"

    def of(self, tables: Tables) -> Tables:
        """Return the tables without these rows."""
        place = (self.experiment, self.table)
        return {**tables, place: tables[place][~matches(tables[place], self.rows)]}


def score_table(
    models: Sequence[str], means: Means, lower: Sequence[str] = (), images: int = 16, seeds: str = "0"
) -> pd.DataFrame:
    """Return `table.csv` with an interval of 0.02 on both sides of each mean; `lower` metrics are better if lower."""
    return pd.DataFrame(
        [
            {
                **{"explainer": name, "data": "data", "model": model, "metric": metric},
                **{"direction": "lower" if metric in lower else "higher", "mean": mean},
                **{"ci_low": mean - 0.02, "ci_high": mean + 0.02, "se": ERROR, "std": 0.1},
                **{"n": images * len(seeds.split()), "n_undefined": 0, "networks": len(seeds.split()), "seeds": seeds},
            }
            for model in models
            for metric, of in means.items()
            for name, mean in of.items()
        ]
    )


def significance_table(models: Sequence[str], means: Means, reverse: bool = False, networks: int = 1) -> pd.DataFrame:
    """Return `significance.csv.gz` with p = 0.0001 for every pair of explainers, in their order or the reverse.

    p_holm, of all pairs together, is 1: claims have families of their own.
    """
    ordered = {metric: list(of)[:: -1 if reverse else 1] for metric, of in means.items()}
    return pd.DataFrame(
        [
            {
                **{"data": "data", "model": model, "metric": metric, "explainer": one, "other": two},
                **{"difference": means[metric][one] - means[metric][two], "se": ERROR, "networks": networks, "n": 16},
                **{"p": 0.0001, "p_holm": 1},
            }
            for model in models
            for metric, names in ordered.items()
            for place, one in enumerate(names)
            for two in names[place + 1 :]
        ]
    )
