"""What a section of the report is: the tables, figures and text of one product.

To add one, subclass `Section` and name the class in a file of conf/section; a config that includes that file shows the
section.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from evident.report.experiment import Cell, Experiment


@dataclass
class Part:
    """What a section adds to the report of an experiment: tables and figures by file name, and Markdown text.

    `captions` say what figures show and from which sample (`report.captions`), by the names of figures; one without a
    caption gets the sample of the whole experiment. The figures of `vector` are written as PDF too, for papers.
    `folders` are further files: by the name of a folder, the contents of its files by their paths there. The folder
    holds nothing else afterwards, and the page of the experiment links its `index.html`.
    """

    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    text: str = ""
    folders: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    captions: dict[str, str] = field(default_factory=dict)
    vector: set[str] = field(default_factory=set)


@dataclass
class PicturePart:
    """What a section adds to the explanation of one picture.

    `values` go to prediction.json; figures and images (3 or 1, H, W) in [0, 1] become files of that name.
    """

    values: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    images: dict[str, Tensor] = field(default_factory=dict)


class Section:
    """Report one product of the recorders; a product that no cell has adds nothing."""

    def report(self, experiment: Experiment) -> Part:
        """Return the tables, figures and text of an experiment."""
        return Part()

    def picture(self, cell: Cell) -> PicturePart:
        """Return what is shown of a single picture, which is the only image of this cell."""
        return PicturePart()
