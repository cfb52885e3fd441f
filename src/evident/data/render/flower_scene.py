"""The geometry of a potted flower: from uniform random numbers to slots of quadrics, a camera and a lamp.

The unit of length is about a foot: pots are about half a unit high, stems about one. y points up, and the ground is
y = 0. The geometry does not depend on the label, so it carries no information about it.
"""

import hashlib
import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evident.data.render.casting import Camera
from evident.data.render.quadrics import Shapes, cross, shapes, sine, unit

PARTS = ("background", "pot", "stem", "leaf", "calyx", "disc", "petal")
SEGMENTS, LEAVES, PETALS = 6, 3, 8
SLOTS = (
    *(("frustum", "pot"), ("frustum", "pot")),
    *((("frustum", "stem"),) * SEGMENTS),
    *((("sheet", "leaf"),) * LEAVES),
    *(("ellipsoid", "calyx"), ("ellipsoid", "disc")),
    *((("sheet", "petal"),) * PETALS),
)
KINDS = tuple(kind for kind, _ in SLOTS)
PART_OF_SLOT = torch.tensor([PARTS.index(part) for _, part in SLOTS] + [0], dtype=torch.uint8)
NOISE = 16  # side of the random grid that soft textures interpolate

DRAWS: dict[str, tuple[int, float, float]] = {  # name: (count, low, high)
    "azimuth": (1, 0, 1), "elevation": (1, -0.012, 0.115), "distance": (1, 3.0, 4.3),
    "roll": (1, -0.012, 0.012), "shift": (2, -1, 1), "focus": (1, 0.5, 0.66), "light_azimuth": (1, 0, 1),
    "light_elevation": (1, 0.095, 0.2), "lamp": (1, 0.02, 0.07), "sun": (1, 1.0, 1.55),
    "warmth": (1, -0.12, 0.2), "ambient": (1, 0.32, 0.54), "pot_height": (1, 0.42, 0.6),
    "pot_radius": (1, 0.27, 0.38), "pot_foot": (1, 0.6, 0.92), "rim_height": (1, 0.08, 0.14),
    "rim": (1, 1.07, 1.16), "height": (1, 0.8, 1.15), "lean": (2, -0.16, 0.16), "stem": (1, 0.048, 0.066),
    "face": (1, -1, 1), "tilt": (1, 0.03, 0.19), "leaf_at": (LEAVES, 0.12, 0.5),
    "leaf_azimuth": (LEAVES, -0.09, 0.09), "leaf_turn": (1, 0, 1), "leaf_rise": (LEAVES, 0.05, 0.16),
    "leaf_length": (LEAVES, 0.36, 0.62), "leaf_width": (LEAVES, 0.09, 0.15),
    "leaf_bend": (LEAVES, -0.6, -0.1), "leaf_channel": (LEAVES, 0.02, 0.09), "leaf_count": (1, 1.6, 4),
    "disc": (1, 0.12, 0.18), "disc_height": (1, 0.05, 0.1), "petals": (1, 5, 9),
    "petal_length": (1, 0.36, 0.5), "petal_width": (1, 0.85, 1.2), "petal_tilt": (1, -0.015, 0.1),
    "petal_bend": (1, -0.42, 0.3), "petal_channel": (1, -0.03, 0.16), "petal_point": (1, 0, 1),
    "petal_broad": (1, 0, 1), "petal_turn": (1, 0, 1), "overlap": (1, 0.006, 0.022),
    "each_length": (PETALS, 0.92, 1.06), "each_width": (PETALS, 0.93, 1.07),
    "each_turn": (PETALS, -0.011, 0.011), "each_tilt": (PETALS, -0.012, 0.012),
    "each_roll": (PETALS, -0.03, 0.03), "each_bend": (PETALS, -0.08, 0.08), "hue_jitter": (1, -1, 1),
    "value_jitter": (1, -1, 1), "saturation_jitter": (1, -1, 1), "leaf_colour": (3, 0, 1),
    "stem_colour": (3, 0, 1), "petal_colour": (3, 0, 1), "disc_colour": (3, 0, 1), "pot_colour": (3, 0, 1),
    "band_colour": (3, 0, 1), "band": (2, 0, 1), "eye": (1, 0, 1), "streaks": (1, 0, 1),
    "wall_colour": (3, 0, 1), "wall_fade": (2, 0, 1), "ground_colour": (3, 0, 1),
    "ground_contrast": (1, 0, 1), "pattern": (1, 0, 1), "pattern_turn": (1, 0, 1),
    "pattern_scale": (1, 0.75, 1.6), "haze": (1, 0, 1), "glow_at": (12, -1.1, 1.1),
    "glow_size": (6, 0.1, 0.34), "glow_tone": (6, -1, 1), "glows": (1, 0, 1),
    "noise": (NOISE * NOISE, -1, 1),
}  # fmt: skip
COUNT = sum(count for count, _, _ in DRAWS.values())

