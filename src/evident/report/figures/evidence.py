"""Explanations that are images, with the probabilities that the network gives them.

An explanation that fades what it shows is hard to see on the mean colour. So each is drawn twice, once with its
contrast stretched (`stretched`); the factor stands above it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from evident.report.figures.canvas import IMAGES, Picture, canvas_figure, grid, picture

Examples = dict[str, Tensor]
"""`images` uint8 (N, 3, H, W) and the fields of `evident.values.Evidence`, whose images are uint8 too."""

GAMES_SHOWN = 3  # images in a figure of games
PERCENTILE, STRETCHED = 0.999, 20.0  # of the contrast-stretched explanation: what becomes full, and the largest factor
INCH = 1.3  # step from one image to the next
DPI = 120
LINE = 0.13  # inches of a line of a title


def explanations_figure(examples: dict[str, Examples]) -> Figure:
    """Draw one row for each of the first images: itself, and two pictures of every explainer, one of them stretched.

    The first picture is the explanation, as the network sees it, with the class's probability. In the second one, the
    same explanation is `stretched` by the factor above it. Where there are more explainers than images, explainers are
    the rows and images the columns, because a page is easier to read down than across. Where networks differ in the
    probability of the image, it stands beside that of each explanation.
    """
    examples = {name: {key: of[key][:IMAGES] for key in of} for name, of in examples.items()}
    first = next(iter(examples.values()))
    shared = all(torch.allclose(of["score"], first["score"]) for of in examples.values())
    images = [
        (picture(image), f"p = {p:.3f}" if shared else "")
        for image, p in zip(first["images"], first["score"], strict=True)
    ]
    pairs = [[_twice(of, row, shared) for row in range(len(images))] for of in examples.values()]
    names = [_title(name) for name in examples]
    if len(examples) <= len(images):
        rows = [[image, *(each for of in pairs for each in of[row])] for row, image in enumerate(images)]
        titles = ["image", *(title for name in names for title in (name, f"{name}\nstretched"))]
        return _labelled(rows, titles)
    blank = (np.ones_like(images[0][0]), "")
    rows = [
        [each for image in images for each in (image, blank)],
        *([each for two in of for each in two] for of in pairs),
    ]
    return _labelled(rows, ["", "stretched"] * len(images), ["image", *names])


def _twice(of: Examples, row: int, shared: bool) -> list[tuple[Picture, str]]:
    """Return the explanation of one image with its probability, and with stretched contrast.

    Where networks do not share the probability of the image, it is part of the text.
    """
    larger, factor = stretched(of, row)
    whole = "" if shared else f" of {of['score'][row]:.3f}"
    return [
        (picture(of["explanation"][row]), f"p = {of['explanation_score'][row]:.3f}{whole}"),
        (larger, f"contrast x {factor:.1f}"),
    ]


def stretched(of: Examples, row: int) -> tuple[Picture, float]:
    """Return the explanation r + f (e - r) of one image, clipped to [0, 1], and the factor f >= 1.

    e - r is the explanation's deviation from the mean colour r. f is the factor by which the largest deviations, the
    99.9th percentile over pixels and channels, become as large as those of the image, but at most `STRETCHED`.
    """
    image, explanation, complement = (picture(of[name][row]) for name in ("images", "explanation", "complement"))
    # Explanation and complement add up to x + r; the median removes the rounding to eight bits.
    neutral = np.median(explanation + complement - image, axis=(0, 1))
    shown, whole = (np.quantile(np.abs(each - neutral), PERCENTILE) for each in (explanation, image))
    factor = float(np.clip(whole / max(shown, 1 / 255), 1, STRETCHED))
    return np.clip(neutral + factor * (explanation - neutral), 0, 1), factor


def _title(name: str) -> str:
    """Put each word of an explainer's name on its own line, below the network's name if there is one."""
    model, line_break, explainer = name.rpartition("\n")
    return model + line_break + _in_lines(explainer)


def _in_lines(explainer: str) -> str:
    return explainer.replace("_", "\n").replace(" ", "\n")


def games_figure(examples: dict[str, Examples]) -> Figure:
    """Draw one row per game: for each of the first images the image, explanation, complement, mask and mean mask.

    Games are FGVis's ways to optimise a mask (deletion, preservation, ...). Masks are shown by their square root, which
    makes small values visible.
    """
    count = min(GAMES_SHOWN, len(next(iter(examples.values()))["images"]))
    rows = [[each for row in range(count) for each in _game(of, row)] for of in examples.values()]
    titles = ["image", "explanation", "complement", "mask", "mean mask"] * count
    return _labelled(rows, titles, [_in_lines(name) for name in examples])


def _game(of: Examples, row: int) -> list[tuple[Picture, str]]:
    mask = np.sqrt(picture(of["mask"][row]))
    mean = np.sqrt(np.repeat(picture(of["mask"][row]).mean(2, keepdims=True), 3, axis=2))
    pictures = [*(picture(of[key][row]) for key in ("images", "explanation", "complement")), mask, mean]
    scores = [f"p = {of[key][row]:.3f}" for key in ("score", "explanation_score", "complement_score")]
    texts = [*scores, "", f"{of['mask'][row].double().mean() / 255:.2%} kept"]
    return list(zip(pictures, texts, strict=True))


def _labelled(rows: list[list[tuple[Picture, str]]], titles: list[str], names: Sequence[str] = ()) -> Figure:
    """Draw rows of pictures, with a label above each, titles above the columns and names left of the rows."""
    strips = [[shown for shown, _ in row] for row in rows]
    height, width = strips[0][0].shape[:2]
    gap = max(height // 8, 8)  # room for a line of text, for images of any size
    canvas, down, across = grid(strips, gap)
    top = 0.1 + INCH * gap / down + LINE * max(title.count("\n") + 1 for title in titles)
    figure, axes = canvas_figure(canvas, INCH * DPI / down, left=0.9 if names else 0, top=top, dpi=DPI)
    for column, title in enumerate(titles):
        axes.text(column * across + width / 2, -gap, title, fontsize=7.5, ha="center", va="bottom")
    for row, shown in enumerate(rows):
        for column, (_, text) in enumerate(shown):
            axes.text(column * across + width / 2, row * down - gap / 8, text, fontsize=6, ha="center", va="bottom")
    for row, name in enumerate(names):
        axes.text(-gap, row * down + height / 2, name, fontsize=7, ha="right", va="center")
    return figure
