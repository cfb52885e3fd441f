"""Speed benchmark: times as ratios within one run on one machine, in results/speed/table.csv."""

from pathlib import Path

import pandas as pd
import torch
from omegaconf import DictConfig

from evident.benchmark.explainers import explainers, rendering
from evident.benchmark.fgvis import fgvis
from evident.benchmark.relevance import relevance
from evident.benchmark.siam import siam


def run(config: DictConfig) -> None:
    """Print and write results/speed/table.csv: row, value, unit, lowest and highest repeat, number of repeats."""
    torch.set_num_threads(config.threads)
    rows = [rendering(config), *explainers(config), *relevance(config), *fgvis(config), *siam(config)]
    table = pd.DataFrame(rows, columns=["row", "value", "unit", "lowest", "highest", "repeats"])
    folder = Path(config.paths.results) / "speed"
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "table.csv", index=False, float_format="%.4g", lineterminator="\n")
    print(table.to_string(index=False, float_format="%.4g"))
