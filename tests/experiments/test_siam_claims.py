"""The verdicts on SIAM's claims, from tables of which it is known whether they hold."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from claims_script import load_claims
from entry_point import ROOT

from evident.errors import UserError
from evident.report.claims.verdicts import Claim

HERE = ROOT / "experiments" / "siam"
POST_HOC = ("gradient", "lime", "rise")
BESIDE = ("beside the black box", "beside post-hoc on itself")
COMPARED = {
    "a, where": "map_correlation",
    "a, how much": "attribute_rank",
    "a, removal faithful": "removal_faithful",
    "a, removal true": "removal_true",
    "a, removal faithful by name": "stated_removal_faithful",
}
BY_MAP = [metric for metric in COMPARED.values() if not metric.startswith("stated_")]
NAMES = [
    *("a, exact", "a, what and where", "a, how", "a, how, of this scene"),
    *(f"{name}, {beside}" for name in COMPARED for beside in BESIDE),
    *("b, average", "b, variance", "b, attributes", "c, cost"),
    *("templates that lower", "stages before joint training", "joint training at the end (75 epochs beside 50)"),
    *("sparsity costs nothing", "attributes of real photos"),
]
OWN = {
    "split_error": 1e-6,
    **{"maps_pointing": 0.7, "maps_precision": 0.6, "stated_sign": 0.9, "stated_rank": 0.5},
    **{"typical_rank": 0.4, "stated_removal_true": 0.7, "typical_removal_true": 0.5, "stated_absent": 0.1},
    **{"map_correlation": 0.6, "attribute_rank": 0.6, "removal_faithful": 0.7, "removal_true": 0.7},
    "stated_removal_faithful": 0.8,
}
NETWORKS = (
    *("siam", "siam_joint", "siam_separate", "siam_dense", "siam_one_template"),
    *("scene_regressor", "unconstrained_attributes"),
)

script = load_claims("siam")


def row(model: str, explainer: str, metric: str, mean: float) -> dict[str, Any]:
    half = min(0.02, mean / 2)
    return {
        **{"explainer": explainer, "data": "landscapes", "model": model, "metric": metric, "direction": "higher"},
        **{"mean": mean, "ci_low": mean - half, "ci_high": mean + half},
        **{"std": 0.1, "n": 64, "n_undefined": 0, "seeds": "0"},
    }


def table() -> pd.DataFrame:
    rows = [row("siam", "siam", metric, mean) for metric, mean in OWN.items()]
    for model in ("siam", "scene_regressor"):
        rows += [row(model, name, metric, 0.3) for name in POST_HOC for metric in BY_MAP]
        # The oracle competes with nobody.
        rows += [row(model, "oracle", metric, 1.0) for metric in BY_MAP]
    rows += [row("siam", "random", "attribute_sign", 0.65), row("siam", "random", "attribute_rank", 0.2)]
    rows += [row("unconstrained_attributes", "cam", metric, 0.65) for metric in ("maps_pointing", "maps_precision")]
    return pd.DataFrame(rows)


def performance(values: dict[str, float] | None = None) -> pd.DataFrame:
    known = {**dict.fromkeys(NETWORKS, 0.6), "siam": 0.7, "constant": 0.0, "truth": 0.9, **(values or {})}
    return pd.DataFrame(
        [
            {
                **{"data": "landscapes", "model": model, "measure": measure, "direction": "higher"},
                **{"value": value, "ci_low": value - 0.05, "ci_high": value + 0.05, "std": 0.01, "n": 250},
                "seeds": "0 1 2",
            }
            for model, value in known.items()
            for measure in ("r2", "variance_r2", "attribute_precision")
        ]
    )


def differences(of: pd.DataFrame, apart_by: float = 0.01) -> pd.DataFrame:
    value = of.set_index(["model", "measure"])["value"]
    rows = [
        {
            **{"data": "landscapes", "measure": measure, "model": "siam", "other": other, "seeds": seeds},
            "difference": (apart := value["siam", measure] - value[other, measure] + more),
            **{"ci_low": apart - 0.03, "ci_high": apart + 0.03},
        }
        for other in NETWORKS[1:]
        for seeds, more in (("0 1", 0), ("0", apart_by), ("1", -apart_by))
        for measure in ("r2", "variance_r2", "attribute_precision")
    ]
    return pd.DataFrame(rows)


def speed(operations: float = 1.01, time: float = 1.02) -> pd.DataFrame:
    names = ["cam", *(f"{what}, linear head = 1" for what in ("SIAM on scene_net", "SIAM on resnet50"))]
    names += [f"operations of {name}" for name in names[1:]]
    return pd.DataFrame({"row": names, "value": [9.0, time, 1.0, operations, 1.0], "lowest": 0.9, "highest": 1.3})


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Tables on which every claim holds."""
    for name in ("scenicness", "siam/landscapes", "siam/sun", "speed"):
        (tmp_path / name).mkdir(parents=True)
    table().to_csv(tmp_path / "scenicness" / "table.csv", index=False)
    put_performance(tmp_path, performance())
    parts = [row(model, "siam", "map_correlation", 0.4) for model in ("siam", "siam_dense")]
    pd.DataFrame(parts).to_csv(tmp_path / "siam" / "landscapes" / "table.csv", index=False)
    put_photos(tmp_path, 0.5)
    speed().to_csv(tmp_path / "speed" / "table.csv", index=False)
    return tmp_path


