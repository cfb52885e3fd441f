"""Fetch the photos of ScenicOrNot from Geograph: at a limited rate, each once, in the order of votes.tsv.

votes.tsv names the page of each photo, https://www.geograph.org.uk/photo/<number>. The page shows the image, whose file
name consists of the photo's number and an eight-digit code that cannot be guessed:

    https://s0.geograph.org.uk/geophotos/00/00/00/000007_ce524193.jpg

Other sizes have their size at the end of the name (..._120x120.jpg, ..._1024x1024.jpg). The file without a size, 640
pixels on the longer side, is what ScenicOrNot showed its voters.

Each photo takes two requests: 160,000 photos take two days at two requests per second. Photos are under CC BY-SA 2.0
and belong to their authors, whom the page names.
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

from evident.data.pictures import decoding_error
from evident.data.scenes.photos import find_photos
from evident.data.scenes.rate_limit import GoneError, RateLimitedSession, UnreachedError
from evident.data.scenes.scenic_or_not import Place, places
from evident.errors import UserError
from evident.progress import bar, bars

FOLDERS = 10  # as in the files of SIAM's authors
FAILED = ("photo", "gone", "uri", "reason")
log = logging.getLogger("evident")


def run(config: DictConfig) -> None:
    """Fetch missing photos to data/scenicornot/images/ until `config.photos.count` exist; list failures there.

    Raises `UserError` for an invalid setting, or if votes.tsv is missing, the folder cannot be written to or Geograph
    cannot be reached.
    """
    settings = config.photos
    for key in ("requests_per_second", "pause", "timeout"):
        if not isinstance(settings[key], int | float) or settings[key] <= 0:
            raise UserError(f"photos.{key}={settings[key]} must be a number above 0")
    for key in ("attempts", "give_up_after", *(("count",) if settings.count is not None else ())):
        if not isinstance(settings[key], int) or settings[key] < 1:
            raise UserError(f"photos.{key}={settings[key]} must be a whole number of 1 or more")
    folder = Path(config.paths.data) / "scenicornot"
    bars.start()
    rate, attempts = settings.requests_per_second, settings.attempts
    with RateLimitedSession(rate, attempts, settings.pause, settings.timeout, settings.user_agent) as http:
        fetch_photos(places(folder), folder / "images", http, settings.count, settings.give_up_after)


def image_address(page: str, uri: str) -> str | None:
    """Return the address of the image, without a size, that the HTML `page` at `uri` shows; None if it shows none."""
    number = int(Path(urlparse(uri).path).name)
    match = re.search(rf"""["'(\s]([^"'()\s<>]*/0*{number}_[0-9a-f]{{8}})(?:_\d+x\w+)?(\.jpe?g)""", page)
    return urljoin(uri, "".join(match.groups())) if match else None


@dataclass
class Tally:
    """Count the photos that existed already, were fetched, are gone for good and failed this time."""

    existing: int = 0
    fetched: int = 0
    gone: int = 0
    failed: int = 0

    def __str__(self) -> str:
        return f"{self.existing} existed, {self.fetched} fetched, {self.gone} gone, {self.failed} failed"


def fetch_photos(
    listed: Sequence[Place],
    images: Path,
    http: RateLimitedSession,
    count: int | None = None,
    give_up_after: int = 50,
) -> Tally:
    """Fetch the photo of each place to images/<1 to 10>/<ID>.jpg until `count` photos, or all, exist.

    An undamaged photo is not fetched again, and a photo that is gone (404, 410) is not requested again. A failure is
    listed in images/failed.csv, and fetching continues with the next photo. Raises `UserError` if the folder cannot be
    written to or `give_up_after` photos in a row fail.
    """
    tally, failed_in_a_row, wanted = Tally(), 0, len(listed) if count is None else min(count, len(listed))
    try:
        images.mkdir(parents=True, exist_ok=True)
        existing, failures = find_photos(images), _Failures(images / "failed.csv")
    except OSError as error:
        raise _unwritable(images, error) from error
    with bar("fetching photos", wanted) as progress:
        for position, place in enumerate(listed):
            if tally.existing + tally.fetched == wanted:
                break
            path = existing.get(place.name)
            if path is not None and decoding_error(path) is None:
                tally.existing += 1
                progress.advance()
                continue
            if place.name in failures.gone:
                tally.gone += 1
                continue
            target = path or images / str(position * FOLDERS // len(listed) + 1) / f"{place.name}.jpg"
            try:
                content = _image(place, http)
            except GoneError as error:
                tally.gone, failed_in_a_row = tally.gone + 1, 0
                failures.add(place, True, str(error))
            except UnreachedError as error:
                tally.failed, failed_in_a_row = tally.failed + 1, failed_in_a_row + 1
                failures.add(place, False, str(error))
                if failed_in_a_row == give_up_after:
                    raise UserError(
                        f"{failed_in_a_row} photos in a row could not be fetched, the last one: {error}; {tally}; "
                        "check that Geograph can be reached, then run the same command again to continue"
                    ) from error
            else:
                failed_in_a_row = 0
                _write(target, content)
                tally.fetched += 1
                progress.advance()
                if tally.fetched % 1000 == 0:
                    log.info("photos so far: %s", tally)
    log.info("photos: %s%s", tally, f" ({failures.path})" if tally.gone or tally.failed else "")
    return tally


def _image(place: Place, http: RateLimitedSession) -> bytes:
    """Return the bytes of the photo's file."""
    page = http.get(place.uri).decode("latin-1")  # the address is ASCII in any encoding of the page
    address = image_address(page, place.uri)
    if address is None:
        raise UnreachedError(f"{place.uri} does not show an image with its number")
    return http.get(address, lambda body: decoding_error(io.BytesIO(body)))


def _write(target: Path, content: bytes) -> None:
    scratch = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(exist_ok=True)
        scratch.write_bytes(content)
        os.replace(scratch, target)
    except OSError as error:
        raise _unwritable(target.parent, error) from error


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(f"cannot write photos to {folder}: {error}; set EVIDENT_DATA to a writable folder")


class _Failures:
    """Write the list of photos that could not be fetched; keep those that are gone for good between runs."""

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
        """Append a failure to the file at once, so that a killed run loses none."""
        with open(self.path, "a", newline="") as file:
            row = [place.name, "yes" if gone else "no", place.uri, " ".join(reason.split())]
            csv.writer(file, lineterminator="\n").writerow(row)
