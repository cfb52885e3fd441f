"""Claims of a paper, and what became of them: a table in the README of the paper's experiments."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from evident.errors import UserError

BEGIN, END = "<!-- claims -->\n", "<!-- end -->"


@dataclass(frozen=True)
class Claim:
    """One claim as it is tested: its name (`c: mnist`), what must hold, where, what was measured, the verdict.

    `rule` says when it holds, so that a reader may judge the judge; `numbers` are the evidence in words. What was
    asked only after other numbers were seen has no verdict: `holds` is None.
    """

    name: str
    rule: str
    experiment: str
    numbers: str
    holds: bool | None


def paper_values(file: Path) -> dict[str, str]:
    """What a person has read in the paper, by the claim's name: `value (page N)`.

    Raises `UserError` for a value without its page.
    """
    values: Mapping[str, Any] = yaml.safe_load(file.read_text()) or {}
    for name, entry in values.items():
        if not isinstance(entry, Mapping) or not {"value", "page"} <= entry.keys():
            raise UserError(f"{file}: {name} needs `value` and `page`; nobody could look it up otherwise")
    return {name: f"{entry['value']} (page {entry['page']})" for name, entry in values.items()}


def claims_table(claims: Sequence[Claim], paper: Mapping[str, str]) -> str:
    """Markdown, a row a claim; with a column for the paper's values where there are any.

    Raises `UserError` for a value of a claim that there is none of.
    """
    unknown = paper.keys() - {claim.name for claim in claims}
    if unknown:
        known = "; ".join(claim.name for claim in claims)
        raise UserError(f"paper_values.yaml names {', '.join(sorted(unknown))}, which is no claim; use {known}")
    header = ["claim", "experiment", "holds if", "measured", *(["paper"] if paper else []), "verdict"]
    lines = [header, ["---"] * len(header)]
    for claim in claims:
        verdict = {True: "holds", False: "**fails**", None: "post hoc"}[claim.holds]
        own = [paper.get(claim.name, "")] if paper else []
        lines.append([claim.name, f"`{claim.experiment}`", claim.rule, claim.numbers, *own, verdict])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def measured_at(experiments: Sequence[Path]) -> str:
    """One sentence on the scale, networks and images of the experiments' results.

    Raises `UserError` where they are of several scales, whose verdicts would not belong together.
    """
    provenances = {str(folder): json.loads((folder / "provenance.json").read_text()) for folder in experiments}
    scales = {name: provenance["scale"] for name, provenance in provenances.items()}
    if len(set(scales.values())) > 1:
        raise UserError(f"results of several scales: {scales}; run all experiments with the same")
    networks, images = set(), set()
    for folder in experiments:
        table = pd.read_csv(folder / "table.csv", dtype={"seeds": str})
        seeds = len(provenances[str(folder)]["seeds"])
        networks.add(seeds * table["model"].nunique())
        images.add(int(table["n"].max()) // len(table["seeds"].iloc[0].split()))
    several = [" or ".join(map(str, sorted(numbers))) for numbers in (networks, images)]
    trained = f"{several[0]} network{'' if networks == {1} else 's'}"
    return f"Measured at scale {scales.popitem()[1]}: {trained} a data set, {several[1]} images each."


def write_claims(claims: Sequence[Claim], folder: Path, measured: str) -> str:
    """Put the table of `claims` and how they were `measured` into `folder`/README.md, between its markers; return it.

    The paper's values come from `folder`/paper_values.yaml. Raises `UserError` where the README has no markers.
    """
    table = claims_table(claims, paper_values(folder / "paper_values.yaml"))
    readme = folder / "README.md"
    before, begin, rest = readme.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{readme} has no place for the claims; put the lines {BEGIN.strip()} and {END} into it")
    text = f"{table}\n{measured}\n"
    readme.write_text(f"{before}{begin}\n{text}\n{end}{after}")
    return text
