"""The verdicts on FGVis's claims, from tables of which it is known whether they hold."""

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

HERE = ROOT / "experiments" / "fgvis"
COMMITTED = sorted((ROOT / "results").glob("fgvis/colour"))
GAMES = ["preservation", "deletion"]
SQUEEZE, MOBILE = "squeezenet1_1", "mobilenet_v2"
PHOTOGRAPHS = [f"photographs, {model}" for model in (SQUEEZE, MOBILE)]
NAMES = [f"a, {part}: {data}" for part in ("adversarial", "defence") for data in ("photographs", "digits")]
NAMES += [f"a, {part}: {data}" for part in ("what is there", "trace") for data in ("photographs", "digits")]
NAMES += ["b, fine: flowers"]
NAMES += [f"c, {part}: {data}" for part in ("alone", "from nothing") for data in ("photographs", "flowers", "digits")]
NAMES += [f"c, small: {data}" for data in ("flowers", "digits")]
NAMES += [f"d, {game}: {data}" for data in ("photographs", "flowers") for game in GAMES]
NAMES += [f"d, others, {game}: {data}" for data in ("photographs", "flowers") for game in GAMES]
NAMES += [f"d, overlap, {game}: photographs" for game in GAMES]
NAMES += [f"e, {game}: {data}" for data in (*PHOTOGRAPHS, "flowers", "digits") for game in GAMES]
NAMES += [f"f: {model}" for model in (SQUEEZE, MOBILE, "flower_net", "mnist_net")]
NAMES += ["g: flowers", "g: photographs"]

FILTERED, FREE = "fgvis_generation", "fgvis_generation_undefended"
OURS = ["fgvis", "fgvis_deletion"]
UNDEFENDED = [f"fgvis_{game}_undefended" for game in GAMES]
BASELINES = ["grad_cam", "occlusion", "lime", "rise"]
LOWER = ["sparsity", "deletion_mean_colour", "class_overlap", "complement_score"]
Scores = dict[str, dict[str, float]]  # metric, explainer


def ours_and(others: list[str], ours: float, theirs: float) -> dict[str, float]:
    """Two games and their rivals, the last of which is the best after ours."""
    nearer = {name: theirs + 0.01 * place * (1 if ours > theirs else -1) for place, name in enumerate(others)}
    return dict.fromkeys(OURS, ours) | nearer


