"""Tables of scores with known answers."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest

from evident.report.tables import score_text
from evident.report.tables import scores as tables

DIRECTIONS = {"up": "higher", "down": "lower", "size": "neither"}


def scores(means: dict[str, float], metric: str = "up", seeds: int = 1, images: int = 40) -> pd.DataFrame:
    """Return scores of every explainer that spread evenly around its mean, the same for every seed of one network."""
    spread = np.linspace(-0.1, 0.1, images)
    labels = {"experiment": "e", "data": "d", "model": "m", "metric": metric, "target": 0, "axis": "", "at": np.nan}
    labels |= {"network": "n"}
    names = [f"image{index:02d}" for index in range(images)]
    return pd.concat(
        [
            pd.DataFrame({**labels, "explainer": name, "seed": seed, "image": names, "value": mean + spread})
            for name, mean in means.items()
            for seed in range(seeds)
        ],
        ignore_index=True,
    )


def test_row_has_mean_interval_deviation_and_counts() -> None:
    frame = scores({"ours": 0.5}, seeds=2)
    frame.loc[3, "value"] = np.nan
    [row] = tables.table(frame, DIRECTIONS).to_dict("records")
    assert row["explainer"] == "ours"
    assert row["direction"] == "higher"
    assert row["mean"] == pytest.approx(0.5, abs=0.01)
    assert row["ci_low"] < row["mean"] < row["ci_high"]
    assert row["std"] == pytest.approx(frame.groupby("image")["value"].mean().std())
    assert (row["n"], row["n_undefined"], row["seeds"]) == (40, 0, "0 1")  # images, not draws


def test_seeds_are_averaged_before_images_are_resampled() -> None:
    one = tables.table(scores({"ours": 0.5}), DIRECTIONS)
    five = tables.table(scores({"ours": 0.5}, seeds=5), DIRECTIONS)
    columns = ["mean", "ci_low", "ci_high"]
    assert five[columns].to_numpy() == pytest.approx(one[columns].to_numpy())


@pytest.mark.parametrize(("metric", "best"), [("up", "high"), ("down", "low")])
def test_best_method_is_bold_and_ties_are_marked(metric: str, best: str) -> None:
    frame = scores({"low": 0.2, "high": 0.8, f"near_{best}": 0.2 if best == "low" else 0.8, "random": 0.99}, metric)
    text = score_text.markdown(tables.table(frame, DIRECTIONS), {"random"})
    lines = {line.split(" | ")[0].strip("| *"): line for line in text.splitlines() if line.startswith("| ")}
    assert "**" in lines[best]
    assert "≈" in lines[f"near {best}"]
    assert "**" not in lines["random"]
    assert lines["explainer"].endswith("↑ |" if metric == "up" else "↓ |")


@pytest.mark.parametrize(("correlation", "constant", "out"), [(0.95, 0.0, True), (0.5, 0.6, True), (0.85, 0.4, False)])
def test_row_that_does_not_depend_on_the_image_is_flagged_and_does_not_win(
    correlation: float, constant: float, out: bool
) -> None:
    table = tables.table(scores({"plaid": 0.9, "ours": 0.5, "other": 0.1}), DIRECTIONS)
    measured = {"plaid": (correlation, constant), "ours": (0.3, 0.0), "other": (0.3, 0.0)}
    labels = {"data": "d", "model": "m", "seed": 0}
    sameness = pd.DataFrame(
        [{**labels, "explainer": name, "correlation": c, "constant": k} for name, (c, k) in measured.items()]
    )
    text = score_text.markdown(table, set(), same=score_text.unchanging(sameness))
    lines = {line.split(" | ")[0].strip("| *"): line for line in text.splitlines() if line.startswith("| ")}
    winner = "ours" if out else "plaid"
    assert [name for name, line in lines.items() if "**" in line] == [winner]
    assert ("plaid †" in lines) == out
    assert ("† the same map for every image" in text) == out


def test_metric_without_a_better_direction_has_no_best_method() -> None:
    frame = scores({"low": 0.2, "near": 0.2, "high": 0.8}, "size")
    text = score_text.markdown(tables.table(frame, DIRECTIONS), set())
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert lines[0] == "| explainer | size |"
    assert not any(mark in line for line in lines for mark in ("**", "≈", "↑", "↓"))
    assert text.endswith(" No arrow: neither direction is better.\n")
    assert "No arrow" not in score_text.markdown(tables.table(scores({"ours": 0.5}), DIRECTIONS), set())


@pytest.mark.parametrize("references", [set(), {"random"}])
def test_metric_of_a_single_method_has_no_best_method(references: set[str]) -> None:
    both = scores({"ours": 0.5, "other": 0.4, "random": 0.1})
    alone = scores({"ours": 0.1, **dict.fromkeys(references, 0.2)}, "down")
    text = score_text.markdown(tables.table(pd.concat([both, alone]), DIRECTIONS), references)
    [line] = [line for line in text.splitlines() if line.startswith("| ours")]
    _, _, up, down, _ = line.split("|")
    assert "**" in up
    assert "0.100" in down
    assert "**" not in down
    assert "≈" not in down


def test_caption_raises_an_alarm_where_random_beats_a_method() -> None:
    up = scores({"ours": 0.5, "poor": 0.2, "plaid": 0.1, "random": 0.3})
    down = scores({"ours": 0.5, "poor": 0.2, "plaid": 0.1, "random": 0.3}, "down")
    size = scores({"ours": 0.5, "random": 0.9}, "size")
    table = tables.table(pd.concat([up, down, size]), DIRECTIONS)
    assert score_text.below_random(table, {"random"}, {("d", "m", "plaid")}) == [
        "by up, random is better than poor",
        "by down, random is better than ours",
    ]
    text = score_text.markdown(table, {"random"})
    assert "**Caution**: by up, random is better than poor, plaid. **Caution**: by down, random is better" in text
    assert "Caution" not in score_text.markdown(
        tables.table(scores({"ours": 0.5, "random": 0.3}), DIRECTIONS), {"random"}
    )
    assert score_text.below_random(tables.table(scores({"ours": 0.5}), DIRECTIONS), set()) == []


def test_value_that_rounds_to_zero_has_no_sign() -> None:
    rows = tables.table(scores({"low": -0.0001, "high": 0.8}), DIRECTIONS)
    assert "| low | 0.000 ± " in score_text.markdown(rows, set())


def test_undefined_scores_are_counted() -> None:
    frame = scores({"ours": 0.5})
    frame.loc[:2, "value"] = np.nan
    assert "∅3" in score_text.markdown(tables.table(frame, DIRECTIONS), set())


def test_metric_that_does_not_apply_is_a_blank_with_a_legend() -> None:
    both = scores({"ours": 0.5, "other": 0.4})
    assert "Blank" not in score_text.markdown(tables.table(both, DIRECTIONS), set())
    text = score_text.markdown(tables.table(pd.concat([both, scores({"ours": 0.1}, "down")]), DIRECTIONS), set())
    [line] = [line for line in text.splitlines() if line.startswith("| other")]
    assert line.endswith(" |  |")
    assert text.endswith("Blank: the metric does not apply to this explainer.\n")


def test_curves_have_a_mean_at_every_position() -> None:
    parts = [scores({"ours": at}).assign(at=at, axis="pixels") for at in (0.0, 0.5, 1.0)]
    means = tables.curves(pd.concat(parts, ignore_index=True))
    assert means["at"].tolist() == [0, 0.5, 1]
    assert means["mean"].tolist() == pytest.approx([0, 0.5, 1])


def test_curves_keep_their_axis_and_those_over_attributes_are_left_out() -> None:
    axes = {"up": "pixels", "down": "thresholds", "size": "features", "maps_pointing": "attributes"}
    parts = [scores({"ours": 0.5, "theirs": 0.4}, metric).assign(at=0.0, axis=axis) for metric, axis in axes.items()]
    means = tables.curves(pd.concat(parts, ignore_index=True))
    columns = ["explainer", "data", "model", "metric", "axis", "at", "mean", "ci_low", "ci_high"]
    assert list(means) == columns
    del axes["maps_pointing"]
    for name in ("ours", "theirs"):
        of_one = means[means["explainer"] == name]
        assert dict(zip(of_one["metric"], of_one["axis"], strict=True)) == axes
    empty = tables.curves(parts[-1])
    assert list(empty) == columns
    assert len(empty) == 0


def curve(values: Mapping[tuple[str, int], Sequence[float]], explainer: str = "ours") -> pd.DataFrame:
    """Return the curve of each (image, seed) at positions 0, 1, 2, ..."""
    labels = {"experiment": "e", "data": "d", "model": "m", "explainer": explainer, "metric": "up", "axis": "features"}
    labels |= {"network": "n"}
    rows = [
        {**labels, "image": image, "seed": seed, "at": float(at), "value": value}
        for (image, seed), points in values.items()
        for at, value in enumerate(points)
    ]
    return pd.DataFrame(rows)


def test_curve_that_is_shorter_for_one_seed_continues_with_its_last_value() -> None:
    one = {("one", 0): [1.0, 0.5, 0.25, 0.0], ("one", 1): [0.8, 0.6]}
    two = {("two", 0): [1.0, 1.0, 1.0, 1.0], ("two", 1): [0.0, 0.5]}
    means = tables.curves(curve(one | two))
    assert means["at"].tolist() == [0, 1, 2, 3]
    # Image one: 0.9, 0.55, then 0.25 and 0 with 0.6; image two: 0.5, 0.75, then 1 and 1 with 0.5.
    assert means["mean"].tolist() == pytest.approx([0.7, 0.65, 0.5875, 0.525])
    assert means["ci_low"].iloc[-1] == pytest.approx(0.3)
    assert means["ci_high"].iloc[-1] == pytest.approx(0.75)


def test_curve_ends_where_its_longest_seed_ends() -> None:
    short, long = (
        curve({("one", 0): [1.0, 0.5], ("one", 1): [1.0]}),
        curve({("one", 0): [1.0, 0.0, 0.0, 0.0]}, "theirs"),
    )
    means = tables.curves(pd.concat([short, long])).set_index("explainer")
    assert means.loc["ours", "at"].tolist() == [0, 1]
    assert means.loc["ours", "mean"].tolist() == pytest.approx([1, 0.75])
    assert means.loc["theirs", "at"].tolist() == [0, 1, 2, 3]


def test_undefined_curve_does_not_change_the_mean_of_others() -> None:
    means = tables.curves(curve({("one", 0): [np.nan, np.nan], ("two", 0): [1.0, 0.5]}))
    assert means["mean"].tolist() == pytest.approx([1, 0.5])


def test_ablations_have_a_row_per_class_and_network() -> None:
    frame = scores({"ours": 0.5}, "ablation_random", seeds=2, images=4)
    frame["target"] = [0, 0, 1, 1] * 2  # with values 0.4, 0.467, 0.533, 0.6
    frame.loc[0, "value"] = np.nan
    first, second = (frame.assign(at=at, value=value, axis="features") for at, value in ((0.0, 0.9), (1.0, 0.2)))
    rows = tables.by_class(pd.concat([frame, second, first, scores({"ours": 0.1})]), "ablation").to_dict("records")
    assert [row["start"] for row in rows] == [0.9] * 4
    assert [(row["seed"], row["target"], row["n"]) for row in rows] == [(0, 0, 1), (0, 1, 2), (1, 0, 2), (1, 1, 2)]
    assert [row["mean"] for row in rows] == pytest.approx([0.46667, 0.56667, 0.43333, 0.56667], abs=1e-4)
    assert len(tables.by_class(scores({"ours": 0.1}), "ablation")) == 0


def test_every_pair_of_explainers_is_tested() -> None:
    frame = pd.concat([scores({"a": 0.1, "b": 0.2, "c": 0.3}), scores({"a": 0, "b": 0}, "down")])
    tests = tables.significance(frame)
    assert tests.groupby("metric").size().to_dict() == {"up": 3, "down": 1}
    assert tests[tests["metric"] == "up"]["p_holm"].max() < 0.01


def test_metric_of_one_explainer_has_no_pairs_and_columns_stay_numeric() -> None:
    frame = pd.concat([scores({"a": 0.1, "b": 0.2}), scores({"a": 0}, "down")])
    tests = tables.significance(frame)
    assert tests["metric"].tolist() == ["up"]
    # Columns of objects would be written with all digits.
    assert all(pd.api.types.is_numeric_dtype(tests[column]) for column in ("difference", "n", "p", "p_holm"))


def test_rows_name_their_seeds_if_these_differ() -> None:
    frame = pd.concat([scores({"one": 0.5}), scores({"two": 0.6}, seeds=2)])
    text = score_text.markdown(tables.table(frame, DIRECTIONS), set())
    assert "| one (seeds 0) |" in text
    assert "| two (seeds 0 1) |" in text