Draws = dict[str, Tensor]


def draws(variant: str, split: str, indices: list[int], attempts: list[int], seed: int) -> Draws:
    """Return random numbers (count, N) float64 by name; each scene has its own random stream."""
    table = np.empty((len(indices), COUNT))
    for row, index, attempt in zip(table, indices, attempts, strict=True):
        name = f"flower/{variant}/{split}/{seed}/{index}/{attempt}".encode()
        key = np.frombuffer(hashlib.sha256(name).digest()[:16], dtype=np.uint64)
        row[:] = np.random.Generator(np.random.Philox(key=key)).random(COUNT)
    columns = torch.from_numpy(table).T.split([count for count, _, _ in DRAWS.values()])
    return {
        name: low + (high - low) * column for (name, (_, low, high)), column in zip(DRAWS.items(), columns, strict=True)
    }


@dataclass(frozen=True)
class Scene:
    """Hold N flowers, float32.

    `lights` (3, N) are the direction towards the lamp and two vectors across it, as long as half its width; `head`
    (3, N) is the position of the flower head.
    """

    shapes: Shapes
    camera: Camera
    lights: tuple[Tensor, Tensor, Tensor]
    pot_radius: Tensor
    head: Tensor


def _direction(turns: Tensor, rise: Tensor) -> Tensor:
    """Return unit vectors (3, ...) at an azimuth and an elevation, both in turns."""
    flat = sine(rise + 0.25)
    return torch.stack([flat * sine(turns + 0.25), sine(rise).expand_as(flat * turns), flat * sine(turns)])


def _perpendicular(direction: Tensor) -> tuple[Tensor, Tensor]:
    """Return two unit vectors perpendicular to each unit vector (3, ...) and to each other."""
    helper = torch.zeros_like(direction)
    helper[2] = 1
    first = unit(cross(direction, helper))
    return first, cross(direction, first)


def _stack(*vectors: Tensor) -> Tensor:
    return torch.stack(vectors)


