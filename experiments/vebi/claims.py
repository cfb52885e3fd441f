"""Verdicts on VEBI's claims: `python experiments/vebi/claims.py`.

The script reads results/vebi/ and rewrites the table of claims in the README beside it.
"""

from pathlib import Path

import pandas as pd
from scipy.stats import wilcoxon

from evident.report.claims.comparisons import beats_all
from evident.report.claims.results import Results
from evident.report.claims.verdicts import Claim, main

FLOWERS = ("an8flower_single_6c", "an8flower_double_12c")
DATA = (*FLOWERS, "mnist")
EXPERIMENTS = tuple(f"vebi/{data}" for data in DATA)
MASK_METRICS = ("iou_area", "iou_best", "pointing_game", "mass_accuracy", "rank_accuracy", "average_precision")
# The baselines of the paper (Oramas et al. 2019).
BASELINES = (
    *("activations", "deconvolution", "guided_backprop", "grad_cam"),
    *("guided_grad_cam", "grad_cam_pp", "guided_grad_cam_pp"),
)
STRONGER = ("integrated_gradients", "occlusion", "lime")
POST_HOC = ("c, LIME over squares",)


def claims(results: Path) -> list[Claim]:
    """Return all claims, judged by the tables in `results`; raises `UserError` if a table is missing."""
    every = {data: Results(results, f"vebi/{data}") for data in DATA}
    flowers = {data: every[data] for data in FLOWERS}
    area, every_metric = (("iou_area",), "area under IoU"), (MASK_METRICS, "scores by every mask metric")
    # (c) Explanations made from the relevant features cover the discriminative part better than the baselines.
    covers = {
        "c": (BASELINES, *area),
        "c, all mask metrics": (BASELINES, *every_metric),
        "c, stronger baselines": (STRONGER, *area),
        "c, LIME over squares": (("lime_squares",), *area),
    }
    return [
        *(few_features_give_the_class(*place) for place in every.items()),
        *(features_carry_the_class(*place) for place in every.items()),
        *(features_show_the_class(*place) for place in every.items()),
        *(
            beats_all(f"{name}: {data}", at, "vebi", metrics, others, score, post_hoc=name in POST_HOC)
            for name, (others, metrics, score) in covers.items()
            for data, at in flowers.items()
        ),
        *(resampling_removes_the_grid(*place) for place in flowers.items()),
        *(resampling_finds_the_evidence(*place) for place in flowers.items()),
    ]


def few_features_give_the_class(data: str, at: Results) -> Claim:
    """(a) A small set of internal features, found without annotations, carries the classification ..."""
    features = at.rows("features", explainer="vebi")
    counts = features.groupby(["seed", "class"]).size()
    m = int(features["m"].iloc[0])
    return Claim(
        f"a, few: {data}",
        "at most 1 % of all features are relevant to a class, on average over classes, and these alone, summed by "
        "their weights, give the right class for at least 95 % of the test images",
        at.experiment,
        f"{counts.mean():.1f} features per class ({counts.min()} to {counts.max()}) of {m:,}; accuracy by these alone "
        f"{at.interval('vebi', 'read_out')}",
        bool(counts.mean() <= 0.01 * m and at.mean("vebi", "read_out") >= 0.95),
    )


def features_carry_the_class(data: str, at: Results) -> Claim:
    """(a) ... so that ablating them hurts far more than ablating as many random features."""
    # Before anything is removed, the three curves of an explainer are equal.
    curve = at.rows("curves", explainer="vebi", metric="ablation_relevant")
    whole = curve[curve["at"] == 0]["mean"].iloc[0]
    rows = at.rows("ablation", explainer="vebi")
    by_class = rows.pivot(index=["seed", "target"], columns="metric", values="mean")
    relevant, random = by_class["ablation_relevant"], by_class["ablation_random"]
    p, pairs = above(random, relevant)
    lost, lost_at_random = whole - relevant.mean(), whole - random.mean()
    return Claim(
        f"a, carry: {data}",
        "without its relevant features a class loses at least a tenth of its accuracy, and at least twice what it "
        "loses without as many random features of the same layers (Wilcoxon over classes and networks p < 0.05)",
        at.experiment,
        f"accuracy {whole:.3f}; without relevant features {relevant.mean():.3f}, random {random.mean():.3f}, least "
        f"relevant {by_class['ablation_least'].mean():.3f} (p = {p:.2g}, {pairs} pairs of class and network, "
        f"{(relevant < 0.5).sum()} of them below 0.5)",
        bool(lost >= 0.1 and lost >= 2 * lost_at_random and p < 0.05),
    )


def features_show_the_class(data: str, at: Results) -> Claim:
    """(b) Average visualisations of these features interpret the model."""
    features = at.rows("features", explainer="vebi")
    named = {"purity": "of the strongest images", "evidence": "of the signal on the evidence"}
    known = {name: text for name, text in named.items() if features[name].notna().any()}
    numbers, holds = [], []
    for name, text in known.items():
        mean, control = (weighted_mean(features[column], features["weight"]) for column in (name, f"{name}_control"))
        p, pairs = above(features[name], features[f"{name}_control"])
        numbers.append(f"{mean:.1%} {text} (controls {control:.1%}, p = {p:.2g}, {pairs} features)")
        holds.append(mean >= 0.5 and p < 0.05)
    return Claim(
        f"b: {data}",
        "on average by weight, at least half of the strongest training images of a feature are of its class"
        + (", at least half of its signal in them lies on the evidence" if "evidence" in known else "")
        + ", and more than for random features of the same layers (Wilcoxon over features p < 0.05)",
        at.experiment,
        "; ".join(numbers),
        all(holds),
    )


def resampling_removes_the_grid(data: str, at: Results) -> Claim:
    """(d) The resampled deconvolution removes the grid artefacts that strided operations cause ..."""
    difference, p = at.difference("grid_energy", "vebi", "vebi_unresampled")
    old, new, masks = (at.mean(name, "grid_energy") for name in ("vebi_unresampled", "vebi", "oracle"))
    return Claim(
        f"d: {data}",
        "less than a tenth of the grid energy is left, Holm's p < 0.05",
        at.experiment,
        f"grid energy {old:.4f} -> {new:.4f}, {old / new:.0f} times less (of the masks themselves: {masks:.4f})",
        bool(new < old / 10 and difference < 0 and p < 0.05),
    )


def resampling_finds_the_evidence(data: str, at: Results) -> Claim:
    """(d) ... and the result shows the evidence."""
    difference, p = at.difference("iou_area", "vebi", "vebi_unresampled")
    return Claim(
        f"d, evidence: {data}",
        "higher area under IoU than without resampling, Holm's p < 0.05",
        at.experiment,
        f"{at.mean('vebi_unresampled', 'iou_area'):.3f} -> {at.mean('vebi', 'iou_area'):.3f}",
        bool(difference > 0 and p < 0.05),
    )


def above(values: pd.Series, others: pd.Series) -> tuple[float, int]:
    """Return the p-value of Wilcoxon's test that `values` are above `others`, and the number of complete pairs."""
    difference = (values - others).dropna()
    return (float(wilcoxon(difference, alternative="greater").pvalue) if difference.any() else 1.0), len(difference)


def weighted_mean(values: pd.Series, weights: pd.Series) -> float:
    """Return the weighted mean without NaN."""
    known = values.notna()
    return float((values * weights)[known].sum() / weights[known].sum())


if __name__ == "__main__":
    main(claims, EXPERIMENTS, __file__)
