"""Checked files of a data set, downloaded if they are missing."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import pooch
import requests

from evident.errors import UserError


def fetch(data_set: str, file: Path, urls: Sequence[str], md5: str, elsewhere: Path) -> Path:
    """Return the path of `file` after a check of its MD5; download it from the first of `urls` that works if missing.

    The download is saved as `file`, or in the folder `elsewhere` if the folder of `file` is read-only. Raises
    `UserError` if the file has another checksum, or if it is missing and cannot be downloaded.
    """
    for candidate in (file, elsewhere / file.name):
        if candidate.exists():
            if _md5(candidate) != md5:
                raise UserError(
                    f"{candidate} is not the official file of {data_set} (md5 {_md5(candidate)}, expected {md5}); "
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
        f"{data_set}: {file} is missing and cannot be downloaded from {', '.join(urls)}; "
        f"put the file there, or set EVIDENT_DATA to the data folder that contains it, and run again"
    )


def _is_writable(folder: Path) -> bool:
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return os.access(existing, os.W_OK)


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
