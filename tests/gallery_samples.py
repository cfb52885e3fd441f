"""Cells with tiles, scores, curves and predictions written by hand, for tests of the gallery."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from report_samples import finished_cell, image_scores
from torch import Tensor

from evident.cell_folder import DIRECTIONS, EXAMPLES, NETWORK, OUTCOMES, SCORES
from evident.report.experiment import Cell

SIDE = 24
HOSTILE = "</script><b>&\"'\u2028"
CLASSES = ["petals red", f"stem {HOSTILE}"]


def image(number: int, side: int = SIDE) -> Tensor:
    """Return a picture uint8 (3, side, side) with a bright square, and black elsewhere."""
    picture = torch.zeros(3, side, side, dtype=torch.uint8)
    picture[:, 4:12, 4 : 12 + number % 8] = 200
    return picture


def heatmap(number: int, peak: float, side: int = SIDE) -> Tensor:
    """Return a ramp (side, side) from 0 to `peak`, from left to right, turned round for odd numbers."""
    ramp = torch.linspace(0, peak, side).expand(side, side).clone()
    return ramp.flip(1) if number % 2 else ramp


def shown_cell(
    root: Path,
    explainer: str,
    scores: Mapping[str, Sequence[float]],
    peak: float = 1.0,
    curve: Sequence[float] = (1.0, 0.5, 0.0),
    model: str = "net",
    seed: int = 0,
    data: str = "an8flower_single_6c",
    outcomes: bool = True,
    masks: bool = True,
    signed: bool = False,
    reference_row: bool = False,
    side: int = SIDE,
    config: Mapping[str, Any] | None = None,
) -> Cell:
    """Return a cell whose images are named after its seed; `scores` are one value for each image by metric.

    The curve `deletion` is the same for all images. Every third image is predicted wrong.
    """
    count = len(next(iter(scores.values())))
    labels: dict[str, Any] = {"data": data, "model": model, "explainer": explainer, "seed": seed}
    names = [f"image {seed}-{number}" for number in range(count)]
    parts = [image_scores(name, values, **labels) for name, values in scores.items()]
    places = torch.linspace(0, 1, len(curve)).tolist()
    parts += [
        image_scores("deletion", [value] * count, "pixels", at, **labels)
        for at, value in zip(places, curve, strict=True)
    ]
    frame = pd.concat(parts, ignore_index=True)
    frame["image"] = [names[int(number)] for number in frame["image"]]
    target = torch.arange(count) % 2
    examples = {
        "images": torch.stack([image(number, side) for number in range(count)]),
        "target": torch.zeros_like(target) if signed else target,
        "heatmaps": torch.stack([heatmap(number, peak, side) for number in range(count)]),
    }
    if masks:
        examples["masks"] = examples["images"][:, 0] > 0
    if signed:
        examples["signed"] = examples["heatmaps"] - peak / 2
    products: dict[Any, Any] = {
        SCORES: frame,
        DIRECTIONS: {name: "lower" if name == "deletion" else "higher" for name in [*scores, "deletion"]},
        NETWORK: {"classes": ["average"] if signed else CLASSES, "regression": signed, "accuracy": {"test": 0.875}},
        EXAMPLES: examples,
    }
    if outcomes:
        predicted = [CLASSES[int(target[number]) if number % 3 else 1 - int(target[number])] for number in range(count)]
        products[OUTCOMES] = pd.DataFrame(
            {
                "image": names,
                "label": [CLASSES[number] for number in target],
                "predicted": predicted,
                "probability": [0.75] * count,
                "target": [CLASSES[number] for number in target],
                "target_probability": [0.25 if number % 3 == 0 else 0.75 for number in range(count)],
            }
        )
    described = {
        "experiment": f"toy {HOSTILE}",
        "scale": {"name": "smoke"},
        "metric": {},
        "gallery": "results",
        "paths": {"store": str(root / "store")},
    }
    return finished_cell(
        root / "cells",
        explainer.replace("/", "_"),
        model,
        seed,
        products,
        data,
        reference_row,
        {**described, "row": explainer, **(config or {})},
    )
