"""Files of a data set: found where they lie, checked, and downloaded only where they are missing."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import pooch
import requests

from evident.errors import UserError


def fetch(data_set: str, file: Path, urls: Sequence[str], md5: str, elsewhere: Path) -> Path:
    """The checked path of `file`, downloaded from the first of `urls` that answers where it is not there.

    A download goes beside `file`, or to the folder `elsewhere` where that place is read-only. Raises `UserError`
    where the file at hand has another checksum, or where it is missing and cannot be downloaded.
    """
    for candidate in (file, elsewhere / file.name):
        if candidate.exists():
            if _md5(candidate) != md5:
                raise UserError(
                    f"{candidate} is not the official file of {data_set} (md5 {_md5(candidate)}, not {md5}); "
                    "delete it and run again to download it"
                )
            return candidate
    folder = file.parent if _is_writable(file.parent) else elsewhere
    for url in urls:
        try:
            return Path(pooch.retrieve(url, f"md5:{md5}", file.name, folder))
        except (requests.RequestException, OSError, ValueError):
            continue
    raise UserError(
        f"{data_set}: {file} is missing and none of {', '.join(urls)} could be reached; "
        f"put the file there, or set EVIDENT_DATA to the folder that holds it, and run again"
    )


def _is_writable(folder: Path) -> bool:
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return os.access(existing, os.W_OK)


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
