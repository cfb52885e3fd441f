"""Verdicts on VEBI's claims: `python experiments/vebi/claims.py`.

The script reads results/vebi/ and rewrites the table of claims in the README beside it.
"""

from pathlib import Path

import pandas as pd

from evident.report.claims.comparisons import beats_all
from evident.report.claims.effects import exactly, judged, over_networks, sample
from evident.report.claims.results import Results
from evident.report.claims.verdicts import Claim, main

FLOWERS = ("an8flower_single_6c", "an8flower_double_12c")
DATA = (*FLOWERS, "mnist")
EXPERIMENTS = tuple(f"vebi/{data}" for data in DATA)
MASK_METRICS = ("iou_area", "iou_best", "pointing_game", "mass_accuracy", "rank_accuracy", "average_precision")
COVER = ("average_precision", "iou_best")  # the area under IoU also depends on the contrast, not on the ranking alone
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
    # (c) Explanations made from the relevant features cover the discriminative part better than the baselines.
    covers = {
        "c": (BASELINES, COVER, None),
        "c, all mask metrics": (BASELINES, MASK_METRICS, "scores by every mask metric"),
        "c, stronger baselines": (STRONGER, COVER, None),
        "c, LIME over squares": (("lime_squares",), COVER, None),
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
    effects = [at.above("read_out", "vebi", 0.95)]
    few = counts.mean() <= 0.01 * m
    return Claim(
        f"a, few: {data}",
        "at most 1 % of all features are relevant to a class, on average over classes, and these alone, summed by "
        "their weights, give the right class for at least 95 % of the test images",
        at.experiment,
        f"{counts.mean():.1f} features per class ({counts.min()} to {counts.max()}) of {m:,}; accuracy by these alone "
        f"{at.interval('vebi', 'read_out')}",
        *(judged(effects) if few else (sample(effects), exactly(False), "")),
    )


def features_carry_the_class(data: str, at: Results) -> Claim:
    """(a) ... so that ablating them hurts far more than ablating as many random features."""
    rows = at.rows("ablation", explainer="vebi").dropna(subset="mean")
    by_class = rows.pivot(index=["seed", "target"], columns="metric", values="mean")
    weighted = rows.assign(**{column: rows[column] * rows["n"] for column in ("mean", "start")})
    sums = weighted.groupby(["metric", "seed"])[["mean", "start", "n"]].sum()
    accuracy, whole = sums["mean"] / sums["n"], sums["start"] / sums["n"]
    lost, at_random = ((whole - accuracy)[f"ablation_{kind}"] for kind in ("relevant", "random"))
    images = int(sums["n"].max())
    effects = [over_networks(values, images) for values in (lost - 0.1, lost - 2 * at_random, lost - at_random)]
    means = accuracy.groupby("metric").mean()
    return Claim(
        f"a, carry: {data}",
        "without its relevant features a class loses at least a tenth of its accuracy, and at least twice what it "
        "loses without as many random features of the same layers",
        at.experiment,
        f"accuracy {whole.mean():.3f}; without relevant features {means['ablation_relevant']:.3f}, random "
        f"{means['ablation_random']:.3f}, least relevant {means['ablation_least']:.3f} ({len(by_class)} pairs of class "
        f"and network, {(by_class['ablation_relevant'] < 0.5).sum()} of them below 0.5)",
        *judged(effects),
    )


def features_show_the_class(data: str, at: Results) -> Claim:
    """(b) Average visualisations of these features interpret the model."""
    features = at.rows("features", explainer="vebi")
    named = {"purity": "of the strongest images", "evidence": "of the signal on the evidence"}
    known = {name: text for name, text in named.items() if features[name].notna().any()}
    numbers, effects = [], []
    for name, text in known.items():
        own, control = (weighted_means(features, column) for column in (name, f"{name}_control"))
        numbers.append(f"{own.mean():.1%} {text} (controls {control.mean():.1%})")
        count = int(features.groupby("seed")[name].count().min())
        effects += [over_networks(own - 0.5, count), over_networks(own - control, count)]
    return Claim(
        f"b: {data}",
        "on average by weight, at least half of the strongest training images of a feature are of its class"
        + (", at least half of its signal in them lies on the evidence" if "evidence" in known else "")
        + ", and more than for random features of the same layers",
        at.experiment,
        "; ".join(numbers),
        *judged(effects, "features"),
    )


def resampling_removes_the_grid(data: str, at: Results) -> Claim:
    """(d) The resampled deconvolution removes the grid artefacts that strided operations cause ..."""
    metric = "grid_energy"
    old, new, masks = (at.mean(name, metric) for name in ("vebi_unresampled", "vebi", "oracle"))
    without = at.score("vebi_unresampled", metric)
    tenth = without | {name: without[name] / 10 for name in ("mean", "std", "se") if name in without}
    return Claim(
        f"d: {data}",
        "less grid energy, and less than a tenth of what is there without resampling",
        at.experiment,
        f"grid energy {old:.4f} -> {new:.4f}, {old / new:.0f} times less (of the masks themselves: {masks:.4f})",
        *judged([at.difference("grid_energy", "vebi", "vebi_unresampled"), at.apart(tenth, at.score("vebi", metric))]),
    )


def resampling_finds_the_evidence(data: str, at: Results) -> Claim:
    """(d) ... and the result shows the evidence."""
    return beats_all(f"d, evidence: {data}", at, "vebi", COVER, ("vebi_unresampled",))


def weighted_means(features: pd.DataFrame, column: str) -> pd.Series:
    """Return the mean of a column for each network (seed), weighted by the features' weights, without NaN."""
    known = features[features[column].notna()]
    sums = (known[column] * known["weight"]).groupby(known["seed"]).sum()
    return sums / known.groupby("seed")["weight"].sum()


if __name__ == "__main__":
    main(claims, EXPERIMENTS, __file__)
