"""Claims of a paper and their verdicts, as a table in the README of the paper's experiments."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import yaml

from evident.errors import UserError
from evident.report.claims.effects import Verdict

BEGIN, END = "<!-- claims -->\n", "<!-- end -->"
LEGEND = (
    "*holds*: every effect that the rule needs is significant, by Holm's correction within the claim; *refuted*: one "
    "is significantly the other way round; *undecided*: neither; *underpowered*: neither, with so few networks or "
    "images that not even equal signs of all would be significant; *post hoc*: asked after the results were seen. What "
    "would decide a claim is the smallest sample for which the same means and spreads were significant."
)


@dataclass(frozen=True)
class Claim:
    """Hold one claim as it is tested: name (`c: mnist`), rule, experiment, measured numbers, sample and verdict.

    `rule` states when the claim holds, so that readers can judge the rule too. `sample` states networks, images and
    the number of tests in the claim's family. `decided_by` is the sample that would decide an open claim (`12
    networks`). The verdict is `post hoc`, which means none, for a question that was asked after the results were
    seen.
    """

    name: str
    rule: str
    experiment: str
    numbers: str
    sample: str
    verdict: Verdict
    decided_by: str = ""


def main(claims: Callable[[Path], Sequence[Claim]], experiments: Sequence[str], script: str) -> None:
    """Judge a paper's claims, write the table into the README beside `script` and print it.

    `claims` gets the folder results/ of the project; `experiments` are those whose scale, networks and images the
    README states. A `UserError` ends the process with its message.
    """
    here = Path(script).parent
    results = here.parents[1] / "results"
    try:
        print(write_claims(claims(results), here, measured_at([results / name for name in experiments])))
    except UserError as error:
        sys.exit(str(error))


def paper_values(file: Path) -> dict[str, str]:
    """Return the numbers that the paper reports, by the name of the claim: `value (page N)`.

    Raises `UserError` for a value without its page.
    """
    values: Mapping[str, Any] = yaml.safe_load(file.read_text()) or {}
    for name, entry in values.items():
        if not isinstance(entry, Mapping) or not {"value", "page"} <= entry.keys():
            raise UserError(f"{file}: {name} needs `value` and `page`, so that the value can be looked up")
    return {name: f"{entry['value']} (page {entry['page']})" for name, entry in values.items()}


def claims_table(claims: Sequence[Claim], paper: Mapping[str, str]) -> str:
    """Return the claims `by_verdict` and a Markdown table with one row per claim.

    The table has a column for the paper's values if there are any. Raises `UserError` for a value whose
    name is not the name of a claim.
    """
    unknown = paper.keys() - {claim.name for claim in claims}
    if unknown:
        known = "; ".join(claim.name for claim in claims)
        raise UserError(f"paper_values.yaml has values for unknown claims: {', '.join(sorted(unknown))}; use {known}")
    header = ["claim", "experiment", "holds if", "measured", "sample", *(["paper"] if paper else []), "verdict"]
    lines = [header, ["---"] * len(header)]
    for claim in claims:
        verdict = f"**{claim.verdict}**" if claim.verdict == "refuted" else claim.verdict
        own = [paper.get(claim.name, "")] if paper else []
        lines.append(
            [claim.name, f"`{claim.experiment}`", claim.rule, claim.numbers, claim.sample, *own, verdict + _open(claim)]
        )
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{by_verdict(claims)}\n\n{table}\n\n{LEGEND}\n"


def by_verdict(claims: Sequence[Claim]) -> str:
    """Return a Markdown list: each verdict with the names of its claims, and what would decide open ones."""
    named: dict[str, list[str]] = {verdict: [] for verdict in get_args(Verdict)}
    for claim in claims:
        named[claim.verdict].append(claim.name + _open(claim))
    return "\n".join(f"- *{verdict}* ({len(names)}): {'; '.join(names)}" for verdict, names in named.items() if names)


def _open(claim: Claim) -> str:
    return f" ({claim.decided_by} would decide)" if claim.decided_by else ""


def measured_at(experiments: Sequence[Path]) -> str:
    """Return one sentence on the scale, the networks and the images of the results in these folders.

    Raises `UserError` if the results are of several scales, because their verdicts would not be comparable.
    """
    provenances = {str(folder): json.loads((folder / "provenance.json").read_text()) for folder in experiments}
    scales = {name: provenance["scale"] for name, provenance in provenances.items()}
    if len(set(scales.values())) > 1:
        raise UserError(f"results of several scales: {scales}; run all experiments with the same scale")
    networks, images = set(), set()
    for folder in experiments:
        table = pd.read_csv(folder / "table.csv", dtype={"seeds": str})
        seeds = len(provenances[str(folder)]["seeds"])
        networks.add(seeds * table["model"].nunique())
        images.add(int(table["n"].max()) // len(table["seeds"].iloc[0].split()))
    several = [" or ".join(map(str, sorted(numbers))) for numbers in (networks, images)]
    trained = f"{several[0]} network{'' if networks == {1} else 's'}"
    return f"Measured at scale {scales.popitem()[1]}: {trained} per experiment, {several[1]} images each."


def write_claims(claims: Sequence[Claim], folder: Path, measured: str) -> str:
    """Write the table and the sentence `measured` between the markers in `folder`/README.md; return what was written.

    The paper's values come from `folder`/paper_values.yaml. Raises `UserError` if the README lacks the markers.
    """
    table = claims_table(claims, paper_values(folder / "paper_values.yaml"))
    readme = folder / "README.md"
    before, begin, rest = readme.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{readme} has no place for the claims; add the lines {BEGIN.strip()} and {END}")
    text = f"{table}\n{measured}\n"
    readme.write_text(f"{before}{begin}\n{text}\n{end}{after}")
    return text
