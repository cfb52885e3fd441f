"""Tables on which every claim on photographs holds, and changes after which some fail."""

from typing import Any

import pandas as pd
from claims_script import Change, Missing, Tables, score_table, significance_table

SINGLES, GRIDS = "vebi/imagenette", "vebi/imagenette_grids"
MODELS = ("squeezenet1_1", "resnet18", "resnet50")
SEEDS = (0,)
BASELINES = ["activations", "deconvolution", "guided_backprop", "grad_cam", "guided_grad_cam"]
BASELINES += ["grad_cam_pp", "guided_grad_cam_pp"]
STRONGER = ["integrated_gradients", "occlusion", "lime"]
CLAIMS = ["a, few", "a, carry, among 1000", "a, carry, among the ten", "b", "c", "c, stronger baselines", "d"]
CLAIMS += ["d, evidence"]
NAMES = [f"{claim}: {model}" for claim in CLAIMS for model in MODELS]
POST_HOC: set[str] = set()
UNREAD: list[tuple[str, str]] = []

COVERS = {"vebi": 0.5, "vebi_unresampled": 0.3, **dict.fromkeys(BASELINES, 0.2), **dict.fromkeys(STRONGER, 0.1)}
GRID = {"vebi": 0.01, "vebi_unresampled": 0.2}
ABLATION = {"relevant": 0.25, "random": 0.8, "least": 0.9}


def features() -> pd.DataFrame:
    """Two features, a heavy and a light one, of each of ten classes of every network."""
    return pd.DataFrame(
        [
            {
                **{"explainer": "vebi", "data": "data", "model": model, "seed": 0, "target": target},
                **{"class": f"class {target}", "rank": rank + 1, "m": 250, "weight": (3.0, 1.0)[rank]},
                **{"purity": (0.8, 0.2)[rank] + 1e-4 * target, "purity_control": 0.1 + 5e-5 * target},
            }
            for model in MODELS
            for target in range(10)
            for rank in (0, 1)
        ]
    )


def ablation() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                **{"explainer": "vebi", "data": "data", "model": model, "seed": 0, "target": target, "n": 6},
                **{"metric": f"ablation_{kind}{among}", "mean": end + step * target, "start": 0.95},
            }
            for model in MODELS
            for target in range(10)
            for among in ("", "_learned")
            for step, (kind, end) in zip((1e-4, 2e-4, 1e-4), ABLATION.items(), strict=True)
        ]
    )


def tables(reverse: bool = False) -> Tables:
    """Return the tables, with pairs of explainers in their order or the reverse."""
    covers = {metric: COVERS for metric in ("average_precision", "iou_best")}
    singles = {"grid_energy": GRID, "read_out": {"vebi": 0.99}}
    return {
        (SINGLES, "table"): score_table(MODELS, singles, ["grid_energy"], images=64),
        (SINGLES, "significance"): significance_table(MODELS, {"grid_energy": GRID}, reverse),
        (SINGLES, "features"): features(),
        (SINGLES, "ablation"): ablation(),
        (GRIDS, "table"): score_table(MODELS, covers, images=64),
        (GRIDS, "significance"): significance_table(MODELS, covers, reverse),
    }


def harm(claim: str, model: str, at: str, table: str, rows: dict[str, Any], values: dict[str, Any]) -> Change:
    return Change(at, table, {"model": model, **rows}, values, frozenset({f"{claim}: {model}"}))


PAIR = {"explainer": "vebi", "metric": "iou_best"}
CHANGES = [
    harm("a, few", "resnet50", SINGLES, "features", {}, {"m": 199}),
    harm("a, few", "resnet18", SINGLES, "table", {"metric": "read_out"}, {"mean": 0.949}),
    harm("a, carry, among 1000", "resnet18", SINGLES, "ablation", {"metric": "ablation_relevant"}, {"mean": 0.9}),
    harm("a, carry, among 1000", "resnet18", SINGLES, "ablation", {"metric": "ablation_random"}, {"mean": 0.5}),
    harm(
        "a, carry, among the ten",
        "resnet50",
        SINGLES,
        "ablation",
        {"metric": "ablation_relevant_learned"},
        {"mean": 0.9},
    ),
    harm("b", "squeezenet1_1", SINGLES, "features", {"rank": 1}, {"purity": 0.55}),
    harm("b", "squeezenet1_1", SINGLES, "features", {}, {"purity_control": 0.7}),
    harm("c", "resnet50", GRIDS, "significance", {**PAIR, "other": "grad_cam"}, {"difference": -0.1}),
    harm("c, stronger baselines", "resnet50", GRIDS, "significance", {**PAIR, "other": "lime"}, {"p": 0.2}),
    harm("d", "resnet18", SINGLES, "table", {"explainer": "vebi", "metric": "grid_energy"}, {"mean": 0.03}),
    harm("d", "resnet18", SINGLES, "significance", {}, {"difference": 0.01}),
    harm("d, evidence", "resnet18", GRIDS, "significance", {**PAIR, "other": "vebi_unresampled"}, {"difference": -0.1}),
    Change(SINGLES, "ablation", {"metric": "ablation_least"}, {"mean": 0.0}),
    Change(SINGLES, "features", {}, {"m": 200}),
]
MISSING = [
    Missing(SINGLES, "features", {"model": "resnet18"}, "model=resnet18, explainer=vebi"),
    Missing(
        SINGLES,
        "ablation",
        {"metric": "ablation_random_learned"},
        "model=squeezenet1_1, explainer=vebi, metric=ablation_random_learned",
    ),
    Missing(GRIDS, "table", {"explainer": "lime"}, "model=squeezenet1_1, explainer=lime, metric=average_precision"),
]
