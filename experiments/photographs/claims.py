"""Verdicts on VEBI's claims on photographs: `python experiments/photographs/claims.py`.

The script reads results/vebi/imagenette and results/vebi/imagenette_grids and rewrites the table of claims in the
README beside it. The networks are published, not drawn: the sample are the ten classes, or the images.
"""

from pathlib import Path

import pandas as pd

from evident.report.claims.comparisons import beats_all
from evident.report.claims.effects import Effect, exactly, judged, sample
from evident.report.claims.results import Results
from evident.report.claims.verdicts import Claim, main
from evident.report.tables.statistics import student_p

SINGLES, GRIDS = "vebi/imagenette", "vebi/imagenette_grids"
EXPERIMENTS = (SINGLES, GRIDS)
NETWORKS = ("squeezenet1_1", "resnet18", "resnet50")
COVER = ("average_precision", "iou_best")
# The baselines of the paper (Oramas et al. 2019), and stronger ones.
BASELINES = (
    *("activations", "deconvolution", "guided_backprop", "grad_cam"),
    *("guided_grad_cam", "grad_cam_pp", "guided_grad_cam_pp"),
)
STRONGER = ("integrated_gradients", "occlusion", "lime")
KINDS = ("relevant", "random", "least")


def claims(results: Path) -> list[Claim]:
    """Return all claims, judged by the tables in `results`; raises `UserError` if a table is missing."""
    singles = {network: Results(results, SINGLES, network) for network in NETWORKS}
    grids = {network: Results(results, GRIDS, network) for network in NETWORKS}
    return [
        *(few_features_give_the_class(*place) for place in singles.items()),
        *(features_carry_the_class(*place, "") for place in singles.items()),
        *(features_carry_the_class(*place, "_learned") for place in singles.items()),
        *(features_show_the_class(*place) for place in singles.items()),
        *(beats_all(f"c: {network}", at, "vebi", COVER, BASELINES) for network, at in grids.items()),
        *(beats_all(f"c, stronger baselines: {network}", at, "vebi", COVER, STRONGER) for network, at in grids.items()),
        *(resampling_removes_the_grid(*place) for place in singles.items()),
        *(
            beats_all(f"d, evidence: {network}", at, "vebi", COVER, ("vebi_unresampled",))
            for network, at in grids.items()
        ),
    ]


def few_features_give_the_class(network: str, at: Results) -> Claim:
    """(a) A small set of internal features, found without annotations, carries the classification ..."""
    features = at.rows("features", explainer="vebi")
    counts, m = features.groupby("class").size(), int(features["m"].iloc[0])
    effects = [at.above("read_out", "vebi", 0.95)]
    few = counts.mean() <= 0.01 * m
    return Claim(
        f"a, few: {network}",
        "at most 1 % of all features are relevant to a class, on average over classes, and these alone, summed by "
        "their weights, give the right one of the ten classes for at least 95 % of the photographs",
        at.experiment,
        f"{counts.mean():.1f} features per class ({counts.min()} to {counts.max()}) of {m:,}; accuracy by these alone "
        f"{at.interval('vebi', 'read_out')}",
        *(judged(effects) if few else (sample(effects), exactly(False), "")),
    )


def features_carry_the_class(network: str, at: Results, among: str) -> Claim:
    """(a) ... so that ablating them hurts far more than ablating as many random features."""
    rows = at.rows("ablation", explainer="vebi").dropna(subset="mean")
    end, start = (rows.pivot(index="target", columns="metric", values=name) for name in ("mean", "start"))
    names = [f"ablation_{kind}{among}" for kind in KINDS]
    if missing := [name for name in names if name not in end]:
        raise at.absent("ablation", explainer="vebi", metric=missing[0])
    lost, at_random = (start[name] - end[name] for name in names[:2])
    means = [end[name].mean() for name in names]
    return Claim(
        f"a, carry, {'among the ten' if among else 'among 1000'}: {network}",
        f"without its relevant features a class loses at least a tenth of its accuracy{' among the ten' * bool(among)}"
        ", and at least twice what it loses without as many random features of the same layers",
        at.experiment,
        f"accuracy {start[names[0]].mean():.3f}; without relevant features {means[0]:.3f}, random {means[1]:.3f}, "
        f"least relevant {means[2]:.3f}",
        *judged([over_classes(values) for values in (lost - 0.1, lost - 2 * at_random, lost - at_random)], "classes"),
    )


def features_show_the_class(network: str, at: Results) -> Claim:
    """(b) Average visualisations of these features interpret the model."""
    features = at.rows("features", explainer="vebi")
    own, control = (weighted_means(features, column) for column in ("purity", "purity_control"))
    return Claim(
        f"b: {network}",
        "on average by weight, at least half of the strongest training photographs of a feature are of its class, and "
        "more than for random features of the same layers",
        at.experiment,
        f"{own.mean():.1%} of the strongest photographs (controls {control.mean():.1%})",
        *judged([over_classes(own - 0.5), over_classes(own - control)], "classes"),
    )


def resampling_removes_the_grid(network: str, at: Results) -> Claim:
    """(d) The resampled deconvolution removes the grid artefacts that strided operations cause."""
    metric = "grid_energy"
    old, new = (at.mean(name, metric) for name in ("vebi_unresampled", "vebi"))
    without = at.score("vebi_unresampled", metric)
    tenth = without | {name: without[name] / 10 for name in ("mean", "std", "se") if name in without}
    return Claim(
        f"d: {network}",
        "less grid energy, and less than a tenth of what is there without resampling",
        at.experiment,
        f"grid energy {old:.4f} -> {new:.4f}, {old / new:.1f} times less",
        *judged([at.difference(metric, "vebi", "vebi_unresampled"), at.apart(tenth, at.score("vebi", metric))]),
    )


def over_classes(values: pd.Series) -> Effect:
    """Return the mean of one value per class as an effect, by Student's test."""
    count = len(values)
    return Effect(values.mean(), float(student_p(values.mean(), values.sem(), count)), 1, count, count)


def weighted_means(features: pd.DataFrame, column: str) -> pd.Series:
    """Return the mean of a column for each class, weighted by the features' weights."""
    known = features[features[column].notna()]
    sums = (known[column] * known["weight"]).groupby(known["class"]).sum()
    return sums / known.groupby("class")["weight"].sum()


if __name__ == "__main__":
    main(claims, EXPERIMENTS, __file__)
