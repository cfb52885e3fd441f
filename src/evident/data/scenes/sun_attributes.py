"""SUN Attributes (Patterson and Hays, CVPR 2012): photos of 717 scene classes, with three annotators' votes on each.

The 33 attributes are those of SIAM (Marcos et al., ICCV-W 2019), some of which merge several of the original 102. A
value is the share of the three annotators who saw the attribute: 0, 1/3, 2/3 or 1. Labels are read from

    sun/attributeLabels_continuous2.mat   SIAM's file: labels_cv (14340, 33), with their names in attributes2.mat and
    sun/images.mat                        the original list of the photos, or
    sun/attributes.csv.gz                 the same in one table: class, image, and one column per attribute

The original 102 attributes (attributeLabels_continuous.mat, attributes.mat) also work if their columns have the 33
names. Photos are found by their file names, which are unique (sun_aakbdcgfpksytcwj.jpg), in any folders below sun/.

The split is the authors' (sun/trainval_idx.mat: `sets` 0, 1, 2) if that file exists. Otherwise the split of a photo
depends on its name and a seed, 80-10-10 by default.
"""

import csv
import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.io import loadmat

from evident.data.files import Stretch
from evident.data.scenes.photos import (
    PhotoSet,
    PhotoSplits,
    drop_unreadable,
    find_photos,
    partition,
    split_of,
    uniform_hash,
)
from evident.data.scenes.splits import SPLITS
from evident.errors import UserError

ATTRIBUTES = (
    *("trees", "grass", "flowers", "ocean", "running_water", "still_water", "road", "railroad", "fencing_railing"),
    *("wire", "transport", "wood", "ice_snow", "brick", "shingles", "metal", "cloth", "sand", "rock_stone", "glass"),
    *("aged_worn", "dirty", "rusty", "dry", "rugged_scene", "cluttered_space", "clouds", "horizon", "digging"),
    *("temple", "farming", "hiking", "social"),
)


@dataclass(frozen=True)
class Votes:
    """Hold file names without suffix ("" if unknown), scene classes and shares of votes float32 (N, 33) of N photos."""

    names: Sequence[str]
    scenes: Sequence[str]
    shares: NDArray[np.float32]


def sun_attributes(
    resize: int,
    size: int,
    seed: int,
    unreadable: float,
    shares: Sequence[float] = (0.8, 0.1, 0.1),
    *,
    root: Path,
    store: Path,
) -> PhotoSplits:
    """Load the photos below root/sun that have votes; labels `attributes` (N, 33) and `label` (N,), the scene class.

    Photos are stretched to resize x resize and cropped to the centre, size x size. `shares` are the expected shares of
    train, val and test without the authors' split. Raises `UserError` if labels or photos are missing or invalid, more
    than the share `unreadable` of the photos cannot be decoded, or `shares` are not positive or do not sum to 1.
    """
    if len(shares) != 3 or not min(shares) > 0 or not abs(sum(shares) - 1) < 1e-6:
        raise UserError(f"data.build.shares={list(shares)}; give three above 0 that sum to 1, for train, val and test")
    folder = root / "sun"
    votes, files = votes_of(folder), find_photos(folder)
    with_photo = [row for row, name in enumerate(votes.names) if name in files]
    # Shuffled, so that the first images of every split, which are explained, come from several classes.
    rows = sorted(with_photo, key=lambda row: uniform_hash(votes.names[row], seed))
    if not rows:
        raise UserError(
            f"sun: {folder} has none of the {len(votes.names)} photos that have labels; get "
            "SUNAttributeDB_Images.tar.gz from the authors (cs.brown.edu/~gmpatter/sunattributes.html) and unpack it "
            "there, or set EVIDENT_DATA to the folder that contains sun/, and run again"
        )
    classes = tuple(sorted(set(votes.scenes)))
    class_index = {scene: index for index, scene in enumerate(classes)}
    names = [votes.names[row] for row in rows]
    labels = {
        "attributes": torch.from_numpy(votes.shares[rows]),
        "label": torch.tensor([class_index[votes.scenes[row]] for row in rows]),
    }
    photos = PhotoSet([files[name] for name in names], Stretch(resize, size), labels, names)
    photos = drop_unreadable(photos, "sun", unreadable, store)
    split = _authors_split(folder, votes.names) or {name: split_of(name, seed, shares) for name in photos.names}
    splits = partition(photos, "sun", [split[name] for name in photos.names])
    return PhotoSplits(*splits, classes=classes, attributes=ATTRIBUTES)


