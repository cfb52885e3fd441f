"""Figures that draw what they were given."""

import numpy as np
import pandas as pd
import pytest
import torch

from evident.report.figures import scores as figures
from evident.report.figures.heatmaps import heatmap_colours, overlay
from evident.report.gallery.page import gallery


def kept(masks: bool) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    examples = {
        "images": torch.randint(0, 255, (3, 3, 16, 16), dtype=torch.uint8),
        "target": torch.arange(3),
        "heatmaps": torch.rand(3, 16, 16),
    }
    return {**examples, "masks": torch.rand(3, 16, 16) > 0.5} if masks else examples


def test_a_grid_of_images_by_explainers() -> None:
    examples = {"gradient": kept(False), "guided_grad_cam": kept(True)}
    [axes] = figures.examples_figure(examples).axes
    assert [text.get_text() for text in axes.texts] == ["image", "gradient", "guided\ngrad cam"]
    canvas = axes.images[0].get_array()
    assert canvas.shape == (3 * 20 - 4, 3 * 20 - 4, 3)
    assert np.allclose(canvas[20:36, :16], examples["gradient"]["images"][1].permute(1, 2, 0) / 255)
    drawn = heatmap_colours(examples["gradient"]["images"][2], examples["gradient"]["heatmaps"][2])
    assert np.allclose(canvas[40:56, 20:36], drawn)


def test_without_masks_nothing_is_outlined() -> None:
    assert not any(axes.collections for axes in overlay(kept(False)).axes)
    assert any(axes.collections for axes in overlay(kept(True)).axes)


def test_scores_are_sorted_best_on_top() -> None:
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
    higher, lower, neither = figures.scores_figure(pd.DataFrame(rows), {"random"}).axes
    assert neither.get_title() == "colour (neither is better)"
    assert [label.get_text() for label in higher.get_yticklabels()] == ["a", "random", "b"]
    assert [label.get_text() for label in lower.get_yticklabels()] == ["b", "random", "a"]


def test_every_explainer_has_its_curve() -> None:
    at = np.linspace(0, 1, 5)
    curves = pd.concat(
        pd.DataFrame({"explainer": name, "metric": "deletion_blur", "at": at, "mean": at})
        for name in ("a", "b", "random")
    )
    axes, _ = figures.curves_figure(curves, {"random"}).axes
    assert [line.get_label() for line in axes.lines] == ["a", "b", "random"]
    assert axes.lines[2].get_linestyle() == "--"


def ablations(**random: float) -> pd.DataFrame:
    """Curves of explainers, whose accuracy without random features ends at the number given for each."""
    at = np.arange(5.0)
    return pd.concat(
        pd.DataFrame(
            {
                "explainer": explainer,
                "metric": f"ablation_{choice}",
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
    first, second = figures.ablation_figure(ablations(vebi=0.5, other=0.25)).axes
    assert (first.get_title(), second.get_title()) == ("vebi", "other")
    assert (first.get_xlabel(), first.get_ylabel()) == ("features removed", "accuracy on the class")
    for axes, random in ((first, 0.5), (second, 0.25)):
        assert [line.get_label() for line in axes.lines] == ["relevant", "random", "least"]
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["relevant", "random", "least"]
        for line, band, end in zip(axes.lines, axes.collections, (0, random, 1), strict=True):
            assert line.get_xydata()[[0, -1]].tolist() == [[0, 1], [4, end]]
            low, high = band.get_datalim(axes.transData).get_points()[:, 1]
            assert (low, high) == pytest.approx((end - 0.1, 1.1))


def test_explainers_that_have_learnt_the_same_share_a_panel() -> None:
    first, second = figures.ablation_figure(ablations(vebi=0.5, other=0.25, unresampled=0.5)).axes
    assert (first.get_title(), second.get_title()) == ("vebi\nunresampled", "other")


def test_ablation_is_no_curve_over_pixels() -> None:
    deletion = pd.DataFrame({"explainer": "vebi", "metric": "deletion_blur", "at": [0.0, 1.0], "mean": [1.0, 0.0]})
    axes, _ = figures.curves_figure(pd.concat([ablations(vebi=0.5), deletion]), set()).axes
    assert axes.get_title() == "deletion blur"


def test_the_gallery_shows_table_and_figures_and_escapes_names() -> None:
    html = gallery("a<b", "# t\n\n| explainer | x ↑ |\n| --- | ---: |\n| **gr<ad** | *0.1* |\n\ntext", ["examples"])
    assert "<h1>t</h1>" in html
    assert "<td><b>gr&lt;ad</b></td><td><i>0.1</i></td>" in html
    assert 'src="figures/examples.png"' in html
    assert "a&lt;b" in html
