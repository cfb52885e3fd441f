"""The verdicts on VEBI's claims, from tables of which it is known whether they hold."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from claims_script import load_claims
from entry_point import ROOT

from evident.errors import UserError
from evident.report.claims.verdicts import Claim, claims_table, measured_at, paper_values, write_claims

HERE = ROOT / "experiments" / "vebi"
COMMITTED = sorted((ROOT / "results").glob("vebi"))
FLOWERS = ["an8flower_single_6c", "an8flower_double_12c"]
DATA = [*FLOWERS, "mnist"]
BASELINES = ["activations", "deconvolution", "guided_backprop", "grad_cam", "guided_grad_cam"]
BASELINES += ["grad_cam_pp", "guided_grad_cam_pp"]
STRONGER = ["integrated_gradients", "occlusion", "lime"]
FIRST = ["vebi", "vebi_unresampled", *BASELINES, *STRONGER, "lime_squares", "oracle"]
LAST = ["oracle", "lime_squares", *STRONGER, *BASELINES, "vebi_unresampled", "vebi"]
EVERYWHERE = ["a, few", "a, carry", "b"]
ON_FLOWERS = ["c", "c, all mask metrics", "c, stronger baselines", "why not LIME", "d", "d, evidence"]
NAMES = [f"{claim}: {data}" for claim in EVERYWHERE for data in DATA]
NAMES += [f"{claim}: {data}" for claim in ON_FLOWERS for data in FLOWERS]

MASK_METRICS = ["iou_area", "iou_best", "pointing_game", "mass_accuracy", "rank_accuracy", "average_precision"]
COVERS = dict(zip(FIRST, (0.5, 0.3, *[0.2] * 6, 0.25, *[0.1] * 4, 1.0), strict=True))
GRID = {name: 0.2 if name == "vebi_unresampled" else 0.01 for name in FIRST} | {"oracle": 0.005}
METRICS = {**dict.fromkeys(MASK_METRICS, COVERS), "grid_energy": GRID}
ABLATION = {"relevant": 0.25, "random": 0.8, "least": 0.9}
MEANING = {  # of a class's first feature, of its second
    "purity": (0.8, 0.1),
    "evidence": (0.7, 0.3),
    "purity_control": (0.2, 0.04),
    "evidence_control": (0.3, 0.1),
}
APART = {"purity": 0.004, "evidence": 0.004, "purity_control": 0.002, "evidence_control": 0.002}  # of two classes
Tables = dict[tuple[str, str], pd.DataFrame]

script = load_claims("vebi")


def features_of(data: str) -> pd.DataFrame:
    """Two features, a heavy and a light one, of each of three classes of two networks; other explainers have worse."""
    rows = [
        {
            **{"explainer": name, "data": data, "model": "net", "seed": seed, "target": target},
            **{"class": f"class {target}", "rank": rank + 1, "place": target, "control": target + 1, "m": 250},
            **{"feature": f"relu:{target}", "weight": (3.0, 1.0)[rank]},
            **{column: good * (v[rank] + APART[column] * (3 * seed + target - 2.5)) for column, v in MEANING.items()},
        }
        for name, good in (("vebi_unresampled", 0.0), ("vebi", 1.0))
        for seed in (0, 1)
        for target in (0, 1, 2)
        for rank in (0, 1)
    ]
    frame = pd.DataFrame(rows)
    return frame if data in FLOWERS else frame.assign(evidence=float("nan"), evidence_control=float("nan"))


def table_of(data: str, order: list[str]) -> pd.DataFrame:
    scores = {"read_out": {"vebi": 0.97, "vebi_unresampled": 0.5}, **(METRICS if data in FLOWERS else {})}
    rows = [
        {
            **{"explainer": name, "data": data, "model": "net", "metric": metric, "direction": "higher"},
            **{"mean": means[name], "ci_low": means[name] - 0.02, "ci_high": means[name] + 0.02},
            **{"std": 0.1, "n": 192, "n_undefined": 0, "seeds": "0 1"},
        }
        for name in order
        for metric, means in scores.items()
        if name in means
    ]
    return pd.DataFrame(rows)


def significance_of(data: str, order: list[str]) -> pd.DataFrame:
    rows = [
        {
            **{"data": data, "model": "net", "metric": metric, "explainer": one, "other": two},
            **{"difference": means[one] - means[two], "n": 96, "p": 0.0001, "p_holm": 0.01},
        }
        for metric, means in METRICS.items()
        for place, one in enumerate(order)
        for two in order[place + 1 :]
    ]
    return pd.DataFrame(rows)


def curves_of(data: str) -> pd.DataFrame:
    rows = [
        {
            **{"explainer": name, "data": data, "model": "net", "metric": f"ablation_{choice}", "at": at},
            **{"mean": mean, "ci_low": mean, "ci_high": mean},
        }
        for name, whole in (("vebi_unresampled", 0.0), ("vebi", 0.95))
        for choice, end in ABLATION.items()
        for at, mean in ((0, whole), (1, end))
    ]
    return pd.DataFrame(rows)


def ablation_of(data: str) -> pd.DataFrame:
    """Six classes of networks, a little apart from each other; other explainers' features carry nothing."""
    rows = [
        {
            **{"explainer": name, "data": data, "model": "net", "seed": seed, "target": target},
            **{"metric": f"ablation_{choice}", "mean": end + apart * (3 * seed + target - 2.5), "n": 32},
        }
        for name, ends in (("vebi_unresampled", dict.fromkeys(ABLATION, 0.9)), ("vebi", ABLATION))
        for seed in (0, 1)
        for target in (0, 1, 2)
        for apart, (choice, end) in zip((0.01, 0.02, 0.01), ends.items(), strict=True)
    ]
    return pd.DataFrame(rows)


