"""Verdicts on SIAM's claims: `python experiments/siam/claims.py`.

The script reads results/scenicness, results/siam/landscapes, results/siam/sun and results/speed, and rewrites the table
of claims in the README beside it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from evident.report.claims.effects import Effect, exactly, from_interval, judged
from evident.report.claims.results import Results, in_words, interval
from evident.report.claims.verdicts import Claim, main

MAIN, PARTS, PHOTOS = "scenicness", "siam/landscapes", "siam/sun"
EXPERIMENTS = (MAIN, PARTS)
READ = ((MAIN, "siam"), (PARTS, None), (PARTS, "siam"))  # one network, all networks, several of SIAM
BLACK_BOX, UNCONSTRAINED = "scene_regressor", "unconstrained_attributes"
REFERENCES = ("random", "centre", "edges", "oracle")
COST = 1.05  # upper limit, relative to the backbone with a linear head
MARGIN = 0.02  # of equivalence, for r2 and for average precision
WHERE_MARGIN = 0.05  # of equivalence, for the correlation of maps


def claims(results: Path) -> list[Claim]:
    """Return all claims, judged by the tables in `results`; raises `UserError` if a table is missing."""
    siam, parts, several = (Results(results, name, model) for name, model in READ)
    post_hoc = {"against the black box": Results(results, MAIN, BLACK_BOX), "against post-hoc on SIAM": siam}
    return [
        splits_exactly(several),
        finds_what_is_where(several, Results(results, PARTS, UNCONSTRAINED)),
        says_how(several),
        says_it_of_the_scene(several),
        shows_where(several),
        *(
            above_post_hoc(f"{name}, {against}", siam, metrics, rule, others)
            for name, metrics, rule in POST_HOC
            for against, others in post_hoc.items()
        ),
        *(keeps_performance(parts, *comparison) for comparison in PERFORMANCE),
        costs_nothing(Results(results, "speed", command="task=benchmark")),
        *(part_helps(parts, *comparison) for comparison in PART_BY_PART),
        sparsity_is_free(results),
        learns_from_real_photos(Results(results, PHOTOS)),
    ]


# SIAM's metric, the metric of the post-hoc explanations, and what SIAM does better.
SUMMED = "summed over the true pixels of each attribute,"
POST_HOC = (
    ("a, how much", ("attribute_rank",) * 2, f"SIAM's map, {SUMMED} ranks the attributes better"),
    (
        "a, removal faithful",
        ("removal_faithful",) * 2,
        f"SIAM's map, {SUMMED} ranks better what its own network does when an attribute is removed",
    ),
    (
        "a, removal true",
        ("removal_true",) * 2,
        f"SIAM's map, {SUMMED} ranks better the true effects of removing attributes",
    ),
    (
        "a, removal faithful by name",
        ("stated_removal_faithful", "removal_faithful"),
        "SIAM's contributions by name, without true pixels, rank better what its own network does when an attribute is "
        "removed",
    ),
)
PERFORMANCE = (
    ("b, average", "r2", BLACK_BOX),
    ("b, variance", "variance_r2", BLACK_BOX),
    ("b, attributes", "attribute_precision", UNCONSTRAINED),
)
PART_BY_PART = (
    ("templates that lower the score", "r2", "siam_one_template"),
    ("stages before joint training", "r2", "siam_joint"),
    ("joint training at the end", "r2", "siam_separate"),
)


def splits_exactly(siam: Results) -> Claim:
    """(a) Each prediction splits exactly into attribute contributions with a place and a sign."""
    row = siam.score("siam", "split_error")
    return Claim(
        "a, exact",
        "bias and contributions, and bias and map, sum to the score up to 1e-5 votes",
        siam.experiment,
        f"error of {row['mean']:.1e} votes on average (float32), {row['n']} scenes",
        *judged([siam.below("split_error", "siam", 1e-5)]),
    )


def finds_what_is_where(siam: Results, unconstrained: Results, floor: float = 0.5) -> Claim:
    """(a) What and where: attribute maps, learned from labels of whole images, find their attributes."""
    metrics = ("maps_pointing", "maps_precision")
    pointing, precision = (siam.interval("siam", metric) for metric in metrics)
    other_pointing, other_precision = (unconstrained.interval("cam", metric) for metric in metrics)
    return Claim(
        "a, what and where",
        f"for at least {floor:.0%} of the visible attributes the maximum of the map lies on the attribute",
        siam.experiment,
        f"maps pointing {pointing}, average precision of the pixels {precision}; without the bottleneck "
        f"{other_pointing} and {other_precision}",
        *judged([siam.above("maps_pointing", "siam", floor)]),
    )


def says_how(siam: Results) -> Claim:
    """(a) How: the sign of each stated contribution."""
    random = [siam.score("random", metric) for metric in ("attribute_sign", "attribute_rank")]
    stated = [siam.score("siam", metric) for metric in ("stated_sign", "stated_rank")]
    return Claim(
        "a, how",
        "contributions stated by name have the true sign and rank more often than those of a random map that is "
        "positive everywhere and summed over the true pixels of each attribute",
        siam.experiment,
        f"sign {interval(stated[0])}, random {interval(random[0])}; Kendall's tau {interval(stated[1])}, random "
        f"{interval(random[1])}; both over visible attributes, while {siam.mean('siam', 'stated_absent'):.0%} of the "
        "stated contributions belong to others",
        *judged([siam.apart(own, chance) for own, chance in zip(stated, random, strict=True)]),
    )


def says_it_of_the_scene(siam: Results) -> Claim:
    """(a) How: does the explanation depend on this scene, or is it one list for all scenes?"""
    pairs = (("stated_rank", "typical_rank"), ("stated_removal_true", "typical_removal_true"))
    return Claim(
        "a, how, in this scene",
        "contributions stated by name rank attributes, and the true effects of removing them, better than a list of "
        "the attributes' mean contributions, which ignores the scene",
        siam.experiment,
        "; ".join(f"{siam.interval('siam', own)}, the list {siam.interval('siam', usual)}" for own, usual in pairs),
        *judged([siam.apart(siam.score("siam", own), siam.score("siam", usual)) for own, usual in pairs]),
    )


def shows_where(parts: Results, others: tuple[str, ...] = ("integrated_gradients", "grad_cam")) -> Claim:
    """(a) Where: SIAM's map shows where its own score changes when an attribute is removed."""
    metric = "removal_map"
    return Claim(
        "a, where",
        "the correlation of SIAM's map with the changes of its own score when attributes are removed, over the "
        f"positions of its maps, is at least that of integrated gradients and of Grad-CAM, less {WHERE_MARGIN}",
        parts.experiment,
        f"{in_words(metric)} {parts.interval('siam', metric)}; "
        + ", ".join(f"{other} {parts.interval(other, metric)}" for other in others)
        + f"; random {parts.interval('random', metric)}",
        *judged([parts.difference(metric, "siam", other, WHERE_MARGIN) for other in others]),
    )