DEFENCE: Scores = {
    **{f"defence_{kind}_explanation_score": {FILTERED: 0.01, FREE: 0.9} for kind in ("least_likely", "random")},
    **{f"defence_{kind}_mask_share": {FILTERED: 0.3, FREE: 0.002} for kind in ("least_likely", "random")},
    "defence_predicted_explanation_score": {FILTERED: 0.75, FREE: 0.99},
    "defence_predicted_mask_share": {**dict.fromkeys(OURS, 0.05), **dict.fromkeys(UNDEFENDED, 0.004)},
}
ALONE: Scores = {
    "explanation_keeps": {"fgvis": 0.95, "fgvis_deletion": 0.2, FILTERED: 0.93},
    "mask_share": {"fgvis": 0.05, "fgvis_deletion": 0.04, FILTERED: 0.06},
    "complement_score": {"fgvis": 0.8, "fgvis_deletion": 0.05, FILTERED: 0.8},
}
SMALL: Scores = {"sparsity": ours_and(BASELINES, 0.05, 0.3)}
DELETION: Scores = {"deletion_mean_colour": ours_and(BASELINES, 0.1, 0.3)}
FINE: Scores = {metric: ours_and(BASELINES, 0.7, 0.4) for metric in ("average_precision", "mass_accuracy")}
OTHERS = ["gradient", "grad_cam"]
HALVES = ["discrimination_mass", "discrimination_half", "discrimination_pointing"]
SIDE_BY_SIDE: Scores = {metric: ours_and(OTHERS, 0.9, 0.6) for metric in HALVES}
EXPERIMENTS: dict[str, tuple[list[str], Scores]] = {
    "fgvis/defence": ([SQUEEZE], DEFENCE),
    "fgvis/games": ([SQUEEZE], ALONE),
    "fgvis/an8flower": (["flower_net"], {**ALONE, **FINE, **SMALL}),
    "fgvis/defence_mnist": (["mnist_net"], DEFENCE),
    "fgvis/mnist": (["mnist_net"], {**ALONE, **SMALL}),
    "fgvis/discrimination": (["flower_net"], SIDE_BY_SIDE),
    "fgvis/discrimination_imagenet": ([SQUEEZE], SIDE_BY_SIDE),
    "fgvis/overlap": ([SQUEEZE], {"class_overlap": ours_and(OTHERS, 0.1, 0.8)}),
    "fgvis/architectures": ([SQUEEZE, MOBILE], ALONE),
    "fgvis/colour": ([SQUEEZE], {"colour_grey": {"fgvis": -0.2}}),
    "imagenet": ([SQUEEZE, MOBILE], DELETION),
    "an8flower": (["flower_net"], DELETION),
    "mnist": (["mnist_net"], DELETION),
}
TESTED = [
    "fgvis/defence",
    "fgvis/defence_mnist",
    "fgvis/an8flower",
    "fgvis/mnist",
    "fgvis/discrimination",
    "fgvis/discrimination_imagenet",
]
TESTED += ["fgvis/overlap", "imagenet", "an8flower", "mnist"]
# By class; the second network of each repeats them.
GREY = {
    "fgvis/an8flower": [-0.9, -0.8, -0.7, -0.6, -0.51, -0.1],
    "fgvis/colour": [-0.9, *[-0.3] * 8, -0.05],
}
Tables = dict[tuple[str, str], pd.DataFrame]

script = load_claims("fgvis")


def table_of(experiment: str) -> pd.DataFrame:
    models, scores = EXPERIMENTS[experiment]
    rows = [
        {
            **{"explainer": name, "data": "data", "model": model, "metric": metric},
            **{"direction": "lower" if metric in LOWER else "higher", "mean": mean},
            **{"ci_low": mean - 0.02, "ci_high": mean + 0.02, "std": 0.1, "n": 16, "n_undefined": 0, "seeds": "0"},
        }
        for model in models
        for metric, means in scores.items()
        for name, mean in means.items()
    ]
    return pd.DataFrame(rows)


def significance_of(experiment: str, last_first: bool) -> pd.DataFrame:
    models, scores = EXPERIMENTS[experiment]
    ordered = {metric: list(means)[:: -1 if last_first else 1] for metric, means in scores.items()}
    rows = [
        {
            **{"data": "data", "model": model, "metric": metric, "explainer": one, "other": two},
            **{"difference": scores[metric][one] - scores[metric][two], "n": 16, "p": 0.0001, "p_holm": 0.01},
        }
        for model in models
        for metric, names in ordered.items()
        for place, one in enumerate(names)
        for two in names[place + 1 :]
    ]
    return pd.DataFrame(rows)


def colour_of(experiment: str) -> pd.DataFrame:
    """Two networks of each class; swapped channels, and other explainers, tell another story."""
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


def tables(last_first: bool = False) -> Tables:
    """Tables on which every claim holds; explainers, and so the pairs of the tests, in their order or the other."""
    made = {(experiment, "table"): table_of(experiment) for experiment in EXPERIMENTS}
    made |= {(experiment, "significance"): significance_of(experiment, last_first) for experiment in TESTED}
    return made | {(experiment, "colour"): colour_of(experiment) for experiment in GREY}


def written(made: Tables, results: Path) -> Path:
    for (experiment, table), frame in made.items():
        folder = results / experiment
        folder.mkdir(parents=True, exist_ok=True)
        frame.to_csv(folder / f"{table}.csv", index=False, float_format="%.6g", lineterminator="\n")
        (folder / "provenance.json").write_text('{"scale": "quick", "seeds": [0]}')
    return results


