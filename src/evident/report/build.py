"""The report of an experiment, from the scores of its cells alone."""

import io
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from omegaconf import DictConfig
from PIL import Image
from safetensors.torch import load_file

from evident.data.scenes.splits import SCORES
from evident.errors import UserError
from evident.models.training import on_base, told
from evident.report.cells import Cell
from evident.report.figures import scores as figures
from evident.report.figures.evidence import colour_figures, evidence_figures
from evident.report.figures.scenes import removal_figures, scene_figures
from evident.report.figures.spectra import spectra_figure
from evident.report.gallery.page import gallery
from evident.report.tables import scores as tables
from evident.report.tables.attributes import by_attribute, is_over_attributes
from evident.report.tables.features import feature_figures, feature_table
from evident.report.tables.networks import OF_NETWORK, performance
from evident.report.tables.networks import markdown as performance_markdown

LARGE = 300_000  # bytes of a picture


def write(cells: list[Cell], results: Path, overrides: list[str]) -> str:
    """Write tables, figures, gallery and provenance of `cells` to the folder `results`; return the table to read.

    `overrides` are those of the command. Raises `UserError` where `results` cannot be written.
    """
    try:
        (results / "figures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {results}: {error}; set paths.results to a folder that can be") from error
    scores = pd.concat([pd.read_parquet(cell.folder / "scores.parquet") for cell in cells], ignore_index=True)
    references = {cell.config.explainer.name for cell in cells if cell.config.explainer.get("reference_row")}
    models = _models(cells)
    directions: dict[str, str] = {}
    for cell in cells:
        directions |= json.loads((cell.folder / "directions.json").read_text())
    own = scores[scores["metric"] != OF_NETWORK]
    table = tables.table(own, directions)
    curves = tables.curves(scores[~is_over_attributes(scores["metric"])])
    text = tables.markdown(table, references, _title(cells[0].config, models))
    frames = {"table": table, "significance": tables.significance(own), "curves": curves, "cost": _cost(cells)}
    of_features = {"features": feature_table(cells), "ablation": tables.by_class(scores, "ablation")}
    of_features["colour"] = colours = _colours(cells, scores)
    of_features["performance"], of_features["performance_differences"] = performance(cells, scores)
    text += performance_markdown(of_features["performance"])
    notes = dict.fromkeys(str(cell.config.data.note) for cell in cells if "note" in cell.config.data)
    text += "".join(f"\n**{note}**\n" for note in notes)
    of_features["attributes"] = attributes = by_attribute(cells, scores)
    for name, frame in {**frames, **{name: frame for name, frame in of_features.items() if len(frame)}}.items():
        _write(results / f"{name}.csv", frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    _write(results / "table.md", text)
    _write(results / "provenance.json", json.dumps(_provenance(cells, models, overrides), indent=1) + "\n")
    drawn = {**_figures(cells, table, curves, references), **feature_figures(cells), **evidence_figures(cells)}
    drawn |= {**colour_figures(colours), **scene_figures(cells), **removal_figures(cells, attributes)}
    for name, figure in drawn.items():
        _write(results / "figures" / f"{name}.png", _png(figure))
    _write(results / "index.html", gallery(cells[0].config.experiment, text, list(drawn)))
    return text


def _colours(cells: list[Cell], scores: pd.DataFrame) -> pd.DataFrame:
    """What the colours of explanations are worth, class by class, the classes by their names."""
    colours = tables.by_class(scores, "colour")
    if len(colours):
        of = {(str(c.labels["data"]), str(c.labels["model"])): c.folder / "classes.json" for c in cells}
        names = {place: json.loads(file.read_text()) for place, file in of.items()}
        places = zip(colours["data"], colours["model"], colours["target"], strict=True)
        colours.insert(5, "class", [names[data, model][target] for data, model, target in places])
    return colours


def _models(cells: list[Cell]) -> list[dict[str, Any]]:
    found = {}
    for cell in cells:
        network = json.loads((cell.folder / "network.json").read_text())
        names = {"data": on_base(cell.config).data.name, "model": cell.config.model.name}
        # No seed has made published weights.
        seed = {} if "weights" in network else {"seed": cell.config.seed}
        found[network["hash"]] = {**names, **seed, **network}
    return list(found.values())


def _title(config: DictConfig, models: list[dict[str, Any]]) -> str:
    networks = []
    for model in models:
        seed = f" seed {model['seed']}" if "seed" in model else ""
        networks.append(f"{model['model']}{seed} on {model['data']}: {told(model['accuracy'])}")
    return f"{config.experiment} ({config.scale.name}): {'; '.join(networks)}"


def _cost(cells: list[Cell]) -> pd.DataFrame:
    rows = []
    for cell in cells:
        cost = json.loads((cell.folder / "cost.json").read_text())
        images = cost.pop("images")
        per_image = {f"{key}_per_image": cost[key] / images for key in cost if key != "peak_memory"}
        rows.append({**cell.labels, **per_image, "peak_memory": cost["peak_memory"]})
    return pd.DataFrame(rows)


def _provenance(cells: list[Cell], models: list[dict[str, Any]], overrides: list[str]) -> dict[str, Any]:
    # Each environment once, in the order in which cells were asked for.
    environments = list(dict.fromkeys((cell.folder / "environment.json").read_text() for cell in cells))
    # Where things are kept, and that they were reported again, changes nothing in them.
    telling = [given for given in overrides if not given.startswith(("paths.", "task=", "logger", "hydra"))]
    config = cells[0].config
    return {
        "experiment": config.experiment,
        "scale": config.scale.name,
        "command": " ".join(["python run.py", *telling]),
        "environments": [json.loads(text) for text in environments],
        "seeds": sorted({cell.config.seed for cell in cells}),
        "models": models,
        "cells": {_name(cell.config): cell.folder.name for cell in cells},
    }


def _name(config: DictConfig) -> str:
    return f"{config.data.name} {config.model.name} {config.explainer.name} seed {config.seed}"


def _figures(cells: list[Cell], table: pd.DataFrame, curves: pd.DataFrame, references: set[str]) -> dict[str, Figure]:
    drawn: dict[str, Figure] = {}
    scores_alone = json.loads((cells[0].folder / "classes.json").read_text()) == list(SCORES)
    for (data, model), part in table.groupby(["data", "model"], sort=False):
        suffix = "" if len(table.groupby(["data", "model"])) == 1 else f"_{data}_{model}"
        first_seed = min(cell.config.seed for cell in cells)
        examples = {
            cell.config.explainer.name: load_file(cell.folder / "examples.safetensors")
            for cell in cells
            if (cell.config.data.name, cell.config.model.name, cell.config.seed) == (data, model, first_seed)
        }
        if any(examples.values()):
            drawn[f"examples{suffix}"] = figures.examples_figure(examples)
            energy = part[part["metric"] == "grid_energy"].set_index("explainer")["mean"]
            if len(energy):
                drawn[f"spectra{suffix}"] = spectra_figure(
                    examples, {str(name): value for name, value in energy.items()}
                )
        drawn[f"scores{suffix}"] = figures.scores_figure(part, references)
        own = curves[(curves["data"] == data) & (curves["model"] == model)]
        over_features = figures.is_ablation(own["metric"])
        if not over_features.all():
            followed = "score" if scores_alone else "probability of the class"
            drawn[f"curves{suffix}"] = figures.curves_figure(own, references, followed)
        if over_features.any():
            drawn[f"ablation{suffix}"] = figures.ablation_figure(own[over_features])
    return drawn


def _png(figure: Figure) -> bytes:
    """The picture as a file; a large one, as of heatmaps by the hundred, in the 256 colours that fit it best."""
    file = io.BytesIO()
    # Without the software's version in it the same picture is the same file.
    figure.savefig(file, metadata={"Software": None})
    if file.tell() < LARGE:
        return file.getvalue()
    picture, small = Image.open(file).convert("RGB"), io.BytesIO()
    palette = picture.quantize(256, Image.Quantize.MEDIANCUT)
    picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(small, "PNG")
    return min(file.getvalue(), small.getvalue(), key=len)


def _write(path: Path, content: str | bytes) -> None:
    """Whole or not there: a reader never sees half a file, nor do two writers mix theirs."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.making")
    scratch.write_bytes(content.encode() if isinstance(content, str) else content)
    scratch.replace(path)
