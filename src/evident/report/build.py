"""The report of an experiment: the tables, figures and text of its sections, written to one folder."""

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from hydra.utils import instantiate
from matplotlib.figure import Figure

from evident.cell_folder import NETWORK
from evident.errors import writing
from evident.models.training import format_measures
from evident.report.captions import sample_of
from evident.report.experiment import Cell, Experiment
from evident.report.figures.files import write_figures, write_folder, write_whole
from evident.report.gallery.page import Shown, gallery, without_links
from evident.report.sections.contract import Section
from evident.report.table_files import COMPRESSED, encode, file_name
from evident.report.tables.titles import title_of

LITTLE = 0.1  # R², or the share of the way from chance to perfect accuracy

log = logging.getLogger("evident")


def write(
    experiment: Experiment,
    results: Path,
    left_out: Sequence[tuple[str, str, str]] = (),
    figures: bool = True,
    as_they_are: Collection[str] = (),
) -> str:
    """Write tables, figures, gallery and provenance of an experiment to the folder `results`.

    Returns the table to read as text for a terminal, without links.

    `left_out` holds explainer, network and reason where one does not apply. Without `figures`, for cells that have no
    heatmaps, figures and gallery stay as they are, and so do the tables `as_they_are`. Raises `UserError` if `results`
    cannot be written.
    """
    with writing(results, "paths.results"):
        (results / "figures").mkdir(parents=True, exist_ok=True)
    _warn_of_others(experiment, results)
    tables: dict[str, pd.DataFrame] = {}
    drawn: dict[str, Figure] = {}
    folders: dict[str, Mapping[str, bytes]] = {}
    captions: dict[str, str] = {}
    vector: set[str] = set()
    text = f"# {_title(experiment)}\n{_caution(experiment)}"
    for section in sections_of(experiment.cells):
        part = section.report(experiment)
        if (
            twice := tables.keys() & part.tables.keys()
            | drawn.keys() & part.figures.keys()
            | (folders.keys() & part.folders.keys())
        ):
            raise RuntimeError(f"two sections write {', '.join(sorted(twice))}")
        tables |= part.tables
        drawn |= part.figures
        folders |= part.folders
        captions |= part.captions
        vector |= part.vector
        text += part.text
    if left_out:
        text += "\n## Left out\n\n| explainer | network | why |\n|---|---|---|\n"
        named = ((title_of(explainer, experiment.titles), *rest) for explainer, *rest in left_out)
        text += "".join(f"| {' | '.join(part.replace('|', '/') for part in line)} |\n" for line in named)
    for name, table in tables.items():
        if name in as_they_are:
            continue
        write_whole(results / file_name(name), encode(name, table))
        if name in COMPRESSED:  # a report of an earlier version, which would show other numbers
            (results / f"{name}.csv").unlink(missing_ok=True)
    write_whole(results / "table.md", text)
    write_whole(results / "provenance.json", json.dumps(_provenance(experiment), indent=1) + "\n")
    if not figures:
        log.info("%s: tables from kept scores; its figures need heatmaps and stay as they are", results)
        return without_links(text)
    files = write_figures(drawn, results / "figures", vector)
    for name, contents in folders.items():
        write_folder(contents, results / name)
    pages = [name for name, contents in folders.items() if "index.html" in contents]
    linked = {name: file_name(name) for name in tables}
    shown = {
        name: Shown(file, captions.get(name) or sample_of(experiment, experiment.cells), name in vector)
        for name, file in files.items()
    }
    write_whole(results / "index.html", gallery(experiment.config.experiment, text, shown, linked, pages))
    return without_links(text)


def _warn_of_others(experiment: Experiment, results: Path) -> None:
    """Warn if the report that is there already is of other networks or data, which the new one does not show."""
    before = results / "provenance.json"
    if not before.is_file():
        return
    named = [{(n["model"], n["data"]) for n in facts} for facts in (_models(before), experiment.network_facts)]
    if lost := sorted(named[0] - named[1]):
        gone = ", ".join(f"{model} on {data}" for model, data in lost)
        log.warning("%s: the report of %s is replaced; paths.results=DIR keeps several", results, gone)


def _models(provenance: Path) -> list[dict[str, Any]]:
    """Return the networks of an earlier report; none if it is damaged."""
    try:
        return list(json.loads(provenance.read_text())["models"])
    except (OSError, ValueError, KeyError):
        return []


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


def _caution(experiment: Experiment) -> str:
    """Return a paragraph that names the networks which predict hardly better than chance; empty if none does."""
    found = {}
    for cell in experiment.cells:
        network = cell.folder.read(NETWORK)
        accuracy, chance = network["accuracy"], 1 / max(len(network["classes"]), 2)
        if accuracy.get("test_r2", (accuracy.get("test", 1) - chance) / (1 - chance)) < LITTLE:
            seed = "" if "weights" in network else f" seed {cell.config.network_seed}"
            found[network["hash"]] = f"{cell.config.model.name}{seed} on {cell.labels['data']}"
    if not (names := list(found.values())):
        return ""
    return (
        f"\n**Caution**: {', '.join(names)} predict{'s' * (len(names) == 1)} hardly better than chance. There is "
        "little evidence to find, and these numbers say little of the explainers.\n"
    )


def _provenance(experiment: Experiment) -> dict[str, Any]:
    # Each environment once, in the order of the cells.
    environments = list(dict.fromkeys(cell.folder.environment() for cell in experiment.cells))
    config = experiment.config
    return {
        "experiment": config.experiment,
        "scale": config.scale.name,
        "command": experiment.command,
        "environments": [json.loads(text) for text in environments],
        "seeds": sorted({cell.config.seed for cell in experiment.cells}),
        "models": experiment.network_facts,
        "cells": {cell.name: cell.folder.path.name for cell in experiment.cells},
    }
