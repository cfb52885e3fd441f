"""How well networks of scenes do their two tasks, with intervals over test images, and which does better.

The measures are those of `evident.models.siam.measures`, here of images that count as often as the bootstrap draws
them, all draws at once. The same images are drawn for every network, so that differences are of pairs.
"""

import itertools

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor

from evident.metrics.rank import kendall
from evident.report.cells import Cell
from evident.report.tables.scores import ARROW
from evident.report.tables.statistics import RESAMPLES, draws

DIRECTION = {
    "rmse": "lower", "mae": "lower", "r2": "higher", "tau": "higher", "attribute_precision": "higher",
    "removal": "higher",
}  # fmt: skip
COLUMNS = ["data", "model", "measure", "direction", "value", "ci_low", "ci_high", "std", "n", "seeds"]
LEGEND = "Value and 95 % bootstrap interval over test scenes, of the networks as they were trained; errors in votes."
LEGEND_OF = {  # a measure or a row
    "variance_rmse": "variance: that of the votes.",
    "attribute_precision": "attribute precision: the mean average precision of the attributes.",
    "removal": "removal: Kendall's tau, over the attributes that an explained scene shows, of what painting it without "
    "them does to the network's score and to the true one.",
    "constant": "*constant*: the mean vote and no attribute, whatever the scene.",
    "truth": "*truth*: the painter's own score, before anyone votes.",
}
OF_MEASURE = {"attribute_precision": "labels", "removal": "removal"}  # the images that it is over; else "votes"
Networks = dict[str, dict[str, dict[int, dict[str, Tensor]]]]
ROUNDING = 1e-20  # of a sum of squares: less is no spread
COMPARED = ["data", "measure", "model", "other", "seeds", "difference", "ci_low", "ci_high"]
REFERENCES = ("constant", "truth")
OF_NETWORK = "removal_network"  # a score of explained scenes that is the network's, whoever explains


def scenicness(predicted: Tensor, votes: Tensor, counts: Tensor) -> dict[str, Tensor]:
    """rmse, mae, r2 and tau (D,) of scores (N,) beside votes (N,), images counting `counts` (D, N)."""
    s, y, w = predicted.double(), votes.double(), counts.double()
    total = w.sum(1)
    error = s - y
    squared, mean = w @ error.square(), (w @ y) / total
    spread = (w * (y - mean[:, None]).square()).sum(1)
    return {
        "rmse": (squared / total).sqrt(),
        "mae": w @ error.abs() / total,
        "r2": (1 - squared / spread).where(spread > ROUNDING * (w @ y.square()), torch.nan),
        "tau": kendall(s, y, w),
    }


def average_precision(predicted: Tensor, present: Tensor, counts: Tensor) -> Tensor:
    """Average precision (D,) of scores (N,) of images, some of which are `present` (N,) bool, counting `counts` (D, N).

    Images of one score enter together. NaN where none that is present counts.
    """
    value, order = predicted.sort(descending=True)
    w = counts.double()[:, order]
    hits, selected = (w * present[order]).cumsum(1), w.cumsum(1)
    last = torch.searchsorted(-value, -value, right=True) - 1  # of the images that have the same score
    precision = hits[:, last] / selected[:, last].clamp(min=1e-9)
    return (w * present[order] * precision).sum(1) / hits[:, -1].where(hits[:, -1] > 0, torch.nan)


