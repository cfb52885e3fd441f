"""Tables on which every claim of SIAM holds, and changes after which some fail."""

from typing import Any

import pandas as pd
from claims_script import Change, Missing, Tables, score_table, significance_table

MAIN, PARTS, PHOTOS = "scenicness", "siam/landscapes", "siam/sun"
SEEDS = (0,)
EXPLAINERS = {"gradient": 0.3, "lime": 0.29, "rise": 0.28}  # mean score by every metric
AGAINST = ("against the black box", "against post-hoc on SIAM")
COMPARED = {
    "a, how much": "attribute_rank",
    "a, removal faithful": "removal_faithful",
    "a, removal true": "removal_true",
    "a, removal faithful by name": "stated_removal_faithful",
}
BY_MAP = [metric for metric in COMPARED.values() if not metric.startswith("stated_")]
NAMES = [
    *("a, exact", "a, what and where", "a, how", "a, how, in this scene", "a, where"),
    *(f"{name}, {against}" for name in COMPARED for against in AGAINST),
    *("b, average", "b, variance", "b, attributes", "c, cost"),
    *("templates that lower the score", "stages before joint training"),
    *("joint training at the end", "sparsity costs nothing", "attributes of real photos"),
]
POST_HOC: set[str] = set()
UNREAD: list[tuple[str, str]] = []
OF_SEVERAL = {  # of several networks
    "split_error": 1e-6,
    **{"maps_pointing": 0.7, "maps_precision": 0.6, "stated_sign": 0.9, "stated_rank": 0.5},
    **{"typical_rank": 0.4, "stated_removal_true": 0.7, "typical_removal_true": 0.5, "stated_absent": 0.1},
}
OWN = {  # of one network
    **{"attribute_rank": 0.6, "removal_faithful": 0.7, "removal_true": 0.7, "stated_removal_faithful": 0.8},
}
NETWORKS = (
    *("siam", "siam_joint", "siam_separate", "siam_dense", "siam_one_template"),
    *("scene_regressor", "unconstrained_attributes"),
)
WHERE = {"siam": 0.4, "integrated_gradients": 0.42, "grad_cam": 0.3, "random": 0.0}  # by removal_map
PARTS_SEEDS = "0 1 2 3"
MEASURES = ("r2", "variance_r2", "attribute_precision")


def scores() -> pd.DataFrame:
    """The table of the main experiment; the oracle is better than SIAM, but competes with no explainer."""
    post_hoc = {metric: {**EXPLAINERS, "oracle": 1.0} for metric in BY_MAP}
    siam = {metric: {"siam": mean, **post_hoc.get(metric, {})} for metric, mean in OWN.items()}
    parts = [score_table(["siam"], siam, images=64), score_table(["scene_regressor"], post_hoc, images=64)]
    return pd.concat(parts, ignore_index=True)


def scores_of_parts() -> pd.DataFrame:
    """The table of several networks of each kind."""
    siam = {metric: {"siam": mean} for metric, mean in OF_SEVERAL.items()}
    siam |= {"attribute_sign": {"random": 0.65}, "attribute_rank": {"random": 0.2}, "removal_map": WHERE}
    maps = {metric: {"cam": 0.65} for metric in ("maps_pointing", "maps_precision")}
    parts = [
        score_table(["siam"], siam, seeds=PARTS_SEEDS),
        score_table(["unconstrained_attributes"], maps, seeds=PARTS_SEEDS),
        score_table(["siam", "siam_dense"], {"map_correlation": {"siam": 0.4}}, seeds=PARTS_SEEDS),
    ]
    table = pd.concat(parts, ignore_index=True)
    exact = table["metric"] == "split_error"
    return table.assign(se=table["se"].mask(exact, 1e-7))


def performance(**values: float) -> pd.DataFrame:
    """The performance of each network and baseline, the same by every measure; `values` replace some."""
    known = {**dict.fromkeys(NETWORKS, 0.6), "siam": 0.7, "constant": 0.0, "truth": 0.9, **values}
    return pd.DataFrame(
        [
            {
                **{"data": "landscapes", "model": model, "measure": measure, "direction": "higher"},
                **{"value": value, "ci_low": value - 0.05, "ci_high": value + 0.05, "std": 0.01, "n": 250},
                **{"networks": 2, "seeds": "0 1"},
            }
            for model, value in known.items()
            for measure in MEASURES
        ]
    )


def differences(of: pd.DataFrame, error: float = 0.03, apart: float = 0.01) -> pd.DataFrame:
    """The differences between SIAM and each other network; those of the two seeds lie `apart` above and below."""
    value = of.set_index(["model", "measure"])["value"]
    rows = [
        {
            **{"data": "landscapes", "measure": measure, "model": "siam", "other": other, "seeds": seeds},
            "difference": (difference := value["siam", measure] - value[other, measure] + more),
            **{"networks": len(seeds.split()), "n": 250},
            **{"ci_low": difference - error, "ci_high": difference + error},
        }
        for other in NETWORKS[1:]
        for seeds, more in (("0 1", 0), ("0", apart), ("1", -apart))
        for measure in MEASURES
    ]
    return pd.DataFrame(rows)


