"""FGVis's claims: the numbers that they state."""

from pathlib import Path

from claims_script import load_claims, write_tables
from fgvis_tables import MOBILE, SEEDS, tables


def test_numbers_come_from_the_tables(tmp_path: Path) -> None:
    claims = load_claims("fgvis").claims(write_tables(tables(), tmp_path, SEEDS))
    numbers = {claim.name: claim.numbers for claim in claims}
    for data in ("photographs", "digits"):
        assert numbers[f"a, adversarial: {data}"] == (
            "nearest 0.900 with 0.20%; least likely 0.900 with 0.20%; random 0.900 with 0.20%"
        )
        free = "without the filter present 0.900, absent 0.900 (median), AUC 0.900"
        reached = f"present 0.750, absent 0.020, AUC 0.900; {free}"
        assert numbers[f"a, separation, published: {data}"] == reached
        reached = f"present 0.950, absent 0.050, AUC 0.900; {free}"
        assert numbers[f"a, separation, one-sided, ours: {data}"] == reached
    sizes = "preservation 0.40% -> 5.00%; deletion 0.40% -> 5.00%"
    assert numbers["a, mask size: digits"] == sizes
    sizes = "preservation 0.40% -> 5.00%; deletion 0.40% -> 4.00%"
    assert numbers["a, mask size: photographs"] == sizes
    assert numbers["b, fine: flowers"] == (
        "average precision 0.700, significantly above 3 of 3 (best rise 0.430); "
        "mass accuracy 0.700, significantly above 3 of 3 (best rise 0.430)"
    )
    assert numbers["c, alone: digits"] == "0.950 [0.930, 0.970] of the score with 5.0% of the mask"
    assert numbers["c, from an empty mask: digits"] == "0.930 [0.910, 0.950] of the score with 6.0% of the mask"
    assert numbers["c, small: flowers"] == "sparsity 0.050, significantly below 4 of 4 (best rise 0.270)"
    assert numbers["d, deletion: flowers"] == (
        "mass 0.900 [0.880, 0.920]; half 0.900 [0.880, 0.920]; pointing 0.900 [0.880, 0.920]"
    )
    assert numbers["d, baselines, preservation: flowers"] == (
        "discrimination mass 0.900, significantly above 5 of 5 (best grad_cam_layer_4 0.640); "
        "discrimination half 0.900, significantly above 5 of 5 (best grad_cam_layer_4 0.640)"
    )
    assert numbers["d, overlap, deletion: photographs"] == (
        "class overlap 0.100, significantly below 2 of 2 (best grad_cam 0.790), over the 16 photographs "
        "whose second class has a probability of at least 0.1"
    )
    assert numbers["e, deletion: digits"] == "deletion mean colour 0.100, significantly below 4 of 4 (best rise 0.270)"
    assert numbers[f"f: {MOBILE}"] == (
        "0.950 [0.930, 0.970] of the score with 5.0% of the mask; a score of 0.050 without 4.0% of it"
    )
    assert numbers[f"f, one-sided, ours: {MOBILE}"] == "0.940 [0.920, 0.960] of the score with 2.0% of the mask"
    assert numbers["g: flowers"] == "-0.602 on average over classes; 5 of 6 lose more than 0.5, not class 5, or so"
    assert numbers["g: photographs"] == (
        "of 10 classes 40% lose more than 0.5 (most: class 0 -0.90, class 1 -0.90, class 2 -0.90), 40% less than 0.1 "
        "(least: class 9 -0.05, class 8 -0.05, class 7 -0.05)"
    )
