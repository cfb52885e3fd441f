"""Tables on which every claim on metrics holds, and changes after which some fail."""

from typing import Any

import pandas as pd
from claims_script import Change, Missing, Tables, score_table

FLOWERS, NETWORKS, LANDSCAPES = "metrics/flowers", "metrics/flowers_networks", "metrics/landscapes"
DIGITS = "metrics/mnist"
SEEDS = (10, 11, 12, 13)
MODELS = {FLOWERS: ("flower_net", "patch_net"), NETWORKS: ("flower_net_in_domain",), LANDSCAPES: ("scene_regressor",)}
TRUTHS = {
    **{("flower_net", truth): 10 for truth in ("parts", "masks", "parts by value")},
    **{("patch_net", truth): 10 for truth in ("parts", "masks", "contributions", "contributions by value")},
    **{("flower_net_in_domain", truth): 10 for truth in ("parts", "masks")},
    ("scene_regressor", "removal"): 10,
}  # and the number of families
NAMES = [
    *(
        f"trial, {planted}: {name}"
        for planted in ("random scores", "arbitrary orders", "perfect scores")
        for name in MODELS
    ),
    *("trial, sparsity", "trial, oracle first", "where, by rank accuracy", "where, area under IoU misleads"),
    *("where, without masks", "how much, by insertion"),
    *("how much, insertion or deletion", "how much, relevance gain", "how much, ROAD", "how much, squares"),
    *("how much, sensitivity-n", "how much, infidelity", "how much, networks trained with removed patches"),
    *("how much, insertion on landscapes", "how much, insertion or deletion on landscapes", "how many images"),
    *("sanity, maps that depend on the network", "sanity, maps that do not"),
]
POST_HOC: set[str] = set()
# The sentence on what was measured reads the first; the claim on these networks compares two experiments.
UNREAD = [(DIGITS, "table"), (NETWORKS, "validity_differences")]

TAUS = {  # of each metric with every truth
    **{"planted_random": 0.0, "planted_sparsity": 0.1},
    **{"rank_accuracy": 0.8, "iou_best": 0.7, "iou_area": 0.3, "grid_pointing": 0.75},
    **{"insertion_mean_colour": 0.75, "deletion_mean_colour": 0.4, "relevance_gain_mean_colour": 0.8, "road_most": 0.7},
    **{"deletion_squares_mean_colour": 0.65, "sensitivity_n": 0.7, "infidelity": 0.7},
    **{"insertion_blur": 0.8, "deletion_blur": 0.5, "deletion_cells_mean_colour": 0.4},
}
ERROR = 0.02


def judged(experiment: str) -> pd.DataFrame:
    """Return the summary of every truth on every model; cells agree more on networks that have seen them removed."""
    rows = []
    for (model, truth), families in TRUTHS.items():
        if model not in MODELS[experiment]:
            continue
        for metric, tau in {**TAUS, f"planted_perfect_{truth}": 1.0}.items():
            tau += 0.3 if (metric, model) == ("deletion_cells_mean_colour", MODELS[NETWORKS][0]) else 0
            interval = {"tau": tau, "ci_low": tau - 2 * ERROR, "ci_high": tau + 2 * ERROR, "se": ERROR}
            names = {"model": model, "truth": truth, "metric": metric}
            rows.append({**names, **interval, "networks": 4, "families": families, "methods": 27})
    return pd.DataFrame(rows)


def differences(experiment: str) -> pd.DataFrame:
    rows = [
        {"model": model, "truth": truth, "metric": metric, "other": other, "difference": TAUS[metric] - TAUS[other]}
        for model, truth in TRUTHS
        if model in MODELS[experiment]
        for place, metric in enumerate(TAUS)
        for other in list(TAUS)[place + 1 :]
    ]
    return pd.DataFrame(rows).assign(se=ERROR, families=10, networks=4)


def orders(experiment: str) -> pd.DataFrame:
    found = [{"model": model, "truth": truth, "wrong": 0.06} for model, truth in TRUTHS if model in MODELS[experiment]]
    return pd.DataFrame(found).assign(families=10, networks=4)


def sanity() -> pd.DataFrame:
    depend, fixed = ("gradient", "integrated_gradients", "grad_cam", "rise"), ("guided_backprop", "deconvolution")
    verdicts = {**dict.fromkeys(depend, "depends"), **dict.fromkeys(fixed, "does not depend")}
    return pd.DataFrame(
        [
            {
                **{"explainer": name, "verdict": verdict, "randomised": kind, "measure": measure},
                **{"mean": 0.3, "ci_low": 0.2, "ci_high": 0.4, "networks": 3, "n": 24},
            }
            for name, verdict in verdicts.items()
            for kind in ("all layers", "labels")
            for measure in ("spearman", "ssim")
        ]
    )


