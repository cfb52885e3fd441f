"""Tables on which every claim of FGVis holds, and changes after which some fail."""

from typing import Any

import pandas as pd
from claims_script import Change, Missing, Tables, score_table, significance_table

SEEDS = (0,)
GAMES = ["preservation", "deletion"]
SQUEEZE, MOBILE = "squeezenet1_1", "mobilenet_v2"
NETWORKS = [SQUEEZE, MOBILE, "resnet18"]
PHOTOGRAPHS = [f"photographs, {model}" for model in NETWORKS]
DATA = ("photographs", "digits")
NAMES = [f"a, adversarial: {data}" for data in DATA]
NAMES += [f"a, separation, {kind}: {data}" for data in DATA for kind in ("published", "one-sided, ours")]
NAMES += [f"a, mask size: {data}" for data in DATA]
NAMES += ["b, fine: flowers"]
NAMES += [
    f"c, {part}: {data}" for part in ("alone", "from an empty mask") for data in ("photographs", "flowers", "digits")
]
NAMES += ["c, from an empty mask, one-sided, ours: photographs"]
NAMES += [f"c, small: {data}" for data in ("flowers", "digits")]
NAMES += [f"d, {game}: {data}" for data in ("photographs", "flowers") for game in GAMES]
NAMES += [f"d, baselines, {game}: {data}" for data in ("photographs", "flowers") for game in GAMES]
NAMES += [f"d, overlap, {game}: photographs" for game in GAMES]
NAMES += [f"e, {game}: {data}" for data in (*PHOTOGRAPHS, "flowers", "digits") for game in GAMES]
NAMES += [f"f: {model}" for model in (*NETWORKS, "flower_net", "mnist_net")]
NAMES += [f"f, one-sided, ours: {model}" for model in NETWORKS]
NAMES += ["g: flowers", "g: photographs"]
POST_HOC: set[str] = set()
# colour.csv has the numbers, by class; the separation needs no pairs of explainers.
UNREAD = [("fgvis/colour", "table"), ("fgvis/defence", "significance")]

FILTERED, FREE = "fgvis_generation", "fgvis_generation_unfiltered"
ONE_SIDED, OURS_KEPT = "fgvis_generation_one_sided", "fgvis_one_sided"
OURS = ["fgvis", "fgvis_deletion"]
UNFILTERED = [f"{name}_unfiltered" for name in OURS]
BASELINES = ["grad_cam", "occlusion", "lime", "rise"]
LOWER = ["sparsity", "deletion_mean_colour", "class_overlap", "complement_score"]
Scores = dict[str, dict[str, float]]  # by metric and explainer


def ours_and(others: list[str], ours: float, theirs: float) -> dict[str, float]:
    """Two games and their rivals, the last of which is the best of the rivals."""
    nearer = {name: theirs + 0.01 * place * (1 if ours > theirs else -1) for place, name in enumerate(others)}
    return dict.fromkeys(OURS, ours) | nearer


