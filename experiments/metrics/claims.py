"""Verdicts on metrics of explanations: `python experiments/metrics/claims.py`.

The script reads results/metrics/ and rewrites the table of claims in the README beside it. The rules were committed
before the results, which are of networks with seeds that nothing was chosen on.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evident.report.claims.effects import LEVEL, Effect, Verdict, exactly, judged
from evident.report.claims.results import Results, in_words
from evident.report.claims.verdicts import Claim, main
from evident.report.tables.statistics import holm, student_p

FLOWERS, NETWORKS, LANDSCAPES = "metrics/flowers", "metrics/flowers_networks", "metrics/landscapes"
DIGITS = "metrics/mnist"
EXPERIMENTS = (FLOWERS, NETWORKS, LANDSCAPES, DIGITS)
ORDER = ("parts", "contributions", "masks")  # truths that read the order of a heatmap
MASKS = ("iou_best", "rank_accuracy", "mask_jaccard", "average_precision", "pointing_game")  # put the oracle first
MAIN_JOB = ("average_precision", "rank_accuracy", "iou_best", "insertion_mean_colour", "deletion_mean_colour")
AGREES, STABLE, PLANTED, FEW, WRONG = 0.5, 0.9, 0.95, 64, 0.1  # tau, tau, tau, images, share of orders
DEPEND, DO_NOT = ("gradient", "integrated_gradients", "grad_cam", "rise"), ("guided_backprop", "deconvolution")


def claims(results: Path) -> list[Claim]:
    """Return all claims, judged by the tables in `results`; raises `UserError` if a table is missing."""
    flowers, networks, landscapes = (Trials(results, name) for name in (FLOWERS, NETWORKS, LANDSCAPES))
    insertion, deletion = "insertion_mean_colour", "deletion_mean_colour"
    return [
        *(random_scores_agree_with_nothing(trials) for trials in (flowers, networks, landscapes)),
        *(arbitrary_orders_agree_by_chance(trials) for trials in (flowers, networks, landscapes)),
        *(truth_agrees_with_itself(trials) for trials in (flowers, networks, landscapes)),
        sparse_maps_are_not_right(flowers),
        oracle_comes_first(flowers),
        flowers.agrees("where, by rank accuracy", "rank_accuracy", ("contributions",)),
        flowers.beats("where, area under IoU misleads", "iou_best", "iou_area", ("contributions",)),
        flowers.agrees("where, without masks", "grid_pointing", ORDER),
        flowers.agrees("how much, by insertion", insertion, ORDER),
        flowers.beats("how much, insertion or deletion", insertion, deletion, ORDER),
        flowers.beats("how much, relevance gain", "relevance_gain_mean_colour", deletion, ORDER),
        flowers.beats("how much, ROAD", "road_most", deletion, ORDER),
        flowers.beats("how much, squares", "deletion_squares_mean_colour", deletion, ORDER),
        flowers.agrees("how much, sensitivity-n", "sensitivity_n", ("parts", "masks")),
        flowers.agrees("how much, infidelity", "infidelity", ("parts", "masks")),
        networks_trained_with_removed_patches(flowers, networks),
        landscapes.agrees("how much, insertion on landscapes", "insertion_blur", ("removal",)),
        landscapes.beats(
            "how much, insertion or deletion on landscapes", "insertion_blur", "deletion_blur", ("removal",)
        ),
        few_images_are_enough(flowers),
        *maps_depend(Results(results, DIGITS)),
    ]


class Trials:
    """Read the tables of one trial and judge metrics by them, on each model that has the truth."""

    def __init__(self, results: Path, experiment: str) -> None:
        self.at = Results(results, experiment)
        table = self.at.every("table")
        self.images = int(table["n"].max()) // len(str(table["seeds"].iloc[0]).split())

    def taus(self, metric: str, truth: str, model: str | None = None) -> list[dict[Any, Any]]:
        """Return tau of a metric with a truth on each model, a row of `validity`; raises `UserError` without any."""
        table = self.at.every("validity")
        own = (table["metric"] == metric) & (table["truth"] == truth)
        own &= True if model is None else table["model"] == model
        rows = table[own].dropna(subset="tau").sort_values("model").to_dict("records")
        if not rows:
            raise self.at.absent("validity", metric=metric, truth=truth)
        return rows

    def effect(self, row: Mapping[Any, Any], value: float, error: float | None = None) -> Effect:
        """Return a value of the row as an effect: the sample is that of the families of explainers."""
        families = int(row["families"])
        p = float(student_p(value, row["se"] if error is None else error, families))
        return Effect(value, p, int(row["networks"]), self.images, families)

    def verdict(self, effects: list[Effect]) -> tuple[str, Verdict, str]:
        """Return sample, verdict and what would decide it, as `judged`, with families of explainers as the sample."""
        _, found, decided_by = judged(effects)
        networks, families = min(effect.networks for effect in effects), min(effect.units for effect in effects)
        tests = f"{len(effects)} test{'s' * (len(effects) > 1)}"
        text = f"{networks} networks x {self.images} images, {families} families of explainers, {tests}"
        return text, found, decided_by.replace("images", "families").replace("networks", "families")

    def agrees(self, name: str, metric: str, truths: tuple[str, ...]) -> Claim:
        """Claim that tau of a metric with each of the truths is above `AGREES`, on each model."""
        rows = [row for truth in truths for row in self.taus(metric, truth)]
        effects = [self.effect(row, row["tau"] - AGREES) for row in rows]
        by = " and ".join(truths)
        rule = f"the ranking of explainers by {in_words(metric)} has a tau above {AGREES} with the truth by {by}"
        return Claim(name, rule, self.at.experiment, numbers(rows), *self.verdict(effects))

    def beats(self, name: str, metric: str, other: str, truths: tuple[str, ...]) -> Claim:
        """Claim that a metric agrees more than another with each of the truths, on each model."""
        table = self.at.every("validity_differences")
        effects, texts = [], []
        for truth in truths:
            for row in self.taus(metric, truth):
                [than] = self.taus(other, truth, row["model"])
                of_truth = table[(table["truth"] == truth) & (table["model"] == row["model"])]
                pair = of_truth[of_truth["metric"].isin([metric, other]) & of_truth["other"].isin([metric, other])]
                if pair.empty:
                    raise self.at.absent("validity_differences", metric=metric, other=other, truth=truth)
                effects.append(self.effect(row, row["tau"] - than["tau"], float(pair["se"].iloc[0])))
                texts.append(f"{truth}, {row['model']}: {row['tau']:.2f} against {than['tau']:.2f}")
        rule = f"{in_words(metric)} has a higher tau than {in_words(other)} with the truth by {' and '.join(truths)}"
        return Claim(name, rule, self.at.experiment, "; ".join(texts), *self.verdict(effects))


def numbers(rows: list[dict[Any, Any]]) -> str:
    """Return tau with its interval for each truth and model."""
    return "; ".join(
        f"{row['truth']}, {row['model']} {row['tau']:.2f} [{row['ci_low']:.2f}, {row['ci_high']:.2f}]" for row in rows
    )


def planted(trials: Trials, name: str) -> list[dict[Any, Any]]:
    """Return the rows of a planted metric, sorted by truth and model."""
    table = trials.at.every("validity")
    rows = table[table["metric"].str.startswith(name)].sort_values(["truth", "model"]).to_dict("records")
    if not rows:
        raise trials.at.absent("validity", metric=name)
    return rows


def networks_trained_with_removed_patches(flowers: Trials, networks: Trials) -> Claim:
    """Deletion shows nothing new to a network that saw the same cells removed in training (Hesse et al. 2024)."""
    metric, effects, texts = "deletion_cells_mean_colour", [], []
    for truth in ("parts", "masks"):
        [trained], [plain] = (
            networks.taus(metric, truth, "flower_net_in_domain"), flowers.taus(metric, truth, "flower_net")
        )  # fmt: skip
        error = math.hypot(trained["se"], plain["se"])
        effects.append(networks.effect(trained, trained["tau"] - plain["tau"], error))
        texts.append(f"{truth}: {trained['tau']:.2f} against {plain['tau']:.2f}")
    return Claim(
        "how much, networks trained with removed patches",
        f"{in_words(metric)} has a higher tau with the truth by parts and by masks on networks that saw such cells "
        "removed than on those that did not",
        networks.at.experiment,
        "; ".join(texts),
        *networks.verdict(effects),
    )


def random_scores_agree_with_nothing(trials: Trials) -> Claim:
    """The trial finds no agreement where there is none."""
    rows = planted(trials, "planted_random")
    effects = [trials.effect(row, row["tau"]) for row in rows]
    found = holm(np.array([effect.p for effect in effects])) < LEVEL
    return Claim(
        f"trial, random scores: {trials.at.experiment}",
        "tau of random scores differs significantly from zero with none of the truths",
        trials.at.experiment,
        numbers(rows),
        trials.verdict(effects)[0],
        exactly(not found.any()),
    )


def arbitrary_orders_agree_by_chance(trials: Trials) -> Claim:
    """An interval that excludes zero means what it says, although all networks rank the same explainers."""
    orders = trials.at.every("arbitrary_orders").sort_values(["truth", "model"])
    return Claim(
        f"trial, arbitrary orders: {trials.at.experiment}",
        f"of 200 arbitrary orders of the explainers, the same on all networks, at most {WRONG:.0%} have an interval of "
        "tau without zero, on average over truths and models",
        trials.at.experiment,
        "; ".join(f"{row.truth}, {row.model} {row.wrong:.0%}" for row in orders.itertuples()),
        f"{len(orders)} truths and models, no test",
        exactly(bool(orders["wrong"].mean() <= WRONG)),
    )


def truth_agrees_with_itself(trials: Trials) -> Claim:
    """The trial finds full agreement where there is one."""
    rows = planted(trials, "planted_perfect")
    effects = [trials.effect(row, row["tau"] - PLANTED) for row in rows]
    return Claim(
        f"trial, perfect scores: {trials.at.experiment}",
        f"tau of a truth with itself, with a little noise, is at least {PLANTED}",
        trials.at.experiment,
        "; ".join(f"{row['truth']}, {row['model']} {row['tau']:.2f}" for row in rows),
        trials.verdict(effects)[0],
        exactly(all(row["tau"] >= PLANTED for row in rows)),
    )


def sparse_maps_are_not_right(trials: Trials) -> Claim:
    """A truth by order does not reward a map for being sparse, which says nothing about the network."""
    rows = [row for row in planted(trials, "planted_sparsity") if row["truth"] in ORDER]
    others = [row for row in planted(trials, "planted_sparsity") if row["truth"] not in ORDER]
    return Claim(
        "trial, sparsity",
        f"the ranking of explainers by the sparsity of their maps has a tau below {AGREES} with the truths by order",
        trials.at.experiment,
        f"{numbers(rows)}; by value: {numbers(others)}",
        *trials.verdict([trials.effect(row, AGREES - row["tau"]) for row in rows]),
    )


def oracle_comes_first(trials: Trials) -> Claim:
    """No explainer finds the evidence better than the mask itself."""
    ends = trials.at.every("ends")
    rows = ends[ends["metric"].isin(MASKS)]
    networks = int(rows.groupby("metric")["networks"].sum().min())
    return Claim(
        "trial, oracle first",
        f"the oracle is first by {', '.join(map(in_words, MASKS))} on every network",
        trials.at.experiment,
        "; ".join(f"{name} {part['oracle_rank'].mean():.1f}" for name, part in rows.groupby("metric")),
        f"{networks} networks x {trials.images} images, no test",
        exactly(bool((rows["oracle_rank"] == 1).all())),
    )


def few_images_are_enough(trials: Trials) -> Claim:
    """The main job's images give a stable ranking."""
    table = trials.at.rows("images_needed", model="flower_net").set_index("metric")
    rows = table.loc[[name for name in MAIN_JOB if name in table.index]]
    needed = [
        f"> {row.largest}" if pd.isna(row.needed) else f"{'≈ ' * bool(row.extrapolated)}{row.needed:.0f}"
        for row in rows.itertuples()
    ]
    return Claim(
        "how many images",
        f"with {FEW} images the rankings by two disjoint halves agree with a tau of {STABLE} for every metric of the "
        "main job, so that half of them are enough",
        trials.at.experiment,
        "; ".join(f"{in_words(name)} {text}" for name, text in zip(rows.index, needed, strict=True)),
        f"{FEW} images of FlowerNet, no test",
        exactly(bool((rows["needed"] <= FEW / 2).all())),
    )


