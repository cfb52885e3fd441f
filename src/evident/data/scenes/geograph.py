"""Fetches the photos of ScenicOrNot from Geograph, politely: slowly, each once, in the order of votes.tsv.

votes.tsv names the page of each photo, https://www.geograph.org.uk/photo/<number>. The page shows the picture, whose
file bears the photo's number and an eight-digit code that cannot be guessed:

    https://s0.geograph.org.uk/geophotos/00/00/00/000007_ce524193.jpg

Other sizes of it bear theirs at the end of the name (..._120x120.jpg, ..._1024x1024.jpg); the plain one, 640 pixels on
the longer side, is what ScenicOrNot showed its voters.

Two requests a photo: 160,000 photos take two days at two requests a second. Photos are under CC BY-SA 2.0 and belong to
their authors, whom the page names.
"""

import csv
import io
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlparse

from omegaconf import DictConfig

from evident.data.scenes.photos import fault, found
from evident.data.scenes.rate_limit import GoneError, Polite, UnreachedError
from evident.data.scenes.scenic_or_not import Place, places
from evident.errors import UserError
from evident.progress import bar, bars

FOLDERS = 10  # as the authors of SIAM have them
FAILED = ("photo", "gone", "uri", "reason")
log = logging.getLogger("evident")


def run(config: DictConfig) -> None:
    """Fetch what is missing of `config.photos.count` photos to data/scenicornot/images/; list what failed there.

    Raises `UserError` where votes.tsv is missing, a setting is none, nothing can be written or nothing is reached.
    """
    asked = config.photos
    for key in ("requests_per_second", "pause", "timeout"):
        if not isinstance(asked[key], int | float) or asked[key] <= 0:
            raise UserError(f"photos.{key}={asked[key]} is no number above 0")
    for key in ("attempts", "give_up_after", *(("count",) if asked.count is not None else ())):
        if not isinstance(asked[key], int) or asked[key] < 1:
            raise UserError(f"photos.{key}={asked[key]} is no whole number from 1 on")
    folder = Path(config.paths.data) / "scenicornot"
    bars.start()
    rate, attempts = asked.requests_per_second, asked.attempts
    with Polite(rate, attempts, asked.pause, asked.timeout, asked.user_agent) as http:
        fetch_photos(places(folder), folder / "images", http, asked.count, asked.give_up_after)


def picture_of(page: str, uri: str) -> str | None:
    """The address of the picture in its plain size that the `page` at `uri` shows in any; None where it shows none."""
    number = int(Path(urlparse(uri).path).name)
    shown = re.search(rf"""["'(\s]([^"'()\s<>]*/0*{number}_[0-9a-f]{{8}})(?:_\d+x\w+)?(\.jpe?g)""", page)
    return urljoin(uri, "".join(shown.groups())) if shown else None


@dataclass
class Tally:
    """Photos that were there, were fetched, are gone for good, and failed this time."""

    there: int = 0
    fetched: int = 0
    gone: int = 0
    failed: int = 0

    def __str__(self) -> str:
        return f"{self.there} were there, {self.fetched} fetched, {self.gone} gone, {self.failed} failed"


def fetch_photos(
    listed: Sequence[Place], images: Path, http: Polite, count: int | None = None, give_up_after: int = 50
) -> Tally:
    """Fetch the photo of every place to images/<1 to 10>/<ID>.jpg until `count` of them, or all, are there.

    What is there and whole is not fetched again, and what is gone (404, 410) is not asked for again. What fails is
    listed in images/failed.csv, and the next one is taken. Raises `UserError` where the folder cannot be written to, or
    `give_up_after` photos in a row failed.
    """
    tally, in_a_row, wanted = Tally(), 0, len(listed) if count is None else min(count, len(listed))
    try:
        images.mkdir(parents=True, exist_ok=True)
        have, failures = found(images), _Failures(images / "failed.csv")
    except OSError as error:
        raise _unwritable(images, error) from error
    with bar("fetching photos", wanted) as progress:
        for position, place in enumerate(listed):
            if tally.there + tally.fetched == wanted:
                break
            held = have.get(place.name)
            if held is not None and fault(held) is None:
                tally.there += 1
                progress.advance()
                continue
            if place.name in failures.gone:
                tally.gone += 1
                continue
            target = held or images / str(position * FOLDERS // len(listed) + 1) / f"{place.name}.jpg"
            try:
                picture = _picture(place, http)
            except GoneError as error:
                tally.gone, in_a_row = tally.gone + 1, 0
                failures.add(place, True, str(error))
            except UnreachedError as error:
                tally.failed, in_a_row = tally.failed + 1, in_a_row + 1
                failures.add(place, False, str(error))
                if in_a_row == give_up_after:
                    raise UserError(
                        f"{in_a_row} photos in a row could not be fetched, the last one by {error}; {tally}; "
                        "see whether Geograph can be reached, and the same command goes on from here"
                    ) from error
            else:
                in_a_row = 0
                _write(target, picture)
                tally.fetched += 1
                progress.advance()
                if tally.fetched % 1000 == 0:
                    log.info("photos so far: %s", tally)
    log.info("photos: %s%s", tally, f" ({failures.path})" if tally.gone or tally.failed else "")
    return tally


def _picture(place: Place, http: Polite) -> bytes:
    """The bytes of a whole picture."""
    page = http.get(place.uri).decode("latin-1")  # the address is ASCII whatever the page is written in
    address = picture_of(page, place.uri)
    if address is None:
        raise UnreachedError(f"{place.uri} shows no picture of its number")
    return http.get(address, lambda body: fault(io.BytesIO(body)))


def _write(target: Path, picture: bytes) -> None:
    scratch = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(exist_ok=True)
        scratch.write_bytes(picture)
        os.replace(scratch, target)
    except OSError as error:
        raise _unwritable(target.parent, error) from error


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(f"cannot write photos to {folder}: {error}; set EVIDENT_DATA to a folder that can be written to")


class _Failures:
    """The list of photos that could not be fetched; those gone for good are kept from run to run."""

    def __init__(self, path: Path) -> None:
        self.path, rows = path, []
        if path.is_file():
            with open(path, newline="") as file:
                rows = [row for row in csv.DictReader(file) if row.get("photo") and row.get("gone") == "yes"]
        self.gone = {row["photo"] for row in rows}
        with open(path, "w", newline="") as file:
            table = csv.DictWriter(file, FAILED, extrasaction="ignore", lineterminator="\n")
            table.writeheader()
            table.writerows(rows)

    def add(self, place: Place, gone: bool, reason: str) -> None:
        """Note at once why a photo could not be fetched."""
        with open(self.path, "a", newline="") as file:
            row = [place.name, "yes" if gone else "no", place.uri, " ".join(reason.split())]
            csv.writer(file, lineterminator="\n").writerow(row)
