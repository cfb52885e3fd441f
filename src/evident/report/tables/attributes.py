"""Scores of networks and explanations attribute by attribute."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from evident.report.tables.network_measures import average_precision
from evident.report.tables.networks import Predictions

COLUMNS = ["explainer", "data", "model", "attribute", "metric", "mean", "n"]


def by_attribute(scores: pd.DataFrame, names: Mapping[str, Sequence[str]], predictions: Predictions) -> pd.DataFrame:
    """Return one row per explainer, attribute and measure: the mean over images (and seeds), and how many images.

    `names` are the attributes of each data set. `attribute_precision` is the average precision of the networks'
    attributes on test images, with the number of images that show the attribute; its explainer is empty. The other
    measures are curves over attributes, whose positions are indices of attributes. No rows if nothing is measured.
    """
    own = _precision(names, predictions)
    table = _means(scores, names)
    return pd.concat([part for part in (own, table) if len(part)] or [own], ignore_index=True)


def _means(scores: pd.DataFrame, names: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    points = scores[scores["axis"] == "attributes"].dropna(subset="value").sort_values("at", kind="stable")
    groups = points.groupby(["explainer", "data", "model", "at", "metric"], sort=False)
    table = groups.agg(mean=("value", "mean"), n=("image", "nunique")).reset_index()
    attributes = [names[data][int(at)] for data, at in zip(table["data"], table["at"], strict=True)]
    table.insert(3, "attribute", attributes)
    return table.drop(columns="at")


def _precision(names: Mapping[str, Sequence[str]], predictions: Predictions) -> pd.DataFrame:
    rows = []
    for data, models in predictions.items():
        for model, seeds in models.items():
            for number, name in enumerate(names[data]):
                known = [each for each in seeds.values() if "attributes" in each]
                present = [each["labels"][:, number] > 0.5 for each in known]
                once = torch.ones(1, len(present[0])) if present else None
                values = [
                    average_precision(each["attributes"][:, number], shown, once).item()
                    for each, shown in zip(known, present, strict=True)
                    if once is not None and shown.any()
                ]
                if values:
                    count = int(present[0].sum())
                    rows.append(("", data, model, name, "attribute_precision", float(np.mean(values)), count))
    return pd.DataFrame(rows, columns=COLUMNS)
