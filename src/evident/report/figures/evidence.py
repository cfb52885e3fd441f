"""Figures of explanations that are images: what each game keeps, what it leaves, and over which networks."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from safetensors.torch import load_file
from torch import Tensor

from evident.report.cells import Cell
from evident.report.figures.canvas import Picture, grid, picture

Examples = dict[str, Tensor]
GAMES = 8  # of one figure: each with and without the filter
GAMES_SHOWN = 3  # images of the figure that shows everything of a game
CLASSES = 24  # of the figure of colours
INCH = 1.3  # the side of a picture


def evidence_figures(cells: list[Cell]) -> dict[str, Figure]:
    """`explanations`, `games` and `networks` by name: of the first seed, where explainers give evidence for a class."""
    first = min(cell.config.seed for cell in cells)
    kept = {
        (cell.config.data.name, cell.config.model.name, cell.config.explainer.name): load_file(
            cell.folder / "examples.safetensors"
        )
        for cell in cells
        if cell.config.seed == first
    }
    # Of a regression there is no probability to show beside them.
    kept = {place: of for place, of in kept.items() if "explanations" in of and "signed" not in of}
    networks = list(dict.fromkeys(place[:2] for place in kept))
    drawn: dict[str, Figure] = {}
    for data, model in networks:
        suffix = "" if len(networks) == 1 else f"_{data}_{model}"
        of_one = {name: examples for (*place, name), examples in kept.items() if place == [data, model]}
        drawn[f"explanations{suffix}"] = explanations_figure(of_one)
        if len(of_one) <= GAMES:
            drawn[f"games{suffix}"] = games_figure(of_one)
    for data in dict.fromkeys(data for data, _ in networks):
        beside = {f"{model}\n{name}": examples for (of, model, name), examples in kept.items() if of == data}
        if sum(of == data for of, _ in networks) > 1:
            drawn["networks" if len({of for of, _ in networks}) == 1 else f"networks_{data}"] = explanations_figure(
                beside
            )
    return drawn


def explanations_figure(examples: dict[str, Examples]) -> Figure:
    """Images down; across: the image, then each explanation with the probability that the class has in it."""
    first = next(iter(examples.values()))
    rows = range(len(first["images"]))
    strips = [
        [picture(first["images"][row]), *(picture(of["explanations"][row]) for of in examples.values())] for row in rows
    ]
    labels = [
        [f"p = {first['scores'][row]:.3f}", *(f"p = {of['explanation_scores'][row]:.3f}" for of in examples.values())]
        for row in rows
    ]
    return _labelled(strips, labels, ["image", *map(_title, examples)])


def _title(name: str) -> str:
    """A word of the explainer's name on each line, below the network's name where there is one."""
    model, below, explainer = name.rpartition("\n")
    return model + below + explainer.replace("_", "\n")


def games_figure(examples: dict[str, Examples]) -> Figure:
    """Games down; across, for each of the first images: image, explanation, complement, mask and mean mask.

    Masks are shown by their square root, so that little of them is seen too.
    """
    count = min(GAMES_SHOWN, len(next(iter(examples.values()))["images"]))
    strips, labels = [], []
    for of in examples.values():
        shown = [_game(of, row) for row in range(count)]
        strips.append([each for pictures, _ in shown for each in pictures])
        labels.append([text for _, texts in shown for text in texts])
    titles = ["image", "explanation", "complement", "mask", "mean mask"] * count
    return _labelled(strips, labels, titles, [name.replace("_", "\n") for name in examples])


def _game(of: Examples, row: int) -> tuple[list[Picture], list[str]]:
    mask = np.sqrt(picture(of["evidence_masks"][row]))
    mean = np.sqrt(np.repeat(picture(of["evidence_masks"][row]).mean(2, keepdims=True), 3, axis=2))
    pictures = [*(picture(of[key][row]) for key in ("images", "explanations", "complements")), mask, mean]
    scores = [f"p = {of[key][row]:.3f}" for key in ("scores", "explanation_scores", "complement_scores")]
    return pictures, [*scores, "", f"{of['evidence_masks'][row].double().mean() / 255:.2%} kept"]


def _labelled(
    strips: list[list[Picture]], labels: list[list[str]], titles: list[str], names: Sequence[str] = ()
) -> Figure:
    height, width = strips[0][0].shape[:2]
    gap = max(height // 8, 8)  # room for a line of text, whatever the size of the pictures
    canvas, down, across = grid(strips, gap)
    scale, left, top = INCH / (height + gap), 0.9 if names else 0.0, 0.8
    size = (canvas.shape[1] * scale + left, canvas.shape[0] * scale + top)
    figure = Figure(figsize=size, dpi=120)
    axes = figure.add_axes((left / size[0], 0.002, 1 - left / size[0], 1 - top / size[1]))
    # Averages neighbours where the picture is larger than its place, so that fine masks do not shimmer.
    axes.imshow(canvas, interpolation="auto")
    axes.set_axis_off()
    for column, title in enumerate(titles):
        axes.text(column * across + width / 2, -gap, title, fontsize=7.5, ha="center", va="bottom")
    for row, texts in enumerate(labels):
        for column, text in enumerate(texts):
            axes.text(column * across + width / 2, row * down - gap / 8, text, fontsize=6, ha="center", va="bottom")
    for row, name in enumerate(names):
        axes.text(-gap, row * down + height / 2, name, fontsize=7, ha="right", va="center")
    return figure


def colour_figures(colours: pd.DataFrame) -> dict[str, Figure]:
    """A figure a network of `colours`, a row a class and metric: whose scores hang on colour most.

    It shows the first explainer alone.
    """
    own = colours[colours["explainer"] == colours["explainer"].iloc[0]] if len(colours) else colours
    networks = own.groupby(["data", "model"], sort=False)
    single = len(networks) == 1
    return {"colour" if single else f"colour_{data}_{model}": _colours(part) for (data, model), part in networks}


def _colours(colours: pd.DataFrame) -> Figure:
    wide = colours.groupby(["class", "metric"], sort=False)["mean"].mean().unstack("metric").sort_values("colour_grey")
    shown = wide if len(wide) <= CLASSES else pd.concat([wide.iloc[: CLASSES * 2 // 3], wide.iloc[-CLASSES // 3 :]])
    figure = Figure(figsize=(6.2, 0.21 * len(shown) + 0.9), dpi=110, layout="constrained")
    axes = figure.subplots()
    for position, (_, row) in enumerate(shown.iterrows()):
        axes.plot([row["colour_grey"], row["colour_swap"]], [position] * 2, lw=0.6, color="0.8", zorder=1)
    for metric, marker in (("colour_grey", "o"), ("colour_swap", "s")):
        axes.plot(shown[metric], range(len(shown)), marker, ms=4.5, label=metric.replace("_", " "))
    axes.axvline(0, lw=0.8, color="0.5")
    axes.set_yticks(range(len(shown)), [str(name).split(",")[0] for name in shown.index], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("change of the class's probability in its explanation", fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    title = f"{colours['explainer'].iloc[0]}, {colours['model'].iloc[0]}"
    rest = f": {len(shown)} of {len(wide)} classes" if len(shown) < len(wide) else ""
    axes.set_title(title + rest, fontsize=8)
    axes.legend(fontsize=7, loc="upper right")
    sns.despine(ax=axes)
    return figure