def put_photos(results: Path, precision: float) -> None:
    of = performance({"siam_squeezenet1_1": precision, "constant": 0.1}).assign(n=35)
    of.to_csv(results / "siam" / "sun" / "performance.csv", index=False)


def put_performance(results: Path, of: pd.DataFrame) -> None:
    of.to_csv(results / "siam" / "landscapes" / "performance.csv", index=False)
    differences(of).to_csv(results / "siam" / "landscapes" / "performance_differences.csv", index=False)


def judged(results: Path) -> dict[str, Claim]:
    return {claim.name: claim for claim in script.claims(results)}


def test_all_claims_hold_where_the_tables_say_so(results: Path) -> None:
    claims = judged(results)
    assert list(claims) == NAMES
    assert all(claim.holds for claim in claims.values())
    assert "above 3 of 3 (best gradient 0.300" in claims["a, where, beside the black box"].numbers
    told = (
        "difference +0.100 [+0.070, +0.130] (by seed +0.110 [+0.080, +0.140], +0.090 [+0.060, +0.120]); 250 test scenes"
    )
    assert f"{told}; the truth before anyone votes 0.900" in claims["b, average"].numbers
    assert claims["c, cost"].numbers == (
        "operations of SIAM on scene_net: 1.0100; operations of SIAM on resnet50: 1.0000. "
        "Times: SIAM on scene_net: 1.020 (0.900 to 1.300); SIAM on resnet50: 1.000 (0.900 to 1.300)"
    )


@pytest.mark.parametrize(
    ("metric", "mean", "names"),
    [
        ("split_error", 2e-5, ["a, exact"]),
        ("maps_pointing", 0.49, ["a, what and where"]),
        ("stated_sign", 0.68, ["a, how"]),
        ("stated_rank", 0.21, ["a, how", "a, how, of this scene"]),
        ("stated_rank", 0.43, ["a, how, of this scene"]),
        ("stated_removal_true", 0.53, ["a, how, of this scene"]),
        *((metric, 0.33, [f"{name}, {beside}" for beside in BESIDE]) for name, metric in COMPARED.items()),
    ],
)
def test_a_claim_fails_by_its_own_numbers_alone(results: Path, metric: str, mean: float, names: list[str]) -> None:
    changed = table()
    own = (changed["explainer"] == "siam") & (changed["metric"] == metric)
    changed.loc[own, ["mean", "ci_low", "ci_high"]] = [mean, mean - 0.02, mean + 0.02]
    changed.to_csv(results / "scenicness" / "table.csv", index=False)
    assert [claim.name for claim in judged(results).values() if not claim.holds] == names


