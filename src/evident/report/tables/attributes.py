"""What networks and explanations of scenes do attribute by attribute."""

import json

import numpy as np
import pandas as pd
import torch

from evident.report.cells import Cell
from evident.report.tables.networks import average_precision, predictions_of


def by_attribute(cells: list[Cell], scores: pd.DataFrame) -> pd.DataFrame:
    """A row an explainer, attribute and measure: mean over images (and seeds), and the number of images.

    `attribute_precision` is of the networks' attributes on test scenes, with the number of those that show it. The
    others are points of curves over attributes, which stand at their numbers. No rows where nothing is measured.
    """
    named = {str(cell.labels["data"]): file for cell in cells if (file := cell.folder / "attributes.json").exists()}
    names = {data: json.loads(file.read_text()) for data, file in named.items()}
    points = (
        scores[is_over_attributes(scores["metric"]) & scores["at"].notna()]
        .dropna(subset="value")
        .sort_values("at", kind="stable")
    )
    groups = points.groupby(["explainer", "data", "model", "at", "metric"], sort=False)
    table = groups.agg(mean=("value", "mean"), n=("image", "nunique")).reset_index()
    table.insert(3, "attribute", [names[data][int(at)] for data, at in zip(table["data"], table["at"], strict=True)])
    rows = []
    for data, models in predictions_of(cells).items():
        for model, seeds in models.items():
            for number, name in enumerate(names[data]):
                of = [each for each in seeds.values() if "attributes" in each]
                present = [each["labels"][:, number] > 0.5 for each in of]
                one = torch.ones(1, len(present[0])) if present else None
                values = [
                    average_precision(each["attributes"][:, number], there, one).item()
                    for each, there in zip(of, present, strict=True)
                    if one is not None and there.any()
                ]
                if values:
                    count = int(present[0].sum())
                    rows.append(("", data, model, name, "attribute_precision", float(np.mean(values)), count))
    own = pd.DataFrame(rows, columns=["explainer", "data", "model", "attribute", "metric", "mean", "n"])
    return pd.concat([part for part in (own, table.drop(columns="at")) if len(part)] or [own], ignore_index=True)


def is_over_attributes(metric: pd.Series) -> pd.Series:
    """Which names of metrics are curves over attributes, and not over pixels."""
    return metric.str.startswith(("maps_", "removal_", "stated_removal_", "typical_removal_")).astype(bool)
