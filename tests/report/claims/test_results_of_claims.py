"""Scores, intervals and comparisons that `Results` reads from the tables of an experiment."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_1samp

from evident.errors import UserError
from evident.report.claims.effects import judge
from evident.report.claims.results import Results, interval
from evident.report.table_files import file_name
from evident.report.tables.scores import significance, table

DIRECTIONS = {"iou": "higher", "deletion": "lower"}
# Mean score by explainer; single images deviate from it linearly, by a tenth at most.
MEANS = {
    "iou": {"ours": 0.6, "near": 0.6, "worse": 0.3, "better": 0.7},
    "deletion": {"ours": 0.2, "near": 0.2, "worse": 0.5, "better": 0.1},
}


def written(folder: Path, models: tuple[str, ...] = ("net",), images: int = 12) -> Path:
    """Write tables as the report does; the scores of the second network are half of those of the first."""
    spread = [1 + 0.1 * (2 * image / (images - 1) - 1) for image in range(images)]
    rows = [
        {
            **{"data": "flowers", "model": model, "network": model, "explainer": name, "seed": 0, "image": str(image)},
            **{"metric": metric, "at": float("nan"), "value": mean / (1 + number) * spread[image]},
        }
        for number, model in enumerate(models)
        for metric, means in MEANS.items()
        for name, mean in means.items()
        for image in range(images)
    ]
    (folder / "paper" / "flowers").mkdir(parents=True)
    scores = pd.DataFrame(rows)
    for name, frame in {"table": table(scores, DIRECTIONS), "significance": significance(scores)}.items():
        frame.to_csv(folder / "paper" / "flowers" / file_name(name), index=False, float_format="%.6g")
    return folder


def results(folder: Path, model: str | None = None) -> Results:
    return Results(folder, "paper/flowers", model)


def test_scores_come_from_the_table(tmp_path: Path) -> None:
    of = results(written(tmp_path))
    assert of.mean("ours", "iou") == pytest.approx(0.6)
    row = of.score("ours", "iou")
    assert (row["n"], row["direction"]) == (12, "higher")
    assert of.interval("ours", "iou") == f"0.600 [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
    assert row["ci_low"] < 0.6 < row["ci_high"]


def test_difference_is_antisymmetric(tmp_path: Path) -> None:
    of = results(written(tmp_path))
    effect = of.difference("iou", "ours", "worse")
    assert effect.value == pytest.approx(0.3)
    assert effect.p < 0.05
    assert (effect.networks, effect.images, effect.units) == (1, 12, 12)
    assert of.difference("iou", "worse", "ours") == replace(effect, value=-effect.value)
    equal = of.difference("iou", "ours", "near")
    assert (equal.value, equal.p) == (0, 1)


def test_difference_is_positive_where_the_explainer_is_better(tmp_path: Path) -> None:
    assert results(written(tmp_path)).difference("deletion", "ours", "worse").value == pytest.approx(0.3)


def test_thresholds_are_tested_by_student_over_networks(tmp_path: Path) -> None:
    of = results(spread_over_networks(tmp_path))
    means = of_networks()["ours"].groupby("network").mean()
    for effect, expected, alternative in (
        (of.above("iou", "ours", 0.5), means.mean() - 0.5, 0.5),
        (of.below("iou", "ours", 0.7), 0.7 - means.mean(), 0.7),
    ):
        assert effect.value == pytest.approx(expected, abs=1e-5)
        assert effect.p == pytest.approx(ttest_1samp(means, alternative).pvalue, rel=1e-3)
        assert (effect.networks, effect.images, effect.units) == (5, 10, 5)


def test_means_without_pairs_are_compared_by_both_errors(tmp_path: Path) -> None:
    of = results(spread_over_networks(tmp_path))
    ours, worse = (of.score(name, "iou") for name in ("ours", "worse"))
    effect = of.apart(ours, worse)
    assert effect.value == pytest.approx(ours["mean"] - worse["mean"])
    ratio = effect.value / (ours["se"] ** 2 + worse["se"] ** 2) ** 0.5
    assert effect.p == pytest.approx(2 * student.sf(ratio, 4))


def of_networks() -> pd.DataFrame:
    """Return scores of three explainers for five networks, which differ, with ten images each."""
    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_product([[f"n{k}" for k in range(5)], range(10)], names=["network", "image"])
    level = np.repeat(rng.normal(0, 0.02, 5), 10)
    noise = rng.normal(0, 0.02, (3, 50))
    return pd.DataFrame(
        {"ours": 0.6 + level + noise[0], "near": 0.6 + level + noise[1], "worse": 0.3 + noise[2]}, index
    )


def spread_over_networks(folder: Path) -> Path:
    """Write the tables of `of_networks`, whose seeds are the networks."""
    (folder / "paper" / "flowers").mkdir(parents=True)
    scores = of_networks().reset_index().melt(["network", "image"], var_name="explainer")
    scores = scores.assign(data="flowers", model="net", metric="iou", at=float("nan"), seed=scores["network"].str[1:])
    scores["image"] = scores["image"].astype(str)
    for name, frame in {"table": table(scores, DIRECTIONS), "significance": significance(scores)}.items():
        frame.to_csv(folder / "paper" / "flowers" / file_name(name), index=False, float_format="%.6g")
    return folder


def test_blocks_of_images_of_a_published_network_are_one_sample_of_images(tmp_path: Path) -> None:
    """Five seeds of one network, each with ten images of its own: fifty images, not five networks."""
    (tmp_path / "paper" / "flowers").mkdir(parents=True)
    scores = of_networks().reset_index().melt(["network", "image"], var_name="explainer")
    scores = scores.assign(data="flowers", model="net", metric="iou", at=float("nan"), seed=scores["network"].str[1:])
    scores["image"] = scores["seed"] + "_" + scores["image"].astype(str)
    scores["network"] = "published"
    scores.loc[(scores["explainer"] == "worse") & (scores["seed"] == "3"), "value"] = float("nan")
    for name, frame in {"table": table(scores, DIRECTIONS), "significance": significance(scores)}.items():
        frame.to_csv(tmp_path / "paper" / "flowers" / file_name(name), index=False, float_format="%.6g")
    of, wide = results(tmp_path), of_networks()
    above = of.above("iou", "ours", 0.5)
    assert (above.networks, above.images, above.units) == (1, 50, 50)
    assert above.p == pytest.approx(ttest_1samp(wide["ours"], 0.5, alternative="two-sided").pvalue, rel=1e-3)
    pair = of.difference("iou", "ours", "worse")
    assert (pair.networks, pair.images, pair.units) == (1, 50, 40)
    assert of.above("iou", "worse", 0).units == 40


@pytest.mark.parametrize(("metric", "side"), [("iou", "significantly above"), ("deletion", "significantly below")])
def test_direction_of_the_metric_decides_who_is_better(tmp_path: Path, metric: str, side: str) -> None:
    of, means = results(written(tmp_path)), MEANS[metric]
    start = f"{metric} {means['ours']:.3f}, {side} "

    def beats(*others: str) -> tuple[str, str]:
        words, effects = of.beats(metric, "ours", others)
        return words, judge(effects)

    assert beats("worse") == (f"{start}1 of 1 (best worse {means['worse']:.3f})", "holds")
    assert beats("better") == (f"{start}0 of 1 (best better {means['better']:.3f})", "refuted")
    # An equal score is not better.
    assert beats("worse", "near") == (f"{start}1 of 2 (best near {means['near']:.3f})", "undecided")


def test_sample_that_is_too_small_for_any_effect_is_underpowered(tmp_path: Path) -> None:
    _, effects = results(written(tmp_path / "few", images=4)).beats("iou", "ours", ("worse",))
    assert judge(effects) == "underpowered"


def test_one_of_several_networks_is_selected_by_name(tmp_path: Path) -> None:
    written(tmp_path, ("net", "other"))
    assert results(tmp_path, "net").mean("ours", "iou") == 0.6
    assert results(tmp_path, "other").mean("ours", "iou") == 0.3
    assert results(tmp_path, "other").difference("iou", "ours", "worse").value == pytest.approx(0.15)
    message = r"table.csv has several networks \(net, other\); run python run.py experiment=paper/flowers$"
    with pytest.raises(UserError, match=message):
        results(tmp_path).mean("ours", "iou")


def test_missing_table_raises_with_its_command(tmp_path: Path) -> None:
    message = f"{tmp_path}/paper/flowers/colour.csv is missing; run python run.py experiment=paper/flowers"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        results(written(tmp_path)).read("colour")


def test_command_of_an_unusual_table_is_part_of_the_error(tmp_path: Path) -> None:
    message = f"{tmp_path}/speed/table.csv is missing; run python run.py task=benchmark"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        Results(tmp_path, "speed", command="task=benchmark").read("table")


def test_rows_are_selected_by_column_values(tmp_path: Path) -> None:
    written(tmp_path, ("net", "other"))
    assert results(tmp_path, "net").rows("table", explainer="ours")["metric"].to_list() == ["iou", "deletion"]
    [(_, row)] = results(tmp_path).rows("table", explainer="ours", metric="iou", model="other").iterrows()
    assert row["mean"] == pytest.approx(0.3)


def test_table_without_networks_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "speed").mkdir()
    (tmp_path / "speed" / "table.csv").write_text("row,value\nforward,1\nbackward,2\n")
    assert Results(tmp_path, "speed", "net").read("table")["value"].to_list() == [1, 2]


def test_performance_is_read_by_network_and_measure(tmp_path: Path) -> None:
    (tmp_path / "paper" / "flowers").mkdir(parents=True)
    (tmp_path / "paper" / "flowers" / "performance.csv").write_text(
        "model,measure,value,ci_low,ci_high,n\nnet,r2,0.5,0.4,0.6,9\nnet,mae,1,1,1,9\nother,r2,0.2,0.1,0.3,9\n"
    )
    (tmp_path / "paper" / "flowers" / "performance_differences.csv").write_text(
        "measure,model,other,seeds,difference,ci_low,ci_high\n"
        "r2,net,other,0 1,0.3,0.2,0.4\nr2,net,other,0,0.4,0.3,0.5\nmae,net,other,0 1,1,1,1\n"
    )
    of = results(tmp_path)
    assert interval(of.performance("net", "r2"), "value") == "0.500 [0.400, 0.600]"
    rows = of.performance_differences("r2", "net", "other")
    assert [interval(row, "difference", "+.1f") for _, row in rows.iterrows()] == [
        "+0.3 [+0.2, +0.4]",
        "+0.4 [+0.3, +0.5]",
    ]
    with pytest.raises(UserError, match=r"performance.csv has no row with model=net, measure=tau; run python run.py"):
        of.performance("net", "tau")
    with pytest.raises(UserError, match=r"performance_differences.csv has no row with model=net, other=third, measure"):
        of.performance_differences("r2", "net", "third")


def test_missing_rows_raise_with_their_names(tmp_path: Path) -> None:
    of = results(written(tmp_path), "net")
    for ask, missing in (
        (lambda: of.mean("lime", "iou"), "table.csv has no row with model=net, explainer=lime, metric=iou"),
        (lambda: of.interval("ours", "entropy"), "table.csv has no row with model=net, explainer=ours, metric=entropy"),
        (
            lambda: of.difference("iou", "ours", "lime"),
            "significance.csv.gz has no row with model=net, explainer=ours, other=lime, metric=iou",
        ),
        (
            lambda: results(tmp_path, "none").mean("ours", "iou"),
            "table.csv has no row with model=none, explainer=ours, metric=iou",
        ),
        (lambda: of.rows("table", explainer="lime"), "table.csv has no row with model=net, explainer=lime"),
    ):
        message = f"{tmp_path}/paper/flowers/{missing}; run python run.py experiment=paper/flowers"
        with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
            ask()
