"""Axes that read alike in all figures, and the room that text beside them takes."""

from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter


def plain_numbers(axes: Axes, ticks: int = 5) -> None:
    """Write the numbers of linear axes in full, at most `ticks` on each: no offset, and no power of ten at its end."""
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "linear" and isinstance(axis.get_major_formatter(), ScalarFormatter):
            formatter = ScalarFormatter(useOffset=False)
            formatter.set_scientific(False)
            axis.set_major_locator(MaxNLocator(ticks))
            axis.set_major_formatter(formatter)


def text_width(lines: Iterable[str], points: float, dpi: int) -> float:
    """Return the width in inches of the longest of some lines of text, as a figure draws it; 0 for none."""
    figure = Figure(dpi=dpi)
    drawn = (figure.text(0, 0, line, fontsize=points, parse_math=False) for line in lines)
    return max((text.get_window_extent().width / dpi for text in drawn), default=0.0)