@pytest.mark.parametrize(("network", "beside"), [("scene_regressor", BESIDE[0]), ("siam", BESIDE[1])])
def test_one_better_explanation_is_enough(results: Path, network: str, beside: str) -> None:
    changed = pd.concat([table(), pd.DataFrame([row(network, "cam", "removal_true", 0.69)])])
    changed.to_csv(results / "scenicness" / "table.csv", index=False)
    [failed] = [claim for claim in judged(results).values() if not claim.holds]
    assert failed.name == f"a, removal true, {beside}"
    assert "above 3 of 4 (best cam 0.690" in failed.numbers


def test_performance_is_kept_down_to_the_baselines_interval(results: Path) -> None:
    put_performance(results, performance({"scene_regressor": 0.71}))
    assert judged(results)["b, average"].holds
    # 0.01 below on average, one network of two by more than chance.
    differences(performance({"scene_regressor": 0.71}), 0.03).to_csv(
        results / "siam" / "landscapes" / "performance_differences.csv", index=False
    )
    failed = [claim.name for claim in judged(results).values() if not claim.holds]
    assert failed == ["b, average", "b, variance"]
    put_performance(results, performance({"constant": 0.66}))
    failed = [claim.name for claim in judged(results).values() if not claim.holds]
    assert failed == ["b, average", "b, variance", "b, attributes"]
    put_performance(results, performance({"scene_regressor": 0.76, "unconstrained_attributes": 0.76}))
    failed = [claim.name for claim in judged(results).values() if not claim.holds]
    assert failed == ["b, average", "b, variance", "b, attributes"]


@pytest.mark.parametrize(
    ("network", "name"),
    [
        ("siam_one_template", "templates that lower"),
        ("siam_joint", "stages before joint training"),
        ("siam_separate", "joint training at the end (75 epochs beside 50)"),
    ],
)
def test_a_part_helps_only_where_the_difference_is_above_zero(results: Path, network: str, name: str) -> None:
    put_performance(results, performance({network: 0.69}))
    assert [claim.name for claim in judged(results).values() if not claim.holds] == [name]


def test_sparse_templates_may_cost_no_performance(results: Path) -> None:
    put_performance(results, performance({"siam_dense": 0.74}))
    assert judged(results)["sparsity costs nothing"].holds
    put_performance(results, performance({"siam_dense": 0.76}))
    assert [claim.name for claim in judged(results).values() if not claim.holds] == ["sparsity costs nothing"]


def test_attributes_of_real_photos_are_above_chance(results: Path) -> None:
    assert judged(results)["attributes of real photos"].holds
    put_photos(results, 0.14)
    assert [claim.name for claim in judged(results).values() if not claim.holds] == ["attributes of real photos"]


def test_one_slow_backbone_is_enough_to_cost_something(results: Path) -> None:
    for slow in ({"operations": 1.06}, {"time": 1.06}):
        speed(**slow).to_csv(results / "speed" / "table.csv", index=False)
        assert [claim.name for claim in judged(results).values() if not claim.holds] == ["c, cost"]


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("scenicness/table.csv", "experiment=scenicness"),
        ("siam/landscapes/table.csv", "experiment=siam/landscapes"),
        ("siam/landscapes/performance.csv", "experiment=siam/landscapes"),
        ("siam/landscapes/performance_differences.csv", "experiment=siam/landscapes"),
        ("siam/sun/performance.csv", "experiment=siam/sun"),
        ("speed/table.csv", "task=benchmark"),
    ],
)
def test_a_missing_table_is_named_with_its_command(results: Path, file: str, told: str) -> None:
    (results / file).unlink()
    with pytest.raises(UserError, match=f"{re.escape(file)} is missing; run python run.py {told}"):
        script.claims(results)


def test_the_readme_shows_what_the_committed_tables_say(tmp_path: Path) -> None:
    copy = tmp_path / "experiments" / "siam"
    shutil.copytree(HERE, copy)
    (tmp_path / "results").symlink_to(ROOT / "results")
    ended = subprocess.run([sys.executable, str(copy / "claims.py")], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert (copy / "README.md").read_text() == (HERE / "README.md").read_text()
