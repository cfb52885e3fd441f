"""The report of an experiment: the tables, figures and text of its sections, written to one folder."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from hydra.utils import instantiate
from matplotlib.figure import Figure

from evident.errors import UserError
from evident.models.training import format_measures
from evident.report.experiment import Cell, Experiment
from evident.report.figures.files import write_figures
from evident.report.gallery.page import gallery
from evident.report.sections.contract import Section


def write(cells: Sequence[Cell], results: Path, overrides: Sequence[str]) -> str:
    """Write tables, figures, gallery and provenance of `cells` to the folder `results`; return the table to read.

    `overrides` are those of the command. Raises `UserError` if `results` cannot be written.
    """
    try:
        (results / "figures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {results}: {error}; set paths.results to a writable folder") from error
    experiment = Experiment(cells)
    tables: dict[str, pd.DataFrame] = {}
    figures: dict[str, Figure] = {}
    text = f"# {_title(experiment)}\n"
    for section in sections_of(experiment.cells):
        part = section.report(experiment)
        tables |= part.tables
        figures |= part.figures
        text += part.text
    for name, table in tables.items():
        _write(results / f"{name}.csv", table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    _write(results / "table.md", text)
    _write(results / "provenance.json", json.dumps(_provenance(experiment, overrides), indent=1) + "\n")
    files = write_figures(figures, results / "figures")
    _write(results / "index.html", gallery(experiment.config.experiment, text, files))
    return text


def sections_of(cells: Sequence[Cell]) -> list[Section]:
    """Build every section that the config of a cell names, in their order there."""
    configured: dict[str, Any] = {}
    for cell in cells:
        configured |= {name: build for name, build in cell.config.section.items() if name not in configured}
    return [instantiate(build) for build in configured.values()]


def _title(experiment: Experiment) -> str:
    networks = []
    for network in experiment.network_facts:
        seed = f" seed {network['seed']}" if "seed" in network else ""
        measures = format_measures(network["accuracy"])
        networks.append(f"{network['model']}{seed} on {network['data']}: {measures}")
    config = experiment.config
    return f"{config.experiment} ({config.scale.name}): {'; '.join(networks)}"


def _provenance(experiment: Experiment, overrides: Sequence[str]) -> dict[str, Any]:
    # Each environment once, in the order of the cells.
    environments = list(dict.fromkeys(cell.folder.environment() for cell in experiment.cells))
    # Paths, loggers and launchers change nothing in the results, and neither does a second report.
    relevant = [given for given in overrides if not given.startswith(("paths.", "task=", "logger", "hydra"))]
    config = experiment.config
    return {
        "experiment": config.experiment,
        "scale": config.scale.name,
        "command": " ".join(["python run.py", *relevant]),
        "environments": [json.loads(text) for text in environments],
        "seeds": sorted({cell.config.seed for cell in experiment.cells}),
        "models": experiment.network_facts,
        "cells": {_name(cell): cell.folder.path.name for cell in experiment.cells},
    }


def _name(cell: Cell) -> str:
    labels = cell.labels
    return f"{labels['data']} {labels['model']} {labels['explainer']} seed {labels['seed']}"


def _write(path: Path, content: str) -> None:
    """Write a file atomically: a reader never sees an incomplete file, and two writers do not mix their content."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.making")
    scratch.write_text(content)
    scratch.replace(path)
