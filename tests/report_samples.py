"""Finished cells, scores and predictions written by hand, for tests of the report."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from evident.cell_folder import NETWORK, CellFolder, Product
from evident.report.experiment import Cell

ATTRIBUTES = ["sky", "lake", "mast", "road"]


def finished_cell(
    root: Path,
    explainer: str = "gradient",
    model: str = "net",
    seed: int = 0,
    products: Mapping[Product[Any], Any] | None = None,
    data: str = "photos",
    reference_row: bool = False,
    config: Mapping[str, Any] | None = None,
) -> Cell:
    """Return a cell whose folder in `root` has these products, and a network of its model and seed.

    `config` adds to what its config has.
    """
    path = root / "_".join((data, model, explainer, str(seed)))
    path.mkdir(parents=True)
    folder = CellFolder(path)
    network = {"hash": f"{data} {model} {seed}", "regression": False, "accuracy": {}, "classes": []}
    for product, content in {NETWORK: {}, **(products or {})}.items():
        folder.write(product, network | content if product is NETWORK else content)
    described: dict[str, Any] = {
        "explainer": {"name": explainer, "reference_row": reference_row},
        "data": {"name": data},
        "model": {"name": model},
        "row": explainer,
        "seed": seed,
        "network_seed": seed,
        "scale": {"audit": False},
    }
    merged = OmegaConf.merge(OmegaConf.create(described), OmegaConf.create(dict(config or {})))
    assert isinstance(merged, DictConfig)
    return Cell(merged, folder)


def image_scores(
    metric: str, values: Sequence[float], axis: str = "", at: float = math.nan, **labels: Any
) -> pd.DataFrame:
    """Return one score for each of the images "0", "1", ... in long form; with `axis`, one point of their curves."""
    place = {"experiment": "e", "data": "photos", "model": "net", "explainer": "gradient", "seed": 0, **labels}
    images = [str(number) for number in range(len(values))]
    return pd.DataFrame(
        {**place, "image": images, "target": 0, "metric": metric, "axis": axis, "at": at, "value": list(values)}
    )


def attribute_curves(metric: str, curves: Sequence[Sequence[float]], **labels: Any) -> pd.DataFrame:
    """Return the curve over attributes of every image, and 77 as its score, in long form."""
    points = [
        image_scores(metric, of_attribute, "attributes", float(number), **labels)
        for number, of_attribute in enumerate(zip(*curves, strict=True))
    ]
    return pd.concat([image_scores(metric, [77.0] * len(curves), **labels), *points], ignore_index=True)


def predictions(seed: int, images: int = 40, noise: float = 2.0) -> dict[str, Tensor]:
    """Return what the network of a seed predicts for the same test scenes; no scene shows a road."""
    world, network = (torch.Generator().manual_seed(number) for number in (1000, seed))
    votes = torch.randint(2, 20, (images, 2), generator=world) / 2
    labels = torch.randint(0, 4, (images, len(ATTRIBUTES)), generator=world) / 3
    labels[:, 3] = 1 / 3
    scores = votes + noise * torch.randn(images, 2, generator=network)
    attributes = (labels + noise * torch.randn(images, len(ATTRIBUTES), generator=network)).round(decimals=1)
    return {"scores": scores, "votes": votes, "attributes": attributes, "labels": labels}


def only(predicted: Mapping[str, Tensor], *names: str) -> dict[str, Tensor]:
    """Return some of the tensors of `predictions`."""
    return {name: predicted[name] for name in names}
