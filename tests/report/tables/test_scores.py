"""Tables from scores whose answers are known."""

import numpy as np
import pandas as pd
import pytest

from evident.report.tables import scores as tables

DIRECTIONS = {"up": "higher", "down": "lower", "says": "neither"}


def scores(means: dict[str, float], metric: str = "up", seeds: int = 1, images: int = 40) -> pd.DataFrame:
    spread = np.linspace(-0.1, 0.1, images)
    labels = {"experiment": "e", "data": "d", "model": "m", "metric": metric, "target": 0, "at": np.nan}
    names = [f"image{index:02d}" for index in range(images)]
    return pd.concat(
        [
            pd.DataFrame({**labels, "explainer": name, "seed": seed, "image": names, "value": mean + spread})
            for name, mean in means.items()
            for seed in range(seeds)
        ],
        ignore_index=True,
    )


def test_a_row_holds_mean_interval_spread_and_counts() -> None:
    frame = scores({"ours": 0.5}, seeds=2)
    frame.loc[3, "value"] = np.nan
    [row] = tables.table(frame, DIRECTIONS).to_dict("records")
    assert row["explainer"] == "ours"
    assert row["direction"] == "higher"
    assert row["mean"] == pytest.approx(0.5, abs=0.01)
    assert row["ci_low"] < row["mean"] < row["ci_high"]
    assert row["std"] == pytest.approx(frame.groupby("image")["value"].mean().std())
    assert (row["n"], row["n_undefined"], row["seeds"]) == (79, 1, "0 1")


def test_the_mean_of_seeds_is_over_images_not_over_more_images() -> None:
    one = tables.table(scores({"ours": 0.5}), DIRECTIONS)
    five = tables.table(scores({"ours": 0.5}, seeds=5), DIRECTIONS)
    columns = ["mean", "ci_low", "ci_high"]
    assert five[columns].to_numpy() == pytest.approx(one[columns].to_numpy())


@pytest.mark.parametrize(("metric", "best"), [("up", "high"), ("down", "low")])
def test_the_best_is_bold_in_its_direction_and_ties_are_marked(metric: str, best: str) -> None:
    frame = scores({"low": 0.2, "high": 0.8, f"near_{best}": 0.2 if best == "low" else 0.8, "random": 0.99}, metric)
    text = tables.markdown(tables.table(frame, DIRECTIONS), {"random"}, "title")
    lines = {line.split(" | ")[0].strip("| *"): line for line in text.splitlines() if line.startswith("| ")}
    assert "**" in lines[best]
    assert "≈" in lines[f"near_{best}"]
    assert "**" not in lines["random"]
    assert lines["explainer"].endswith("↑ |" if metric == "up" else "↓ |")


def test_of_a_metric_that_only_describes_nothing_is_best() -> None:
    frame = scores({"low": 0.2, "near": 0.2, "high": 0.8}, "says")
    text = tables.markdown(tables.table(frame, DIRECTIONS), set(), "title")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert lines[0] == "| explainer | says |"
    assert not any(mark in line for line in lines for mark in ("**", "≈", "↑", "↓"))
    assert text.endswith(" No arrow: neither is better.\n")
    assert "No arrow" not in tables.markdown(tables.table(scores({"ours": 0.5}), DIRECTIONS), set(), "title")


@pytest.mark.parametrize("references", [set(), {"random"}])
def test_where_nobody_else_has_the_metric_nothing_is_best(references: set[str]) -> None:
    both = scores({"ours": 0.5, "other": 0.4, "random": 0.1})
    alone = scores({"ours": 0.1, **dict.fromkeys(references, 0.2)}, "down")
    text = tables.markdown(tables.table(pd.concat([both, alone]), DIRECTIONS), references, "title")
    [line] = [line for line in text.splitlines() if line.startswith("| ours")]
    _, _, up, down, _ = line.split("|")
    assert "**" in up
    assert "0.100" in down
    assert "**" not in down
    assert "≈" not in down


def test_what_rounds_to_zero_has_no_sign() -> None:
    rows = tables.table(scores({"low": -0.0001, "high": 0.8}), DIRECTIONS)
    assert "| low | 0.000 ± " in tables.markdown(rows, set(), "title")


def test_undefined_scores_are_shown() -> None:
    frame = scores({"ours": 0.5})
    frame.loc[:2, "value"] = np.nan
    assert "∅3" in tables.markdown(tables.table(frame, DIRECTIONS), set(), "title")


def test_a_metric_that_does_not_apply_is_a_blank_and_the_legend_says_so() -> None:
    both = scores({"ours": 0.5, "other": 0.4})
    assert "Blank" not in tables.markdown(tables.table(both, DIRECTIONS), set(), "title")
    text = tables.markdown(tables.table(pd.concat([both, scores({"ours": 0.1}, "down")]), DIRECTIONS), set(), "title")
    [line] = [line for line in text.splitlines() if line.startswith("| other")]
    assert line.endswith(" |  |")
    assert text.endswith("Blank: the metric does not apply to this explainer.\n")


