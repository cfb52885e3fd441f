"""Measure the reliability of Evident: run the tests of generated inputs and of killed sweeps, and write their figures.

    python tests/reliability.py

writes `results/reliability/README.md` and `figures.csv`; it takes about half an hour on one core.
"""

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import pandas as pd

from evident import store

ROOT = Path(__file__).parents[1]
WHAT = {
    "names": "file and class names of any signs",
    "pictures": "pictures of 13 modes, 8 formats, any size and rotation",
    "damaged": "pictures that are cut off or have other bytes",
    "tables": "boxes in CSV dialects and encodings",
    "targets": "classes to explain: numbers, words, others",
    "overrides": "settings on the command line",
}


def measured(marker: str) -> pd.DataFrame:
    """Run the tests with a marker; return what they recorded, as columns test, figure and value."""
    with TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        # Properties of tests are part of the older format only.
        settings = [f"--junitxml={report}", "-o", "junit_family=xunit1", "-p", "no:cacheprovider"]
        command = [sys.executable, "-m", "pytest", "-q", "-m", marker, *settings]
        ended = subprocess.run(command, cwd=ROOT, check=False)
        cases = list(ElementTree.parse(report).iter("testcase"))
    if ended.returncode:
        sys.exit(f"pytest -m {marker} failed; mend what it found, and run again")
    rows = [
        {"test": case.attrib["name"], "figure": entry.attrib["name"], "value": int(entry.attrib["value"])}
        for case in cases
        for entry in case.iter("property")
    ]
    for case in cases:
        if case.find("skipped") is not None:
            rows.append({"test": case.attrib["name"], "figure": "skipped", "value": 1})
    return pd.DataFrame(rows, columns=["test", "figure", "value"])


PAGE = """# Reliability

What generated inputs and killed sweeps do to Evident: each gives the right value, or an error in one line. A test that
finds anything else fails, and then this page is not written.

Made by `python tests/reliability.py` in {minutes:.0f} minutes; commit {commit}, Python {python}, {system}.

## Generated inputs (`pytest -m fuzz`)

| input | cases | of these refused in one line |
|---|---:|---:|
{inputs}

All other cases gave the value that the test expects, or are names and pictures that the file system or the format
cannot hold.

## Killed sweeps, disks and bytes (`pytest -m kill`)

| test | figure | value |
|---|---|---:|
{tests}

Kills are SIGKILLs at random moments of a sweep: alone, and of one of two sweeps on one store. Every sweep that ended
wrote the same bytes as an undisturbed one, and no finished artefact was made again. A test that needs the rights of an
administrator, to mount a disk, is marked as skipped where they are missing.
"""


def page(fuzz: pd.DataFrame, kill: pd.DataFrame, minutes: float) -> str:
    """Return the page of the figures."""
    counts = fuzz.set_index("figure")["value"]
    table = pd.DataFrame({what: [counts[f"{kind} cases"], counts[f"{kind} refused"]] for kind, what in WHAT.items()}).T
    table.loc["all"] = table.sum()
    facts = store.environment()
    return PAGE.format(
        minutes=minutes,
        commit=facts["commit"][:12],
        python=facts["python"],
        system=facts["system"],
        inputs="\n".join(f"| {what} | {cases:,} | {refused:,} |" for what, (cases, refused) in table.iterrows()),
        tests="\n".join(
            f"| {test.removeprefix('test_').replace('_', ' ')} | {figure} | {value} |"
            for test, figure, value in kill.itertuples(index=False)
        ),
    )


def main() -> None:
    """Run both kinds of tests and write the page."""
    began = time.monotonic()
    fuzz, kill = measured("fuzz"), measured("kill")
    folder = ROOT / "results" / "reliability"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(page(fuzz, kill, (time.monotonic() - began) / 60))
    pd.concat([fuzz, kill]).to_csv(folder / "figures.csv", index=False)


if __name__ == "__main__":
    main()
