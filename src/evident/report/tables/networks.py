"""How well networks predict scores and attributes: measures with intervals, and paired differences."""

import itertools

import pandas as pd
import torch
from torch import Tensor

from evident.report.tables.network_measures import interval, interval_over_networks, measures
from evident.report.tables.score_text import ARROW

DIRECTION = {
    "rmse": "lower", "mae": "lower", "r2": "higher", "tau": "higher", "attribute_precision": "higher",
    "removal": "higher",
}  # fmt: skip
COLUMNS = ["data", "model", "measure", "direction", "value", "ci_low", "ci_high", "std", "n", "networks", "seeds"]
COMPARED = ["data", "measure", "model", "other", "seeds", "networks", "n", "difference", "ci_low", "ci_high"]
LEGEND = (
    "Value and 95 % interval: Student's over networks where several were trained, with the error of the test images, "
    "which they share, added; of a single network the bootstrap interval over test images. Errors are in votes."
)
LEGEND_OF = {  # of a measure or a row
    "variance_rmse": "variance: the variance of the votes.",
    "attribute_precision": "attribute precision: the mean average precision over attributes.",
    "removal": "removal: Kendall's tau between the changes of the network's and of the true score when an attribute is "
    "removed from the scene, over the attributes that the scene shows.",
    "constant": "*constant*: predicts the mean label and no attribute for every image.",
    "truth": "*truth*: the expected votes on the rendered scene; its r2 is exceeded by chance only.",
}
IMAGES_OF = {"attribute_precision": "labels", "removal": "removal"}  # whose length is n; else "votes"
BASELINES = ("constant", "truth")
# What networks predict for the test images: data set -> model -> seed -> tensors by name.
Predictions = dict[str, dict[str, dict[int, dict[str, Tensor]]]]


def performance(predictions: Predictions) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a table with `COLUMNS`, one row per network and measure, and one with `COMPARED`, per pair and measure.

    A value is the mean over seeds, with `interval_over_networks`; `std` is the standard deviation over seeds, `n` the
    number of test images. The `BASELINES` follow the networks. Two networks are compared on the seeds that both have:
    by the mean over these seeds and, if there are several, also seed by seed, over images.
    """
    rows, compared = [], []
    for data, models in predictions.items():
        values = {model: _by_measure(seeds) for model, seeds in models.items()}
        for model, by_measure in values.items():
            for measure, each in by_measure.items():
                seeds, drawn = sorted(each), torch.stack(list(each.values()))
                std = drawn[:, 0].std().item() if len(seeds) > 1 else float("nan")
                label = (data, model, measure, _direction(measure))
                sample = (_images(measure, models[model][seeds[0]]), len(seeds), " ".join(map(str, seeds)))
                rows.append((*label, *interval_over_networks(drawn), std, *sample))
        first = next(iter(next(iter(models.values())).values()))
        for model, predicted in _references(first).items():
            for measure, drawn in measures(predicted).items():
                if not drawn[0].isnan():
                    label = (data, model, measure, _direction(measure))
                    rows.append((*label, *interval(drawn), float("nan"), _images(measure, predicted), 1, ""))
        for (model, one), (other, two) in itertools.combinations(values.items(), 2):
            for measure in (measure for measure in one if measure in two):
                both = sorted(one[measure].keys() & two[measure].keys())
                for seeds in [both, *([seed] for seed in both if len(both) > 1)] if both else []:
                    difference = torch.stack([one[measure][seed] - two[measure][seed] for seed in seeds])
                    images = _images(measure, models[model][seeds[0]])
                    pair = (data, measure, model, other, " ".join(map(str, seeds)), len(seeds), images)
                    compared.append((*pair, *interval_over_networks(difference)))
    return pd.DataFrame(rows, columns=COLUMNS), pd.DataFrame(compared, columns=COMPARED)


def _images(measure: str, predictions: dict[str, Tensor]) -> int:
    return len(predictions[IMAGES_OF.get(measure, "votes")])


def markdown(table: pd.DataFrame) -> str:
    """Format the table of `performance` as Markdown, one row per network, one column per measure; empty if it is."""
    if not len(table):
        return ""
    measured = list(dict.fromkeys(table["measure"]))
    arrow = table.drop_duplicates("measure").set_index("measure")["direction"].map(ARROW)
    lines = [["network", *(f"{name.replace('_', ' ')}{arrow[name]}" for name in measured)]]
    lines.append(["---"] + ["---:"] * len(measured))
    for (data, model), part in table.groupby(["data", "model"], sort=False):
        cells = {
            row.measure: f"{row.value:z.3f} [{row.ci_low:z.3f}, {row.ci_high:z.3f}]"
            for row in part.dropna(subset="value").itertuples(index=False)
        }
        name = f"*{model}* on {data}" if model in BASELINES else f"{model} on {data}"
        lines.append([name, *(cells.get(name, "") for name in measured)])
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    shown = {*measured, *table["model"]}
    legend = " ".join([LEGEND, *(text for name, text in LEGEND_OF.items() if name in shown)])
    return f"\n## Networks\n\n{body}\n\n{legend}\n"


def _references(predictions: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return constant and ground-truth baselines, by `BASELINES`."""
    constant = {name: values for name, values in predictions.items() if name in ("votes", "labels")}
    if "votes" in constant:
        constant["scores"] = constant["votes"].mean(0).expand_as(constant["votes"])
    if "labels" in constant:
        constant["attributes"] = torch.zeros_like(constant["labels"])
    found = {"constant": constant}
    if "true" in predictions:
        found["truth"] = {"votes": predictions["votes"], "scores": predictions["true"]}
    return found


def _direction(measure: str) -> str:
    """Return which values of a measure are better; the measures of further outputs have the output's name in front."""
    return next(better for name, better in DIRECTION.items() if measure == name or measure.endswith(f"_{name}"))


def _by_measure(seeds: dict[int, dict[str, Tensor]]) -> dict[str, dict[int, Tensor]]:
    found: dict[str, dict[int, Tensor]] = {}
    for seed, predictions in seeds.items():
        for measure, values in measures(predictions).items():
            found.setdefault(measure, {})[seed] = values
    return found
