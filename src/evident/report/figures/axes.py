"""Axes that read alike in all figures."""

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, ScalarFormatter


def plain_numbers(axes: Axes, ticks: int = 5) -> None:
    """Write the numbers of linear axes in full, at most `ticks` on each: no offset, and no power of ten at its end."""
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "linear" and isinstance(axis.get_major_formatter(), ScalarFormatter):
            formatter = ScalarFormatter(useOffset=False)
            formatter.set_scientific(False)
            axis.set_major_locator(MaxNLocator(ticks))
            axis.set_major_formatter(formatter)