SIZES = {**dict.fromkeys(OURS, 0.05), **dict.fromkeys(UNFILTERED, 0.004)}
DEFENCE: Scores = {
    **{f"defence_{kind}_reached": {FILTERED: 0.01, FREE: 0.9} for kind in ("nearest", "least_likely", "random")},
    **{f"defence_{kind}_mask_share": {FILTERED: 0.3, FREE: 0.002} for kind in ("nearest", "least_likely", "random")},
    "defence_predicted_mask_share": SIZES,
}
ALONE: Scores = {
    "explanation_keeps": {"fgvis": 0.95, "fgvis_deletion": 0.2, FILTERED: 0.93, ONE_SIDED: 0.92, OURS_KEPT: 0.94},
    "mask_share": {**SIZES, "fgvis_deletion": 0.04, FILTERED: 0.06, ONE_SIDED: 0.01, OURS_KEPT: 0.02},
    "complement_score": {"fgvis": 0.8, "fgvis_deletion": 0.05, FILTERED: 0.8},
}
SMALL: Scores = {"sparsity": ours_and(BASELINES, 0.05, 0.3)}
DELETION: Scores = {"deletion_mean_colour": ours_and(BASELINES, 0.1, 0.3)}
FINE: Scores = {metric: ours_and(BASELINES, 0.7, 0.4) for metric in ("average_precision", "mass_accuracy")}
OTHERS = ["gradient", "grad_cam"]
RIVALS = [*OTHERS, "guided_grad_cam", "excitation_backprop"]
DISCRIMINATION = ["discrimination_mass", "discrimination_half", "discrimination_pointing"]
SIDE_BY_SIDE: Scores = {metric: ours_and(RIVALS, 0.9, 0.6) for metric in DISCRIMINATION}
TWO_FLOWERS: Scores = {metric: ours_and([*RIVALS, "grad_cam_layer_4"], 0.9, 0.6) for metric in DISCRIMINATION}
SCORES: dict[str, tuple[list[str], Scores]] = {
    "fgvis/defence": ([SQUEEZE], DEFENCE),
    "fgvis/games": ([SQUEEZE], ALONE),
    "fgvis/an8flower": (["flower_net"], {**ALONE, **FINE, **SMALL}),
    "fgvis/defence_mnist": (["mnist_net"], DEFENCE),
    "fgvis/mnist": (["mnist_net"], {**ALONE, **SMALL}),
    "fgvis/discrimination": (["flower_net"], TWO_FLOWERS),
    "fgvis/discrimination_imagenet": ([SQUEEZE], SIDE_BY_SIDE),
    "fgvis/overlap": ([SQUEEZE], {"class_overlap": ours_and(OTHERS, 0.1, 0.8)}),
    "fgvis/architectures": (NETWORKS, ALONE),
    "fgvis/colour": ([SQUEEZE], {"colour_grey": {"fgvis": -0.2}}),
    "imagenet": (NETWORKS, DELETION),
    "an8flower": (["flower_net"], DELETION),
    "mnist": (["mnist_net"], DELETION),
}
UNTESTED = ("fgvis/architectures", "fgvis/colour")  # whose claims compare no explainers
SEPARATED = {"fgvis/defence": "photographs", "fgvis/defence_mnist": "digits"}
# Change in grey by class; the second network of each class repeats it.
GREY = {
    "fgvis/an8flower": [-0.9, -0.8, -0.7, -0.6, -0.51, -0.1],
    "fgvis/colour": [*[-0.9] * 4, *[-0.3] * 2, *[-0.05] * 4],
}


def colour_of(experiment: str) -> pd.DataFrame:
    """Two networks with the same changes by class; swapped channels and another explainer change nothing."""
    rows = [
        {
            **{"explainer": name, "data": "data", "model": "net", "seed": seed, "target": target},
            **{"class": f"class {target}, or so", "metric": metric, "mean": mean, "n": 8},
        }
        for name in ("fgvis_generation", "fgvis")
        for seed in (0, 1)
        for target, fall in enumerate(GREY[experiment])
        for metric, mean in (("colour_swap", 0.0), ("colour_grey", fall if name == "fgvis" else 0.0))
    ]
    return pd.DataFrame(rows)


def separation_of() -> pd.DataFrame:
    """Return `separation.csv`: both filters separate, and without a filter both classes are reached."""
    reached = {FILTERED: (0.75, 0.02), ONE_SIDED: (0.95, 0.05), FREE: (0.9, 0.9)}
    rows = [
        {
            **{"explainer": name, "data": "data", "model": "net"},
            **{"present_median": present, "absent_median": absent, "absent_p95": absent, "auc": 0.9},
            **{"n_present": 16, "n_absent": 48},
        }
        for name, (present, absent) in reached.items()
    ]
    return pd.DataFrame(rows)


def tables(reverse: bool = False) -> Tables:
    """Return the tables, with pairs of explainers in their order or the reverse."""
    made = {(name, "table"): score_table(*of, lower=LOWER) for name, of in SCORES.items()}
    for name in [name for name in SCORES if name not in UNTESTED]:
        made[name, "significance"] = significance_table(*SCORES[name], reverse)
    made |= {(name, "separation"): separation_of() for name in SEPARATED}
    return made | {(name, "colour"): colour_of(name) for name in GREY}