def measures(predictions: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every measure (1 + D,) of one network: of the images as they are, then of D draws of as many."""
    found: dict[str, Tensor] = {}
    if "scores" in predictions:
        counts = _counts(len(predictions["scores"]))
        for column, prefix in enumerate(("", "variance_")):
            of_one = scenicness(predictions["scores"][:, column], predictions["votes"][:, column], counts)
            found |= {f"{prefix}{name}": values for name, values in of_one.items()}
    if "attributes" in predictions:
        said, present = predictions["attributes"], predictions["labels"] > 0.5
        each = [
            average_precision(said[:, k], present[:, k], _counts_of_both(present[:, k]))
            for k in present.any(0).nonzero().flatten().tolist()
        ]
        if each:
            found["attribute_precision"] = torch.stack(each).mean(0)
    if "removal" in predictions:
        values = predictions["removal"].double()
        counts = _counts(len(values)) * ~values.isnan()
        found["removal"] = counts @ values.nan_to_num() / counts.sum(1)
    return found


def _counts(images: int) -> Tensor:
    return torch.from_numpy(np.concatenate([np.ones((1, images)), draws(images)]))


def _counts_of_both(present: Tensor) -> Tensor:
    """Scenes with and without an attribute drawn apart: many draws would have none that shows a rare one."""
    counts = torch.empty(1 + RESAMPLES, len(present), dtype=torch.float64)
    counts[:, present] = _counts(int(present.sum()))
    counts[:, ~present] = _counts(int((~present).sum()))
    return counts


def _references(predictions: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """What would be said by one who has not seen the scene, and by one who knows all, by `REFERENCES`."""
    constant = {name: values for name, values in predictions.items() if name in ("votes", "labels")}
    if "votes" in constant:
        constant["scores"] = constant["votes"].mean(0).expand_as(constant["votes"])
    if "labels" in constant:
        constant["attributes"] = torch.zeros_like(constant["labels"])
    found = {"constant": constant}
    if "true" in predictions:
        found["truth"] = {"votes": predictions["votes"], "scores": predictions["true"]}
    return found


def performance(cells: list[Cell], scores: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of `COLUMNS`, a row a network and measure, and of `COMPARED`, a row a pair and measure; or of no rows.

    `scores` (long) are those of the cells, of which that of `OF_NETWORK` becomes the measure `removal`.

    A value is the mean over seeds, its interval the 95 % of the bootstrap over images of that mean, `std` the standard
    deviation over seeds. After the networks come the `REFERENCES`. Networks are compared on the seeds that both have,
    by the mean over these and, where there are several, seed by seed.
    """
    rows, compared = [], []
    for data, models in _with_removal(predictions_of(cells), scores).items():
        values = {model: _by_measure(seeds) for model, seeds in models.items()}
        for model, by_measure in values.items():
            for measure, each in by_measure.items():
                seeds, drawn = sorted(each), torch.stack(list(each.values()))
                std = drawn[:, 0].std().item() if len(seeds) > 1 else float("nan")
                count = len(models[model][seeds[0]][OF_MEASURE.get(measure, "votes")])
                label = (data, model, measure, DIRECTION[measure.removeprefix("variance_")])
                rows.append((*label, *_interval(drawn.mean(0)), std, count, " ".join(map(str, seeds))))
        first = next(iter(next(iter(models.values())).values()))
        for model, said in _references(first).items():
            for measure, drawn in measures(said).items():
                if not drawn[0].isnan():
                    count = len(said[OF_MEASURE.get(measure, "votes")])
                    label = (data, model, measure, DIRECTION[measure.removeprefix("variance_")])
                    rows.append((*label, *_interval(drawn), float("nan"), count, ""))
        for (model, one), (other, two) in itertools.combinations(values.items(), 2):
            for measure in (measure for measure in one if measure in two):
                both = sorted(one[measure].keys() & two[measure].keys())
                for seeds in [both, *([seed] for seed in both if len(both) > 1)] if both else []:
                    difference = torch.stack([one[measure][seed] - two[measure][seed] for seed in seeds]).mean(0)
                    told = " ".join(map(str, seeds))
                    compared.append((data, measure, model, other, told, *_interval(difference)))
    return pd.DataFrame(rows, columns=COLUMNS), pd.DataFrame(compared, columns=COMPARED)


def markdown(table: pd.DataFrame) -> str:
    """The table of `performance` to read, a row a network, a column a measure; empty without rows."""
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
        name = f"*{model}* on {data}" if model in REFERENCES else f"{model} on {data}"
        lines.append([name, *(cells.get(name, "") for name in measured)])
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    there = {*measured, *table["model"]}
    legend = " ".join([LEGEND, *(text for name, text in LEGEND_OF.items() if name in there)])
    return f"\n## Networks\n\n{body}\n\n{legend}\n"


def _by_measure(seeds: dict[int, dict[str, Tensor]]) -> dict[str, dict[int, Tensor]]:
    found: dict[str, dict[int, Tensor]] = {}
    for seed, predictions in seeds.items():
        for measure, values in measures(predictions).items():
            found.setdefault(measure, {})[seed] = values
    return found


def _with_removal(networks: Networks, scores: pd.DataFrame) -> Networks:
    """`networks`, to which is added how well each knows the explained scenes without a thing, `removal` (N,)."""
    own = scores[(scores["metric"] == OF_NETWORK) & scores["at"].isna()]
    for _, part in own.groupby(["data", "model", "seed"], sort=False):
        explainer, data, model, seed = part.iloc[0][["explainer", "data", "model", "seed"]]
        values = torch.from_numpy(part.loc[part["explainer"] == explainer, "value"].to_numpy(copy=True))
        networks.setdefault(data, {}).setdefault(model, {}).setdefault(seed, {})["removal"] = values
    return networks


def predictions_of(cells: list[Cell]) -> Networks:
    """What the networks say of test scenes, by data set, name and seed."""
    found: Networks = {}
    for cell in cells:
        file = cell.folder / "predictions.safetensors"
        if file.exists():
            seeds = found.setdefault(str(cell.labels["data"]), {}).setdefault(str(cell.labels["model"]), {})
            if cell.config.seed not in seeds:
                seeds[cell.config.seed] = load_file(file)
    return found


def _interval(values: Tensor) -> tuple[float, float, float]:
    drawn = values[1:][~values[1:].isnan()].numpy()
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (float("nan"),) * 2
    return values[0].item(), float(low), float(high)
