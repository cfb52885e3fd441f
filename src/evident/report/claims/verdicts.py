"""Claims of a paper and their verdicts, as a table in the README of the paper's experiments."""

import argparse
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
from evident.report.tables.scores import networks_of

LIKE = {"day": "quick"}  # scales whose explainers have the budgets of another or larger ones
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


def main(
    claims: Callable[[Path], Sequence[Claim]],
    experiments: Sequence[str],
    script: str,
    arguments: Sequence[str] | None = None,
) -> None:
    """Judge a paper's claims by the results of the project, or of a folder in the `arguments` of the command.

    Verdicts on the project's results are printed and written into the README beside `script`; those on another folder
    are printed only. `claims` gets the folder; `experiments` are those whose scale, networks and images are stated. A
    `UserError` ends the process with its message.
    """
    here = Path(script).parent
    own = here.parents[1] / "results"
    parser = argparse.ArgumentParser(description=f"Judge the claims of {here.name} by tables of results.")
    words = "folder to judge (default: results/ of the project, whose verdicts are written into the README as well)"
    parser.add_argument("results", type=Path, nargs="?", default=own, help=words)
    results: Path = parser.parse_args(arguments).results
    try:
        state = write_claims if results.resolve() == own.resolve() else verdicts
        print(state(claims(results), here, measured_at([results / name for name in experiments])))
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

    It names the experiments of another scale than the first that is alike. Raises `UserError` if the results are of
    scales that are not alike, because baselines would be weaker in some of them.
    """
    known = {str(folder): json.loads((folder / "provenance.json").read_text()) for folder in experiments}
    scales = {folder: made["scale"] for folder, made in known.items()}
    if len({LIKE.get(scale, scale) for scale in scales.values()}) > 1:
        raise UserError(f"results of several scales: {scales}; run all experiments with the same scale")
    samples: dict[str, list[tuple[int, set[int]]]] = {}
    names: dict[str, list[str]] = {}
    for folder in experiments:
        scale = scales[str(folder)]
        made, table = known[str(folder)], pd.read_csv(folder / "table.csv", dtype={"seeds": str})
        networks = len({network["hash"] for network in made["models"]})
        samples.setdefault(scale, []).append((networks, _images(table)))
        names.setdefault(scale, []).append(f"`{made['experiment']}`")
    main_scale, *others = sorted(samples, key=lambda scale: scale in LIKE)
    parts = [f"Measured at scale {main_scale}: {_counted(samples[main_scale])} each"]
    parts += [f"{' and '.join(names[scale])} at scale {scale}: {_counted(samples[scale])} each" for scale in others]
    return "; ".join(parts) + "."


def _images(table: pd.DataFrame) -> set[int]:
    """Return the numbers of images that the networks of a table explain."""
    images = (table["n"] + table["n_undefined"]) // networks_of(table)
    return set(images.groupby([table["data"], table["model"]]).max())


def _counted(samples: Sequence[tuple[int, set[int]]]) -> str:
    networks = {count for count, _ in samples}
    images = set().union(*(counts for _, counts in samples))
    several = [" or ".join(map(str, sorted(numbers))) for numbers in (networks, images)]
    return f"{several[0]} network{'' if networks == {1} else 's'} per experiment, {several[1]} images"


def verdicts(claims: Sequence[Claim], folder: Path, measured: str) -> str:
    """Return the table of claims with the values in `folder`/paper_values.yaml, and the sentence `measured`."""
    return f"{claims_table(claims, paper_values(folder / 'paper_values.yaml'))}\n{measured}\n"


def write_claims(claims: Sequence[Claim], folder: Path, measured: str) -> str:
    """Write the `verdicts` between the markers in `folder`/README.md; return what was written.

    Raises `UserError` if the README lacks the markers.
    """
    text = verdicts(claims, folder, measured)
    readme = folder / "README.md"
    before, begin, rest = readme.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{readme} has no place for the claims; add the lines {BEGIN.strip()} and {END}")
    readme.write_text(f"{before}{begin}\n{text}\n{end}{after}")
    return text
