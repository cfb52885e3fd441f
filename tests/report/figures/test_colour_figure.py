"""How much scores depend on colour, class by class."""

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from evident.report.figures.colour import CLASSES, colour_figure


def colours(count: int, seeds: tuple[int, ...] = (0,)) -> pd.DataFrame:
    """Return the changes of `count` classes, in the order of their numbers; the first changes least."""
    rows = [
        {
            **{"explainer": "fgvis", "data": "photos", "model": "net", "seed": seed, "target": n},
            **{"class": f"class {n}, of some kind", "metric": metric, "mean": scale * n / count + 0.1 * seed, "n": 2},
        }
        for seed in seeds
        for n in range(count)
        for metric, scale in (("colour_swap", -0.5), ("colour_grey", -1.0))
    ]
    return pd.DataFrame(rows)


def classes_of(figure: Figure) -> list[str]:
    figure.savefig(io.BytesIO())
    [axes] = figure.axes
    return [label.get_text() for label in axes.get_yticklabels()]


def points(figure: Figure, name: str) -> Any:
    [line] = [line for line in figure.axes[0].lines if line.get_label() == name]
    return line.get_xydata()


def test_class_that_loses_most_in_grey_is_on_top() -> None:
    figure = colour_figure(colours(5))
    assert classes_of(figure) == [f"class {n}" for n in (4, 3, 2, 1, 0)]
    low, high = figure.axes[0].get_ylim()
    assert low > high  # the first is on top
    assert points(figure, "colour grey").tolist() == [[-n / 5, 4 - n] for n in (4, 3, 2, 1, 0)]
    assert points(figure, "colour swap")[:, 0].tolist() == [-n / 10 for n in (4, 3, 2, 1, 0)]
    assert figure.axes[0].get_title() == "fgvis, net"


def test_seeds_are_averaged() -> None:
    figure = colour_figure(colours(3, seeds=(0, 1, 2)))
    assert np.allclose(points(figure, "colour grey")[:, 0], [0.1 - 2 / 3, 0.1 - 1 / 3, 0.1])


@pytest.mark.parametrize("count", [CLASSES, CLASSES + 1, 96])
def test_of_many_classes_the_largest_and_smallest_changes_are_shown(count: int) -> None:
    figure = colour_figure(colours(count))
    ordered = [f"class {n}" for n in range(count)][::-1]
    assert classes_of(figure) == (ordered if count == CLASSES else [*ordered[:16], *ordered[-8:]])
    rest = "" if count == CLASSES else f": {CLASSES} of {count} classes"
    assert figure.axes[0].get_title() == f"fgvis, net{rest}"
