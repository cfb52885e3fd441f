"""Photos with more than one number each, that stay in their files: those of SUN Attributes and of ScenicOrNot.

They are framed as the authors of SIAM frame theirs (Marcos et al., ICCV-W 2019): stretched to a square, `resize` pixels
on each side whatever their shape was, of which the centre, `size` x `size`, is taken. So the whole width of a
landscape is seen, and a place in the frame is the same place in every photo.
"""

import csv
import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional as transforms

from evident import store as artefacts
from evident.data.files import ImageFiles, listing
from evident.data.images import Batch, Rows
from evident.errors import UserError
from evident.progress import bar

SUFFIXES = (".jpg", ".jpeg", ".png")
SPLITS = ("train", "val", "test")
TABLES = (".tsv", ".gz", ".mat")
CHECK_FORMAT = 1  # raise it when other photos would be found unreadable
log = logging.getLogger("evident")


@dataclass(frozen=True)
class Stretch:
    """Both sides resized to `resize` pixels, of that the centre, `size` x `size`."""

    resize: int
    size: int

    def __post_init__(self) -> None:
        if not 0 < self.size <= self.resize:
            raise UserError(f"size={self.size} pixels are no crop of resize={self.resize}; use 1 to {self.resize}")

    def image(self, picture: Image.Image) -> Tensor:
        """Uint8 (3, size, size)."""
        resized = transforms.resize(picture.convert("RGB"), [self.resize, self.resize])
        return transforms.pil_to_tensor(transforms.center_crop(resized, [self.size]))


class PhotoSet(Dataset[Batch]):
    """Photos that are decoded on access, with the numbers that are known of each.

    `labels` holds tensors (N, ...) by name. A batch is a dictionary of `image` float (B, 3, size, size) in [0, 1],
    `index` (B,) into `names`, and the rows of every label.
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

    def first(self, count: int) -> "PhotoSet":
        """The first `count` photos; raises `UserError` where there are fewer."""
        if not 0 < count <= len(self):
            raise UserError(f"{count} photos asked for; 1 to {len(self)} are there")
        return self.rows(torch.arange(count))

    def rows(self, rows: Tensor) -> "PhotoSet":
        """The photos of these rows, in this order."""
        chosen = rows.tolist()
        labels = {name: values[rows] for name, values in self.labels.items()}
        paths, names = [self.paths[row] for row in chosen], [self.names[row] for row in chosen]
        return PhotoSet(paths, self.frame, labels, names)

    def uncropped(self) -> "PhotoSet":
        """The same photos at resize x resize: a training that rotates and crops needs what lies around the centre."""
        whole = Stretch(self.frame.resize, self.frame.resize)
        return PhotoSet(self.paths, whole, self.labels, self.names)


@dataclass(frozen=True)
class PhotoSplits:
    """Train, validation and test photos, the names of their scenes in label order and of their attributes."""

    train: PhotoSet
    val: PhotoSet
    test: PhotoSet
    classes: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()


def source_of(root: Path | str, folder: str = "") -> str:
    """Return a digest of the names and sizes of all photos and tables below root/folder, or "missing"."""
    place = Path(root, folder)
    return listing(place, (*SUFFIXES, *TABLES)) if place.is_dir() else "missing"


def found(folder: Path) -> dict[str, Path]:
    """Every photo below `folder` by its name without suffix; of those of one name, the first by path."""
    paths = sorted((path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES), reverse=True)
    return {path.stem: path for path in paths}


def draw(name: str, seed: int) -> float:
    """A number in [0, 1) that the name and the seed alone decide."""
    return int(hashlib.sha256(f"{seed} {name}".encode()).hexdigest()[:12], 16) / 16**12


def split_of(name: str, seed: int, shares: Sequence[float] = (0.8, 0.1, 0.1)) -> str:
    """The split that a photo falls to by its `draw`: on average these shares for train, val and test.

    So no photo changes its split when others come or go, or are listed in another order.
    """
    train, val, _ = shares
    drawn = draw(name, seed)
    return "train" if drawn < train else "val" if drawn < train + val else "test"


def split(photos: PhotoSet, data_set: str, splits: Sequence[str]) -> tuple[PhotoSet, PhotoSet, PhotoSet]:
    """The train, val and test ones of `photos`; raises `UserError` where there is none of a split."""
    rows = {name: [row for row, own in enumerate(splits) if own == name] for name in SPLITS}
    empty = [name for name, own in rows.items() if not own]
    if empty:
        raise UserError(f"{data_set}: of {len(photos)} photos none falls to {' and '.join(empty)}; more are needed")
    train, val, test = (photos.rows(torch.tensor(rows[name])) for name in SPLITS)
    return train, val, test


def fault(file: Path | IO[bytes]) -> str | None:
    """Why `file` cannot be decoded to its end; None for a whole picture."""
    try:
        with Image.open(file) as picture:
            # Every byte is looked at, but of a JPEG only an eighth of the pixels are worked out.
            picture.draft("RGB", (max(1, picture.width // 8), max(1, picture.height // 8)))
            picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return str(error) or type(error).__name__
    return None


def readable(photos: PhotoSet, data_set: str, limit: float, store: Path) -> PhotoSet:
    """`photos` without those that cannot be decoded, which are listed in the store and told in one line.

    All are tried once for as long as their files stay as they are. Raises `UserError` where more than the share
    `limit` cannot be read.
    """
    paths = photos.paths
    about = [(path, path.stat()) for path in paths]
    lines = "\n".join(f"{path} {stat.st_size} {stat.st_mtime_ns}" for path, stat in about)
    identity = {
        "set": f"{data_set} unreadable", "format": CHECK_FORMAT, "files": hashlib.sha256(lines.encode()).hexdigest()
    }  # fmt: skip

    def make(folder: Path) -> None:
        # Pillow decodes outside Python's lock.
        with (
            ThreadPoolExecutor(os.cpu_count()) as pool,
            bar(f"checking {data_set}", len(paths)) as progress,
            open(folder / "unreadable.csv", "w", newline="") as file,
        ):
            table = csv.writer(file)
            table.writerow(["row", "file", "reason"])
            for row, (path, reason) in enumerate(zip(paths, pool.map(fault, paths), strict=True)):
                if reason is not None:
                    table.writerow([row, path, " ".join(reason.split())])
                progress.advance()

    listed = artefacts.artefact(store, "data", identity, make) / "unreadable.csv"
    with open(listed, newline="") as file:
        broken = [int(row["row"]) for row in csv.DictReader(file)]
    if not broken:
        return photos
    told = f"{data_set}: {len(broken)} of {len(paths)} photos cannot be read"
    if len(broken) > limit * len(paths):
        raise UserError(
            f"{told}, more than {limit:.1%}: {listed}; fetch them again or set data.build.unreadable higher"
        )
    log.warning("%s and are left out: %s", told, listed)
    keep = torch.ones(len(paths), dtype=torch.bool)
    keep[broken] = False
    return photos.rows(keep.nonzero().flatten())
