"""Claims of a paper, and what became of them: a table in the README of the paper's experiments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from evident.errors import UserError

BEGIN, END = "<!-- claims -->\n", "<!-- end -->"


@dataclass(frozen=True)
class Claim:
    """One claim as it is tested: its name (`c, single-6c`), what must hold, where, what was measured, the verdict.

    `rule` says when it holds, so that a reader may judge the judge; `numbers` are the evidence in words.
    """

    name: str
    rule: str
    experiment: str
    numbers: str
    holds: bool


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
        verdict = "holds" if claim.holds else "**fails**"
        own = [paper.get(claim.name, "")] if paper else []
        lines.append([claim.name, f"`{claim.experiment}`", claim.rule, claim.numbers, *own, verdict])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def write_claims(claims: Sequence[Claim], folder: Path) -> str:
    """Put the table of `claims` into `folder`/README.md, between its two markers, and return it.

    The paper's values come from `folder`/paper_values.yaml. Raises `UserError` where the README has no markers.
    """
    table = claims_table(claims, paper_values(folder / "paper_values.yaml"))
    readme = folder / "README.md"
    before, begin, rest = readme.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{readme} has no place for the claims; put the lines {BEGIN.strip()} and {END} into it")
    readme.write_text(f"{before}{begin}\n{table}\n{end}{after}")
    return table