def performance_tables(error: float = 0.03, **values: float) -> Tables:
    """Return both tables on the performance of networks on landscapes."""
    of = performance(**values)
    return {(PARTS, "performance"): of, (PARTS, "performance_differences"): differences(of, error)}


def speed() -> pd.DataFrame:
    names = ["cam", *(f"{what}, linear head = 1" for what in ("SIAM on scene_net", "SIAM on resnet50"))]
    names += [f"operations of {name}" for name in names[1:]]
    return pd.DataFrame({"row": names, "value": [9.0, 1.02, 1.0, 1.01, 1.0], "lowest": 0.9, "highest": 1.3})


def tables(reverse: bool = False) -> Tables:
    """Return the tables, with rows in their order or the reverse."""
    table = scores()
    paired = {metric: {"siam": OWN[metric], **EXPLAINERS} for metric in BY_MAP}
    return {
        (MAIN, "table"): table[::-1] if reverse else table,
        **performance_tables(),
        (MAIN, "significance"): significance_table(["siam"], paired, reverse),
        (PARTS, "table"): scores_of_parts(),
        (PARTS, "significance"): significance_table(["siam"], {"removal_map": WHERE}, reverse, networks=4),
        (PHOTOS, "performance"): performance(siam_squeezenet1_1=0.5, constant=0.1).assign(n=35, networks=1),
        ("speed", "table"): speed(),
    }


def score(metric: str, mean: float, *fails: str) -> Change:
    values = {"mean": mean, "ci_low": mean - 0.02, "ci_high": mean + 0.02}
    experiment = MAIN if metric in OWN else PARTS
    return Change(experiment, "table", {"explainer": "siam", "metric": metric}, values, frozenset(fails))


def against_by(metric: str) -> tuple[str, ...]:
    """Return with which explanations SIAM's mean score is compared, not their differences image by image."""
    return AGAINST[:1] if metric in BY_MAP else AGAINST


def pair(experiment: str, metric: str, other: str, difference: float, *fails: str) -> Change:
    rows = {"model": "siam", "explainer": "siam", "other": other, "metric": metric}
    return Change(experiment, "significance", rows, {"difference": difference}, frozenset(fails))


def photos(precision: float, *fails: str) -> Change:
    values = {"value": precision, "ci_low": precision - 0.05, "ci_high": precision + 0.05}
    return Change(PHOTOS, "performance", {"model": "siam_squeezenet1_1"}, values, frozenset(fails))


def cost(row: str, value: float, *fails: str) -> Change:
    return Change("speed", "table", {"row": f"{row} on scene_net, linear head = 1"}, {"value": value}, frozenset(fails))


CHANGES = [
    score("split_error", 2e-5, "a, exact"),
    score("maps_pointing", 0.49, "a, what and where"),
    score("maps_pointing", 0.51),
    score("maps_precision", 0),
    score("stated_sign", 0.65, "a, how"),
    score("stated_rank", 0.2, "a, how", "a, how, in this scene"),
    score("stated_rank", 0.4, "a, how, in this scene"),
    score("stated_removal_true", 0.5, "a, how, in this scene"),
    score("stated_absent", 1),
    *(
        score(metric, 0.3, *(f"{name}, {against}" for against in against_by(metric)))
        for name, metric in COMPARED.items()
    ),
    *(pair(MAIN, metric, "rise", 0, f"{name}, {AGAINST[1]}") for name, metric in COMPARED.items() if metric in BY_MAP),
    pair(PARTS, "removal_map", "integrated_gradients", -0.051, "a, where"),
    pair(PARTS, "removal_map", "grad_cam", -0.049),
    pair(PARTS, "removal_map", "random", -1),
    Change(MAIN, "table", {"explainer": "oracle"}, {"mean": 2, "ci_low": 2, "ci_high": 2}),
    photos(0.14, "attributes of real photos"),
    photos(0.16),
    *(cost(row, 1.06, "c, cost") for row in ("operations of SIAM", "SIAM")),
    *(cost(row, 1.05) for row in ("operations of SIAM", "SIAM")),
    Change("speed", "table", {}, {"highest": 9}),
]


def missing(experiment: str, table: str, row: str, **rows: Any) -> Missing:
    return Missing(experiment, table, rows, row)


MISSING = [
    missing(PARTS, "table", "model=siam, explainer=siam, metric=stated_rank", explainer="siam", metric="stated_rank"),
    missing(*(PARTS, "table", "model=unconstrained_attributes, explainer=cam, metric=maps_pointing"), explainer="cam"),
    missing(
        *(MAIN, "table", "model=scene_regressor, metric=removal_true"), model="scene_regressor", metric="removal_true"
    ),
    missing(PARTS, "table", "model=siam_dense, explainer=siam, metric=map_correlation", model="siam_dense"),
    missing(
        *(PARTS, "significance", "model=siam, explainer=siam, other=grad_cam, metric=removal_map"), other="grad_cam"
    ),
    missing(PARTS, "performance", "model=truth, measure=r2", model="truth"),
    missing(PARTS, "performance_differences", "model=siam, other=siam_joint, measure=r2", other="siam_joint"),
    missing(PHOTOS, "performance", "model=constant, measure=attribute_precision", model="constant"),
]