def tables(order: list[str] = FIRST) -> Tables:
    """Tables on which every claim holds; explainers, and so the pairs of the tests, in the order given."""
    made = {}
    for data in DATA:
        made[data, "features"], made[data, "table"] = features_of(data), table_of(data, order)
        made[data, "curves"], made[data, "ablation"] = curves_of(data), ablation_of(data)
        if data in FLOWERS:
            made[data, "significance"] = significance_of(data, order)
    return made


def written(made: Tables, results: Path) -> Path:
    for (data, table), frame in made.items():
        (results / data).mkdir(parents=True, exist_ok=True)
        frame.to_csv(results / data / f"{table}.csv", index=False, float_format="%.6g", lineterminator="\n")
        (results / data / "provenance.json").write_text('{"scale": "quick", "seeds": [0, 1]}')
    return results


def judged(made: Tables, results: Path) -> list[Claim]:
    return script.claims(written(made, results))


def failing(claims: list[Claim]) -> set[str]:
    return {claim.name for claim in claims if claim.holds is False}


class Change(NamedTuple):
    """In the rows of `table` that have all of `rows`, `column` becomes `value`."""

    table: str
    rows: dict[str, Any]
    column: str
    value: float | str

    def of(self, frame: pd.DataFrame) -> pd.DataFrame:
        chosen = pd.Series(True, index=frame.index)
        for column, value in self.rows.items():
            chosen &= frame[column] == value
        assert chosen.any()
        return frame.assign(**{self.column: frame[self.column].mask(chosen, self.value)})


def row(explainer: str, metric: str, **more: Any) -> dict[str, Any]:
    return {"explainer": explainer, "metric": metric, **more}


def pair(other: str, metric: str = "iou_area") -> dict[str, str]:
    return {"explainer": "vebi", "other": other, "metric": metric}


