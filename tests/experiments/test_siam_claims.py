"""SIAM's claims: the numbers that they state, and rules that compare networks."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from claims_script import Tables, failing, load_claims, score_table, significance_table, write_tables
from siam_tables import AGAINST, MAIN, SEEDS, performance_tables, tables

from evident.errors import UserError

script = load_claims("siam")
OF_PARTS = {
    *("templates that lower the score", "stages before joint training", "joint training at the end"),
    "sparsity costs nothing",
}


def failing_with(changed: Tables, results: Path) -> set[str]:
    return failing(script.claims(write_tables({**tables(), **changed}, results, SEEDS)))


def test_numbers_come_from_the_tables(tmp_path: Path) -> None:
    claims = script.claims(write_tables(tables(), tmp_path, SEEDS))
    numbers = {claim.name: claim.numbers for claim in claims}
    assert numbers["a, how much, against the black box"] == (
        "attribute rank 0.600 [0.580, 0.620], above 3 of 3 (best gradient 0.300 [0.280, 0.320])"
    )
    assert numbers["a, where"] == (
        "removal map 0.400 [0.380, 0.420]; integrated_gradients 0.420 [0.400, 0.440], grad_cam 0.300 [0.280, 0.320]; "
        "random 0.000 [-0.020, 0.020]"
    )
    assert numbers["b, average"] == (
        "r2 0.700 [0.650, 0.750], scene_regressor 0.600 [0.550, 0.650], difference +0.100 [+0.070, +0.130] "
        "(by seed +0.110 [+0.080, +0.140], +0.090 [+0.060, +0.120]); 250 test scenes; expected votes 0.900"
    )
    assert numbers["b, attributes"].endswith("; 250 test scenes")
    assert numbers["c, cost"] == (
        "operations of SIAM on scene_net: 1.0100; operations of SIAM on resnet50: 1.0000. "
        "Times: SIAM on scene_net: 1.020 (0.900 to 1.300); SIAM on resnet50: 1.000 (0.900 to 1.300)"
    )
    assert numbers["attributes of real photos"] == (
        "attribute precision 0.500 [0.450, 0.550], constant 0.100; 35 test photos, which is few"
    )


@pytest.mark.parametrize(("network", "against"), list(zip(("scene_regressor", "siam"), AGAINST, strict=True)))
def test_one_explanation_as_good_is_enough_to_leave_it_undecided(network: str, against: str, tmp_path: Path) -> None:
    better = score_table([network], {"removal_true": {"cam": 0.7}}, images=64)
    pairs = significance_table(["siam"], {"removal_true": {"siam": 0.7, "cam": 0.7}})
    more = {"table": better, "significance": pairs}
    changed = tables() | {(MAIN, name): pd.concat([tables()[MAIN, name], rows]) for name, rows in more.items()}
    [failed] = [c for c in script.claims(write_tables(changed, tmp_path, SEEDS)) if c.verdict != "holds"]
    assert failed.verdict == "undecided"
    assert failed.name == f"a, removal true, {against}"
    assert "above 3 of 4 (best cam 0.700" in failed.numbers


@pytest.mark.parametrize(
    ("values", "fails"),
    [
        ({"scene_regressor": 0.65}, set()),
        ({"scene_regressor": 0.71}, {"b, average", "b, variance"}),  # perhaps below by more than the margin
        ({"error": 0.3}, {"b, average", "b, variance", "b, attributes", *OF_PARTS}),
        ({"constant": 0.66}, {"b, average", "b, variance", "b, attributes"}),
        ({"scene_regressor": 0.76}, {"b, average", "b, variance"}),
        ({"unconstrained_attributes": 0.76}, {"b, attributes"}),
    ],
)
def test_performance_is_kept_if_it_is_not_lower_by_more_than_the_margin(
    values: dict[str, Any], fails: set[str], tmp_path: Path
) -> None:
    assert failing_with(performance_tables(**values), tmp_path) == fails


@pytest.mark.parametrize(
    ("network", "name"),
    [
        ("siam_one_template", "templates that lower the score"),
        ("siam_joint", "stages before joint training"),
        ("siam_separate", "joint training at the end"),
    ],
)
def test_part_helps_only_if_the_difference_is_above_zero(network: str, name: str, tmp_path: Path) -> None:
    assert failing_with(performance_tables(**{network: 0.69}), tmp_path) == {name}


@pytest.mark.parametrize(("dense", "fails"), [(0.65, set()), (0.74, {"sparsity costs nothing"})])
def test_sparsity_costs_nothing_if_dense_is_not_better_by_more_than_the_margin(
    dense: float, fails: set[str], tmp_path: Path
) -> None:
    assert failing_with(performance_tables(siam_dense=dense), tmp_path) == fails


@pytest.mark.parametrize("row", ["operations of SIAM", "SIAM on"])
def test_missing_rows_of_the_benchmark_raise(row: str, tmp_path: Path) -> None:
    speed = tables()["speed", "table"]
    changed = {("speed", "table"): speed[~speed["row"].str.startswith(row)]}
    with pytest.raises(UserError, match=rf"table.csv has no row with row={row}; run python run.py task=benchmark"):
        failing_with(changed, tmp_path)
