"""ScenicOrNot: photos of Great Britain, one a square kilometre, whose beauty visitors of a web site voted on, 1 to 10.

    scenicornot/votes.tsv                 as the site exports it, one row a place with at least three votes:
                                          ID, Lat, Lon, Average, Variance, Votes, Geograph URI
    scenicornot/images/<folder>/<ID>.jpg  the photos, which everyone fetches from Geograph: `python run.py
                                          task=fetch_photos`; folders as one likes, the authors of SIAM have 1 to 10

The label of a photo is the average and the population variance of its votes. The site has also exported votes.tsv
without the column ID. Numbers of rows would then mean other places in every export, so the ID is the photo's number
at Geograph, the last part of its URI, as `geograph-<number>`: no ID of the other kind can be taken for it.

The splits are those of SIAM's authors: 150,000, 5,000 and 5,000 places with a photo, in the order of the file.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import torch

from evident.data.scenes.photos import PhotoSet, PhotoSplits, Stretch, found, readable
from evident.errors import UserError

COLUMNS = ("Average", "Variance", "Geograph URI")


@dataclass(frozen=True)
class Place:
    """One row of votes.tsv: the ID that its photo bears, average and variance of its votes, the page of its photo."""

    name: str
    average: float
    variance: float
    uri: str


def places(folder: Path) -> list[Place]:
    """The places of folder/votes.tsv in its order.

    Raises `UserError` where the file is missing, lacks a column or has a row that cannot be read, or names a place
    twice.
    """
    path = folder / "votes.tsv"
    if not path.is_file():
        raise UserError(
            f"scenicornot: {path} is missing; download votes.tsv from scenicornot.datasciencelab.co.uk and put it "
            "there, or set EVIDENT_DATA to the folder that holds scenicornot/, and run again"
        )
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file, delimiter="\t")
        header = rows.fieldnames or []
        missing = [column for column in COLUMNS if column not in header]
        if missing:
            raise UserError(f"scenicornot: {path} has no column {', '.join(missing)}; there are {', '.join(header)}")
        listed = []
        for row in rows:
            try:
                listed.append(_place(row))
            except (TypeError, ValueError, AttributeError) as error:
                raise UserError(f"scenicornot: {path}, line {rows.line_num}, is not readable ({error})") from error
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
        raise ValueError(f"Geograph URI {uri!r} ends in no number")
    name = row.get("ID", f"geograph-{number}")
    if "ID" in row and not name.isdigit():  # it becomes the name of a file
        raise ValueError(f"ID {name!r} is no number")
    return Place(name, average, variance, uri)


def scenic_or_not(
    train: int, val: int, test: int, resize: int, size: int, unreadable: float, *, root: Path, store: Path
) -> PhotoSplits:
    """So many places with a photo below root/scenicornot, in the order of votes.tsv; labels `average`, `variance` (N,).

    Photos are stretched to resize x resize, of which the centre, size x size, is taken. Raises `UserError` where
    votes.tsv or photos are missing, fewer are there than asked for, or more than the share `unreadable` are broken.
    """
    folder = root / "scenicornot"
    voted = places(folder)
    photos = found(folder / "images")
    seen = [place for place in voted if place.name in photos]
    if not seen:
        raise UserError(
            f"scenicornot: {folder / 'images'} holds no photo <folder>/<ID>.jpg of the {len(voted)} places in "
            "votes.tsv; fetch them with `python run.py task=fetch_photos`, or set EVIDENT_DATA to the folder that "
            "holds scenicornot/, and run again"
        )
    counts = {"train": train, "val": val, "test": test}
    if min(counts.values()) < 1 or sum(counts.values()) > len(seen):
        asked = ", ".join(f"{split}={count}" for split, count in counts.items())
        raise UserError(
            f"scenicornot: {asked} photos asked for, at least 1 each, and {len(seen)} are there; ask for fewer "
            "(data.build.train=...) or fetch more with `python run.py task=fetch_photos`"
        )

    def part(split: str, rows: list[Place]) -> PhotoSet:
        labels = {
            "average": torch.tensor([place.average for place in rows]),
            "variance": torch.tensor([place.variance for place in rows]),
        }
        names = [place.name for place in rows]
        framed = PhotoSet([photos[name] for name in names], Stretch(resize, size), labels, names)
        return readable(framed, f"scenicornot {split}", unreadable, store)

    end = train + val
    return PhotoSplits(
        train=part("train", seen[:train]), val=part("val", seen[train:end]), test=part("test", seen[end : end + test])
    )
