"""Verdicts on VEBI's claims, from the tables of its experiments: `python experiments/vebi/claims.py`.

It reads results/vebi/ and rewrites the table of claims in the README beside it.
"""

import functools
import sys
from pathlib import Path

import pandas as pd
from scipy.stats import wilcoxon

from evident.errors import UserError
from evident.report.claims.verdicts import Claim, measured_at, write_claims

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "results" / "vebi"
FLOWERS = ("an8flower_single_6c", "an8flower_double_12c")
DATA = (*FLOWERS, "mnist")
MASK_METRICS = ("iou_area", "iou_best", "pointing_game", "mass_accuracy", "rank_accuracy", "average_precision")
# What its authors compare with (PAPERS 1.6).
BASELINES = (
    *("activations", "deconvolution", "guided_backprop", "grad_cam"),
    *("guided_grad_cam", "grad_cam_pp", "guided_grad_cam_pp"),
)
STRONGER = ("integrated_gradients", "occlusion", "lime")
SQUARES = ("lime_squares",)


def claims(results: Path) -> list[Claim]:
    """All claims on the tables in `results`; raises `UserError` where one is missing."""
    return [
        *(few_features_tell_the_class(results, data) for data in DATA),
        *(features_carry_the_class(results, data) for data in DATA),
        *(features_mean_the_class(results, data) for data in DATA),
        *(covers_the_evidence(results, data, BASELINES, "c") for data in FLOWERS),
        *(covers_the_evidence(results, data, BASELINES, "c, all mask metrics", MASK_METRICS) for data in FLOWERS),
        *(covers_the_evidence(results, data, STRONGER, "c, stronger baselines") for data in FLOWERS),
        *(covers_the_evidence(results, data, SQUARES, "why not LIME", post_hoc=True) for data in FLOWERS),
        *(resampling_removes_the_grid(results, data) for data in FLOWERS),
        *(resampling_finds_the_evidence(results, data) for data in FLOWERS),
    ]


@functools.cache  # some are asked for dozens of times
def read(results: Path, data: str, table: str) -> pd.DataFrame:
    """One table of one experiment."""
    file = results / data / f"{table}.csv"
    if not file.exists():
        raise UserError(f"{file} is missing; run python run.py experiment=vebi/{data}")
    return pd.read_csv(file)


def of_vebi(results: Path, data: str, table: str) -> pd.DataFrame:
    """VEBI's rows of a table."""
    rows = read(results, data, table)
    if not (rows["explainer"] == "vebi").any():
        raise UserError(f"results/vebi/{data}/{table}.csv has no row of vebi; run its experiment whole")
    return rows[rows["explainer"] == "vebi"]


def scores(results: Path, data: str) -> pd.DataFrame:
    """Mean and interval by explainer and metric."""
    return read(results, data, "table").set_index(["explainer", "metric"])


def against(results: Path, data: str, metric: str, other: str) -> tuple[float, float]:
    """Mean over images of VEBI's score minus the other's, and Holm's p."""
    tests = read(results, data, "significance")
    tests = tests[tests["metric"] == metric]
    for sign, (first, second) in ((1, ("vebi", other)), (-1, (other, "vebi"))):
        row = tests[(tests["explainer"] == first) & (tests["other"] == second)]
        if len(row):
            return sign * row["difference"].iloc[0], row["p_holm"].iloc[0]
    raise UserError(f"results/vebi/{data} does not compare vebi with {other}; run its experiment whole")


def above(values: pd.Series, others: pd.Series) -> tuple[float, int]:
    """Wilcoxon's p of `values` not being above their `others`, and the number of pairs that have both."""
    difference = (values - others).dropna()
    return (float(wilcoxon(difference, alternative="greater").pvalue) if difference.any() else 1.0), len(difference)


def few_features_tell_the_class(results: Path, data: str) -> Claim:
    """(a) A small set of internal features, found without annotations ..."""
    features = of_vebi(results, data, "features")
    counts = features.groupby(["seed", "class"]).size()
    m = int(features["m"].iloc[0])
    read_out = of_vebi(results, data, "table").set_index("metric").loc["read_out"]
    return Claim(
        f"a, few: {data}",
        "with at most 1 % of all features a class on average, the relevant ones alone, summed by their weights, tell "
        "the class of at least 95 % of the test images",
        f"vebi/{data}",
        f"{counts.mean():.1f} features a class ({counts.min()} to {counts.max()}) of {m:,}; they tell the class of "
        f"{interval(read_out)}",
        bool(counts.mean() <= 0.01 * m and read_out["mean"] >= 0.95),
    )


