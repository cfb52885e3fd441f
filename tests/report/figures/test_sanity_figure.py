"""The figure of sanity checks: one row per explainer, its interval and its similarities."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from evident.report.figures.sanity import COLOURS, sanity_figure
from evident.report.tables.sanity import DEPENDS, IGNORES, KINDS, MEASURES

MEANS = {"gradient": 0.1, "grad_cam": 0.3, "random": 1.0}


def table_of(kinds: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {"explainer": name, "verdict": IGNORES if mean > 0.5 else DEPENDS, "randomised": kind, "measure": measure}
        | {"mean": mean, "ci_low": mean - 0.1, "ci_high": mean + 0.1}
        for name, mean in MEANS.items()
        for kind in kinds
        for measure in MEASURES
    )


def points_of(depths: int) -> pd.DataFrame:
    return pd.DataFrame(
        {"explainer": name, "metric": f"{prefix}_{measure}", "at": at, "mean": mean * at}
        for name, mean in MEANS.items()
        for prefix in ("cascading", "independent")
        for measure in MEASURES
        for at in np.linspace(1 / depths, 1, depths)
    )


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("depths", [1, 4, 5])
def test_every_explainer_has_a_row_with_its_interval_and_similarities(depths: int) -> None:
    titles = {"grad_cam": "Grad-CAM"}
    figure = sanity_figure(table_of(KINDS), points_of(depths), {"random"}, 0.5, titles)
    figure.savefig(io.BytesIO())
    first, *panels = figure.axes
    assert [label.get_text() for label in first.get_yticklabels()] == ["gradient", "Grad-CAM", "random"]
    assert [label.get_fontstyle() for label in first.get_yticklabels()] == ["normal", "normal", "italic"]
    markers = [line for line in first.lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in markers] == list(MEANS.values())
    assert [to_hex(line.get_color()) for line in markers] == [COLOURS[DEPENDS]] * 2 + [COLOURS[IGNORES]]
    assert [line.get_markerfacecolor() for line in markers][2] == "white"
    assert [axes.get_title() for axes in panels] == list(MEASURES.values())
    for axes in panels:
        assert len([text for text in texts(axes) if "." in text]) == 3 * (2 * depths + 1)
        assert texts(axes)[-1] == "labels"
        assert texts(axes).count("100%") == 2


def test_single_explainer_fits_into_its_figure() -> None:
    table, points = table_of(KINDS), points_of(1)
    figure = sanity_figure(
        table[table["explainer"] == "gradient"], points[points["explainer"] == "gradient"], set(), 0.5
    )
    figure.savefig(io.BytesIO())
    assert len(figure.axes[0].get_yticklabels()) == 1


def test_label_randomisation_alone_is_drawn_without_intervals() -> None:
    figure = sanity_figure(table_of(["labels"]), points_of(5).iloc[:0], set(), 0.5)
    figure.savefig(io.BytesIO())
    first, *panels = figure.axes
    assert not [line for line in first.lines if line.get_marker() == "o"]
    assert all(texts(axes) == ["0.10", "0.30", "1.00", "", "labels"] for axes in panels)
