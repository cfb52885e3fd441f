"""Figures that draw what they were given."""

import numpy as np
import pandas as pd
import torch

from evident.callbacks.figures import heatmap_colours, overlay
from evident.report import figures
from evident.report.gallery import gallery


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
        for metric, direction in (("iou", "higher"), ("deletion", "lower"))
        for name, mean in (("a", 0.1), ("b", 0.9), ("random", 0.5))
    ]
    higher, lower = figures.scores_figure(pd.DataFrame(rows), {"random"}).axes
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


def test_the_gallery_shows_table_and_figures_and_escapes_names() -> None:
    html = gallery("a<b", "# t\n\n| explainer | x ↑ |\n| --- | ---: |\n| **gr<ad** | *0.1* |\n\ntext", ["examples"])
    assert "<h1>t</h1>" in html
    assert "<td><b>gr&lt;ad</b></td><td><i>0.1</i></td>" in html
    assert 'src="figures/examples.png"' in html
    assert "a&lt;b" in html