def judged(made: Tables, results: Path) -> list[Claim]:
    return script.claims(written(made, results))


def failing(claims: list[Claim]) -> set[str]:
    return {claim.name for claim in claims if claim.holds is False}


class Change(NamedTuple):
    """In the rows of a table that have all of `rows`, `column` becomes `value`; then `fails` fail, and nothing else."""

    experiment: str
    table: str
    rows: dict[str, Any]
    column: str
    value: float
    fails: frozenset[str] = frozenset()

    def of(self, made: Tables) -> Tables:
        frame = made[self.experiment, self.table]
        chosen = pd.Series(True, index=frame.index)
        for column, value in self.rows.items():
            chosen &= frame[column] == value
        assert chosen.any()
        frame = frame.assign(**{self.column: frame[self.column].mask(chosen, self.value)})
        return {**made, (self.experiment, self.table): frame}


def mean(experiment: str, explainer: str, metric: str, value: float, *fails: str, **more: str) -> Change:
    return Change(
        experiment, "table", {"explainer": explainer, "metric": metric, **more}, "mean", value, frozenset(fails)
    )


def pair(
    experiment: str, metric: str, one: str, two: str, column: str, value: float, *fails: str, **more: str
) -> Change:
    rows = {"explainer": one, "other": two, "metric": metric, **more}
    return Change(experiment, "significance", rows, column, value, frozenset(fails))


