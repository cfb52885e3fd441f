"""The trial of metrics: validity, dose-response, reliability and agreement."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from evident.cell_folder import EXAMPLES
from evident.report.experiment import Experiment
from evident.report.figures import trial as figures
from evident.report.sections.contract import Part, Section
from evident.report.tables import agreement, doses, rankings, reliability, validity
from evident.report.tables.validity import PERFECT

LEGEND = (
    "*tau*: Kendall's tau-b between the rankings of the explainers by the metric and by the truth, where each family "
    "of explainers weighs one in all, with the 95 % interval over draws of families and of networks. *one family "
    "less*: the lowest and highest tau if one family is left out. *tied*: share of the pairs of explainers that the "
    "metric ties. *references above*: share of the pairs of a reference row and a method that is truly better (by two"
    " standard errors over images) which the metric orders the other way round, for {references}. *images*: how many "
    "each half needs until the rankings by two disjoint halves agree with a tau of 0.9; ≈: extrapolated. *networks*: "
    "tau between the rankings on two networks. *falls*: kinds of corruption of the oracle, of {kinds}, that lower the"
    " score significantly at some dose and all higher ones. *oracle*: mean rank of the oracle among methods and "
    "references. *random*: share of the other rows above the random map. A score that is undefined for an image "
    "counts as that of the random map. Planted: random numbers, the sparsity of the map (`{shape}`), and the truth "
    "itself with a little noise. {orders}"
)
ORDERS = (
    "Of 200 arbitrary orders of the explainers, the same on all networks, {wrong} have an interval without zero; 5 % "
    "would be right."
)
Tables = Mapping[str, pd.DataFrame]


class Trial(Section):
    """Report a trial of the metrics of an experiment, if it has one of the truths.

    `truths` (None: left out), `unfair`, `readers`, `families` and `references` are those of `tables.validity.Trial`;
    `oracle` and `random` are the rows that must come first and last; `shape` is a score that describes maps and is
    planted as a metric; `reference_images` are the last parts of the names of metrics that differ by them. An explainer
    whose config has `corruption: {kind, dose}` is a step of a ladder.
    """

    def __init__(
        self,
        truths: Mapping[str, str | None],
        unfair: Mapping[str, Sequence[str]],
        families: Mapping[str, Sequence[str]],
        references: Sequence[str],
        oracle: str,
        random: str,
        reference_images: Sequence[str],
        readers: Mapping[str, Sequence[str]] | None = None,
        shape: str = "",
    ) -> None:
        self.truths, self.references = {name: score for name, score in truths.items() if score}, list(references)
        self.unfair, self.families, self.readers = (
            {key: list(names) for key, names in given.items()} for given in (unfair, families, readers or {})
        )
        self.oracle, self.random, self.reference_images = oracle, random, list(reference_images)
        self.shape = shape

    def report(self, experiment: Experiment) -> Part:
        scores = rankings.oriented(experiment.scores, experiment.directions)
        if not set(self.truths.values()) & set(scores["metric"]):
            return Part()
        scores = validity.filled(scores, self.random)
        ladder = _ladder(experiment)
        apart = [self.oracle, *ladder]
        trial = validity.Trial(self.truths, self.unfair, self.families, self.references, apart, self.readers)
        shape = rankings.oriented(experiment.scores, {self.shape: "higher"})
        planted = validity.with_planted(scores, trial, shape)
        # A perfect metric is its truth itself, which has its own row where nothing is compared with the truth.
        single = planted[~planted["metric"].str.startswith(PERFECT)]
        found = validity.validity(planted, trial)
        tables = {
            "validity": found.summary,
            "validity_networks": found.networks,
            "validity_differences": found.differences,
            "arbitrary_orders": found.orders,
            "misplaced": validity.misplaced(planted, trial),
            "doses": doses.doses(single, ladder, self.oracle, self.random),
            "halves": reliability.halves(single, trial),
            "between_networks": reliability.between_networks(single, trial),
            "between_references": reliability.between_references(scores, trial, self.reference_images),
            "ends": doses.ends(scores, self.oracle, self.random, list(ladder)),
        }
        tables["notices"] = doses.notices(tables["doses"])
        tables["images_needed"] = reliability.images_needed(tables["halves"])
        part = Part({name: table for name, table in tables.items() if len(table)})
        part.text = self._text(tables)
        self._draw(part, tables)
        self._agree(part, scores, trial, experiment)
        return part

    def _draw(self, part: Part, tables: Tables) -> None:
        if len(tables["validity"]):
            part.figures["validity"] = figures.validity_figure(tables["validity"])
        for name, draw, source in (
            ("doses", figures.doses_figure, tables["doses"].dropna(subset="share")),
            ("reliability", figures.reliability_figure, tables["halves"]),
        ):
            for model, own in source.groupby("model", sort=False):
                part.figures[f"{name}_{model}"] = draw(own)

    def _agree(self, part: Part, scores: pd.DataFrame, trial: validity.Trial, experiment: Experiment) -> None:
        told = scores[~scores["metric"].isin(list(self.truths.values()))]
        matrix, alpha = agreement.between_metrics(told, trial)
        if len(matrix) > 2:
            part.tables["agreement_metrics"] = matrix.rename_axis("metric").reset_index()
            part.figures["agreement_metrics"] = figures.agreement_figure(
                matrix, "tau between metrics, mean over networks"
            )
            part.text += f"\nAgreement of the metrics on the ranking of explainers: Krippendorff's alpha {alpha:.2f}.\n"
        for network in experiment.networks():
            kept: dict[str, dict[int, Any]] = {}
            for cell in network.cells:
                examples = cell.folder.get(EXAMPLES)
                if examples and cell.labels["explainer"] not in trial.apart:
                    kept.setdefault(str(cell.labels["explainer"]), {})[cell.config.seed] = examples["heatmaps"].double()
            common = set.intersection(*map(set, kept.values())) if kept else set()
            if common and len(kept) > 2:
                maps = {name: [by_seed[seed] for seed in sorted(common)] for name, by_seed in kept.items()}
                matrix = agreement.between_explainers(maps)
                shown = matrix.rename(experiment.titles, axis=0).rename(experiment.titles, axis=1)
                name = f"agreement_explainers_{network.data}_{network.model}"
                part.tables[name] = matrix.rename_axis("explainer").reset_index()
                images = sum(map(len, next(iter(maps.values()))))
                title = f"Spearman's correlation of heatmaps, {images} images of {network.data}, {network.model}"
                part.figures[name] = figures.agreement_figure(shown, title)

    def _text(self, tables: Tables) -> str:
        kinds = " and ".join(dict.fromkeys(tables["notices"]["kind"])) or "none"
        parts = ["\n## Which metric agrees with what the network uses\n"]
        for (truth, model), rows in tables["validity"].groupby(["truth", "model"], sort=False):
            sample = f"{rows['networks'].max()} networks, {rows['families'].max()} families"
            title = f"\n### Truth: {truth} (`{self.truths[str(truth)]}`), {model}\n\n{sample}.\n\n"
            parts.append(title + self._markdown(rows, tables))
        orders = tables["arbitrary_orders"]
        wrong = ORDERS.format(wrong=f"{orders['wrong'].mean():.0%}") if len(orders) else ""
        named = {"references": ", ".join(self.references), "kinds": kinds.replace("_", " "), "shape": self.shape}
        parts.append("\n" + LEGEND.format(**named, orders=wrong) + "\n")
        return "\n".join(parts)

    def _markdown(self, rows: pd.DataFrame, tables: Tables) -> str:
        header = ["metric", "tau", "one family less", "tied", "references above", "images", "networks", "falls"]
        header += ["oracle", "random"]
        lines = [header, ["---", *["---:"] * (len(header) - 1)]]
        for row in rows.sort_values("tau", ascending=False, kind="stable").to_dict("records"):
            metric, model = row["metric"], row["model"]
            wrong = _of(tables["misplaced"], metric, truth=row["truth"], model=model)
            pairs = wrong["pairs"].sum()
            falls = (
                _of(tables["notices"], metric, model=model)
                .groupby("kind")["noticed"]
                .apply(lambda seen: seen.notna().all())
            )
            ends = _of(tables["ends"], metric, model=model)
            low, high = row["ci_low"], row["ci_high"]
            lines.append(
                [
                    metric if not metric.startswith("planted") else f"*{metric}*",
                    _number(row["tau"]) + ("" if np.isnan(low) else f" [{low:.2f}, {high:.2f}]"),
                    "" if np.isnan(row["lowest"]) else f"{_number(row['lowest'])} to {_number(row['highest'])}",
                    "" if np.isnan(row["tied"]) else f"{row['tied']:.0%}",
                    f"{(wrong['share'] * wrong['pairs']).sum() / pairs:.0%} of {pairs}" if pairs else "",
                    _images(_of(tables["images_needed"], metric, model=model)),
                    _number(_of(tables["between_networks"], metric, model=model)["tau"].mean()),
                    f"{int(falls.sum())} of {len(falls)}" if len(falls) else "",
                    *("" if np.isnan(ends[name].mean()) else f"{ends[name].mean():.{digits}f}"
                      for name, digits in (("oracle_rank", 1), ("random_below", 2))),
                ]
            )  # fmt: skip
        return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _ladder(experiment: Experiment) -> dict[str, tuple[str, float]]:
    """Return kind and dose of every row that is a corrupted oracle."""
    found = {}
    for cell in experiment.cells:
        if corruption := cell.config.explainer.get("corruption"):
            found[str(cell.labels["explainer"])] = (str(corruption.kind), float(corruption.dose))
    return found


def _of(table: pd.DataFrame, metric: str, **labels: str) -> pd.DataFrame:
    chosen = table["metric"] == metric
    for name, label in labels.items():
        chosen &= table[name] == label
    return table[chosen]


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}"


def _images(rows: pd.DataFrame) -> str:
    """Return the number of images that are needed; ≈ if it is extrapolated, or the largest that was not enough."""
    if rows.empty:
        return ""
    row = rows.iloc[0]
    if np.isnan(row["needed"]):
        return f"> {row['largest']}"
    return f"{'≈ ' * bool(row['extrapolated'])}{row['needed']:.0f}"
