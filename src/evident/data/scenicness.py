"""Real scenes with votes and other real scenes with attributes, as one data set that SIAM learns from (PAPERS 3.3)."""

from collections.abc import Callable
from pathlib import Path

from evident.data.photos import PhotoSplits
from evident.data.scenes import SceneSplits

Load = Callable[..., PhotoSplits]


def scenicness(scenicness: Load, attributes: Load, *, root: Path, store: Path) -> SceneSplits:
    """Photos with labels `average` and `variance` of votes, others with labels `attributes`; each of its own set."""
    known = attributes(root=root, store=store)
    return SceneSplits(scenicness(root=root, store=store), known, known.attributes)
