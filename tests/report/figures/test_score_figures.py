"""Scores and curves of explainers."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Annotation

from evident.report.figures.curves import ablation_figure, apart, chosen_methods, curves_figure
from evident.report.figures.scores import PANELS, score_pages, scores_figure


def test_panels_share_the_order_of_explainers_with_references_below_a_line() -> None:
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
    figure = scores_figure(pd.DataFrame(rows), ["b", "absent", "a", "random"], {"random"})
    assert [axes.get_title() for axes in figure.axes] == ["iou ↑", "deletion ↓", "colour"]
    labels = [[label.get_text() for label in axes.get_yticklabels()] for axes in figure.axes]
    assert labels == [["b", "a", "random"], ["", "", ""], ["", "", ""]]
    for axes in figure.axes:
        methods, reference, line = axes.lines
        assert methods.get_xydata().tolist() == [[0.9, 0], [0.1, 1]]
        assert reference.get_xydata().tolist() == [[0.5, 2]]
        assert np.asarray(line.get_ydata()).tolist() == [1.5, 1.5]
        assert axes.get_ylim() == (2.5, -0.5)  # the first on top


@pytest.mark.parametrize(("explainers", "scores"), [(2, 1), (4, 7), (32, 10), (46, 12)])
def test_figure_of_scores_fits_on_a_page(explainers: int, scores: int) -> None:
    names = ["WIDE LETTERS IN ITS NAME", *(f"an explainer with settings {number}" for number in range(1, explainers))]
    rows = [
        {"explainer": name, "metric": f"m{number}", "direction": "lower", "mean": 0.5, "ci_low": 0.4, "ci_high": 0.6}
        for number in range(scores)
        for name in names
    ]
    figure = scores_figure(pd.DataFrame(rows), names, set())
    width, height = figure.canvas.get_width_height()
    assert width <= 1000
    assert height <= 1400
    figure.draw_without_rendering()
    for axes in figure.axes:
        for text in (*axes.get_yticklabels(), axes.title):
            box = text.get_window_extent()
            assert box.x0 >= 0
            assert box.x1 <= width
            assert box.y1 <= height
    pitch = figure.axes[0].get_window_extent().height / explainers
    assert pitch >= 7 / 72 * figure.dpi  # a line of the names, whose size is 7 points


def test_explainer_without_a_score_has_a_blank() -> None:
    rows = [
        {"explainer": name, "metric": metric, "direction": "higher", "mean": 0.5, "ci_low": 0.4, "ci_high": 0.6}
        for name, metric in (("a", "iou"), ("b", "iou"), ("b", "gini"))
    ]
    first, second = scores_figure(pd.DataFrame(rows), ["a", "b"], set()).axes
    assert np.isnan(second.lines[0].get_xydata()[0, 0])
    assert second.lines[0].get_xydata()[1].tolist() == [0.5, 1]
    assert first.get_ylim() == second.get_ylim()


def curves(metric: str, axis: str, *explainers: str) -> pd.DataFrame:
    at = np.linspace(0, 1, 5)
    return pd.concat(
        pd.DataFrame(
            {"explainer": name, "metric": metric, "axis": axis, "at": at}
            | {"mean": at, "ci_low": at - 0.1, "ci_high": at + 0.2}
        )
        for name in explainers
    )


def test_every_explainer_has_its_curve() -> None:
    [axes] = curves_figure(curves("deletion_blur", "pixels", "a", "b", "random"), {"random"}).axes
    assert [line.get_label() for line in axes.lines] == ["a", "b", "random"]
    assert axes.lines[2].get_linestyle() == "--"
    assert axes.get_title() == "deletion blur"


@pytest.mark.parametrize("name", ["WWWWWWWWWWWWWWWW", "llllllllllllllll"])
def test_label_of_a_curve_ends_inside_the_figure(name: str) -> None:
    figure = curves_figure(curves("deletion_blur", "pixels", name), set())
    figure.draw_without_rendering()
    [label] = figure.axes[0].texts
    assert label.get_window_extent().x1 <= figure.canvas.get_width_height()[0]


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
    [axes] = curves_figure(curves("iou_of_mine", axis, "a"), set(), "score").axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == labels


def test_curves_over_pixels_follow_the_probability_unless_told_otherwise() -> None:
    first, second = curves_figure(
        pd.concat([curves("insertion_blur", "pixels", "a"), curves("iou_area", "thresholds", "a")]), set()
    ).axes
    assert (first.get_ylabel(), second.get_ylabel()) == ("relative probability", "IoU")


def test_curve_of_sensitivity_n_shows_correlations() -> None:
    [axes] = curves_figure(curves("sensitivity_n", "pixels", "a"), set()).axes
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
    [[page]] = score_pages(pd.DataFrame(rows))
    assert page == "insertion_super_pixels_mean_colour"
    [axes] = scores_figure(pd.DataFrame(rows[3:]), names, {"random"}).axes
    assert axes.get_title() == "insertion super pixels mean colour ↑"
    both = [row | {"metric": metric} for metric in "abcdefghijk" for row in rows[3:]]
    narrow = scores_figure(pd.DataFrame([*rows[3:], *both]), names, {"random"}).axes[0]
    assert narrow.get_title() == "insertion super pixels\nmean colour ↑"
    assert score_pages(pd.DataFrame(rows[:3])) == [["part_light"]]  # there is nothing else to show


@pytest.mark.parametrize(("directed", "pages"), [(12, [12]), (13, [7, 6]), (0, [10, 10])])
def test_figures_have_at_most_twelve_panels_first_without_scores_that_have_no_direction(
    directed: int, pages: list[int]
) -> None:
    rows = [
        {"explainer": name, "metric": f"m{number:02}", "direction": "lower" if number < directed else "neither"}
        | {"mean": mean + number}
        for number in range(20)
        for name, mean in (("a", 0.1), ("b", 0.9))
    ]
    found = score_pages(pd.DataFrame(rows))
    assert list(map(len, found)) == pages
    assert max(pages) <= PANELS


def test_explainers_have_their_titles_and_references_are_hollow() -> None:
    rows = [
        {"explainer": name, "metric": "iou", "direction": "higher", "mean": mean, "ci_low": mean, "ci_high": 1.0}
        for name, mean in (("grad_cam", 0.9), ("random", 0.5))
    ]
    [axes] = scores_figure(pd.DataFrame(rows), ["grad_cam", "random"], {"random"}, {"grad_cam": "Grad-CAM"}).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Grad-CAM", "random"]
    assert [label.get_fontstyle() for label in axes.get_yticklabels()] == ["normal", "italic"]
    method, reference, _ = axes.lines
    assert (method.get_xydata().tolist(), reference.get_xydata().tolist()) == ([[0.9, 0]], [[0.5, 1]])
    assert reference.get_markerfacecolor() == "white"
    assert method.get_markerfacecolor() != "white"


def scored(**means: float) -> pd.DataFrame:
    return pd.DataFrame(
        [{"explainer": name, "metric": "iou", "direction": "higher", "mean": mean} for name, mean in means.items()]
    )


def test_chosen_methods_span_best_worst_and_areas() -> None:
    names = [f"m{number:02}" for number in range(12)]
    table = scored(**{name: 1 - number / 12 for number, name in enumerate(names)}, random=0.9, centre=0.9, oracle=1)
    at = np.linspace(0, 1, 5)
    areas = {name: 0.5 for name in (*names, "random", "centre", "oracle")} | {"m06": 0.9, "m08": 0.1}
    drawn = pd.concat(
        pd.DataFrame({"explainer": name, "metric": "deletion", "axis": "pixels", "at": at, "mean": area})
        for name, area in areas.items()
    )
    chosen = chosen_methods(drawn, table, {"random", "centre", "oracle"})
    assert chosen == ["m00", "m01", "m02", "m03", "m06", "m08", "m11", "random", "oracle"]
    few = drawn[drawn["explainer"].isin([*names[3:11], "random"])]
    assert chosen_methods(few, table, {"random", "centre", "oracle"}) == [*names[3:11], "random"]


def test_curve_has_its_interval_as_a_band_and_its_title_at_its_end() -> None:
    [axes] = curves_figure(curves("deletion_blur", "pixels", "grad_cam"), set(), titles={"grad_cam": "Grad-CAM"}).axes
    [band], [label] = axes.collections, axes.texts
    assert band.get_datalim(axes.transData).get_points()[:, 1].tolist() == pytest.approx([-0.1, 1.2])
    assert label.get_text() == "Grad-CAM"
    assert isinstance(label, Annotation)
    assert label.xy == (1, 1)
    assert axes.get_legend() is None


def test_labels_are_moved_apart_and_stay_in_the_panel() -> None:
    assert apart(np.array([0.1, 0.9]), 0.2).tolist() == pytest.approx([0.1, 0.9])
    assert apart(np.array([0.5, 0.5]), 0.2).tolist() == pytest.approx([0.4, 0.6])
    assert apart(np.array([1.0, 0.99, 0.98]), 0.1).tolist() == pytest.approx([1.0, 0.9, 0.8])
    crowded = apart(np.zeros(8), 0.2)
    assert np.diff(np.sort(crowded)).tolist() == pytest.approx([0.2] * 7)


@pytest.mark.parametrize("mean", [1e-9, 123456.0])
def test_axes_have_neither_offset_nor_power_of_ten(mean: float) -> None:
    rows = [
        {"explainer": name, "metric": "iou", "direction": "higher", "mean": mean * (1 + 1e-6 * number)}
        | {"ci_low": mean, "ci_high": mean * (1 + 1e-6)}
        for number, name in enumerate(("a", "b"))
    ]
    drawn = curves("deletion_blur", "pixels", "a")
    drawn[["mean", "ci_low", "ci_high"]] = mean * (1 + 1e-6 * drawn[["mean", "ci_low", "ci_high"]])
    for figure in (scores_figure(pd.DataFrame(rows), ["a", "b"], set()), curves_figure(drawn, set())):
        figure.draw_without_rendering()
        for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
            assert axis.get_offset_text().get_text() == ""