ABSENT = [f"defence_{kind}" for kind in ("least_likely", "random")]
PREDICTED = "defence_predicted_mask_share"
HARMS = [
    *(
        mean("fgvis/defence_mnist", FREE, f"{kind}_explanation_score", 0.49, "a, adversarial: digits")
        for kind in ABSENT
    ),
    *(mean("fgvis/defence", FREE, f"{kind}_mask_share", 0.01, "a, adversarial: photographs") for kind in ABSENT),
    *(
        mean("fgvis/defence", FILTERED, f"{kind}_explanation_score", 0.101, "a, defence: photographs")
        for kind in ABSENT
    ),
    *(
        pair("fgvis/defence_mnist", f"{kind}_explanation_score", FILTERED, FREE, column, value, "a, defence: digits")
        for kind in ABSENT
        for column, value in (("difference", 0.1), ("p_holm", 0.05))
    ),
    mean("fgvis/defence_mnist", FILTERED, "defence_predicted_explanation_score", 0.49, "a, what is there: digits"),
    *(mean("fgvis/defence", name, PREDICTED, 0.01, "a, trace: photographs") for name in UNDEFENDED),
    *(
        pair("fgvis/defence_mnist", PREDICTED, defended, free, column, value, "a, trace: digits")
        for defended, free in zip(OURS, UNDEFENDED, strict=True)
        for column, value in (("difference", -0.01), ("p_holm", 0.05))
    ),
    *(
        pair("fgvis/an8flower", metric, "fgvis", other, column, value, "b, fine: flowers")
        for metric in FINE
        for other, column, value in (("grad_cam", "difference", -0.1), ("rise", "difference", 0), ("rise", "p_holm", 1))
    ),
    mean("fgvis/games", "fgvis", "explanation_keeps", 0.89, "c, alone: photographs"),
    mean("fgvis/an8flower", "fgvis", "explanation_keeps", 0.89, "c, alone: flowers", "f: flower_net"),
    mean("fgvis/an8flower", FILTERED, "explanation_keeps", 0.89, "c, from nothing: flowers"),
    mean("fgvis/mnist", FILTERED, "explanation_keeps", 0.89, "c, from nothing: digits"),
    *(pair("fgvis/mnist", "sparsity", "fgvis", name, "difference", 0.1, "c, small: digits") for name in BASELINES),
    pair("fgvis/an8flower", "sparsity", "fgvis", "lime", "p_holm", 0.05, "c, small: flowers"),
    *(
        Change(
            "fgvis/discrimination",
            "table",
            {"explainer": name, "metric": metric},
            "ci_low",
            0.5,
            frozenset({f"d, {game}: flowers"}),
        )
        for game, name in zip(GAMES, OURS, strict=True)
        for metric in HALVES
    ),
    *(
        pair(f"fgvis/{name}", metric, "fgvis_deletion", "gradient", "difference", -0.1, f"d, others, deletion: {data}")
        for name, data in (("discrimination_imagenet", "photographs"), ("discrimination", "flowers"))
        for metric in HALVES[:2]
    ),
    pair(
        "fgvis/overlap",
        "class_overlap",
        "fgvis",
        "grad_cam",
        "difference",
        0.1,
        "d, overlap, preservation: photographs",
    ),
    *(
        pair(
            "imagenet",
            "deletion_mean_colour",
            "fgvis",
            name,
            "difference",
            0.1,
            f"e, preservation: {PHOTOGRAPHS[0]}",
            model=SQUEEZE,
        )
        for name in BASELINES
    ),
    pair("an8flower", "deletion_mean_colour", "fgvis_deletion", "rise", "p_holm", 0.05, "e, deletion: flowers"),
    pair("mnist", "deletion_mean_colour", "fgvis", "rise", "difference", 0, "e, preservation: digits"),
    mean("fgvis/architectures", "fgvis", "explanation_keeps", 0.89, f"f: {SQUEEZE}", model=SQUEEZE),
    *(mean("fgvis/architectures", name, "mask_share", 0.1, f"f: {MOBILE}", model=MOBILE) for name in OURS),
    mean("fgvis/mnist", "fgvis_deletion", "complement_score", 0.11, "f: mnist_net"),
    *(
        Change(
            "fgvis/an8flower",
            "colour",
            {"explainer": "fgvis", "target": target},
            "mean",
            -0.5,
            frozenset({"g: flowers"}),
        )
        for target in (0, 4)
    ),
    Change("fgvis/colour", "colour", {"explainer": "fgvis", "target": 0}, "mean", -0.5, frozenset({"g: photographs"})),
    Change("fgvis/colour", "colour", {"explainer": "fgvis", "target": 9}, "mean", -0.1, frozenset({"g: photographs"})),
]
HARMLESS = [
    *(mean("fgvis/defence", FREE, f"{kind}_explanation_score", 0.5) for kind in ABSENT),
    *(mean("fgvis/defence", FREE, f"{kind}_mask_share", 0.0099) for kind in ABSENT),
    *(mean("fgvis/defence", FILTERED, f"{kind}_explanation_score", 0.1) for kind in ABSENT),
    mean("fgvis/defence", FREE, "defence_predicted_explanation_score", 0),
    mean("fgvis/defence", FILTERED, "defence_predicted_explanation_score", 0.5),
    mean("fgvis/games", "fgvis", "explanation_keeps", 0.9),
    mean("fgvis/architectures", "fgvis_deletion", "complement_score", 0.1),
    mean("fgvis/architectures", "fgvis_deletion", "explanation_keeps", 0),
    Change("imagenet", "significance", {}, "p_holm", 0.0499),
    pair("fgvis/discrimination", HALVES[2], "fgvis", "gradient", "difference", -0.1),  # ties decide nothing
    Change("fgvis/discrimination", "table", {}, "ci_low", 0.501),
    Change("fgvis/an8flower", "colour", {"explainer": "fgvis", "target": 5}, "mean", 0.5),
    Change("fgvis/colour", "colour", {"metric": "colour_swap"}, "mean", -1),
    Change("fgvis/colour", "colour", {"explainer": "fgvis_generation"}, "mean", -1),
]


def name_of(value: object) -> str:
    return f"{value.experiment} {value.rows} {value.column}" if isinstance(value, Change) else str(value)


