"""The claim that an explainer beats all others."""

from pathlib import Path

import pandas as pd
import pytest

from evident.report.claims.comparisons import beats_all
from evident.report.claims.results import Results

OTHERS = ("near", "far")


def results(folder: Path, p_of_near: float = 0.001) -> Results:
    """Results in which "ours" has a higher IoU and a lower deletion score than two others."""
    means = {"iou": {"ours": 0.6, "near": 0.5, "far": 0.1}, "deletion": {"ours": 0.1, "near": 0.2, "far": 0.5}}
    direction = {"iou": "higher", "deletion": "lower"}
    table = [
        {"explainer": name, "metric": metric, "data": "digits", "model": "net", "mean": mean}
        | {"direction": direction[metric], "se": 0.02, "n": 20, "n_undefined": 0, "networks": 1, "seeds": "0"}
        for metric, of in means.items()
        for name, mean in of.items()
    ]
    tests = [
        {"model": "net", "metric": metric, "explainer": "ours", "other": other, "difference": of["ours"] - of[other]}
        for metric, of in means.items()
        for other in OTHERS
    ]
    p = {"near": p_of_near, "far": 0.001}
    (folder / "paper").mkdir()
    pd.DataFrame(table).to_csv(folder / "paper" / "table.csv", index=False)
    pd.DataFrame([{**test, "n": 20, "networks": 1, "p": p[test["other"]]} for test in tests]).to_csv(
        folder / "paper" / "significance.csv.gz", index=False
    )
    return Results(folder, "paper")


def test_claim_holds_if_every_other_is_worse_by_every_metric(tmp_path: Path) -> None:
    claim = beats_all("c", results(tmp_path), "ours", ("iou", "deletion"), OTHERS)
    assert (claim.name, claim.experiment, claim.verdict) == ("c", "paper", "holds")
    assert (
        claim.numbers == "iou 0.600, significantly above 2 of 2 (best near 0.500); "
        "deletion 0.100, significantly below 2 of 2 (best near 0.200)"
    )


def test_claim_is_undecided_if_one_difference_is_insignificant(tmp_path: Path) -> None:
    claim = beats_all("c", results(tmp_path, p_of_near=0.05), "ours", ("iou",), OTHERS)
    assert (claim.verdict, claim.sample) == ("undecided", "1 network x 20 images, 2 tests")
    assert claim.decided_by == "21 images"
    assert claim.numbers == "iou 0.600, significantly above 1 of 2 (best near 0.500)"


@pytest.mark.parametrize("p_of_near", [0.001, 0.05])
def test_post_hoc_claim_has_numbers_and_no_verdict(tmp_path: Path, p_of_near: float) -> None:
    claim = beats_all("c", results(tmp_path, p_of_near), "ours", ("iou",), OTHERS, post_hoc=True)
    assert claim.verdict == "post hoc"
    assert "of 2 (best near 0.500)" in claim.numbers


def test_rule_names_direction_score_and_others(tmp_path: Path) -> None:
    at = results(tmp_path)
    assert beats_all("c", at, "ours", ("deletion",), OTHERS).rule == "lower deletion than each of near, far"
    assert beats_all("c", at, "ours", ("iou",), ("far",), "area under IoU").rule == "higher area under IoU than far"
