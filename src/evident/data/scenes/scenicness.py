"""Real scenes with votes and other real scenes with attributes, combined to train SIAM (Marcos et al. 2019)."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from evident.data.scenes.photos import PhotoSplits
from evident.data.scenes.splits import SceneSplits
from evident.errors import UserError

Load = Callable[..., PhotoSplits]


def scenicness(
    scenicness: Load,
    attributes: Load,
    explained: Literal["scenicness", "attributes"] = "scenicness",
    *,
    root: Path,
    store: Path,
) -> SceneSplits:
    """Load photos with labels `average` and `variance`, and other photos with labels `attributes`.

    `explained` is the set whose images are explained. Raises `UserError` if it is unknown.
    """
    if explained not in ("scenicness", "attributes"):
        raise UserError(f"unknown data.build.explained={explained!r}; use scenicness or attributes")
    known = attributes(root=root, store=store)
    return SceneSplits(scenicness(root=root, store=store), known, known.attributes, explained=explained)