def test_every_claim_is_tested_where_it_can_be_and_holds(tmp_path: Path) -> None:
    claims = judged(tables(), tmp_path)
    assert [claim.name for claim in claims] == NAMES
    assert all(claim.holds is True for claim in claims)
    assert {claim.experiment for claim in claims} == EXPERIMENTS.keys() == set(script.EXPERIMENTS)


def test_every_claims_experiment_is_one_that_there_is() -> None:
    for experiment in script.EXPERIMENTS:
        assert (ROOT / "conf" / "experiment" / f"{experiment}.yaml").is_file()


def test_the_numbers_are_those_of_the_tables(tmp_path: Path) -> None:
    numbers = {claim.name: claim.numbers for claim in judged(tables(), tmp_path)}
    for data in ("photographs", "digits"):
        assert numbers[f"a, adversarial: {data}"] == "least likely 0.900 with 0.20%; by lot 0.900 with 0.20%"
        stopped = "least likely 0.900 -> 0.010 (p = 0.01); by lot 0.900 -> 0.010 (p = 0.01)"
        assert numbers[f"a, defence: {data}"] == stopped
        assert numbers[f"a, what is there: {data}"] == "0.750 [0.730, 0.770], without the filter 0.990"
        traces = "preservation 0.40% -> 5.00% (p = 0.01); deletion 0.40% -> 5.00% (p = 0.01)"
        assert numbers[f"a, trace: {data}"] == traces
    assert numbers["b, fine: flowers"] == (
        "average precision 0.700, above 3 of 3 (best rise 0.430); mass accuracy 0.700, above 3 of 3 (best rise 0.430)"
    )
    assert numbers["c, alone: digits"] == "0.950 [0.930, 0.970] of the score with 5.0% of the mask"
    assert numbers["c, from nothing: digits"] == "0.930 [0.910, 0.950] of the score with 6.0% of the mask"
    assert numbers["c, small: flowers"] == "sparsity 0.050, below 4 of 4 (best rise 0.270)"
    assert numbers["d, deletion: flowers"] == (
        "mass 0.900 [0.880, 0.920]; half 0.900 [0.880, 0.920]; pointing 0.900 [0.880, 0.920]"
    )
    assert numbers["d, others, preservation: flowers"] == (
        "discrimination mass 0.900, above 2 of 2 (best grad_cam 0.610); "
        "discrimination half 0.900, above 2 of 2 (best grad_cam 0.610)"
    )
    assert numbers["d, overlap, deletion: photographs"] == (
        "class overlap 0.100, below 2 of 2 (best grad_cam 0.790), of the 16 photographs whose second class has a "
        "probability of 0.1"
    )
    assert numbers["e, deletion: digits"] == "deletion mean colour 0.100, below 4 of 4 (best rise 0.270)"
    assert numbers[f"f: {MOBILE}"] == (
        "0.950 [0.930, 0.970] of the score with 5.0% of the mask; 0.050 is left without 4.0%"
    )
    assert numbers["g: flowers"] == ("-0.602 on average over classes; 5 of 6 lose more than 0.5, not class 5, or so")
    assert numbers["g: photographs"] == (
        "of 10 classes 10% lose more than 0.5 (most: class 0 -0.90, class 1 -0.30, class 2 -0.30), 10% less than 0.1 "
        "(least: class 9 -0.05, class 8 -0.30, class 7 -0.30)"
    )


@pytest.mark.parametrize("change", HARMS, ids=name_of)
def test_one_change_fails_its_claims_alone(tmp_path: Path, change: Change) -> None:
    assert change.fails
    assert failing(judged(change.of(tables()), tmp_path)) == change.fails


@pytest.mark.parametrize("change", HARMLESS, ids=name_of)
def test_what_a_rule_allows_or_does_not_ask_for_fails_nothing(tmp_path: Path, change: Change) -> None:
    assert failing(judged(change.of(tables()), tmp_path)) == set()


