"""One card for each experiment of results/: what was run, how well its networks predict, and a picture."""

import json
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from evident.report.tables.scores import networks_of

FIRST = ("examples", "scenes", "evidence", "spectra", "budgets", "sanity", "validity", "scores", "curves")


@dataclass(frozen=True)
class Card:
    """Hold what the overview says of an experiment; `picture` is a file below results/, empty if it has none."""

    name: str
    command: str
    scale: str
    networks: str
    images: int
    explainers: int
    accuracy: str
    commits: tuple[str, ...]
    date: str
    device: str
    picture: str


def cards(results: Path) -> list[Card]:
    """Return a card for every folder of `results` with a `provenance.json`, by name."""
    return [_card(file, results) for file in sorted(results.rglob("provenance.json"))]


def _card(file: Path, results: Path) -> Card:
    known = json.loads(file.read_text())
    scored = (file.parent / "table.csv").is_file()
    table = pd.read_csv(file.parent / "table.csv", dtype={"seeds": str}) if scored else pd.DataFrame()
    images = ((table["n"] + table["n_undefined"]) // networks_of(table)).max() if scored else 0
    commits = tuple(dict.fromkeys(made["commit"].removesuffix("+changes")[:7] for made in known["environments"]))
    return Card(
        name=known["experiment"],
        command=known["command"],
        scale=known["scale"],
        networks=_networks(known["models"]),
        images=int(images),
        explainers=table["explainer"].nunique() if scored else 0,
        accuracy=_accuracy(known["models"]),
        commits=commits,
        date=_date(commits[-1]),
        device=", ".join(dict.fromkeys(made["device"] for made in known["environments"])),
        picture=_picture(file.parent, results),
    )


def _networks(models: list[Mapping[str, Any]]) -> str:
    """Return the names of the networks, and how many were trained where there are several of a name."""
    counted = Counter(str(model["model"]) for model in models)
    return ", ".join(f"{count} x {name}" if count > 1 else name for name, count in counted.items())


def _accuracy(models: list[Mapping[str, Any]]) -> str:
    """Return the lowest and the highest accuracy on test images, or R² of networks that predict scores."""
    for name, form in (("test", "{:.1%}"), ("test_r2", "R² {:.2f}")):
        values = [model["accuracy"][name] for model in models if name in model["accuracy"]]
        if values:
            return " to ".join(dict.fromkeys(form.format(value) for value in (min(values), max(values))))
    return ""


def _date(commit: str) -> str:
    """Return the day of a commit, or nothing outside a checkout."""
    command = ["git", "show", "--no-patch", "--format=%cs", commit]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _picture(folder: Path, results: Path) -> str:
    files = sorted(file for file in (folder / "figures").glob("*.*") if file.suffix != ".pdf")
    for start in FIRST:
        for file in files:
            if file.stem.startswith(start):
                return file.relative_to(results).as_posix()
    return files[0].relative_to(results).as_posix() if files else ""