def _pot(d: Draws) -> list[tuple[Tensor, Tensor, Tensor]]:
    height, top, rim = d["pot_height"][0], d["pot_radius"][0], d["rim_height"][0]
    foot = top * d["pot_foot"][0]
    zero = torch.zeros_like(top)

    def upright(low: Tensor, high: Tensor, bottom: Tensor, above: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        radius = (bottom + above) / 2
        axes = _stack(_stack(radius, zero, zero), _stack(zero, zero, radius), _stack(zero, (high - low) / 2, zero))
        form = _stack((above - bottom) / (above + bottom), zero, zero, zero, zero)
        return _stack(zero, (low + high) / 2, zero), axes, form

    return [
        upright(zero, height - rim / 2, foot, top),
        upright(height - rim, height, *[top * d["rim"][0]] * 2),
    ]


def _stem(d: Draws, root: Tensor, head: Tensor, axis: Tensor, t: Tensor | float) -> Tensor:
    """Return points (3, ...) of a cubic Bézier curve, vertical at the soil and parallel to `axis` at the head."""
    lift = torch.zeros_like(root)
    lift[1] = 0.45 * d["height"][0]
    bend = head - axis * (0.42 * d["height"][0])
    s = 1 - t
    return root * (s * s * s) + (root + lift) * (3 * s * s * t) + bend * (3 * s * t * t) + head * (t * t * t)


def _stem_segments(d: Draws, root: Tensor, head: Tensor, axis: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    ends = [_stem(d, root, head, axis, i / SEGMENTS) for i in range(SEGMENTS + 1)]
    ends[0] = ends[0] - _stack(*[torch.zeros_like(root[0]), torch.full_like(root[0], 0.05), torch.zeros_like(root[0])])
    found = []
    for low, high in itertools.pairwise(ends):
        half = (high - low) / 2
        x, y = _perpendicular(unit(half))
        radius = d["stem"][0]
        form = torch.zeros(5, *radius.shape, dtype=radius.dtype)
        found.append(((low + high) / 2, _stack(x * radius, y * radius, half * 1.06), form))
    return found


def _leaves(d: Draws, root: Tensor, head: Tensor, axis: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    found = []
    for i in range(LEAVES):
        turn = d["leaf_turn"][0] + i * 0.38 + d["leaf_azimuth"][i]
        along = _direction(turn, d["leaf_rise"][i])
        side = _direction(turn + 0.25, torch.zeros_like(turn))
        length, width = d["leaf_length"][i], d["leaf_width"][i]
        axes = _stack(along * length, side * width, cross(side, along) * length)
        one = torch.ones_like(width)
        form = _stack(d["leaf_bend"][i], d["leaf_channel"][i], 2.2 * one, -2.2 * one, 0 * one)
        found.append((_stem(d, root, head, axis, d["leaf_at"][i]), axes, form))
    return found


def _head(d: Draws, head: Tensor, axis: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    first, second = _perpendicular(axis)
    disc, height = d["disc"][0], d["disc_height"][0]
    flat = torch.zeros(5, *disc.shape, dtype=disc.dtype)
    calyx = disc * 0.62
    found = [
        (head - axis * 0.015, _stack(first * calyx, second * calyx, axis * 0.075), flat),
        (head + axis * 0.03, _stack(first * disc, second * disc, axis * height), flat),
    ]
    count = d["petals"][0].floor()
    for i in range(PETALS):
        turn = d["petal_turn"][0] + i / count + d["each_turn"][i]
        out = first * sine(turn + 0.25) + second * sine(turn)
        # Neighbouring petals lie alternately over and under each other.
        tilt = d["petal_tilt"][0] + d["each_tilt"][i] + (i % 2 - 0.5) * d["overlap"][0]
        along = out * sine(tilt + 0.25) + axis * sine(tilt)
        level = second * sine(turn + 0.25) - first * sine(turn)
        over = cross(along, level)
        roll = d["each_roll"][i]
        side = level * sine(roll + 0.25) + over * sine(roll)
        length = d["petal_length"][0] * d["each_length"][i]
        gap = sine(0.5 / count) / sine(0.5 / count + 0.25)
        width = d["petal_width"][0] * d["each_width"][i] * (gap * 0.72 * length + 0.035)
        axes = _stack(along * length, side * width, cross(along, side) * length)
        # Blend of three outlines: round, widest near the tip, pointed.
        point, broad = d["petal_point"][0] * 0.9, d["petal_broad"][0]
        form = _stack(
            d["petal_bend"][0] + d["each_bend"][i],
            d["petal_channel"][0].clone(),
            1.0 - 0.55 * broad + 0.3 * point,
            0.9 * broad + 0.5 * point,
            -0.8 * point,
        )
        found.append((head + axis * 0.01 + out * (disc * 0.55), axes, form))
    return found


def _camera(d: Draws, head: Tensor) -> Camera:
    look = _direction(d["azimuth"][0], d["elevation"][0])
    target = head * 0.6
    target[1] = (head[1] + 0.15) * d["focus"][0]
    distance, forward = d["distance"][0], -look
    level = unit(cross(forward, _direction(torch.zeros_like(distance), torch.full_like(distance, 0.25))))
    over = cross(level, forward)
    turn, wide = d["roll"][0], 0.3
    right = (level * sine(turn + 0.25) + over * sine(turn)) * wide
    up = (over * sine(turn + 0.25) - level * sine(turn)) * wide
    offset = right * d["shift"][0] * 0.45 + up * d["shift"][1] * 0.3
    return Camera(*(v.float() for v in (target + look * distance + offset, forward, right, up)))


def build(d: Draws) -> Scene:
    """Build the scenes that the draws (count, N) describe."""
    zero = torch.zeros_like(d["height"][0])
    root = _stack(zero, d["pot_height"][0], zero)
    head = root + _stack(d["lean"][0], d["height"][0], d["lean"][1])
    # The head may face any direction, but more often the viewer: the signed square favours small angles.
    face = d["azimuth"][0] + 0.5 * d["face"][0] * d["face"][0].abs()
    axis = _direction(face, 0.25 - d["tilt"][0])
    parts = [
        *_pot(d),
        *_stem_segments(d, root, head, axis),
        *_leaves(d, root, head, axis),
        *_head(d, head, axis),
    ]
    origin, axes, form = (torch.stack(column, -1) for column in zip(*parts, strict=True))
    shown = torch.ones(zero.shape[0], len(SLOTS), dtype=torch.bool)
    shown[:, -PETALS:] = torch.arange(PETALS) < d["petals"][0].floor()[:, None]
    leaf = KINDS.index("sheet")
    shown[:, leaf : leaf + LEAVES] = torch.arange(LEAVES) < d["leaf_count"][0].floor()[:, None]
    light = _direction(d["light_azimuth"][0], d["light_elevation"][0])
    across = [side * d["lamp"][0] for side in _perpendicular(light)]
    made = shapes(KINDS, origin, axes, form, shown)
    made = Shapes(KINDS, made.origin.float(), made.rows.float(), made.corners.float(), made.form.float(), made.shown)
    lights = (light.float(), across[0].float(), across[1].float())
    return Scene(made, _camera(d, head), lights, d["pot_radius"][0].float(), head.float())
