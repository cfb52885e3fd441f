"""SUN Attributes (Patterson and Hays, CVPR 2012): photos of 717 kinds of scene, three annotators' votes on each.

The 33 attributes are those of SIAM (Marcos et al., ICCV-W 2019), some of them several of the original 102 in one. A
value is the share of the three annotators who saw the attribute: 0, 1/3, 2/3 or 1. Labels are read from

    sun/attributeLabels_continuous2.mat   SIAM's: labels_cv (14340, 33), with their names in attributes2.mat, beside
    sun/images.mat                        the original list of the photos, or
    sun/attributes.csv.gz                 the same in one table: class, image, and a column an attribute

The original 102 attributes (attributeLabels_continuous.mat, attributes.mat) do, too, where their columns bear the 33
names. Photos are found below sun/ by their names, which are unique (sun_aakbdcgfpksytcwj.jpg), in whatever folders.

The split is the authors' (sun/trainval_idx.mat: `sets` 0, 1, 2) where it is there. Otherwise a photo falls to train,
validation and test by its name and a seed, 80-10-10 unless other shares are asked for.
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

from evident.data.scenes.photos import SPLITS, PhotoSet, PhotoSplits, Stretch, draw, found, readable, split, split_of
from evident.errors import UserError

ATTRIBUTES = (
    *("trees", "grass", "flowers", "ocean", "running_water", "still_water", "road", "railroad", "fencing_railing"),
    *("wire", "transport", "wood", "ice_snow", "brick", "shingles", "metal", "cloth", "sand", "rock_stone", "glass"),
    *("aged_worn", "dirty", "rusty", "dry", "rugged_scene", "cluttered_space", "clouds", "horizon", "digging"),
    *("temple", "farming", "hiking", "social"),
)


@dataclass(frozen=True)
class Votes:
    """Names of photos without suffix ("" where unknown), their scenes, the shares of votes float32 (N, 33)."""

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
    """The photos below root/sun that have votes; labels `attributes` (N, 33) and `label` (N,), the scene.

    Photos are stretched to resize x resize, of which the centre, size x size, is taken. `shares` fall to train, val and
    test where the authors' split is not at hand. Raises `UserError` where labels or photos are missing or cannot be
    read, or more than the share `unreadable` of the photos are broken, and for shares that are none.
    """
    if len(shares) != 3 or not min(shares) > 0 or not abs(sum(shares) - 1) < 1e-6:
        raise UserError(f"data.build.shares={list(shares)}; give three above 0 that sum to 1, for train, val and test")
    folder = root / "sun"
    votes, files = votes_of(folder), found(folder)
    at_hand = [row for row, name in enumerate(votes.names) if name in files]
    # Of every split the first few, which are explained, are of several scenes.
    rows = sorted(at_hand, key=lambda row: draw(votes.names[row], seed))
    if not rows:
        raise UserError(
            f"sun: {folder} holds none of the {len(votes.names)} photos that have labels; get "
            "SUNAttributeDB_Images.tar.gz from the authors (cs.brown.edu/~gmpatter/sunattributes.html) and unpack it "
            "there, or set EVIDENT_DATA to the folder that holds sun/, and run again"
        )
    classes = tuple(sorted(set(votes.scenes)))
    number = {scene: index for index, scene in enumerate(classes)}
    names = [votes.names[row] for row in rows]
    labels = {
        "attributes": torch.from_numpy(votes.shares[rows]),
        "label": torch.tensor([number[votes.scenes[row]] for row in rows]),
    }
    photos = PhotoSet([files[name] for name in names], Stretch(resize, size), labels, names)
    photos = readable(photos, "sun", unreadable, store)
    own = _own_split(folder, votes.names) or {name: split_of(name, seed, shares) for name in photos.names}
    splits = split(photos, "sun", [own[name] for name in photos.names])
    return PhotoSplits(*splits, classes=classes, attributes=ATTRIBUTES)


def votes_of(folder: Path) -> Votes:
    """The labels of all photos, at hand or not; raises `UserError` where they are missing or not as described."""
    for mark in ("2", ""):
        if (folder / f"attributeLabels_continuous{mark}.mat").is_file():
            return _of_authors(folder, mark)
    if (folder / "attributes.csv.gz").is_file():
        return _of_table(folder / "attributes.csv.gz")
    raise UserError(
        f"sun: {folder} holds no labels; get images.mat from the authors of SUN Attributes "
        "(cs.brown.edu/~gmpatter/sunattributes.html), attributeLabels_continuous2.mat and attributes2.mat from the "
        "repository of SIAM, and put them there, or set EVIDENT_DATA to the folder that holds sun/, and run again"
    )


def _of_authors(folder: Path, mark: str) -> Votes:
    shares = _matrix(folder / f"attributeLabels_continuous{mark}.mat", "labels_cv")
    columns = _names(folder / f"attributes{mark}.mat", "attributes")
    images = _names(folder / "images.mat", "images")
    if shares.shape != (len(images), len(columns)):
        raise UserError(
            f"sun: labels_cv in {folder} is {' x '.join(map(str, shares.shape))} and not {len(images)} photos of "
            f"images.mat x {len(columns)} names of attributes{mark}.mat; get all three again"
        )
    plain = [re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_") for column in columns]
    whole = shares[:, _positions(plain, folder / f"attributes{mark}.mat")]
    paths = [Path(image) for image in images]
    return Votes([p.stem for p in paths], [p.parent.as_posix() for p in paths], _thirds(whole, folder))


def _of_table(path: Path) -> Votes:
    try:
        with gzip.open(path, "rt", newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
            columns = _positions(header, path)
            scene, image = header.index("class"), header.index("image")
            shares = np.array([[float(row[column]) for column in columns] for row in rows], np.float64)
            names, scenes = [Path(row[image]).stem for row in rows], [row[scene] for row in rows]
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise UserError(
            f"sun: {path} does not hold class, image and the 33 attributes in every row ({error})"
        ) from error
    return Votes(names, scenes, _thirds(shares.reshape(-1, len(ATTRIBUTES)), path))


def _positions(columns: Sequence[str], path: Path) -> list[int]:
    """Where the 33 stand among `columns`."""
    missing = [attribute for attribute in ATTRIBUTES if attribute not in columns]
    if missing:
        raise UserError(
            f"sun: {path} does not name {len(missing)} of SIAM's 33 attributes ({', '.join(missing)}); they are in "
            "attributeLabels_continuous2.mat and attributes2.mat in the repository of SIAM"
        )
    return [columns.index(attribute) for attribute in ATTRIBUTES]


def _thirds(shares: NDArray[Any], path: Path) -> NDArray[np.float32]:
    """`shares`, written with however many digits, as what they are: 0, 1/3, 2/3, 1."""
    votes = np.rint(shares * 3)
    # Where a value is NaN, no comparison holds.
    sound = (np.abs(shares * 3 - votes) < 0.01) & (votes >= 0) & (votes <= 3)
    if not sound.all():
        row, column = np.argwhere(~sound)[0]
        raise UserError(
            f"sun: {path}, {ATTRIBUTES[column]} of photo {row}: {shares[row, column]:g} is no share of three annotators"
        )
    return (votes / 3).astype(np.float32)


def _own_split(folder: Path, names: Sequence[str]) -> dict[str, str] | None:
    """The split that the authors gave to each photo; None where theirs is not at hand."""
    path = folder / "trainval_idx.mat"
    if not path.is_file():
        return None
    sets = _matrix(path, "sets").ravel()
    if len(sets) != len(names) or not np.isin(sets, (0, 1, 2)).all():
        raise UserError(
            f"sun: {path} does not hold 0, 1 or 2 for each of {len(names)} photos; get it again or remove it"
        )
    return {name: SPLITS[number] for name, number in zip(names, sets.astype(int), strict=True)}


def _matrix(path: Path, name: str) -> NDArray[Any]:
    return np.atleast_2d(np.asarray(_variable(path, name), np.float64))


def _names(path: Path, name: str) -> list[str]:
    """The strings of a Matlab cell array."""
    return [str(np.asarray(cell).item()).strip() for cell in np.ravel(_variable(path, name))]


def _variable(path: Path, name: str) -> Any:
    if not path.is_file():
        raise UserError(f"sun: {path} is missing; it belongs to the other .mat files there")
    try:
        return loadmat(path, variable_names=[name])[name]
    except Exception as error:  # scipy raises whatever the bytes of a damaged file lead to
        raise UserError(f"sun: {path} is no Matlab file with {name} in it ({error}); get it again") from error
