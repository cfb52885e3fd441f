"""Photographs with several labels each, read from files: those of SUN Attributes and of ScenicOrNot.

Images are prepared as by the authors of SIAM (Marcos et al., ICCV-W 2019): stretched to a square of `resize` pixels
regardless of their shape, then cropped to the centre, `size` x `size`. So most of a landscape's width stays visible,
and a position in the square means the same in every photo.
"""

import csv
import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from evident.contracts import Splits, Uncropped
from evident.data.files import ImageFiles, Stretch, files_below, listing
from evident.data.images import Rows, block_of
from evident.data.pictures import decoding_error
from evident.data.scenes.splits import SPLITS, split_of_scenes
from evident.errors import UserError
from evident.progress import bar
from evident.store import artefact
from evident.values import Batch

SUFFIXES = (".jpg", ".jpeg", ".png")
TABLES = (".tsv", ".gz", ".mat")
CHECK_FORMAT = 2  # increase it when `decoding_error` changes, so that photos are checked again
log = logging.getLogger("evident")


class PhotoSet(Dataset[Batch], Uncropped):
    """Hold photos, decoded on access, with `labels`: tensors (N, ...) by name.

    A batch is a dictionary of `image` float (B, 3, size, size) in [0, 1], `index` (B,) into `names`, and the labels.
    """

    def __init__(
        self, paths: Sequence[Path], frame: Stretch, labels: Mapping[str, Tensor], names: Sequence[str]
    ) -> None:
        self.paths, self.frame, self.labels, self.names = tuple(paths), frame, dict(labels), tuple(names)
        self.images: Rows = ImageFiles(self.paths, frame)

    def __len__(self) -> int:
        return len(self.names)

    def __getitems__(self, indices: list[int]) -> Batch:
        index = torch.as_tensor(indices)
        image = self.images[index].float().div_(255)
        return {"image": image, **{name: values[index] for name, values in self.labels.items()}, "index": index}

    def __getitem__(self, index: int) -> Batch:
        return {key: value[0] for key, value in self.__getitems__([index]).items()}

    def block(self, count: int, number: int = 0) -> "PhotoSet":
        """Return block `number` of `count` photos (`block_of`); raise `UserError` if the set has fewer photos."""
        return self.rows(torch.arange(len(self))[block_of(len(self), count, number)])

    def rows(self, rows: Tensor) -> "PhotoSet":
        """Return the photos of these rows, in this order."""
        chosen = rows.tolist()
        labels = {name: values[rows] for name, values in self.labels.items()}
        paths, names = [self.paths[row] for row in chosen], [self.names[row] for row in chosen]
        return PhotoSet(paths, self.frame, labels, names)

    def uncropped(self) -> "PhotoSet":
        """Return the same photos at resize x resize, for training that rotates and crops at random."""
        return PhotoSet(self.paths, Stretch(self.frame.resize, self.frame.resize), self.labels, self.names)


@dataclass(frozen=True)
class PhotoSplits(Splits):
    """Hold training, validation and test photos, and the names of their classes and attributes in label order."""

    train: PhotoSet
    val: PhotoSet
    test: PhotoSet
    classes: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()

    def split(self, name: str) -> PhotoSet:
        """Return the split called `name`; raise `UserError` for an unknown name."""
        return split_of_scenes(self, name)

    def class_names(self) -> Sequence[str]:
        return self.classes


def source_of(root: Path | str, folder: str = "") -> str:
    """Return a hash of the names and sizes of all photos and tables below root/folder, or "missing"."""
    path = Path(root, folder)
    return listing(path, (*SUFFIXES, *TABLES)) if path.is_dir() else "missing"


def find_photos(folder: Path) -> dict[str, Path]:
    """Return all photos below `folder` by file name without suffix; of equal names, the first path in sorted order."""
    paths = reversed(files_below(folder, SUFFIXES))
    return {path.stem: path for path in paths}


def uniform_hash(name: str, seed: int) -> float:
    """Return a number in [0, 1), uniformly distributed, that depends only on `name` and `seed`."""
    return int(hashlib.sha256(f"{seed} {name}".encode()).hexdigest()[:12], 16) / 16**12


def split_of(name: str, seed: int, shares: Sequence[float] = (0.8, 0.1, 0.1)) -> str:
    """Return the split of a photo by its `uniform_hash`; `shares` are the expected shares of train, val and test.

    A photo keeps its split when others are added, removed or listed in another order.
    """
    train, val, _ = shares
    position = uniform_hash(name, seed)
    return "train" if position < train else "val" if position < train + val else "test"


def partition(photos: PhotoSet, data_set: str, splits: Sequence[str]) -> tuple[PhotoSet, PhotoSet, PhotoSet]:
    """Divide `photos` into train, val and test by `splits`, one name per photo; raise `UserError` if one is empty."""
    rows = {name: [row for row, own in enumerate(splits) if own == name] for name in SPLITS}
    empty = [name for name, own in rows.items() if not own]
    if empty:
        raise UserError(f"{data_set}: none of the {len(photos)} photos is in {' and '.join(empty)}; add more photos")
    train, val, test = (photos.rows(torch.tensor(rows[name])) for name in SPLITS)
    return train, val, test


def drop_unreadable(photos: PhotoSet, data_set: str, limit: float, store: Path) -> PhotoSet:
    """Return `photos` without those that cannot be decoded; list these in the store and log one warning.

    The check is repeated only if a file has changed. Raises `UserError` if more than the share `limit` is unreadable.
    """
    paths = photos.paths
    lines = "\n".join(f"{path} {stat.st_size} {stat.st_mtime_ns}" for path, stat in ((p, p.stat()) for p in paths))
    identity = {
        "set": f"{data_set} unreadable", "format": CHECK_FORMAT, "files": hashlib.sha256(lines.encode()).hexdigest()
    }  # fmt: skip

    def make(folder: Path) -> None:
        # Threads run in parallel because Pillow releases Python's global lock while it decodes.
        with (
            ThreadPoolExecutor(os.cpu_count()) as pool,
            bar(f"checking {data_set}", len(paths)) as progress,
            open(folder / "unreadable.csv", "w", newline="") as file,
        ):
            table = csv.writer(file)
            table.writerow(["row", "file", "reason"])
            for row, (path, reason) in enumerate(zip(paths, pool.map(decoding_error, paths), strict=True)):
                if reason is not None:
                    table.writerow([row, path, " ".join(reason.split())])
                progress.advance()

    listed = artefact(store, "data", identity, make) / "unreadable.csv"
    with open(listed, newline="") as file:
        broken = [int(row["row"]) for row in csv.DictReader(file)]
    if not broken:
        return photos
    summary = f"{data_set}: {len(broken)} of {len(paths)} photos cannot be read"
    if len(broken) > limit * len(paths):
        raise UserError(
            f"{summary}, more than {limit:.1%}: {listed}; fetch them again or increase data.build.unreadable"
        )
    log.warning("%s and are left out: %s", summary, listed)
    keep = torch.ones(len(paths), dtype=torch.bool)
    keep[broken] = False
    return photos.rows(keep.nonzero().flatten())