HEAVY = {"explainer": "vebi", "rank": 1}
WHOLE = row("vebi", "ablation_relevant", at=0)
MEANS_NO_CLASS = [Change("features", HEAVY, "purity", 0.63), Change("features", HEAVY, "purity_control", 0.9)]
MEANS_NO_EVIDENCE = [Change("features", HEAVY, "evidence", 0.56), Change("features", HEAVY, "evidence_control", 0.9)]
HARM = {  # what makes exactly this claim fail
    "a, few": [
        Change("features", {"explainer": "vebi"}, "m", 199),
        Change("features", {"explainer": "vebi", "seed": 1}, "class", "class 0"),  # of fewer classes each has more
        Change("table", row("vebi", "read_out"), "mean", 0.949),
    ],
    "a, carry": [
        Change("curves", WHOLE, "mean", 0.34),  # less than a tenth is lost
        Change("curves", WHOLE, "mean", 1.5),  # 1.25 against 0.7
        Change("ablation", row("vebi", "ablation_random"), "mean", 0.55),  # 0.7 against 0.4
        Change("ablation", row("vebi", "ablation_relevant", target=0), "mean", 0.9),  # two of six speak against it
    ],
    "b": MEANS_NO_CLASS,
    "c, all mask metrics": [
        Change("significance", pair("grad_cam", metric), "difference", -0.1) for metric in MASK_METRICS[1:]
    ],
    "c, stronger baselines": [
        *(Change("significance", pair(other), "difference", -0.1) for other in STRONGER),
        Change("significance", pair("lime"), "difference", 0),
        Change("significance", pair("lime"), "p_holm", 0.05),
    ],
    "d": [
        Change("table", row("vebi", "grid_energy"), "mean", 0.02),
        Change("significance", pair("vebi_unresampled", "grid_energy"), "p_holm", 0.05),
        Change("significance", pair("vebi_unresampled", "grid_energy"), "difference", 0.01),
    ],
    "d, evidence": [
        Change("significance", pair("vebi_unresampled"), "p_holm", 0.05),
        Change("significance", pair("vebi_unresampled"), "difference", -0.01),
    ],
}
HARMS = [
    (claim, data, change)
    for claim, changes in HARM.items()
    for place, data in enumerate(DATA if claim in EVERYWHERE else FLOWERS)
    for change in changes[: 1 if place else None]
]
HARMS += [("b", FLOWERS[0], change) for change in MEANS_NO_EVIDENCE]
NOT_COVERED = [Change("significance", pair(other), "difference", -0.1) for other in BASELINES]
NOT_COVERED += [
    Change("significance", pair("grad_cam"), column, value) for column, value in (("difference", 0), ("p_holm", 0.05))
]
HARMLESS = [
    Change("features", {"explainer": "vebi"}, "m", 200),  # two of two hundred are one per cent
    Change("features", {"explainer": "vebi_unresampled"}, "m", 2),
    Change("features", HEAVY, "purity", 0.64),  # of three quarters of the weight
    Change("features", HEAVY, "evidence", 0.57),
    Change("table", row("vebi", "read_out"), "mean", 0.95),
    Change("table", row("vebi", "grid_energy"), "mean", 0.0199),
    Change("table", row("oracle", "grid_energy"), "mean", 1),
    Change("curves", row("vebi", "ablation_relevant", at=1), "mean", 0.9),
    Change("curves", row("vebi_unresampled", "ablation_relevant", at=0), "mean", 0.1),
    Change("ablation", row("vebi", "ablation_random"), "mean", 0.61),  # 0.7 against 0.34
    Change("ablation", row("vebi", "ablation_least"), "mean", 0),
    Change("significance", {}, "p_holm", 0.0499),
    Change("significance", {"explainer": "vebi_unresampled"}, "difference", -1),
]


def name_of(value: object) -> str:
    return f"{value.table} {value.rows} {value.column}" if isinstance(value, Change) else str(value)


def test_every_claim_is_tested_where_it_can_be_and_holds(tmp_path: Path) -> None:
    claims = judged(tables(), tmp_path)
    assert [claim.name for claim in claims] == NAMES
    for claim in claims:
        assert claim.holds is (None if claim.name.startswith("why not LIME") else True), claim
        assert claim.name.endswith(f": {claim.experiment.removeprefix('vebi/')}")


