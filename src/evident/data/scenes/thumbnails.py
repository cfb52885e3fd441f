"""Thumbnails whose scenicness was PREDICTED by a network. Use them to try out training, never for a result.

    scenicornot/thumbnails.csv     file, predicted_bin ("3-4")
    scenicornot/thumbnails/<file>  45 x 45 pixels, outdoor photos from Wikimedia Commons

The bins are predictions of another group's network, which was trained on ScenicOrNot. A network trained on them learns
to imitate that network. Nobody voted on these images, so there is no variance of votes to learn either.
"""

from pathlib import Path

import torch

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
from evident.data.tables import read_rows
from evident.errors import UserError


def thumbnails(resize: int, size: int, seed: int, unreadable: float, *, root: Path, store: Path) -> PhotoSplits:
    """Load thumbnails with labels (N,): `average` is the middle of the predicted bin, `variance` NaN, as it is unknown.

    The split is 80-10-10 by file name and `seed`. Raises `UserError` if files are missing or more than the share
    `unreadable` cannot be decoded.
    """
    folder = root / "scenicornot"
    table = folder / "thumbnails.csv"
    if not table.is_file():
        raise UserError(
            f"thumbnails: {table} is missing; set EVIDENT_DATA to the folder that contains scenicornot/ with the "
            "thumbnails, or put them there, and run again"
        )
    rows = read_rows(table, ("file", "predicted_bin"))
    middles = {Path(row["file"]).stem: _middle(row["predicted_bin"], f"{table}, line {n}") for n, row in rows.items()}
    photos = find_photos(folder / "thumbnails")
    # Shuffled, so that the first images of every split come from several bins.
    names = sorted((name for name in middles if name in photos), key=lambda name: uniform_hash(name, seed))
    average = torch.tensor([middles[name] for name in names])
    labels = {"average": average, "variance": torch.full_like(average, torch.nan)}
    listed = PhotoSet([photos[name] for name in names], Stretch(resize, size), labels, names)
    kept = drop_unreadable(listed, "thumbnails", unreadable, store)
    return PhotoSplits(*partition(kept, "thumbnails", [split_of(name, seed) for name in kept.names]))


def _middle(predicted_bin: str, place: str) -> float:
    try:
        low, high = map(float, predicted_bin.split("-"))
    except ValueError:
        raise UserError(f"thumbnails: {place}: predicted_bin is {predicted_bin!r}, not such as 3-4") from None
    return (low + high) / 2
