"""Speed benchmark: times as ratios within one run on one machine, in results/speed."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from omegaconf import DictConfig

from evident.benchmark.comparison import comparison
from evident.benchmark.comparison import write as write_comparison
from evident.benchmark.explainers import explainers, rendering
from evident.benchmark.fgvis import fgvis
from evident.benchmark.growth import growth
from evident.benchmark.growth import write as write_growth
from evident.benchmark.relevance import relevance
from evident.benchmark.siam import siam
from evident.benchmark.timing import Row
from evident.errors import UserError
from evident.threads import use_threads

PARTS: dict[str, Callable[[DictConfig], list[Row]]] = {
    "rendering": lambda config: [rendering(config)],
    "explainers": explainers,
    "relevance": relevance,
    "fgvis": fgvis,
    "siam": siam,
}


def run(config: DictConfig) -> None:
    """Print and write the parts in `benchmark.parts`, to results/speed.

    table.csv has row, value, unit, lowest and highest repeat, and number of repeats; `peers` writes peers.csv and
    peers.md, and `growth` growth.csv. Raises `UserError` for an unknown part.
    """
    parts = list(config.benchmark.parts)
    if unknown := set(parts) - {*PARTS, "peers", "growth"}:
        known = ", ".join((*PARTS, "peers", "growth"))
        raise UserError(f"benchmark.parts={', '.join(sorted(unknown))} is unknown; use {known}")
    use_threads(config.threads)
    folder = Path(config.paths.results) / "speed"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [line for part in parts if part in PARTS for line in PARTS[part](config)]
    if rows:
        table = pd.DataFrame(rows, columns=["row", "value", "unit", "lowest", "highest", "repeats"])
        table.to_csv(folder / "table.csv", index=False, float_format="%.4g", lineterminator="\n")
        print(table.to_string(index=False, float_format="%.4g"))
    if "peers" in parts:
        compared = comparison(config)
        write_comparison(compared, folder)
        print(compared.to_string(index=False, float_format="%.3f", na_rep=""))
    if "growth" in parts:
        grown = growth(config)
        write_growth(grown, folder)
        print(grown.to_string(index=False, float_format="%.4g"))
