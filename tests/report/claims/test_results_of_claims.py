"""An experiment's tables, asked for scores and for comparisons of two explainers."""

import re
from pathlib import Path

import pandas as pd
import pytest

from evident.errors import UserError
from evident.report.claims.results import Results
from evident.report.tables.scores import significance, table

DIRECTIONS = {"iou": "higher", "deletion": "lower"}
# By explainer: the mean over images, a tenth less for the first and more for the last.
MEANS = {
    "iou": {"ours": 0.6, "near": 0.6, "worse": 0.3, "better": 0.7},
    "deletion": {"ours": 0.2, "near": 0.2, "worse": 0.5, "better": 0.1},
}


def written(folder: Path, models: tuple[str, ...] = ("net",), images: int = 12) -> Path:
    """An experiment's tables as the report makes them; the second network has half of the first one's scores."""
    spread = [1 + 0.1 * (2 * image / (images - 1) - 1) for image in range(images)]
    rows = [
        {
            **{"data": "flowers", "model": model, "explainer": name, "seed": 0, "image": str(image)},
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
        frame.to_csv(folder / "paper" / "flowers" / f"{name}.csv", index=False, float_format="%.6g")
    return folder


def results(folder: Path, model: str | None = None) -> Results:
    return Results(folder, "paper/flowers", model)


def test_scores_are_those_of_the_table(tmp_path: Path) -> None:
    of = results(written(tmp_path))
    assert of.mean("ours", "iou") == pytest.approx(0.6)
    row = of.score("ours", "iou")
    assert (row["n"], row["direction"]) == (12, "higher")
    assert of.interval("ours", "iou") == f"0.600 [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
    assert row["ci_low"] < 0.6 < row["ci_high"]


def test_differences_count_from_whoever_is_named_first(tmp_path: Path) -> None:
    of = results(written(tmp_path))
    difference, p = of.against("iou", "ours", "worse")
    assert difference == pytest.approx(0.3)
    assert p < 0.05
    assert of.against("iou", "worse", "ours") == (-difference, p)
    assert of.against("iou", "ours", "near") == (0, 1)


@pytest.mark.parametrize(("metric", "side"), [("iou", "above"), ("deletion", "below")])
def test_better_is_what_the_metric_says(tmp_path: Path, metric: str, side: str) -> None:
    of, means = results(written(tmp_path)), MEANS[metric]
    told = f"{metric} {means['ours']:.3f}, {side} "
    assert of.beats(metric, "ours", ("worse",)) == (f"{told}1 of 1 (best worse {means['worse']:.3f})", True)
    assert of.beats(metric, "ours", ("better",)) == (f"{told}0 of 1 (best better {means['better']:.3f})", False)
    # As good as is not better.
    assert of.beats(metric, "ours", ("worse", "near")) == (f"{told}1 of 2 (best near {means['near']:.3f})", False)


def test_what_may_be_chance_is_not_better(tmp_path: Path) -> None:
    assert results(written(tmp_path / "few", images=4)).beats("iou", "ours", ("worse",))[1] is False


def test_one_network_of_several_is_asked_for_by_its_name(tmp_path: Path) -> None:
    written(tmp_path, ("net", "other"))
    assert results(tmp_path, "net").mean("ours", "iou") == 0.6
    assert results(tmp_path, "other").mean("ours", "iou") == 0.3
    assert results(tmp_path, "other").against("iou", "ours", "worse")[0] == pytest.approx(0.15)
    message = r"table.csv is of several networks \(net, other\); run python run.py experiment=paper/flowers$"
    with pytest.raises(UserError, match=message):
        results(tmp_path).mean("ours", "iou")


def test_a_missing_table_is_named_with_its_command(tmp_path: Path) -> None:
    message = f"{tmp_path}/paper/flowers/colour.csv is missing; run python run.py experiment=paper/flowers"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        results(written(tmp_path)).read("colour")


def test_missing_rows_are_named(tmp_path: Path) -> None:
    of = results(written(tmp_path), "net")
    for ask, told in (
        (lambda: of.mean("lime", "iou"), "table.csv has no iou of lime on net"),
        (lambda: of.interval("ours", "entropy"), "table.csv has no entropy of ours on net"),
        (lambda: of.against("iou", "ours", "lime"), "significance.csv has no iou of ours against lime on net"),
        (lambda: results(tmp_path, "none").mean("ours", "iou"), "table.csv has no iou of ours on none"),
    ):
        with pytest.raises(UserError, match=f"^results/paper/flowers/{told}; run its experiment whole$"):
            ask()
