"""Whether rankings by passes of lower precision are those of full precision."""

import numpy as np
import pandas as pd

from evident.models.precision import FULL
from evident.report.experiment import Experiment
from evident.report.sections.contract import Part, Section
from evident.report.tables.rankings import NETWORK, means, oriented, tau

COLUMNS = [*NETWORK, "metric", "methods", "tau", "largest", "spread"]
LEGEND = (
    "*tau*: Kendall's tau-b between the rankings of the explainers by passes in float32 and in {lower}, the mean and "
    "the lowest of the networks. *change*: the largest change of an explainer's mean score, as a share of the standard "
    "deviation over explainers. **Bold**: at least {least} on every network; there {lower} may be used.\n"
)


class Precision(Section):
    """Report `precision`, tau of each metric, for an experiment whose rows are called `EXPLAINER, PRECISION`.

    `least` is the tau that a metric needs for the lower precision to be used.
    """

    def __init__(self, least: float) -> None:
        self.least = least

    def report(self, experiment: Experiment) -> Part:
        lower = sorted({str(cell.config.get("precision", FULL)) for cell in experiment.cells} - {FULL})
        if len(lower) != 1:
            return Part()
        found = compared(oriented(experiment.scores, experiment.directions), lower[0])
        part = Part({"precision": found})
        part.text = f"\n## Rankings in {lower[0]}\n\n" + _markdown(found, self.least)
        part.text += "\n" + LEGEND.format(lower=lower[0], least=self.least)
        return part


def compared(scores: pd.DataFrame, lower: str) -> pd.DataFrame:
    """Return tau between the rankings in full and in `lower` precision for each network and metric.

    `scores` are `oriented`; explainers are called `NAME, PRECISION`. Columns: model, network, seed, metric, methods,
    tau, largest (change of a mean score) and spread (standard deviation over explainers).
    """
    rows = []
    for labels, part in scores.groupby(NETWORK, sort=False):
        table = means(part)
        one, other = (_of(table, precision) for precision in (FULL, lower))
        for metric in table:
            pair = pd.concat([one[metric], other[metric]], axis=1).dropna().to_numpy()
            found = float(tau(pair[:, 0], pair[:, 1], np.ones(len(pair)))) if len(pair) else np.nan
            largest = float(np.abs(np.diff(pair, axis=1)).max()) if len(pair) else np.nan
            spread = float(pair[:, 0].std()) if len(pair) else np.nan
            rows.append([*labels, metric, len(pair), found, largest, spread])
    return pd.DataFrame(rows, columns=COLUMNS)


def _of(table: pd.DataFrame, precision: str) -> pd.DataFrame:
    own = table[table.index.str.endswith(f", {precision}")]
    return own.rename(index=lambda name: str(name).removesuffix(f", {precision}"))


def _markdown(found: pd.DataFrame, least: float) -> str:
    lines = ["| network | metric | tau | lowest | change | explainers |", "|---|---|---:|---:|---:|---:|"]
    for (model, metric), part in found.groupby(["model", "metric"], sort=False):
        mean, lowest, change = part["tau"].mean(), part["tau"].min(), (part["largest"] / part["spread"]).max()
        text = f"**{mean:.3f}**" if lowest >= least else f"{mean:.3f}"
        lines.append(f"| {model} | {metric} | {text} | {lowest:.3f} | {change:.3f} | {part['methods'].min()} |")
    return "\n".join(lines) + "\n"
