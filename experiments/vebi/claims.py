"""Verdicts on VEBI's claims, from the tables of its experiments: `python experiments/vebi/claims.py`.

It reads results/vebi/ and rewrites the table of claims in the README beside it.
"""

import sys
from pathlib import Path

import pandas as pd

from evident.errors import UserError
from evident.report.claims import Claim, write_claims

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "results" / "vebi"
FLOWERS = ("an8flower_single_6c", "an8flower_double_12c")
# What its authors compare with (PAPERS 1.6).
BASELINES = (
    *("activations", "deconvolution", "guided_backprop", "grad_cam"),
    *("guided_grad_cam", "grad_cam_pp", "guided_grad_cam_pp"),
)
STRONGER = ("integrated_gradients", "occlusion", "lime")
WITHOUT_SEGMENTS = ("lime_squares",)


def claims(results: Path) -> list[Claim]:
    """All claims on the tables in `results`; raises `UserError` where one is missing."""
    found = []
    for data in (*FLOWERS, "mnist"):
        found += [few_features(results, data), features_carry_the_class(results, data)]
    for data in FLOWERS:
        found.append(features_mean_the_evidence(results, data))
    for data in FLOWERS:
        found += [
            covers_the_evidence(results, data, BASELINES, ""),
            covers_the_evidence(results, data, STRONGER, ", more"),
            covers_the_evidence(results, data, WITHOUT_SEGMENTS, ", more, squares"),
        ]
    for data in FLOWERS:
        found.append(resampling_removes_the_grid(results, data))
    return found


def read(results: Path, data: str, table: str) -> pd.DataFrame:
    """One table of one experiment."""
    file = results / data / f"{table}.csv"
    if not file.exists():
        raise UserError(f"{file} is missing; run python run.py experiment=vebi/{data}")
    return pd.read_csv(file)


def of_vebi(results: Path, data: str) -> pd.DataFrame:
    """The rows of VEBI's relevant features."""
    features = read(results, data, "features")
    own = features[features["explainer"] == "vebi"]
    if not len(own):
        raise UserError(f"results/vebi/{data} has no features of vebi; run its experiment whole")
    return own


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


def few_features(results: Path, data: str) -> Claim:
    """(a) A small set of internal features ..."""
    features = of_vebi(results, data)
    counts = features.groupby(["seed", "class"]).size()
    m = int(features["m"].iloc[0])
    return Claim(
        f"a, few, {data}",
        "no class has more than 5 % of all features",
        f"vebi/{data}",
        f"{counts.median():.0f} features a class ({counts.min()} to {counts.max()}) of {m:,}",
        bool(counts.max() <= 0.05 * m),
    )


def features_carry_the_class(results: Path, data: str) -> Claim:
    """(a) ... carries the classification: ablating them hurts far more than ablating as many random ones."""
    rows = scores(results, data).loc["vebi"]
    relevant, lots, least = (rows.loc[f"ablation_{choice}"] for choice in ("relevant", "random", "least"))
    # Before anything is removed all three curves are one.
    curves = read(results, data, "curves")
    start = curves[(curves["explainer"] == "vebi") & (curves["metric"] == "ablation_relevant") & (curves["at"] == 0)]
    lost, lost_by_lot = start["mean"].iloc[0] - relevant["mean"], start["mean"].iloc[0] - lots["mean"]
    apart = relevant["ci_high"] < lots["ci_low"]
    return Claim(
        f"a, carry, {data}",
        "accuracy falls at least twice as much as without as many random features of the same layers, intervals apart",
        f"vebi/{data}",
        f"accuracy on the class {start['mean'].iloc[0]:.3f}; without its relevant features {interval(relevant)}, "
        f"without random ones {interval(lots)}, without the least relevant {interval(least)}",
        bool(apart and lost >= 2 * lost_by_lot),
    )


def features_mean_the_evidence(results: Path, data: str) -> Claim:
    """(b) Average visualisations of those features interpret the model."""
    features = of_vebi(results, data)
    weighted = features[["purity", "evidence"]].mul(features["weight"], axis=0).sum() / features["weight"].sum()
    return Claim(
        f"b, {data}",
        "by weight, half of a feature's strongest training images are of its class, and half of its signal in them "
        "lies on the true evidence",
        f"vebi/{data}",
        f"{weighted['purity']:.1%} of the images, {weighted['evidence']:.1%} of the signal",
        bool((weighted >= 0.5).all()),
    )


def covers_the_evidence(results: Path, data: str, others: tuple[str, ...], more: str) -> Claim:
    """(c) Explanations made from them cover the discriminative part better than baselines."""
    means = scores(results, data)["mean"].xs("iou_area", level="metric")
    tests = {other: against(results, data, "iou_area", other) for other in others}
    beaten = [other for other, (difference, p) in tests.items() if difference > 0 and p < 0.05]
    best = means[list(others)].idxmax()
    missed = [f"not {other} ({means[other]:.3f})" for other in others if other not in beaten]
    return Claim(
        f"c{more}, {data}",
        "higher area under IoU than " + ("each of its authors' baselines" if not more else ", ".join(others)) + ", "
        "paired over images, Holm's p < 0.05",
        f"vebi/{data}",
        f"vebi {means['vebi']:.3f}, beats {len(beaten)} of {len(others)}, best of them {best} {means[best]:.3f}"
        + (f"; {', '.join(missed)}" if missed else ""),
        len(beaten) == len(others),
    )


def resampling_removes_the_grid(results: Path, data: str) -> Claim:
    """(d) The resampled deconvolution removes the grid artefacts that strided operations cause."""
    difference, p = against(results, data, "grid_energy", "vebi_unresampled")
    gained, p_gained = against(results, data, "iou_area", "vebi_unresampled")
    means = scores(results, data)["mean"]
    old, new = means["vebi_unresampled", "grid_energy"], means["vebi", "grid_energy"]
    return Claim(
        f"d, {data}",
        "less than a tenth of the grid energy is left, and the area under IoU grows, both with Holm's p < 0.05",
        f"vebi/{data}",
        f"grid energy {old:.4f} -> {new:.4f} ({old / new:.0f} times less); area under IoU "
        f"{means['vebi_unresampled', 'iou_area']:.3f} -> {means['vebi', 'iou_area']:.3f}",
        bool(new < old / 10 and difference < 0 and p < 0.05 and gained > 0 and p_gained < 0.05),
    )


def interval(row: pd.Series) -> str:
    """Mean and 95 % interval."""
    return f"{row['mean']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"


if __name__ == "__main__":
    try:
        print(write_claims(claims(RESULTS), HERE))
    except UserError as error:
        sys.exit(str(error))
