"""What is reached for present and absent classes, drawn image by image."""

import io

import pandas as pd
import pytest
import torch

from evident.report.figures.separation import separation_figure


@pytest.mark.parametrize("explainers", [1, 3, 4])
def test_every_score_is_a_point_in_the_row_of_its_kind(explainers: int) -> None:
    kinds = ["present", "nearest", "random"]
    generator = torch.Generator().manual_seed(0)
    rows = [
        {"explainer": f"e{number}", "kind": kind, "value": value}
        for number in range(explainers)
        for kind in kinds
        for value in torch.rand(5, generator=generator).tolist()
    ]
    reached = pd.DataFrame(rows)
    figure = separation_figure(reached, kinds)
    figure.savefig(io.BytesIO())
    drawn = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in drawn] == [f"e{number}" for number in range(explainers)]
    # Panels of one row share the names of its kinds.
    assert [label.get_text() for label in drawn[0].get_yticklabels()] == kinds
    for axes in drawn:
        points = [line for line in axes.lines if line.get_marker() == "o"]
        for place, (kind, line) in enumerate(zip(kinds, points, strict=True)):
            of = reached[(reached["explainer"] == axes.get_title()) & (reached["kind"] == kind)]
            assert line.get_xdata().tolist() == sorted(of["value"])
            assert all(abs(y - place) < 0.4 for y in line.get_ydata())
