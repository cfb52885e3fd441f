"""Verdicts on SIAM's claims, from the tables of its experiments: `python experiments/siam/claims.py`.

It reads results/scenicness, results/siam/landscapes, results/siam/sun and results/speed, and rewrites the table of
claims in the README beside it.
"""

import sys
from pathlib import Path

import pandas as pd

from evident.errors import UserError
from evident.report.claims.results import Results
from evident.report.claims.verdicts import Claim, measured_at, write_claims

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "results"
MAIN, PARTS, PHOTOS = "scenicness", "siam/landscapes", "siam/sun"
BLACK_BOX, BESIDE = "scene_regressor", "unconstrained_attributes"
REFERENCES = ("random", "centre", "edges", "oracle")
COST = 1.05  # times the backbone with a linear head


def claims(results: Path) -> list[Claim]:
    """All claims on the tables in `results`; raises `UserError` where one is missing."""
    return [
        splits_exactly(results),
        finds_what_is_where(results),
        says_how(results),
        says_it_of_the_scene(results),
        *(
            above_post_hoc(results, f"{name}, {beside}", metrics, rule, network)
            for name, metrics, rule in POST_HOC
            for beside, network in (("beside the black box", BLACK_BOX), ("beside post-hoc on itself", "siam"))
        ),
        *(keeps_performance(results, name, measure, other) for name, measure, other in PERFORMANCE),
        costs_nothing(results),
        *(part_helps(results, name, other, measure) for name, other, measure in PART_BY_PART),
        sparsity_is_free(results),
        learns_from_real_photos(results),
    ]


# SIAM's score, and that of every post-hoc explanation.
POST_HOC = (
    ("a, where", ("map_correlation",) * 2, "its map correlates more with the true one"),
    ("a, how much", ("attribute_rank",) * 2, "its map ranks attributes better, by their true pixels,"),
    (
        "a, removal faithful",
        ("removal_faithful",) * 2,
        "its map says better, by their true pixels, what its network does without an attribute",
    ),
    (
        "a, removal true",
        ("removal_true",) * 2,
        "its map says better, by their true pixels, what removing an attribute truly does",
    ),
    (
        "a, removal faithful by name",
        ("stated_removal_faithful", "removal_faithful"),
        "told no pixels, it states better by name what its network does without an attribute",
    ),
)
PERFORMANCE = (
    ("b, average", "r2", BLACK_BOX),
    ("b, variance", "variance_r2", BLACK_BOX),
    ("b, attributes", "attribute_precision", BESIDE),
)
PART_BY_PART = (
    ("templates that lower", "siam_one_template", "r2"),
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
        f"tau {siam.interval('siam', 'stated_rank')}, random {siam.interval('random', 'attribute_rank')}; of visible "
        f"attributes: {siam.mean('siam', 'stated_absent'):.0%} of what is stated is of others",
        all(own["ci_low"] > lot["ci_high"] for own, lot in zip(stated, chance, strict=True)),
    )


def says_it_of_the_scene(results: Path) -> Claim:
    """(a) How: is it an explanation of this scene, or one list for all of them?"""
    siam = Results(results, MAIN, "siam")
    pairs = (("stated_rank", "typical_rank"), ("stated_removal_true", "typical_removal_true"))
    return Claim(
        "a, how, of this scene",
        "contributions stated by name have a truer rank, and say more truly what a removal does, than a list of what "
        "attributes are usually worth, which has not seen the scene (95 % intervals apart)",
        MAIN,
        "; ".join(f"{siam.interval('siam', own)}, the list {siam.interval('siam', usual)}" for own, usual in pairs),
        all(siam.score("siam", own)["ci_low"] > siam.score("siam", usual)["ci_high"] for own, usual in pairs),
    )


def above_post_hoc(results: Path, name: str, metrics: tuple[str, str], rule: str, network: str) -> Claim:
    """SIAM's own explanation beside every post-hoc one of a network."""
    own, metric = metrics
    row = Results(results, MAIN, "siam").score("siam", own)
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
        f"{rule} than any of the {len(rest)} post-hoc explanations of {network} does (95 % intervals apart)",
        MAIN,
        f"{own.replace('_', ' ')} {row['mean']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}], above {len(below)} "
        f"of {len(rest)} (best {best['explainer']} {best['mean']:.3f} [{best['ci_low']:.3f}, {best['ci_high']:.3f}])",
        len(below) == len(rest),
    )


