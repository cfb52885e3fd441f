"""Changes of the score without each attribute."""

import io

import numpy as np
import pandas as pd

from evident.report.figures.removal import removal_figure

NAMES = ["trees", "ice_snow", "sand"]


def changes(**columns: float) -> pd.DataFrame:
    """Return the changes of three attributes; the removal of the last raises the score most."""
    table = pd.DataFrame(
        {
            "removal_network": [number / 2 for number in range(3)],
            "removal_faithful": [-number for number in range(3)],
            "removal_true": [number - 1.0 for number in range(3)],
        },
        index=pd.Index(NAMES),
    )
    return table.assign(**columns)


def test_every_explanation_has_a_panel_with_true_network_and_explained_changes() -> None:
    panels = removal_figure([("siam of siam", changes()), ("cam of scene_regressor", changes())]).axes
    assert [axes.get_title() for axes in panels] == ["siam of siam", "cam of scene_regressor"]
    for axes in panels:
        assert [label.get_text() for label in axes.get_yticklabels()] == ["trees", "ice snow", "sand"]
        true, network, explained = axes.lines[:3]
        assert true.get_label() == "true score"
        assert np.asarray(true.get_xdata()).tolist() == [-1, 0, 1]
        assert np.asarray(network.get_xdata()).tolist() == [0, 0.5, 1]
        assert np.asarray(explained.get_xdata()).tolist() == [0, -1, -2]


def test_many_panels_wrap_and_leave_no_empty_one() -> None:
    figure = removal_figure([(f"siam of siam_{number}", changes()) for number in range(6)])
    figure.savefig(io.BytesIO())
    assert [axes.get_title() for axes in figure.axes] == [f"siam of siam_{number}" for number in range(6)]
    assert len({axes.get_subplotspec().rowspan.start for axes in figure.axes}) == 2


def test_stated_contributions_come_before_those_of_the_map() -> None:
    tables = [changes(stated_removal_faithful=7.0), changes(stated_removal_faithful=float("nan"))]
    panels = removal_figure([("siam", tables[0]), ("cam", tables[1])]).axes
    assert [np.asarray(axes.lines[2].get_xdata()).tolist() for axes in panels] == [[7, 7, 7], [0, -1, -2]]


def test_attributes_are_sorted_by_the_true_change() -> None:
    [axes] = removal_figure([("siam", changes().iloc[::-1])]).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["trees", "ice snow", "sand"]
