"""Thumbnails with the scenicness that a NETWORK predicted, not people: to walk through a training, never for a result.

    scenicornot/thumbnails.csv     file, predicted_bin ("3-4")
    scenicornot/thumbnails/<file>  45 x 45 pixels, outdoor photos of Wikimedia Commons

The bins are the predictions of someone else's network that had been trained on ScenicOrNot; what is learnt from them is
that network. Nobody has voted, so there is no variance of votes either.
"""

import csv
from pathlib import Path

import torch

from evident.data.scenes.photos import PhotoSet, PhotoSplits, Stretch, draw, found, readable, split, split_of
from evident.errors import UserError

WITHIN_BIN = 1 / 12  # the variance of what is spread evenly over a bin, which is one vote wide


def thumbnails(resize: int, size: int, seed: int, unreadable: float, *, root: Path, store: Path) -> PhotoSplits:
    """Thumbnails whose labels a network predicted: `average` is its bin's middle, `variance` 1/12, that of the bin.

    Both (N,); `variance` is a stand-in so that networks of two outputs can be trained. 80-10-10 by file name and
    `seed`. Raises `UserError` where thumbnails are missing or more than the share `unreadable` of them are broken.
    """
    folder = root / "scenicornot"
    table = folder / "thumbnails.csv"
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            middles = {Path(row["file"]).stem: _middle(row["predicted_bin"]) for row in csv.DictReader(file)}
    except FileNotFoundError:
        raise UserError(
            f"thumbnails: {table} is missing; set EVIDENT_DATA to the folder that holds scenicornot/ with "
            "the thumbnails, or put them there, and run again"
        ) from None
    except (KeyError, ValueError) as error:
        raise UserError(f"thumbnails: {table} does not hold file, predicted_bin in every row") from error
    photos = found(folder / "thumbnails")
    # Of every split the first few are of several bins.
    names = sorted((name for name in middles if name in photos), key=lambda name: draw(name, seed))
    average = torch.tensor([middles[name] for name in names])
    labels = {"average": average, "variance": torch.full_like(average, WITHIN_BIN)}
    framed = PhotoSet([photos[name] for name in names], Stretch(resize, size), labels, names)
    whole = readable(framed, "thumbnails", unreadable, store)
    return PhotoSplits(*split(whole, "thumbnails", [split_of(name, seed) for name in whole.names]))


def _middle(named: str) -> float:
    low, high = map(float, named.split("-"))
    return (low + high) / 2