def keeps_performance(results: Path, name: str, measure: str, other: str) -> Claim:
    """(b) Final and intermediate task keep the performance of the baselines."""
    parts = Results(results, PARTS)
    siam, rest = (parts.performance(model, measure) for model in ("siam", other))
    apart = parts.apart(measure, "siam", other)
    ceiling = ""
    if measure != "attribute_precision":
        ceiling = f"; the truth before anyone votes {parts.performance('truth', measure)['value']:.3f}"
    return Claim(
        name,
        f"above what is the same for every scene, not below the 95 % interval of {other}, and no network significantly "
        "below its counterpart",
        PARTS,
        f"{measure.replace('_', ' ')} {siam['value']:.3f} [{siam['ci_low']:.3f}, {siam['ci_high']:.3f}], {other} "
        f"{rest['value']:.3f} [{rest['ci_low']:.3f}, {rest['ci_high']:.3f}], difference {in_words(apart)}; "
        f"{siam['n']} test scenes{ceiling}",
        bool(
            siam["ci_low"] > parts.performance("constant", measure)["value"]
            and siam["value"] >= rest["ci_low"]
            and (apart["ci_high"] >= 0).all()
        ),
    )


def in_words(apart: pd.DataFrame) -> str:
    """A difference with its interval, and that of each seed where there are several."""
    told = [f"{row['difference']:+.3f} [{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]" for _, row in apart.iterrows()]
    return told[0] if len(told) == 1 else f"{told[0]} (by seed {', '.join(told[1:])})"


def costs_nothing(results: Path) -> Claim:
    """(c) No cost at inference."""
    file = results / "speed" / "table.csv"
    if not file.exists():
        raise UserError(f"{file} is missing; run python run.py task=benchmark")
    rows = pd.read_csv(file)
    counted, timed = (rows[rows["row"].str.startswith(name)] for name in ("operations of SIAM", "SIAM"))
    scores = timed[timed["row"].str.startswith("SIAM on")]
    if not len(counted) or not len(scores):
        raise UserError(f"{file} has no operations or times of SIAM; run python run.py task=benchmark")
    operations = "; ".join(f"{row['row'].partition(',')[0]}: {row['value']:.4f}" for _, row in counted.iterrows())
    times = "; ".join(
        f"{row['row'].partition(',')[0]}: {row['value']:.3f} ({row['lowest']:.3f} to {row['highest']:.3f})"
        for _, row in timed.iterrows()
    )
    return Claim(
        "c, cost",
        f"scores take at most {COST:.2f} times the operations and the time (median) of the backbone with a linear head",
        "speed",
        f"{operations}. Times: {times}",
        bool((counted["value"] <= COST).all() and (scores["value"] <= COST).all()),
    )


def sparsity_is_free(results: Path) -> Claim:
    """What keeps templates small costs no performance."""
    parts = Results(results, PARTS)
    siam, dense = (parts.performance(model, "r2") for model in ("siam", "siam_dense"))
    maps = [Results(results, PARTS, model).mean("siam", "map_correlation") for model in ("siam", "siam_dense")]
    return Claim(
        "sparsity costs nothing",
        "r2 not below the 95 % interval of siam_dense",
        PARTS,
        f"{siam['value']:.3f} beside {dense['value']:.3f} [{dense['ci_low']:.3f}, {dense['ci_high']:.3f}]; map "
        f"correlation {maps[0]:.3f} beside {maps[1]:.3f}",
        bool(siam["value"] >= dense["ci_low"]),
    )


def part_helps(results: Path, name: str, other: str, measure: str) -> Claim:
    """What a part of SIAM is good for: the network with it beside one without."""
    parts = Results(results, PARTS)
    apart = parts.apart(measure, "siam", other)
    return Claim(
        name,
        f"{measure.replace('_', ' ')} above {other}'s: the interval of the difference is above 0, for every seed",
        PARTS,
        f"{parts.performance('siam', measure)['value']:.3f} beside {parts.performance(other, measure)['value']:.3f}, "
        f"difference {in_words(apart)}",
        bool((apart["ci_low"] > 0).all()),
    )


def learns_from_real_photos(results: Path) -> Claim:
    """Attributes of real photographs, from the few that are at hand."""
    photos = Results(results, PHOTOS)
    siam, same = (photos.performance(model, "attribute_precision") for model in ("siam_squeezenet1_1", "constant"))
    return Claim(
        "attributes of real photos",
        "above what is the same for every photo (lower end of the interval)",
        PHOTOS,
        f"attribute precision {siam['value']:.3f} [{siam['ci_low']:.3f}, {siam['ci_high']:.3f}], the same for "
        f"every photo {same['value']:.3f}; {siam['n']} test photos, which is few",
        bool(siam["ci_low"] > same["value"]),
    )


if __name__ == "__main__":
    try:
        print(write_claims(claims(RESULTS), HERE, measured_at([RESULTS / name for name in (MAIN, PARTS)])))
    except UserError as error:
        sys.exit(str(error))
