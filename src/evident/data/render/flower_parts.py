"""Rendered flowers with one part drawn anew, to measure how much a network depends on this part.

A part gets another surface; its geometry is kept, so it covers the same pixels. The part whose colour is the class gets
the colours of other classes. The other parts get colours and patterns of other scenes, and the light gets another
direction, width, strength and colour. No surface reflects light onto another, so a changed colour changes the pixels of
its own part only.
"""

import torch
from torch import Tensor

from evident.data.render.flower_scene import PARTS, Draws, draws
from evident.data.render.flowers import CHUNK, CLASSES, COLOURS, PETAL, STEM, coloured_part, render_draws, valid_draws
from evident.progress import bar

# Each part that changes alone, with the draws of its surface. Stem and calyx share a colour; the noise of background
# and soil is kept, because both read the same grid.
CHANGES = {
    "petals": ("petal_colour", "eye", "streaks"),
    "disc": ("disc_colour",),
    "stem": ("stem_colour",),
    "leaves": ("leaf_colour",),
    "pot": ("pot_colour", "band_colour", "band"),
    "background": (
        *("wall_colour", "wall_fade", "ground_colour", "ground_contrast", "pattern", "pattern_turn", "pattern_scale"),
        *("haze", "glow_at", "glow_size", "glow_tone", "glows"),
    ),
    "light": ("light_azimuth", "light_elevation", "lamp", "sun", "warmth", "ambient"),
}
OF_CLASS = ("hue_jitter", "saturation_jitter", "value_jitter")  # the draws of the part whose colour is the class
MEMBERS = {"petals": ("petal",), "disc": ("disc",), "stem": ("stem", "calyx"), "leaves": ("leaf",), "pot": ("pot",)}
COLOURED = {"petals": PETAL, "stem": STEM}


def masks_of(parts: Tensor) -> Tensor:
    """Return the pixels bool (N, 7, S, S) of each of CHANGES, from the parts uint8 (N, S, S) of `Rendered`.

    Every pixel belongs to one part, and none to the light.
    """
    owner = {member: name for name, members in MEMBERS.items() for member in members}
    names = list(CHANGES)
    numbers = torch.tensor([names.index(owner.get(part, part)) for part in PARTS])
    return numbers[parts.long()][:, None] == torch.arange(len(names))[:, None, None]


def render_changes(
    variant: str, split: str, indices: Tensor, seed: int, size: int, shown: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Render scenes (N,) again with one part drawn anew, `count` times for each part that is `shown`, bool (N, 7).

    Returns the row of each new image in `indices` (P,), its part of CHANGES (P,) and the images uint8 (P, 3, S, S).
    The colours of other classes come in turn, from the first one for index 0 on. Each image has the same bytes in any
    batch.
    """
    made: list[tuple[Tensor, Tensor, Tensor]] = []
    labels = indices % len(CLASSES[variant])
    with bar(f"changing parts of {split}", len(indices)) as progress:
        for rows in torch.arange(len(indices)).split(CHUNK):
            of_rows = indices[rows].tolist()
            scenes = valid_draws(variant, split, of_rows, seed, size)
            for draw in range(count):
                others = draws(variant, f"{split}/anew/{draw}", of_rows, [0] * len(rows), seed)
                new_labels = _other_class(labels[rows], indices[rows] // len(CLASSES[variant]) + draw)
                for part, name in enumerate(CHANGES):
                    at = shown[rows, part].nonzero()[:, 0]
                    changed, of_class = _changed(name, scenes, others, labels[rows])
                    drawn = {key: value[:, at] for key, value in changed.items()}
                    as_label = torch.where(of_class, new_labels, labels[rows])[at]
                    images = render_draws(variant, drawn, as_label, size).images
                    made.append((rows[at], torch.full_like(at, part), images))
            progress.advance(len(rows))
    row, part_of, images = (torch.cat(column) for column in zip(*made, strict=True))
    return row, part_of, images


def _other_class(labels: Tensor, turn: Tensor) -> Tensor:
    """Return another class (N,) whose colour is of the same part, a different one for the next five turns (N,)."""
    first = labels // len(COLOURS) * len(COLOURS)
    return first + (labels + 1 + turn % (len(COLOURS) - 1)) % len(COLOURS)


def _changed(name: str, scenes: Draws, others: Draws, labels: Tensor) -> tuple[Draws, Tensor]:
    """Return the scenes with the draws of one part from `others`, and in which (N,) the part's colour is the class."""
    of_class = coloured_part(labels) == COLOURED.get(name, -1)
    drawn = scenes | {key: others[key] for key in CHANGES[name]}
    return drawn | {key: torch.where(of_class, others[key], scenes[key]) for key in OF_CLASS}, of_class