def test_the_numbers_are_those_of_the_tables(tmp_path: Path) -> None:
    claims = judged(tables(), tmp_path)
    for data in DATA:
        few, carry, means, *_ = (claim.numbers for claim in claims if claim.name.endswith(f": {data}"))
        assert few == "2.0 features a class (2 to 2) of 250; they tell the class of 0.970 [0.950, 0.990]"
        assert carry == (
            "accuracy 0.950; without relevant features 0.250, random 0.800, least relevant 0.900 "
            "(p = 0.016, 6 classes of networks, of which 6 fall below 0.5)"
        )
        assert means.startswith("62.5% of the strongest images (controls 16.0%, p = ")  # three quarters, one quarter
        assert means.count(", 12 features)") == means.count("p = ") == (2 if data in FLOWERS else 1)
        assert ("; 60.0% of the signal on the evidence (controls 25.0%, p = " in means) is (data in FLOWERS)
    for data in FLOWERS:
        texts = [claim.numbers for claim in claims if claim.name.endswith(f": {data}")][3:]
        baselines, all_metrics, stronger, squares, grid, evidence = texts
        assert baselines == "iou area 0.500, above 7 of 7 (best guided_grad_cam_pp 0.250)"
        assert all_metrics.split("; ") == [
            f"{metric.replace('_', ' ')} 0.500, above 7 of 7 (best guided_grad_cam_pp 0.250)" for metric in MASK_METRICS
        ]
        assert stronger == "iou area 0.500, above 3 of 3 (best integrated_gradients 0.100)"
        assert squares == "iou area 0.500, above 1 of 1 (best lime_squares 0.100)"
        assert grid == "grid energy 0.2000 -> 0.0100, 20 times less (the masks' own: 0.0050)"
        assert evidence == "0.300 -> 0.500"


@pytest.mark.parametrize(("claim", "data", "change"), HARMS, ids=name_of)
def test_one_change_fails_one_claim_alone(tmp_path: Path, claim: str, data: str, change: Change) -> None:
    made = tables()
    made[data, change.table] = change.of(made[data, change.table])
    assert failing(judged(made, tmp_path)) == {f"{claim}: {data}"}


@pytest.mark.parametrize("change", NOT_COVERED, ids=name_of)
def test_what_fails_the_area_under_iou_fails_all_mask_metrics_too(tmp_path: Path, change: Change) -> None:
    made, data = tables(), FLOWERS[1]
    made[data, change.table] = change.of(made[data, change.table])
    assert failing(judged(made, tmp_path)) == {f"c: {data}", f"c, all mask metrics: {data}"}


@pytest.mark.parametrize("difference", [-0.1, 0.1])
def test_what_was_asked_afterwards_has_numbers_and_no_verdict(tmp_path: Path, difference: float) -> None:
    made = tables()
    change = Change("significance", pair("lime_squares"), "difference", difference)
    made[FLOWERS[0], "significance"] = change.of(made[FLOWERS[0], "significance"])
    claims = judged(made, tmp_path)
    [asked] = [claim for claim in claims if claim.name == f"why not LIME: {FLOWERS[0]}"]
    assert asked.holds is None
    assert f"above {int(difference > 0)} of 1" in asked.numbers
    assert failing(claims) == set()


@pytest.mark.parametrize("change", HARMLESS, ids=name_of)
def test_what_a_rule_allows_or_does_not_ask_for_fails_nothing(tmp_path: Path, change: Change) -> None:
    made = tables()
    made[FLOWERS[0], change.table] = change.of(made[FLOWERS[0], change.table])
    assert failing(judged(made, tmp_path)) == set()


def test_the_order_of_a_pair_does_not_matter(tmp_path: Path) -> None:
    made = tables(LAST)
    assert (made[FLOWERS[0], "significance"]["other"] == "vebi").any()
    assert not (made[FLOWERS[0], "significance"]["explainer"] == "vebi").any()
    one, other = judged(tables(FIRST), tmp_path / "first"), judged(made, tmp_path / "last")
    assert [(claim.name, claim.holds, claim.numbers) for claim in other] == [
        (claim.name, claim.holds, claim.numbers) for claim in one
    ]