def test_curves_average_every_position() -> None:
    parts = [scores({"ours": at}).assign(at=at) for at in (0.0, 0.5, 1.0)]
    curve = tables.curves(pd.concat(parts, ignore_index=True))
    assert curve["at"].tolist() == [0, 0.5, 1]
    assert curve["mean"].tolist() == pytest.approx([0, 0.5, 1])


def curve(values: dict[tuple[str, int], list[float]], explainer: str = "ours") -> pd.DataFrame:
    """A curve at 0, 1, 2, ... for each (image, seed)."""
    labels = {"experiment": "e", "data": "d", "model": "m", "explainer": explainer, "metric": "up", "target": 0}
    rows = [
        {**labels, "image": image, "seed": seed, "at": float(at), "value": value}
        for (image, seed), points in values.items()
        for at, value in enumerate(points)
    ]
    return pd.DataFrame(rows)


def test_a_curve_that_ends_earlier_for_one_seed_holds_its_last_value() -> None:
    early = {("one", 0): [1.0, 0.5, 0.25, 0.0], ("one", 1): [0.8, 0.6], ("two", 0): [1, 1, 1, 1], ("two", 1): [0, 0.5]}
    means = tables.curves(curve(early))
    assert means["at"].tolist() == [0, 1, 2, 3]
    # Image one: 0.9, 0.55, then 0.25 and 0 with 0.6; image two: 0.5, 0.75, then 1 and 1 with 0.5.
    assert means["mean"].tolist() == pytest.approx([0.7, 0.65, 0.5875, 0.525])
    assert means["ci_low"].iloc[-1] == pytest.approx(0.3)
    assert means["ci_high"].iloc[-1] == pytest.approx(0.75)


def test_a_curve_goes_no_further_than_its_own_longest() -> None:
    short, long = (
        curve({("one", 0): [1.0, 0.5], ("one", 1): [1.0]}),
        curve({("one", 0): [1.0, 0.0, 0.0, 0.0]}, "theirs"),
    )
    means = tables.curves(pd.concat([short, long])).set_index("explainer")
    assert means.loc["ours", "at"].tolist() == [0, 1]
    assert means.loc["ours", "mean"].tolist() == pytest.approx([1, 0.75])
    assert means.loc["theirs", "at"].tolist() == [0, 1, 2, 3]


def test_a_curve_that_is_undefined_stays_so_and_takes_nothing_from_the_others() -> None:
    means = tables.curves(curve({("one", 0): [np.nan, np.nan], ("two", 0): [1.0, 0.5]}))
    assert means["mean"].tolist() == pytest.approx([1, 0.5])


def test_ablations_are_shown_by_class_and_network() -> None:
    frame = scores({"ours": 0.5}, "ablation_random", seeds=2, images=4)
    frame["target"] = [0, 0, 1, 1] * 2  # of values 0.4, 0.467, 0.533, 0.6
    frame.loc[0, "value"] = np.nan
    position = frame.assign(at=1.0)
    rows = tables.by_class(pd.concat([frame, position, scores({"ours": 0.1})]), "ablation").to_dict("records")
    assert [(row["seed"], row["target"], row["n"]) for row in rows] == [(0, 0, 1), (0, 1, 2), (1, 0, 2), (1, 1, 2)]
    assert [row["mean"] for row in rows] == pytest.approx([0.46667, 0.56667, 0.43333, 0.56667], abs=1e-4)
    assert len(tables.by_class(scores({"ours": 0.1}), "ablation")) == 0


def test_significance_pairs_every_two_explainers() -> None:
    frame = pd.concat([scores({"a": 0.1, "b": 0.2, "c": 0.3}), scores({"a": 0, "b": 0}, "down")])
    tests = tables.significance(frame)
    assert tests.groupby("metric").size().to_dict() == {"up": 3, "down": 1}
    assert tests[tests["metric"] == "up"]["p_holm"].max() < 0.01


def test_a_metric_of_one_explainer_has_no_pairs_and_leaves_the_others_their_numbers() -> None:
    frame = pd.concat([scores({"a": 0.1, "b": 0.2}), scores({"a": 0}, "down")])
    tests = tables.significance(frame)
    assert tests["metric"].tolist() == ["up"]
    # Columns of objects would be written with all their digits.
    assert all(pd.api.types.is_numeric_dtype(tests[column]) for column in ("difference", "n", "p", "p_holm"))


def test_rows_of_other_seeds_say_which() -> None:
    frame = pd.concat([scores({"one": 0.5}), scores({"two": 0.6}, seeds=2)])
    text = tables.markdown(tables.table(frame, DIRECTIONS), set(), "title")
    assert "| one (seeds 0) |" in text
    assert "| two (seeds 0 1) |" in text