def maps_depend(at: Results) -> list[Claim]:
    """Sanity checks: which maps depend on what was learnt (Adebayo et al. 2018)."""
    table = at.every("sanity")
    table = table[(table["randomised"] == "all layers") & (table["measure"] == "spearman")].set_index("explainer")
    found = []
    for name, explainers, wanted in (
        ("sanity, maps that depend on the network", DEPEND, "depends"),
        ("sanity, maps that do not", DO_NOT, "does not depend"),
    ):
        rows = table.loc[list(explainers)]
        verdicts = [str(verdict) for verdict in rows["verdict"]]
        right, wrong = verdicts.count(wanted), len(verdicts) - verdicts.count(wanted) - verdicts.count("undecided")
        found.append(
            Claim(
                name,
                f"the map of {', '.join(explainers)} {'depends' if wanted == 'depends' else 'does not depend'} on the "
                "weights: Spearman's correlation with the map of a network with random weights is below (above) 0.5",
                at.experiment,
                "; ".join(
                    f"{row.Index} {row.mean:.2f} [{row.ci_low:.2f}, {row.ci_high:.2f}]" for row in rows.itertuples()
                ),
                f"{int(rows['networks'].min())} networks x {int((rows['n'] / rows['networks']).min())} images",
                "refuted" if wrong else "holds" if right == len(verdicts) else "undecided",
            )
        )
    return found


if __name__ == "__main__":
    main(claims, EXPERIMENTS, __file__)