@pytest.mark.parametrize("difference", [-0.1, 0.1])
def test_a_pair_that_names_vebi_last_counts_the_other_way_round(tmp_path: Path, difference: float) -> None:
    made = tables(LAST)
    change = Change("significance", {**pair("vebi"), "explainer": "lime"}, "difference", difference)
    made[FLOWERS[1], "significance"] = change.of(made[FLOWERS[1], "significance"])
    expected = {f"c, stronger baselines: {FLOWERS[1]}"} if difference > 0 else set()
    assert failing(judged(made, tmp_path)) == expected


def test_features_without_masks_are_asked_for_their_class_alone(tmp_path: Path) -> None:
    [flowers, *_, digits] = [claim for claim in judged(tables(), tmp_path) if claim.name.startswith("b: ")]
    assert "lies on the evidence" in flowers.rule
    assert "evidence" not in digits.rule + digits.numbers


@pytest.mark.parametrize(("data", "table"), list(tables()), ids=str)
def test_a_missing_table_is_named_with_the_command_that_makes_it(tmp_path: Path, data: str, table: str) -> None:
    made = tables()
    del made[data, table]
    (tmp_path / data).mkdir()
    message = rf"{tmp_path}/{data}/{table}.csv is missing; run python run.py experiment=vebi/{data}$"
    with pytest.raises(UserError, match=message):
        judged(made, tmp_path)


@pytest.mark.parametrize("other", FIRST[1:-1])
def test_a_missing_comparison_is_named(tmp_path: Path, other: str) -> None:
    made = tables()
    for table in ("table", "significance"):
        frame = made[FLOWERS[0], table]
        absent = (frame["explainer"] == other) | (frame.get("other", frame["explainer"]) == other)
        made[FLOWERS[0], table] = frame[~absent]
    message = f"results/vebi/{FLOWERS[0]} does not compare vebi with {other}; run its experiment whole"
    with pytest.raises(UserError, match=message):
        judged(made, tmp_path)


@pytest.mark.parametrize("table", ["features", "table", "curves", "ablation"])
def test_a_table_without_vebi_is_named(tmp_path: Path, table: str) -> None:
    made = tables()
    made["mnist", table] = made["mnist", table].query("explainer != 'vebi'")
    with pytest.raises(UserError, match=f"results/vebi/mnist/{table}.csv has no row of vebi; run its experiment whole"):
        judged(made, tmp_path)


def copied(folder: Path) -> Path:
    """The script with its README as it lies in a checkout, whose results are beside it."""
    return Path(shutil.copytree(HERE, folder / "experiments" / "vebi", ignore=shutil.ignore_patterns("__pycache__")))


def test_the_script_puts_the_table_into_the_readme_beside_it(tmp_path: Path) -> None:
    here = copied(tmp_path)
    before = (here / "README.md").read_text()
    command = [sys.executable, str(here / "claims.py")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert line.endswith("features.csv is missing; run python run.py experiment=vebi/an8flower_single_6c")
    assert (here / "README.md").read_text() == before
    claims = judged(tables(), tmp_path / "results" / "vebi")
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    table = claims_table(claims, paper_values(here / "paper_values.yaml"))
    text = f"{table}\nMeasured at scale quick: 2 networks a data set, 96 images each.\n"
    assert ended.stdout == f"{text}\n"
    assert f"<!-- claims -->\n\n{text}\n<!-- end -->" in (here / "README.md").read_text()


def test_the_papers_values_belong_to_claims_that_there_are(tmp_path: Path) -> None:
    """Those on file, and the example in the file's own comment."""
    file = HERE / "paper_values.yaml"
    [example] = re.findall(r"^#   (.*)$", file.read_text(), flags=re.M)
    (tmp_path / "example.yaml").write_text(example.replace("...", "1"))
    for values in (paper_values(file), paper_values(tmp_path / "example.yaml")):
        assert values.keys() <= set(NAMES)


@pytest.mark.parametrize("results", COMMITTED, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_readme_shows_the_verdicts_on_the_committed_results(results: Path, tmp_path: Path) -> None:
    here = copied(tmp_path)
    write_claims(script.claims(results), here, measured_at([results / data for data in DATA]))
    assert (HERE / "README.md").read_text() == (here / "README.md").read_text()