def features_carry_the_class(results: Path, data: str) -> Claim:
    """(a) ... carries the classification: ablating them hurts far more than ablating as many random ones."""
    curves = of_vebi(results, data, "curves")
    # Before anything is removed all three curves are one.
    whole = curves[(curves["metric"] == "ablation_relevant") & (curves["at"] == 0)]["mean"].iloc[0]
    by_class = of_vebi(results, data, "ablation").pivot(index=["seed", "target"], columns="metric", values="mean")
    relevant, random = by_class["ablation_relevant"], by_class["ablation_random"]
    p, units = above(random, relevant)
    lost, lost_by_lot = whole - relevant.mean(), whole - random.mean()
    return Claim(
        f"a, carry: {data}",
        "without its relevant features a class loses a tenth of its accuracy and twice what it loses without as many "
        "random ones of the same layers, Wilcoxon over classes and networks p < 0.05",
        f"vebi/{data}",
        f"accuracy {whole:.3f}; without relevant features {relevant.mean():.3f}, random {random.mean():.3f}, least "
        f"relevant {by_class['ablation_least'].mean():.3f} (p = {p:.2g}, {units} classes of networks, of which "
        f"{(relevant < 0.5).sum()} fall below 0.5)",
        bool(lost >= 0.1 and lost >= 2 * lost_by_lot and p < 0.05),
    )


def features_mean_the_class(results: Path, data: str) -> Claim:
    """(b) Average visualisations of those features interpret the model."""
    features = of_vebi(results, data, "features")
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
        "by weight, half of a feature's strongest training images are of its class"
        + (", half of its signal in them lies on the evidence" if "evidence" in known else "")
        + ", and more than with features of the same layers by lot (Wilcoxon over features p < 0.05)",
        f"vebi/{data}",
        "; ".join(numbers),
        all(holds),
    )


def covers_the_evidence(
    results: Path,
    data: str,
    others: tuple[str, ...],
    name: str,
    metrics: tuple[str, ...] = ("iou_area",),
    post_hoc: bool = False,
) -> Claim:
    """(c) Explanations made from them cover the discriminative part better than baselines."""
    means = scores(results, data)["mean"]
    numbers, holds = [], []
    for metric in metrics:
        tests = {other: against(results, data, metric, other) for other in others}
        beaten = [other for other, (difference, p) in tests.items() if difference > 0 and p < 0.05]
        best = means.loc[list(others)].xs(metric, level="metric").idxmax()
        numbers.append(
            f"{metric.replace('_', ' ')} {means['vebi', metric]:.3f}, above {len(beaten)} of {len(others)} "
            f"(best {best} {means[best, metric]:.3f})"
        )
        holds.append(len(beaten) == len(others))
    return Claim(
        f"{name}: {data}",
        f"higher {'scores' if len(metrics) > 1 else 'area under IoU'} than {', '.join(others)}, each paired over "
        "images, Holm's p < 0.05",
        f"vebi/{data}",
        "; ".join(numbers),
        None if post_hoc else all(holds),
    )


def resampling_removes_the_grid(results: Path, data: str) -> Claim:
    """(d) The resampled deconvolution removes the grid artefacts that strided operations cause."""
    difference, p = against(results, data, "grid_energy", "vebi_unresampled")
    means = scores(results, data)["mean"]
    old, new = means["vebi_unresampled", "grid_energy"], means["vebi", "grid_energy"]
    return Claim(
        f"d: {data}",
        "less than a tenth of the grid energy is left, Holm's p < 0.05",
        f"vebi/{data}",
        f"grid energy {old:.4f} -> {new:.4f}, {old / new:.0f} times less (the masks' own: "
        f"{means['oracle', 'grid_energy']:.4f})",
        bool(new < old / 10 and difference < 0 and p < 0.05),
    )


def resampling_finds_the_evidence(results: Path, data: str) -> Claim:
    """(d) ... and what it shows is the evidence."""
    difference, p = against(results, data, "iou_area", "vebi_unresampled")
    means = scores(results, data)["mean"]
    return Claim(
        f"d, evidence: {data}",
        "higher area under IoU than without resampling, Holm's p < 0.05",
        f"vebi/{data}",
        f"{means['vebi_unresampled', 'iou_area']:.3f} -> {means['vebi', 'iou_area']:.3f}",
        bool(difference > 0 and p < 0.05),
    )


def weighted_mean(values: pd.Series, weights: pd.Series) -> float:
    """Mean of the values that there are."""
    there = values.notna()
    return float((values * weights)[there].sum() / weights[there].sum())


def interval(row: pd.Series) -> str:
    """Mean and 95 % interval."""
    return f"{row['mean']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"


if __name__ == "__main__":
    try:
        print(write_claims(claims(RESULTS), HERE, measured_at([RESULTS / data for data in DATA])))
    except UserError as error:
        sys.exit(str(error))
