"""VEBI's claims: the numbers that they state."""

from pathlib import Path

import pytest
from claims_script import Change, failing, load_claims, write_tables
from vebi_tables import DOUBLE, EXPERIMENTS, FLOWERS, MASK_METRICS, SEEDS, SINGLE, Tables, tables

from evident.report.claims.verdicts import Claim

script = load_claims("vebi")


def judge(made: Tables, results: Path) -> list[Claim]:
    return script.claims(write_tables(made, results, SEEDS))


def test_numbers_come_from_the_tables(tmp_path: Path) -> None:
    claims = judge(tables(), tmp_path)
    for experiment in EXPERIMENTS:
        few, carry, means, *_ = (claim.numbers for claim in claims if claim.experiment == experiment)
        assert few == "2.0 features per class (2 to 2) of 250; accuracy by these alone 0.970 [0.950, 0.990]"
        assert carry == (
            "accuracy 0.950; without relevant features 0.250, random 0.800, least relevant 0.900 "
            "(18 pairs of class and network, 18 of them below 0.5)"
        )
        signal = "; 60.0% of the signal on the evidence (controls 25.0%)" if experiment in FLOWERS else ""
        assert means == f"62.5% of the strongest images (controls 16.0%){signal}"  # weights 3/4 and 1/4
        samples = [claim.sample for claim in claims if claim.experiment == experiment]
        assert samples[:2] == ["6 networks x 96 images, 1 test", "6 networks x 96 images, 3 tests"]
        assert samples[2] == f"6 networks x 6 features, {4 if experiment in FLOWERS else 2} tests"
    for experiment in FLOWERS:
        texts = [claim.numbers for claim in claims if claim.experiment == experiment][3:]
        baselines, all_metrics, stronger, squares, grid, evidence = texts
        both = "; ".join(
            f"{metric} 0.500, significantly above {{0}} of {{0}} (best {{1}})"
            for metric in ("average precision", "iou best")
        )
        assert baselines == both.format(7, "guided_grad_cam_pp 0.250")
        assert all_metrics.split("; ") == [
            f"{metric.replace('_', ' ')} 0.500, significantly above 7 of 7 (best guided_grad_cam_pp 0.250)"
            for metric in MASK_METRICS
        ]
        assert stronger == both.format(3, "integrated_gradients 0.100")
        assert squares == both.format(1, "lime_squares 0.100")
        assert grid == "grid energy 0.2000 -> 0.0100, 20 times less (of the masks themselves: 0.0050)"
        assert evidence == both.format(1, "vebi_unresampled 0.300")


@pytest.mark.parametrize("difference", [-0.1, 0.1])
def test_post_hoc_claim_counts_who_is_beaten(difference: float, tmp_path: Path) -> None:
    rows = {"explainer": "vebi", "other": "lime_squares", "metric": "average_precision"}
    claims = judge(Change(SINGLE, "significance", rows, {"difference": difference}).of(tables()), tmp_path)
    [later] = [claim for claim in claims if claim.name == "c, LIME over squares: an8flower_single_6c"]
    assert later.verdict == "post hoc"
    assert f"above {int(difference > 0)} of 1" in later.numbers


@pytest.mark.parametrize("difference", [-0.1, 0.1])
def test_pair_with_vebi_last_counts_with_the_opposite_sign(difference: float, tmp_path: Path) -> None:
    made = tables(reverse=True)
    assert (made[DOUBLE, "significance"]["other"] == "vebi").any()
    assert not (made[DOUBLE, "significance"]["explainer"] == "vebi").any()
    rows = {"explainer": "lime", "other": "vebi", "metric": "average_precision"}
    expected = {"c, stronger baselines: an8flower_double_12c"} if difference > 0 else set()
    changed = Change(DOUBLE, "significance", rows, {"difference": difference}).of(made)
    assert failing(judge(changed, tmp_path)) == expected


def test_rule_mentions_the_evidence_only_where_masks_exist(tmp_path: Path) -> None:
    [flowers, *_, digits] = [claim for claim in judge(tables(), tmp_path) if claim.name.startswith("b: ")]
    assert "lies on the evidence" in flowers.rule
    assert "evidence" not in digits.rule + digits.numbers
