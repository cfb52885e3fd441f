"""Scores and curves of explainers."""

import numpy as np
import pandas as pd
import pytest

from evident.report.figures.curves import ablation_figure, curves_figure
from evident.report.figures.scores import scores_figure


def test_scores_are_sorted_with_the_best_on_top() -> None:
    rows = [
        {
            "explainer": name,
            "metric": metric,
            "direction": direction,
            "mean": mean,
            "ci_low": mean,
            "ci_high": mean,
        }
        for metric, direction in (("iou", "higher"), ("deletion", "lower"), ("colour", "neither"))
        for name, mean in (("a", 0.1), ("b", 0.9), ("random", 0.5))
    ]
    higher, lower, neither = scores_figure(pd.DataFrame(rows), {"random"}).axes
    assert neither.get_title() == "colour"
    assert [label.get_text() for label in higher.get_yticklabels()] == ["a", "random", "b"]
    assert [label.get_text() for label in lower.get_yticklabels()] == ["b", "random", "a"]


def curves(metric: str, axis: str, *explainers: str) -> pd.DataFrame:
    at = np.linspace(0, 1, 5)
    return pd.concat(
        pd.DataFrame({"explainer": name, "metric": metric, "axis": axis, "at": at, "mean": at}) for name in explainers
    )


def test_every_explainer_has_its_curve() -> None:
    axes, _ = curves_figure(curves("deletion_blur", "pixels", "a", "b", "random"), {"random"}).axes
    assert [line.get_label() for line in axes.lines] == ["a", "b", "random"]
    assert axes.lines[2].get_linestyle() == "--"
    assert axes.get_title() == "deletion blur"


@pytest.mark.parametrize(
    ("axis", "labels"),
    [
        ("pixels", ("share of pixels", "score")),
        ("thresholds", ("threshold", "IoU")),
        ("features", ("features removed", "accuracy on the class")),
        ("attributes", ("attribute", "iou of mine")),
        ("seconds", ("seconds", "iou of mine")),  # an axis of another package
    ],
)
def test_labels_follow_from_the_axis_of_a_curve(axis: str, labels: tuple[str, str]) -> None:
    axes, _ = curves_figure(curves("iou_of_mine", axis, "a"), set(), "score").axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == labels


def test_curves_over_pixels_follow_the_probability_unless_told_otherwise() -> None:
    first, second, _ = curves_figure(
        pd.concat([curves("insertion_blur", "pixels", "a"), curves("iou_area", "thresholds", "a")]), set()
    ).axes
    assert (first.get_ylabel(), second.get_ylabel()) == ("relative probability", "IoU")


def test_curve_of_sensitivity_n_shows_correlations() -> None:
    axes, _ = curves_figure(curves("sensitivity_n", "pixels", "a"), set()).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("share of pixels", "correlation")


def ablations(**random: float) -> pd.DataFrame:
    """Return curves of explainers; without random features, the accuracy ends at the number given for each."""
    at = np.arange(5.0)
    return pd.concat(
        pd.DataFrame(
            {
                "explainer": explainer,
                "metric": f"ablation_{choice}",
                "axis": "features",
                "at": at,
                "mean": mean,
                "ci_low": mean - 0.1,
                "ci_high": mean + 0.1,
            }
        )
        for explainer, end in random.items()
        for choice, mean in {
            "relevant": 1 - at / 4,
            "random": 1 - (1 - end) * at / 4,
            "least": np.ones(5),
        }.items()
    )


def test_every_choice_of_removed_features_has_its_line_and_its_band() -> None:
    first, second = ablation_figure(ablations(vebi=0.5, other=0.25)).axes
    assert (first.get_title(), second.get_title()) == ("vebi", "other")
    assert (first.get_xlabel(), first.get_ylabel()) == ("features removed", "accuracy on the class")
    for axes, random in ((first, 0.5), (second, 0.25)):
        assert [line.get_label() for line in axes.lines] == ["relevant", "random", "least"]
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["relevant", "random", "least"]
        for line, band, end in zip(axes.lines, axes.collections, (0, random, 1), strict=True):
            assert line.get_xydata()[[0, -1]].tolist() == [[0, 1], [4, end]]
            low, high = band.get_datalim(axes.transData).get_points()[:, 1]
            assert (low, high) == pytest.approx((end - 0.1, 1.1))


def test_explainers_that_learned_the_same_share_a_panel() -> None:
    first, second = ablation_figure(ablations(vebi=0.5, other=0.25, unresampled=0.5)).axes
    assert (first.get_title(), second.get_title()) == ("vebi\nunresampled", "other")


def test_score_that_is_the_same_for_all_explainers_has_no_panel_and_long_titles_are_broken() -> None:
    names = ("rise", "lime", "random")
    rows = [
        {"explainer": name, "metric": metric, "direction": "higher", "mean": mean, "ci_low": 0.0, "ci_high": 1.0}
        for metric, means in {
            "part_light": (0.2, 0.2, 0.2),
            "insertion_super_pixels_mean_colour": (0.1, 0.2, 0.3),
        }.items()
        for name, mean in zip(names, means, strict=True)
    ]
    [axes] = scores_figure(pd.DataFrame(rows), {"random"}).axes
    assert axes.get_title() == "insertion super pixels mean colour\n(higher is better)"
    only = pd.DataFrame([row for row in rows if row["metric"] == "part_light"])
    assert len(scores_figure(only, {"random"}).axes) == 1  # there is nothing else to show
