"""Verdicts on SIAM's claims, from the tables of its experiments: `python experiments/siam/claims.py`.

It reads results/scenicness, results/siam/landscapes and results/speed, and rewrites the table of claims in the README
beside it.
"""

import sys
from pathlib import Path

import pandas as pd

from evident.errors import UserError
from evident.report.claims import Claim, measured_at, write_claims
from evident.report.comparisons import Results

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "results"
MAIN, PARTS = "scenicness", "siam/landscapes"
BLACK_BOX, BESIDE = "scene_regressor", "unconstrained_attributes"
REFERENCES = ("random", "centre", "edges", "oracle")
COST = 1.05  # times the backbone with a linear head


def claims(results: Path) -> list[Claim]:
    """All claims on the tables in `results`; raises `UserError` where one is missing."""
    return [
        splits_exactly(results),
        finds_what_is_where(results),
        says_how(results),
        *(
            above_post_hoc(results, f"{name}, {beside}", metric, rule, network)
            for name, metric, rule in POST_HOC
            for beside, network in (("beside the black box", BLACK_BOX), ("beside post-hoc on itself", "siam"))
        ),
        *(keeps_performance(results, name, measure, other) for name, measure, other in PERFORMANCE),
        costs_nothing(results),
        *(part_helps(results, name, other, measure) for name, other, measure in PART_BY_PART),
        sparsity_is_free(results),
    ]


POST_HOC = (
    ("a, where", "map_correlation", "its map correlates more with the true one"),
    ("a, how much", "attribute_rank", "its map ranks attributes better, by their true pixels,"),
    ("a, removal faithful", "removal_stated", "it says better what its network does without an attribute"),
    ("a, removal true", "removal_true", "it says better what removing an attribute truly does"),
)
PERFORMANCE = (
    ("b, average", "r2", BLACK_BOX),
    ("b, variance", "variance_r2", BLACK_BOX),
    ("b, attributes", "attribute_precision", BESIDE),
)
PART_BY_PART = (
    ("two templates", "siam_one_template", "r2"),
    ("stages before joint training", "siam_joint", "r2"),
    ("joint training at the end (75 epochs beside 50)", "siam_separate", "r2"),
)


def splits_exactly(results: Path) -> Claim:
    """(a) Each prediction splits exactly into attribute contributions with a place and a sign."""
    row = Results(results, MAIN, "siam").score("siam", "split_error")
    return Claim(
        "a, exact",
        "bias and contributions, and bias and map, sum to the score but for 1e-5 votes (upper end of the interval)",
        MAIN,
        f"off by {row['mean']:.1e} votes on average (float32), {row['n']} scenes",
        bool(row["ci_high"] <= 1e-5),
    )


def finds_what_is_where(results: Path, metric: str = "maps_pointing", floor: float = 0.5) -> Claim:
    """(a) What and where: attribute maps, learnt from labels of whole images, find their attributes."""
    siam, beside = Results(results, MAIN, "siam"), Results(results, MAIN, BESIDE)
    return Claim(
        "a, what and where",
        f"of the visible attributes the maximum of the map lies on the attribute for {floor:.0%} or more",
        MAIN,
        f"{metric.replace('_', ' ')} {siam.interval('siam', metric)}, average precision of its pixels "
        f"{siam.interval('siam', 'maps_precision')}; without the bottleneck {beside.interval('cam', metric)} and "
        f"{beside.interval('cam', 'maps_precision')}",
        bool(siam.mean("siam", metric) >= floor),
    )


def says_how(results: Path) -> Claim:
    """(a) How: the sign of each stated contribution."""
    siam = Results(results, MAIN, "siam")
    chance = [siam.score("random", metric) for metric in ("attribute_sign", "attribute_rank")]
    stated = [siam.score("siam", metric) for metric in ("stated_sign", "stated_rank")]
    return Claim(
        "a, how",
        "contributions stated by name have the true sign and rank more often than a random map that is positive "
        "everywhere and told the attributes' pixels (95 % intervals apart)",
        MAIN,
        f"sign {siam.interval('siam', 'stated_sign')}, random {siam.interval('random', 'attribute_sign')}; Kendall's "
        f"tau {siam.interval('siam', 'stated_rank')}, random {siam.interval('random', 'attribute_rank')}",
        all(own["ci_low"] > lot["ci_high"] for own, lot in zip(stated, chance, strict=True)),
    )


