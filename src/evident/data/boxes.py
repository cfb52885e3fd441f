"""Boxes of objects in pictures, from `boxes.csv`: image, xmin, ymin, xmax, ymax in pixels of the upright picture."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from evident.data.tables import read_rows
from evident.errors import UserError, warn_once

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_boxes(file: Path, pictures: Sequence[Sequence[str]], key: Sequence[str] = ("image",)) -> list[Tensor]:
    """Return the boxes (K, 4) of each picture; `pictures` holds the names of each one.

    A row belongs to the picture one of whose names is the row's `key` columns, joined by `/`. Warns once of rows that
    belong to none; raises `UserError` for a table that cannot be read, and if no row belongs to a picture.
    """
    boxes: defaultdict[str, list[list[float]]] = defaultdict(list)
    for row in read_rows(file, (*key, *CORNERS), CORNERS).values():
        boxes["/".join(row[column] for column in key)].append([float(row[corner]) for corner in CORNERS])
    known = {name for names in pictures for name in names}
    if strangers := sorted(boxes.keys() - known):
        text = f"{file}: {len(strangers)} of its {len(boxes)} images are not in the folder, first {strangers[0]}"
        if len(strangers) == len(boxes):
            raise UserError(f"{text}; name them as in {min(known)}")
        warn_once(text)
    return [torch.tensor([box for name in names for box in boxes.get(name, ())]).view(-1, 4) for names in pictures]
