"""ScenicOrNot: photos of Great Britain, one per square kilometre, with votes on their beauty from 1 to 10.

    scenicornot/votes.tsv                 the site's export, one row per place with at least three votes:
                                          ID, Lat, Lon, Average, Variance, Votes, Geograph URI
    scenicornot/images/<folder>/<ID>.jpg  the photos, which each user fetches from Geograph with
                                          `python run.py task=fetch_photos`; any folders, SIAM's authors have 1 to 10

Visitors of a web site voted. The labels of a photo are the average and the population variance of its votes.

The site has also exported votes.tsv without the column ID. Row numbers would then mean other places in every export, so
the ID is `geograph-<number>`, with the photo's number at Geograph, the last part of its URI. The prefix keeps the two
kinds of ID apart.

The splits are those of SIAM's authors: 150,000, 5,000 and 5,000 places with a photo, in the order of the file.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from evident.data.files import Stretch
from evident.data.scenes.photos import PhotoSet, PhotoSplits, drop_unreadable, find_photos
from evident.data.tables import read_rows
from evident.errors import UserError

COLUMNS = ("Average", "Variance", "Geograph URI")


@dataclass(frozen=True)
class Place:
    """Hold one row of votes.tsv: the ID, the average and variance of the votes, and the address of the photo's page."""

    name: str
    average: float
    variance: float
    uri: str


def places(folder: Path) -> list[Place]:
    """Return the places of folder/votes.tsv in the order of the file.

    Raises `UserError` if the file or a column is missing, a row is invalid or an ID occurs twice.
    """
    path = folder / "votes.tsv"
    if not path.is_file():
        raise UserError(
            f"scenicornot: {path} is missing; download votes.tsv from scenicornot.datasciencelab.co.uk and put it "
            "there, or set EVIDENT_DATA to the folder that contains scenicornot/, and run again"
        )
    listed = []
    for line, row in read_rows(path, COLUMNS, ("Average", "Variance")).items():
        try:
            listed.append(_place(row))
        except ValueError as error:
            raise UserError(f"scenicornot: {path}, line {line} is invalid ({error}); download it again") from error
    names = {place.name for place in listed}
    if len(names) < len(listed):
        raise UserError(f"scenicornot: {path} has {len(listed)} rows but {len(names)} places; download it again")
    return listed


def _place(row: dict[str, str]) -> Place:
    average, variance, uri = float(row["Average"]), float(row["Variance"]), row["Geograph URI"]
    if not (1 <= average <= 10 and 0 <= variance <= 81 / 4):
        raise ValueError(f"average {average}, variance {variance} of votes from 1 to 10")
    number = uri.rstrip("/").rpartition("/")[2]
    if not number.isdigit():
        raise ValueError(f"Geograph URI {uri!r} does not end in a number")
    name = row.get("ID", f"geograph-{number}")
    if "ID" in row and not name.isdigit():  # it becomes a file name
        raise ValueError(f"ID {name!r} is not a number")
    return Place(name, average, variance, uri)


def scenic_or_not(
    train: int, val: int, test: int, resize: int, size: int, unreadable: float, *, root: Path, store: Path
) -> PhotoSplits:
    """Load places with a photo below root/scenicornot, in the order of votes.tsv; labels `average`, `variance` (N,).

    `train`, `val` and `test` are numbers of photos. Photos are stretched to resize x resize and cropped to the centre,
    size x size. Raises `UserError` if votes.tsv or photos are missing, fewer photos exist than requested, or more than
    the share `unreadable` cannot be decoded.
    """
    folder = root / "scenicornot"
    listed = places(folder)
    photos = find_photos(folder / "images")
    with_photo = [place for place in listed if place.name in photos]
    if not with_photo:
        raise UserError(
            f"scenicornot: {folder / 'images'} has no photo <folder>/<ID>.jpg of the {len(listed)} places in "
            "votes.tsv; fetch them with `python run.py task=fetch_photos`, or set EVIDENT_DATA to the folder that "
            "contains scenicornot/, and run again"
        )
    counts = {"train": train, "val": val, "test": test}
    if min(counts.values()) < 1 or sum(counts.values()) > len(with_photo):
        requested = ", ".join(f"{split}={count}" for split, count in counts.items())
        raise UserError(
            f"scenicornot: {requested} photos requested, at least 1 each, but there are {len(with_photo)}; request "
            "fewer (data.build.train=...) or fetch more with `python run.py task=fetch_photos`"
        )

    def part(split: str, rows: list[Place]) -> PhotoSet:
        labels = {
            "average": torch.tensor([place.average for place in rows]),
            "variance": torch.tensor([place.variance for place in rows]),
        }
        names = [place.name for place in rows]
        part_photos = PhotoSet([photos[name] for name in names], Stretch(resize, size), labels, names)
        return drop_unreadable(part_photos, f"scenicornot {split}", unreadable, store)

    end = train + val
    return PhotoSplits(
        train=part("train", with_photo[:train]),
        val=part("val", with_photo[train:end]),
        test=part("test", with_photo[end : end + test]),
    )