def votes_of(folder: Path) -> Votes:
    """Return the labels of all photos, with or without a file; raise `UserError` if they are missing or invalid."""
    for suffix in ("2", ""):
        if (folder / f"attributeLabels_continuous{suffix}.mat").is_file():
            return _from_matlab(folder, suffix)
    if (folder / "attributes.csv.gz").is_file():
        return _from_table(folder / "attributes.csv.gz")
    raise UserError(
        f"sun: {folder} has no labels; get images.mat from the authors of SUN Attributes "
        "(cs.brown.edu/~gmpatter/sunattributes.html), attributeLabels_continuous2.mat and attributes2.mat from the "
        "repository of SIAM, and put them there, or set EVIDENT_DATA to the folder that contains sun/, and run again"
    )


def _from_matlab(folder: Path, suffix: str) -> Votes:
    shares = _matrix(folder / f"attributeLabels_continuous{suffix}.mat", "labels_cv")
    columns = _names(folder / f"attributes{suffix}.mat", "attributes")
    images = _names(folder / "images.mat", "images")
    if shares.shape != (len(images), len(columns)):
        raise UserError(
            f"sun: labels_cv in {folder} is {' x '.join(map(str, shares.shape))}, expected {len(images)} photos of "
            f"images.mat x {len(columns)} names of attributes{suffix}.mat; get all three again"
        )
    normalised = [re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_") for column in columns]
    selected = shares[:, _positions(normalised, folder / f"attributes{suffix}.mat")]
    paths = [Path(image) for image in images]
    return Votes([p.stem for p in paths], [p.parent.as_posix() for p in paths], _thirds(selected, folder))


def _from_table(path: Path) -> Votes:
    try:
        with gzip.open(path, "rt", newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
            columns = _positions(header, path)
            scene, image = header.index("class"), header.index("image")
            shares = np.array([[float(row[column]) for column in columns] for row in rows], np.float64)
            names, scenes = [Path(row[image]).stem for row in rows], [row[scene] for row in rows]
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise UserError(
            f"sun: {path} needs class, image and the 33 attributes in every row ({error}); get it again"
        ) from error
    return Votes(names, scenes, _thirds(shares.reshape(-1, len(ATTRIBUTES)), path))


def _positions(columns: Sequence[str], path: Path) -> list[int]:
    """Return the positions of the 33 attributes in `columns`."""
    missing = [attribute for attribute in ATTRIBUTES if attribute not in columns]
    if missing:
        raise UserError(
            f"sun: {path} lacks {len(missing)} of SIAM's 33 attributes ({', '.join(missing)}); use "
            "attributeLabels_continuous2.mat and attributes2.mat in the repository of SIAM"
        )
    return [columns.index(attribute) for attribute in ATTRIBUTES]


def _thirds(shares: NDArray[Any], path: Path) -> NDArray[np.float32]:
    """Round `shares`, which are written with a few digits, to exactly 0, 1/3, 2/3 or 1."""
    votes = np.rint(shares * 3)
    # NaN fails every comparison, so it is invalid too.
    valid = (np.abs(shares * 3 - votes) < 0.01) & (votes >= 0) & (votes <= 3)
    if not valid.all():
        row, column = np.argwhere(~valid)[0]
        raise UserError(
            f"sun: {path}, {ATTRIBUTES[column]} of photo {row}: {shares[row, column]:g} is not 0, 1/3, 2/3 or 1"
        )
    return (votes / 3).astype(np.float32)


def _authors_split(folder: Path, names: Sequence[str]) -> dict[str, str] | None:
    """Return the authors' split of each photo, or None without their file."""
    path = folder / "trainval_idx.mat"
    if not path.is_file():
        return None
    sets = _matrix(path, "sets").ravel()
    if len(sets) != len(names) or not np.isin(sets, (0, 1, 2)).all():
        raise UserError(f"sun: {path} needs 0, 1 or 2 for each of {len(names)} photos; get it again or remove it")
    return {name: SPLITS[number] for name, number in zip(names, sets.astype(int), strict=True)}


def _matrix(path: Path, name: str) -> NDArray[Any]:
    return np.atleast_2d(np.asarray(_variable(path, name), np.float64))


def _names(path: Path, name: str) -> list[str]:
    """Return the strings of a Matlab cell array."""
    return [str(np.asarray(cell).item()).strip() for cell in np.ravel(_variable(path, name))]


def _variable(path: Path, name: str) -> Any:
    if not path.is_file():
        raise UserError(f"sun: {path} is missing; get it from where the other .mat files there came from")
    try:
        return loadmat(path, variable_names=[name])[name]
    except Exception as error:  # scipy raises many kinds of exceptions for damaged files
        raise UserError(f"sun: {path} is not a Matlab file with {name} in it ({error}); get it again") from error
