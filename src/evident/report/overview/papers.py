"""All claims of all papers: read from the scripts in experiments/, which judge them by the committed tables."""

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evident.errors import UserError
from evident.report.claims.verdicts import Claim

FINDING = re.compile(r"\*\*In short\.\*\* (.+?)\n\n", re.DOTALL)


@dataclass(frozen=True)
class Paper:
    """Hold a folder of experiments/: its name, the title and the finding of its README, and its judged claims.

    `missing` says which table is not there; then there are no claims.
    """

    name: str
    title: str
    finding: str
    claims: Sequence[Claim]
    missing: str = ""

    def count(self, *verdicts: str) -> int:
        """Return the number of claims with one of these verdicts."""
        return sum(claim.verdict in verdicts for claim in self.claims)


def papers(root: Path) -> list[Paper]:
    """Return every folder of `root`/experiments that has a script of claims, by name, judged by `root`/results."""
    return [_paper(script, root / "results") for script in sorted((root / "experiments").glob("*/claims.py"))]


def _paper(script: Path, results: Path) -> Paper:
    spec = importlib.util.spec_from_file_location(f"claims_of_{script.parent.name}", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (script.parent / "README.md").read_text()
    title = text.splitlines()[0].removeprefix("# ")
    found = FINDING.search(text)
    finding = " ".join(found[1].split()) if found else ""
    try:
        return Paper(script.parent.name, title, finding, module.claims(results))
    except UserError as error:
        missing = re.sub(r"^\S*?results/", "results/", str(error))
        return Paper(script.parent.name, title, finding, (), missing)