def mean(experiment: str, explainer: str, metric: str, value: float, *fails: str, **more: str) -> Change:
    rows = {"explainer": explainer, "metric": metric, **more}
    return Change(experiment, "table", rows, {"mean": value}, frozenset(fails))


def pair(
    experiment: str, metric: str, one: str, two: str, column: str, value: float, *fails: str, **more: str
) -> Change:
    rows = {"explainer": one, "other": two, "metric": metric, **more}
    return Change(experiment, "significance", rows, {column: value}, frozenset(fails))


def grey(experiment: str, rows: dict[str, Any], value: float, *fails: str) -> Change:
    return Change(experiment, "colour", rows, {"mean": value}, frozenset(fails))


def separated(explainer: str, column: str, value: float, *fails: str) -> Change:
    """Change `separation.csv` of the photographs."""
    return Change("fgvis/defence", "separation", {"explainer": explainer}, {column: value}, frozenset(fails))


ABSENT = [f"defence_{kind}" for kind in ("nearest", "least_likely", "random")]
BOTH = [f"a, separation, {kind}: photographs" for kind in ("published", "one-sided, ours")]
PREDICTED = "defence_predicted_mask_share"
CHANGES = [  # each fails the claims that it names
    *(mean("fgvis/defence_mnist", FREE, f"{kind}_reached", 0.49, "a, adversarial: digits") for kind in ABSENT),
    *(mean("fgvis/defence", FREE, f"{kind}_mask_share", 0.01, "a, adversarial: photographs") for kind in ABSENT),
    separated(FILTERED, "present_median", 0.49, BOTH[0]),
    separated(ONE_SIDED, "absent_p95", 0.11, BOTH[1]),
    separated(FREE, "present_median", 0.49, *BOTH),
    separated(FREE, "absent_median", 0.49, *BOTH),
    *(mean("fgvis/games", name, "mask_share", 0.01, "a, mask size: photographs") for name in UNFILTERED),
    *(
        pair("fgvis/defence_mnist", PREDICTED, filtered, free, column, value, "a, mask size: digits")
        for filtered, free in zip(OURS, UNFILTERED, strict=True)
        for column, value in (("difference", -0.01), ("p", 0.05))
    ),
    *(
        pair("fgvis/an8flower", metric, "fgvis", other, column, value, "b, fine: flowers")
        for metric in FINE
        for other, column, value in (("grad_cam", "difference", -0.1), ("rise", "difference", 0), ("rise", "p", 1))
    ),
    mean("fgvis/games", "fgvis", "explanation_keeps", 0.89, "c, alone: photographs"),
    mean("fgvis/an8flower", "fgvis", "explanation_keeps", 0.89, "c, alone: flowers", "f: flower_net"),
    mean("fgvis/an8flower", FILTERED, "explanation_keeps", 0.89, "c, from an empty mask: flowers"),
    mean("fgvis/games", ONE_SIDED, "explanation_keeps", 0.89, "c, from an empty mask, one-sided, ours: photographs"),
    mean("fgvis/mnist", FILTERED, "explanation_keeps", 0.89, "c, from an empty mask: digits"),
    *(pair("fgvis/mnist", "sparsity", "fgvis", name, "difference", 0.1, "c, small: digits") for name in BASELINES),
    pair("fgvis/an8flower", "sparsity", "fgvis", "lime", "p", 0.05, "c, small: flowers"),
    *(
        mean("fgvis/discrimination", name, metric, 0.5, f"d, {game}: flowers")
        for game, name in zip(GAMES, OURS, strict=True)
        for metric in DISCRIMINATION
    ),
    *(
        pair(name, metric, "fgvis_deletion", "gradient", "difference", -0.1, f"d, baselines, deletion: {data}")
        for name, data in (("fgvis/discrimination_imagenet", "photographs"), ("fgvis/discrimination", "flowers"))
        for metric in DISCRIMINATION[:2]
    ),
    pair(
        *("fgvis/overlap", "class_overlap", "fgvis", "grad_cam", "difference", 0.1),
        "d, overlap, preservation: photographs",
    ),
    *(
        pair(
            *("imagenet", "deletion_mean_colour", "fgvis", name, "difference", 0.1),
            f"e, preservation: {PHOTOGRAPHS[0]}",
            model=SQUEEZE,
        )
        for name in BASELINES
    ),
    pair("an8flower", "deletion_mean_colour", "fgvis_deletion", "rise", "p", 0.05, "e, deletion: flowers"),
    pair("mnist", "deletion_mean_colour", "fgvis", "rise", "difference", 0, "e, preservation: digits"),
    mean("fgvis/architectures", "fgvis", "explanation_keeps", 0.89, f"f: {SQUEEZE}", model=SQUEEZE),
    *(mean("fgvis/architectures", name, "mask_share", 0.1, f"f: {MOBILE}", model=MOBILE) for name in OURS),
    mean("fgvis/mnist", "fgvis_deletion", "complement_score", 0.11, "f: mnist_net"),
    mean("fgvis/architectures", OURS_KEPT, "mask_share", 0.1, f"f, one-sided, ours: {MOBILE}", model=MOBILE),
    mean("fgvis/architectures", OURS_KEPT, "explanation_keeps", 0.89, f"f, one-sided, ours: {SQUEEZE}", model=SQUEEZE),
    *(grey("fgvis/an8flower", {"explainer": "fgvis", "target": target}, -0.5, "g: flowers") for target in (0, 4)),
    grey("fgvis/colour", {"explainer": "fgvis", "target": 0}, -0.5, "g: photographs"),
    grey("fgvis/colour", {"explainer": "fgvis", "target": 9}, -0.1, "g: photographs"),
]
CHANGES += [  # these fail nothing
    *(mean("fgvis/defence", FREE, f"{kind}_reached", 0.51) for kind in ABSENT),
    *(mean("fgvis/defence", FREE, f"{kind}_mask_share", 0.008) for kind in ABSENT),
    separated(FILTERED, "present_median", 0.5),
    separated(FILTERED, "absent_p95", 0.1),
    separated(FREE, "present_median", 0.5),
    separated(FREE, "absent_median", 0.5),
    separated(FREE, "absent_p95", 0.0),
    separated(FILTERED, "auc", 0.0),
    mean("fgvis/games", "fgvis", "explanation_keeps", 0.9),
    mean("fgvis/architectures", "fgvis_deletion", "complement_score", 0.098),
    mean("fgvis/architectures", "fgvis_deletion", "explanation_keeps", 0),
    Change("imagenet", "significance", {}, {"p": 0.0124}),  # four baselines: 0.0496
    Change("imagenet", "significance", {}, {"p_holm": 1}),
    pair("fgvis/discrimination", DISCRIMINATION[2], "fgvis", "gradient", "difference", -0.1),  # not part of the rule
    Change("fgvis/discrimination", "table", {}, {"mean": 0.502}),
    grey("fgvis/an8flower", {"explainer": "fgvis", "target": 5}, 0.5),
    grey("fgvis/colour", {"metric": "colour_swap"}, -1),
    grey("fgvis/colour", {"explainer": "fgvis_generation"}, -1),
]
MISSING = [
    Missing(
        *("fgvis/defence", "table", {"explainer": FREE}),
        f"explainer={FREE}, metric=defence_nearest_reached",
    ),
    Missing("fgvis/defence", "separation", {"explainer": ONE_SIDED}, f"explainer={ONE_SIDED}"),
    Missing("mnist", "table", {"explainer": "rise"}, "explainer=rise, metric=deletion_mean_colour"),
    Missing(
        *("mnist", "significance", {"other": "rise"}),
        "explainer=fgvis, other=rise, metric=deletion_mean_colour",
    ),
    Missing(
        *("imagenet", "table", {"model": MOBILE}),
        f"model={MOBILE}, explainer=fgvis, metric=deletion_mean_colour",
    ),
    Missing("fgvis/colour", "colour", {"explainer": "fgvis"}, "explainer=fgvis, metric=colour_grey"),
]