def above_post_hoc(results: Path, name: str, metric: str, rule: str, network: str) -> Claim:
    """SIAM's own explanation beside every post-hoc one of a network, which are told where each attribute is."""
    row = Results(results, MAIN, "siam").score("siam", metric)
    others = Results(results, MAIN, network)
    table = others.read("table")
    apart = (*REFERENCES, "siam")
    rest = table[(table["metric"] == metric) & ~table["explainer"].isin(apart)].dropna(subset="mean")
    if not len(rest):
        raise others.absent("table", metric)
    below = rest[rest["ci_high"] < row["ci_low"]]
    best = rest.loc[rest["mean"].idxmax()]
    return Claim(
        name,
        f"{rule} than any post-hoc explanation of {network} does (95 % intervals apart)",
        MAIN,
        f"{metric.replace('_', ' ')} {row['mean']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}], above {len(below)} "
        f"of {len(rest)} (best {best['explainer']} {best['mean']:.3f} [{best['ci_low']:.3f}, {best['ci_high']:.3f}])",
        len(below) == len(rest),
    )


def performance(results: Path, experiment: str) -> pd.DataFrame:
    """Value and interval by network and measure."""
    return _read(results, experiment, "performance").set_index(["model", "measure"])


def difference(results: Path, experiment: str, measure: str, other: str) -> pd.Series:
    """SIAM's measure minus another network's, with its interval."""
    rows = _read(results, experiment, "performance_differences")
    own = rows[(rows["measure"] == measure) & (rows["model"] == "siam") & (rows["other"] == other)]
    if not len(own):
        raise UserError(f"results/{experiment} does not compare siam with {other} by {measure}; run it whole")
    return own.iloc[0]


def _read(results: Path, experiment: str, table: str) -> pd.DataFrame:
    file = results / experiment / f"{table}.csv"
    if not file.exists():
        raise UserError(f"{file} is missing; run python run.py experiment={experiment}")
    return pd.read_csv(file)


def keeps_performance(results: Path, name: str, measure: str, other: str) -> Claim:
    """(b) Final and intermediate task keep the performance of the baselines."""
    own = performance(results, PARTS)
    siam, rest = own.loc[("siam", measure)], own.loc[(other, measure)]
    apart = difference(results, PARTS, measure, other)
    return Claim(
        name,
        f"not below the 95 % interval of {other}",
        PARTS,
        f"{measure.replace('_', ' ')} {siam['value']:.3f} [{siam['ci_low']:.3f}, {siam['ci_high']:.3f}], {other} "
        f"{rest['value']:.3f} [{rest['ci_low']:.3f}, {rest['ci_high']:.3f}], difference {apart['difference']:+.3f} "
        f"[{apart['ci_low']:+.3f}, {apart['ci_high']:+.3f}]; {siam['n']} test scenes",
        bool(siam["value"] >= rest["ci_low"]),
    )


def costs_nothing(results: Path) -> Claim:
    """(c) No cost at inference."""
    file = results / "speed" / "table.csv"
    if not file.exists():
        raise UserError(f"{file} is missing; run python run.py task=benchmark")
    rows = pd.read_csv(file)
    own = rows[rows["row"].str.startswith("SIAM")]
    scores = own[own["row"].str.startswith("SIAM on")]
    if not len(scores):
        raise UserError(f"{file} has no row of SIAM; run python run.py task=benchmark")
    told = "; ".join(f"{row['row'].partition(',')[0]}: {row['value']:.3f}" for _, row in own.iterrows())
    return Claim(
        "c, cost",
        f"scores cost at most {COST:.2f} times the backbone with a linear head",
        "speed",
        told,
        bool((scores["value"] <= COST).all()),
    )


def sparsity_is_free(results: Path) -> Claim:
    """What keeps templates small costs no performance."""
    own = performance(results, PARTS)
    siam, dense = own.loc[("siam", "r2")], own.loc[("siam_dense", "r2")]
    maps = [Results(results, PARTS, model).mean("siam", "map_correlation") for model in ("siam", "siam_dense")]
    return Claim(
        "sparse templates",
        "r2 not below the 95 % interval of siam_dense",
        PARTS,
        f"{siam['value']:.3f} beside {dense['value']:.3f} [{dense['ci_low']:.3f}, {dense['ci_high']:.3f}]; map "
        f"correlation {maps[0]:.3f} beside {maps[1]:.3f}",
        bool(siam["value"] >= dense["ci_low"]),
    )


def part_helps(results: Path, name: str, other: str, measure: str) -> Claim:
    """What a part of SIAM is good for: the network with it beside one without."""
    own = performance(results, PARTS)
    apart = difference(results, PARTS, measure, other)
    return Claim(
        name,
        f"{measure.replace('_', ' ')} above {other}'s: the interval of the difference is above 0",
        PARTS,
        f"{own.loc[('siam', measure), 'value']:.3f} beside {own.loc[(other, measure), 'value']:.3f}, difference "
        f"{apart['difference']:+.3f} [{apart['ci_low']:+.3f}, {apart['ci_high']:+.3f}]",
        bool(apart["ci_low"] > 0),
    )


if __name__ == "__main__":
    try:
        print(write_claims(claims(RESULTS), HERE, measured_at([RESULTS / name for name in (MAIN, PARTS)])))
    except UserError as error:
        sys.exit(str(error))