def test_the_order_of_a_pair_does_not_matter(tmp_path: Path) -> None:
    one, other = judged(tables(), tmp_path / "first"), judged(tables(last_first=True), tmp_path / "last")
    assert [(claim.name, claim.holds, claim.numbers) for claim in other] == [
        (claim.name, claim.holds, claim.numbers) for claim in one
    ]


# Of the colours there is a table of its own, class by class.
READ = [place for place in tables() if place != ("fgvis/colour", "table")]


@pytest.mark.parametrize(("experiment", "table"), READ, ids=str)
def test_a_missing_table_is_named_with_the_command_that_makes_it(tmp_path: Path, experiment: str, table: str) -> None:
    made = tables()
    del made[experiment, table]
    message = rf"{tmp_path}/{experiment}/{table}.csv is missing; run python run.py experiment={experiment}$"
    with pytest.raises(UserError, match=message):
        judged(made, tmp_path)


@pytest.mark.parametrize(
    ("experiment", "table", "rows", "told"),
    [
        ("fgvis/defence", "table", {"explainer": FREE}, f"no defence_least_likely_explanation_score of {FREE};"),
        ("mnist", "table", {"explainer": "rise"}, "no deletion_mean_colour of rise;"),
        ("mnist", "significance", {"other": "rise"}, "no deletion_mean_colour of fgvis against rise;"),
        ("imagenet", "table", {"model": MOBILE}, f"no deletion_mean_colour of fgvis on {MOBILE};"),
        ("fgvis/colour", "colour", {"explainer": "fgvis"}, "no colour_grey of fgvis;"),
    ],
)
def test_missing_rows_are_named(tmp_path: Path, experiment: str, table: str, rows: dict[str, str], told: str) -> None:
    made = tables()
    [(column, value)] = rows.items()
    made[experiment, table] = made[experiment, table].query(f"{column} != '{value}'")
    message = f"results/{experiment}/{table}.csv has {told} run its experiment whole"
    with pytest.raises(UserError, match=re.escape(message)):
        judged(made, tmp_path)


def copied(folder: Path) -> Path:
    """The script with its README as it lies in a checkout, whose results are beside it."""
    return Path(shutil.copytree(HERE, folder / "experiments" / "fgvis", ignore=shutil.ignore_patterns("__pycache__")))


def test_the_script_puts_the_table_into_the_readme_beside_it(tmp_path: Path) -> None:
    here = copied(tmp_path)
    before = (here / "README.md").read_text()
    command = [sys.executable, str(here / "claims.py")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert line.endswith("table.csv is missing; run python run.py experiment=fgvis/defence")
    assert (here / "README.md").read_text() == before
    claims = judged(tables(), tmp_path / "results")
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    table = claims_table(claims, paper_values(here / "paper_values.yaml"))
    text = f"{table}\nMeasured at scale quick: 1 or 2 networks a data set, 16 images each.\n"
    assert ended.stdout == f"{text}\n"
    assert f"<!-- claims -->\n\n{text}\n<!-- end -->" in (here / "README.md").read_text()


def test_the_papers_values_belong_to_claims_that_there_are(tmp_path: Path) -> None:
    """Those on file, and the example in the file's own comment."""
    file = HERE / "paper_values.yaml"
    [example] = re.findall(r"^#   (.*)$", file.read_text(), flags=re.M)
    (tmp_path / "example.yaml").write_text(example.replace("...", "1"))
    for values in (paper_values(file), paper_values(tmp_path / "example.yaml")):
        assert values.keys() <= set(NAMES)


@pytest.mark.parametrize("colour", COMMITTED, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_readme_shows_the_verdicts_on_the_committed_results(colour: Path, tmp_path: Path) -> None:
    here, results = copied(tmp_path), colour.parents[1]
    write_claims(script.claims(results), here, measured_at([results / name for name in script.EXPERIMENTS]))
    assert (HERE / "README.md").read_text() == (here / "README.md").read_text()