def tables(reverse: bool = False) -> Tables:
    """Return the tables, with rows in their order or the reverse."""
    made: Tables = {}
    for experiment, models in MODELS.items():
        made[experiment, "table"] = score_table(models, {"gini": {"rise": 0.5}}, images=16, seeds="10 11 12 13")
        made[experiment, "validity"] = judged(experiment)
        made[experiment, "validity_differences"] = differences(experiment)
        made[experiment, "arbitrary_orders"] = orders(experiment)
    made[FLOWERS, "ends"] = pd.DataFrame(
        [
            {"model": model, "metric": metric, "networks": 4, "oracle_rank": 1.0, "random_below": 1.0}
            for model in MODELS[FLOWERS]
            for metric in ("iou_best", "rank_accuracy", "mask_jaccard", "average_precision", "pointing_game", "gini")
        ]
    )
    needed = {"average_precision": 8, "rank_accuracy": 12, "iou_best": 16}
    needed |= {"insertion_mean_colour": 20, "deletion_mean_colour": 32, "gini": 64}
    made[FLOWERS, "images_needed"] = pd.DataFrame(
        [
            {
                "model": model,
                "metric": metric,
                "needed": float(count),
                "extrapolated": False,
                "largest": 32,
                "tau": 0.95,
            }
            for model in MODELS[FLOWERS]
            for metric, count in needed.items()
        ]
    )
    made[DIGITS, "sanity"] = sanity()
    made[DIGITS, "table"] = score_table(["mnist_net"], {"gini": {"rise": 0.5}}, images=8, seeds="0 1 2")
    return {place: frame[::-1] if reverse and place[1] != "table" else frame for place, frame in made.items()}


def of(metric: str, truth: str, **more: Any) -> dict[str, Any]:
    return {"metric": metric, "truth": truth, **more}


def lowered(claim: str, metric: str, truth: str, tau: float, *also: str, at: str = FLOWERS, **more: Any) -> Change:
    return Change(at, "validity", of(metric, truth, **more), {"tau": tau}, frozenset({claim, *also}))


HOW = "how much, "
CHANGES = [
    Change(FLOWERS, "validity", of("planted_random", "masks", model="patch_net"), {"tau": 0.2}, frozenset({NAMES[0]})),
    Change(LANDSCAPES, "validity", {"metric": "planted_random"}, {"tau": -0.2}, frozenset({NAMES[2]})),
    Change(FLOWERS, "arbitrary_orders", {}, {"wrong": 0.3}, frozenset({NAMES[3]})),
    Change(NETWORKS, "arbitrary_orders", {"truth": "parts"}, {"wrong": 0.1}),
    Change(FLOWERS, "validity", {"metric": "planted_perfect_masks"}, {"tau": 0.94}, frozenset({NAMES[6]})),
    Change(LANDSCAPES, "validity", {"metric": "planted_perfect_removal"}, {"tau": 0.94}, frozenset({NAMES[8]})),
    lowered("trial, sparsity", "planted_sparsity", "contributions", 0.48),
    Change(FLOWERS, "validity", of("planted_sparsity", "parts by value"), {"tau": 0.9}),
    Change(FLOWERS, "ends", {"metric": "mask_jaccard"}, {"oracle_rank": 1.5}, frozenset({"trial, oracle first"})),
    Change(FLOWERS, "ends", {"metric": "gini"}, {"oracle_rank": 9}),
    lowered("where, by rank accuracy", "rank_accuracy", "contributions", 0.45),
    lowered("where, area under IoU misleads", "iou_area", "contributions", 0.9),
    lowered("where, without masks", "grid_pointing", "masks", 0.45, model="flower_net"),
    lowered(f"{HOW}by insertion", "insertion_mean_colour", "contributions", 0.49),
    lowered(f"{HOW}insertion or deletion", "insertion_mean_colour", "parts", 0.2, f"{HOW}by insertion"),
    lowered(f"{HOW}relevance gain", "relevance_gain_mean_colour", "parts", 0.2),
    lowered(f"{HOW}ROAD", "road_most", "contributions", 0.1),
    lowered(f"{HOW}squares", "deletion_squares_mean_colour", "contributions", 0.1),
    lowered(f"{HOW}sensitivity-n", "sensitivity_n", "masks", 0.4),
    lowered(f"{HOW}infidelity", "infidelity", "parts", 0.4, model="patch_net"),
    Change(FLOWERS, "validity", of("infidelity", "contributions"), {"tau": -1}),
    lowered(f"{HOW}networks trained with removed patches", "deletion_cells_mean_colour", "parts", 0.1, at=NETWORKS),
    lowered(f"{HOW}insertion on landscapes", "insertion_blur", "removal", 0.4,
            f"{HOW}insertion or deletion on landscapes", at=LANDSCAPES),
    lowered(f"{HOW}insertion or deletion on landscapes", "deletion_blur", "removal", 0.95, at=LANDSCAPES),
    Change(FLOWERS, "validity_differences", of("deletion_mean_colour", "parts", other="road_most", model="patch_net"),
           {"se": 0.5}, frozenset({f"{HOW}ROAD"})),
    Change(FLOWERS, "images_needed", {"model": "flower_net", "metric": "iou_best"}, {"needed": 33},
           frozenset({"how many images"})),
    Change(FLOWERS, "images_needed", {"model": "flower_net", "metric": "iou_best"}, {"needed": float("nan")},
           frozenset({"how many images"})),
    Change(FLOWERS, "images_needed", {"model": "patch_net"}, {"needed": 64}),
    *(
        Change(DIGITS, "sanity", {"explainer": name}, {"verdict": verdict}, frozenset({claim}))
        for name, claim in (("rise", NAMES[-2]), ("deconvolution", NAMES[-1]))
        for verdict in ("undecided", "depends" if claim == NAMES[-1] else "does not depend")
    ),
]  # fmt: skip
MISSING = [
    Missing(FLOWERS, "validity", {"metric": "road_most", "truth": "parts"}, "metric=road_most, truth=parts"),
    Missing(FLOWERS, "images_needed", {"model": "flower_net"}, "model=flower_net"),
]
