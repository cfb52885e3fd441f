"""Real scenes with votes and other real scenes with attributes, as one data set that SIAM learns from (PAPERS 3.3)."""

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
    """Photos with labels `average` and `variance` of votes, others with labels `attributes`; each of its own set.

    Those of the set `explained` are. Raises `UserError` where that is neither.
    """
    if explained not in ("scenicness", "attributes"):
        raise UserError(f"data.build.explained={explained!r} is unknown; use scenicness or attributes")
    known = attributes(root=root, store=store)
    return SceneSplits(scenicness(root=root, store=store), known, known.attributes, explained=explained)