def above_post_hoc(name: str, siam: Results, metrics: tuple[str, str], rule: str, others: Results) -> Claim:
    """(a) SIAM's own explanation is better than every post-hoc explanation of a network."""
    own, metric = metrics
    row, table = siam.score("siam", own), others.read("table")
    post_hoc = ~table["explainer"].isin((*REFERENCES, "siam"))
    rest = table[(table["metric"] == metric) & post_hoc].dropna(subset="mean")
    if rest.empty:
        raise others.absent("table", metric=metric)

    def effect_of(other: Mapping[Any, Any]) -> Effect:
        if others == siam and own == metric:
            return siam.difference(metric, "siam", other["explainer"])
        return siam.apart(row, other)  # of another network, or another measure: no pairs are on file

    below = (rest["mean"] < row["mean"]).sum()
    best = rest.loc[rest["mean"].idxmax()]
    return Claim(
        name,
        f"{rule} than each of the {len(rest)} post-hoc explanations of {others.model}",
        siam.experiment,
        f"{in_words(own)} {interval(row)}, above {below} of {len(rest)} (best {best['explainer']} {interval(best)})",
        *judged([effect_of(other) for other in rest.to_dict("records")]),
    )


def keeps_performance(parts: Results, name: str, measure: str, other: str) -> Claim:
    """(b) SIAM performs as well as the baselines, on the final task and on the intermediate one."""
    siam, rest = (parts.performance(model, measure) for model in ("siam", other))
    apart = parts.performance_differences(measure, "siam", other)
    ceiling = ""
    if measure != "attribute_precision":
        ceiling = f"; expected votes {parts.performance('truth', measure)['value']:.3f}"
    effects = [
        from_interval(siam, "value", parts.performance("constant", measure)["value"]),
        from_interval(apart.iloc[0], "difference", -MARGIN),
    ]
    return Claim(
        name,
        f"above the constant baseline, and below {other} by less than {MARGIN}",
        parts.experiment,
        f"{in_words(measure)} {interval(siam, 'value')}, {other} {interval(rest, 'value')}, difference "
        f"{by_seed(apart)}; {siam['n']} test scenes{ceiling}",
        *judged(effects),
    )


