"""The files of a finished cell: one schema, written and read here only.

    folder.write(SCORES, frame)      writes scores.parquet
    folder.read(SCORES)              reads it back
    folder.get(EVIDENCE)             the same, or None if this cell has no such file

A recorder of another package declares a product of its own in the same way: `SPECTRA = Product("spectra.safetensors")`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import pandas as pd
from safetensors.torch import load_file, save_file
from torch import Tensor

from evident.errors import UserError

T = TypeVar("T")
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Product(Generic[T]):
    """Name one file of a cell; its suffix says how it is stored."""

    file: str


SCORES: Product[pd.DataFrame] = Product("scores.parquet")
"""Per-image scores in long form: the labels of the cell, image, target, metric, axis, at, value.

`at` is the position on a curve, whose positions are `axis` (pixels, features, attributes, thresholds, depths); for the
score itself `at` is NaN and `axis` empty.
"""
DIRECTIONS: Product[dict[str, str]] = Product("directions.json")
"""Whether higher or lower is better, or neither, by score."""
NETWORK: Product[dict[str, Any]] = Product("network.json")
"""hash, accuracy, classes and regression (bool); weights if published, attributes if the data set names them."""
COST: Product[dict[str, float]] = Product("cost.json")
"""images, seconds, forward_passes and backward_passes over all images; the highest peak_memory of a batch, in bytes."""
SAMENESS: Product[dict[str, float | None]] = Product("sameness.json")
"""correlation: its mean over all pairs of heatmaps, None for fewer than two; constant: the share of such heatmaps."""
PREDICTIONS: Product[Tensors] = Product("predictions.safetensors")
"""The network's outputs for all test images with their labels, if its training keeps them."""
OUTCOMES: Product[pd.DataFrame] = Product("outcomes.csv")
"""Of every image: image, label (or none), predicted and its probability, target (the explained class) and its own."""
EXAMPLES: Product[Tensors] = Product("examples.safetensors")
"""Of the first n images: images uint8 (n, 3, H, W), target (n,), heatmaps (n, H, W); if known, masks and signed."""
EVIDENCE: Product[Tensors] = Product("evidence.safetensors")
"""Of the same images: mask, explanation, complement uint8 (n, 3, H, W); score, ..._score and mask_share (n,)."""
FEATURE_MAPS: Product[Tensors] = Product("feature_maps.safetensors")
"""Of the same images: maps (n, top, H, W), features (n, top) and shares (n, top)."""
FEATURES: Product[pd.DataFrame] = Product("features.csv")
"""The relevant features of every class, as `Relevance.table` lists them."""
INTERPRETATION: Product[Tensors] = Product("interpretation.safetensors")
"""Average visualisations of the relevant features, as `Interpretation` holds them, images as uint8."""
CONTRIBUTIONS: Product[Tensors] = Product("contributions.safetensors")
"""What `recorders.contributions` keeps of images whose score is a sum over positions and attributes."""


def _save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text())


# Names of classes may be digits, and a label may be missing: it must not become 7.0.
NAMES = {"label": str}
# How the content of a file is written and read, by its suffix.
_WRITERS: dict[str, Callable[[Any, Path], object]] = {
    ".parquet": lambda frame, path: frame.to_parquet(path, index=False),
    ".csv": lambda frame, path: frame.to_csv(path, index=False),
    ".safetensors": _save_tensors,
    ".json": lambda value, path: path.write_text(json.dumps(value, indent=1)),
}
_READERS: dict[str, Callable[[Path], Any]] = {
    ".parquet": pd.read_parquet,
    ".csv": partial(pd.read_csv, dtype=NAMES),
    ".safetensors": load_file,
    ".json": _read_json,
}


@dataclass(frozen=True)
class CellFolder:
    """Read and write the products of the cell in the folder `path`."""

    path: Path

    def write(self, product: Product[T], content: T) -> None:
        """Write a product; raises `UserError` for a suffix that cannot be stored."""
        self._by_suffix(_WRITERS, product)(content, self.path / product.file)

    def read(self, product: Product[T]) -> T:
        """Read a product; raises `UserError` if the cell does not have it."""
        path = self.path / product.file
        if not path.exists():
            raise UserError(f"{path} is missing; delete the folder {self.path} and run the cell again")
        return self._by_suffix(_READERS, product)(path)

    def get(self, product: Product[T]) -> T | None:
        """Read a product; None if the cell does not have it."""
        return self.read(product) if self.has(product) else None

    def has(self, product: Product[Any]) -> bool:
        """Return whether the cell has this product."""
        return (self.path / product.file).exists()

    def environment(self) -> str:
        """Return the JSON text of versions, device and commit under which the cell was made."""
        return (self.path / "environment.json").read_text()

    @staticmethod
    def _by_suffix(known: Mapping[str, Any], product: Product[Any]) -> Any:
        suffix = Path(product.file).suffix
        if suffix not in known:
            raise UserError(f"a cell cannot keep {product.file}; use one of the suffixes {', '.join(known)}")
        return known[suffix]
