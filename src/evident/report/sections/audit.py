"""Whether the networks use what the masks mark, and nothing else."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from evident.models.audit import CHANGES, FOLLOWS
from evident.report.experiment import Experiment
from evident.report.sections.contract import Part, Section

COLUMNS = {
    "accuracy": "right",
    "recoloured": "follow the marked part",
    "surrounded": "change with everything else",
    "grey": "right without colour",
}


class Audit(Section):
    """Report `audit`, one row per network (`evident.models.audit`), and name the networks that fail."""

    def report(self, experiment: Experiment) -> Part:
        if not experiment.audits:
            return Part()
        lines = [["network", *COLUMNS.values(), "masks"]]
        lines.append(["---"] + ["---:"] * len(COLUMNS) + ["---"])
        for row in experiment.audits:
            shares = [f"{row[name]:.1%}" if name in row else "not in the store" for name in COLUMNS]
            lines.append([_name(row), *shares, "yes" if row["passed"] else "no"])
        body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        legend = (
            f"Shares of the predictions for test images. A network has scores with masks if at least {FOLLOWS:.0%} "
            f"follow a new colour of the marked part, at most {CHANGES:.0%} change with everything else, and without "
            "colour no more are right than by chance."
        )
        table = pd.DataFrame(experiment.audits)
        if failed := ", ".join(_name(row) for row in experiment.audits if not row["passed"]):
            legend += (
                f" **Without scores by masks: {failed}.** `python run.py task=audit` trains networks that are missing."
            )
        return Part({"audit": table}, text=f"\n## Audit of the networks\n\n{body}\n\n{legend}\n")


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['model']} seed {row['seed']} on {row['data']}"