def by_seed(differences: pd.DataFrame) -> str:
    """Return as text a difference with its interval, and those of the single seeds if there are several."""
    first, *seeds = [interval(row, "difference", "+.3f") for _, row in differences.iterrows()]
    return f"{first} (by seed {', '.join(seeds)})" if seeds else first


def costs_nothing(speed: Results) -> Claim:
    """(c) No cost at inference."""
    rows = speed.read("table")
    counted, timed = (rows[rows["row"].str.startswith(name)] for name in ("operations of SIAM", "SIAM"))
    scores = timed[timed["row"].str.startswith("SIAM on")]
    if counted.empty or scores.empty:
        raise speed.absent("table", row="operations of SIAM" if counted.empty else "SIAM on")
    operations = "; ".join(f"{row['row'].partition(',')[0]}: {row['value']:.4f}" for _, row in counted.iterrows())
    times = "; ".join(
        f"{row['row'].partition(',')[0]}: {row['value']:.3f} ({row['lowest']:.3f} to {row['highest']:.3f})"
        for _, row in timed.iterrows()
    )
    return Claim(
        "c, cost",
        f"the scores take at most {COST:.2f} times the operations and the median time of the backbone with a linear "
        "head",
        speed.experiment,
        f"{operations}. Times: {times}",
        "no test",
        exactly((counted["value"] <= COST).all() and (scores["value"] <= COST).all()),
    )


def sparsity_is_free(results: Path) -> Claim:
    """The sparsity of the templates costs no performance."""
    parts = Results(results, PARTS)
    siam, dense = (parts.performance(model, "r2") for model in ("siam", "siam_dense"))
    apart = parts.performance_differences("r2", "siam", "siam_dense")
    maps = [Results(results, PARTS, model).mean("siam", "map_correlation") for model in ("siam", "siam_dense")]
    return Claim(
        "sparsity costs nothing",
        f"r2 below that of siam_dense by less than {MARGIN}",
        parts.experiment,
        f"{siam['value']:.3f}, siam_dense {interval(dense, 'value')}, difference {by_seed(apart)}; map correlation "
        f"{maps[0]:.3f}, siam_dense {maps[1]:.3f}",
        *judged([from_interval(apart.iloc[0], "difference", -MARGIN)]),
    )


def part_helps(parts: Results, name: str, measure: str, other: str) -> Claim:
    """The network with a part of SIAM is better than the network without it."""
    apart = parts.performance_differences(measure, "siam", other)
    siam, rest = (parts.performance(model, measure) for model in ("siam", other))
    return Claim(
        name,
        f"{in_words(measure)} above {other}'s",
        parts.experiment,
        f"{siam['value']:.3f}, {other} {rest['value']:.3f}, difference {by_seed(apart)}",
        *judged([from_interval(apart.iloc[0], "difference", 0)]),
    )


def learns_from_real_photos(photos: Results) -> Claim:
    """Attributes of real photographs are learned from the few that are available."""
    siam, constant = (photos.performance(model, "attribute_precision") for model in ("siam_squeezenet1_1", "constant"))
    return Claim(
        "attributes of real photos",
        "above the constant baseline",
        photos.experiment,
        f"attribute precision {interval(siam, 'value')}, constant {constant['value']:.3f}; {siam['n']} test photos, "
        "which is few",
        *judged([from_interval(siam, "value", constant["value"])]),
    )


if __name__ == "__main__":
    main(claims, EXPERIMENTS, __file__)
