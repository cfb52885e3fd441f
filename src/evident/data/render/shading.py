"""Colours of the surfaces of a rendered flower, in linear light.

All operations are exactly rounded, as in `quadrics`. No surface reflects light onto another, so the colour of a part
affects the pixels of this part only.
"""

import torch
from torch import Tensor

from evident.data.render.flower_scene import NOISE, PARTS, SLOTS, Draws, Scene
from evident.data.render.quadrics import NORMALS, dot, unit

GLOSS = {"pot": 0.16, "stem": 0.08, "leaf": 0.13, "calyx": 0.03, "disc": 0.04, "petal": 0.045}
TRANSLUCENCY = {"leaf": 0.5, "petal": 0.6}  # transmitted share of the light from behind


def hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Return linear light (3, ...) of a hue in turns and a saturation and value in [0, 1].

    The displayed colour is the square root of linear light.
    """
    turns = [hue + shift for shift in (0, 2 / 3, 1 / 3)]
    ramps = [(((turn - turn.floor()) * 6 - 3).abs() - 1).clamp(0, 1) for turn in turns]
    shown = torch.stack([value * (1 - saturation * (1 - ramp)) for ramp in ramps])
    return shown * shown


def wave(x: Tensor) -> Tensor:
    """Return a triangle wave of period one in [0, 1], zero at integers."""
    return 2 * (x - (x + 0.5).floor()).abs()


def smooth(x: Tensor) -> Tensor:
    """Return a smooth step from 0 (x <= 0) to 1 (x >= 1)."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def noise(grid: Tensor, image: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return periodic noise in [-1, 1] at points (x, y), in units of the cells of each image's grid (N, NOISE²)."""
    column, row = x.floor(), y.floor()
    right, down = smooth(x - column), smooth(y - row)
    column, row, base = column.long(), row.long(), image * (NOISE * NOISE)
    rows = [((row + i) % NOISE) * NOISE + base for i in (0, 1)]
    columns = [(column + i) % NOISE for i in (0, 1)]
    flat = grid.reshape(-1)
    upper, lower = (flat[r + columns[0]] * (1 - right) + flat[r + columns[1]] * right for r in rows)
    return upper * (1 - down) + lower * down


def lamp_colours(d: Draws) -> tuple[Tensor, Tensor]:
    """Return the intensities (3, N) of the direct and of the ambient light."""
    warmth, sun, strength = d["warmth"][0], d["sun"][0], d["ambient"][0]
    direct = torch.stack([1 + 0.4 * warmth, 1 + 0 * warmth, 1 - 0.8 * warmth]) * sun
    ambient = torch.stack([1 - 0.3 * warmth, 1 + 0 * warmth, 1 + 0.4 * warmth]) * strength
    return direct.float(), ambient.float()


def _petal(q: Tensor, at: Tensor, d: Draws) -> tuple[Tensor, Tensor]:
    x, y, _ = q
    streak = wave(y * 3.5 + 0.5) * (0.26 * d["streaks"][0, at]) * (1 - x).clamp(0, 1)
    eye = (0.25 + 0.5 * d["eye"][0, at]) * smooth(1.15 - 2.6 * x)
    return (1 - streak) * (1 - eye) * (0.9 + 0.16 * x), 0.5 + 0.5 * smooth(2.4 * x)


def _leaf(q: Tensor, at: Tensor, d: Draws) -> tuple[Tensor, Tensor]:
    x, y, _ = q
    rib = smooth(1 - y.abs() * 9) * 0.4
    vein = wave((x - 0.5 * y.abs()) * 7) * 0.24
    return (0.95 - vein) * (1 - rib) + rib * 1.6, 0.6 + 0.4 * smooth(2 * x)


def _disc(q: Tensor, at: Tensor, d: Draws) -> tuple[Tensor, Tensor]:
    x, y, z = q
    seeds = wave((x + y) * 4.1) * wave((x - y) * 4.1)
    return (0.45 + 0.95 * seeds) * (0.5 + 0.75 * smooth(2.4 * (x * x + y * y))), 0.6 + 0.4 * smooth(z * 1.5 + 0.2)


def _plain(q: Tensor, at: Tensor, d: Draws) -> tuple[Tensor, Tensor]:
    return torch.ones_like(q[0]), torch.ones_like(q[0])


# Brightness and openness (visible share of the sky), both (H,), at local points q (3, H) of a part in images `at` (H,).
TEXTURES = {"petal": _petal, "leaf": _leaf, "disc": _disc, "stem": _plain, "calyx": _plain, "pot": _plain}


def _glaze(q: Tensor, world: Tensor, slot: Tensor, at: Tensor, d: Draws, pot: Tensor) -> tuple[Tensor, ...]:
    """Return colour (3, H), openness and polish of the pot (slot 0, a painted band) and its rim (slot 1, with soil)."""
    x, y, z = q
    rim = slot == 1
    band = hsv(d["band_colour"][0], 0.5 * d["band_colour"][1], 0.3 + 0.6 * d["band_colour"][2])[:, at]
    middle, width = 0.6 * (d["band"][0, at] - 0.5) - 0.1, 0.3 * (d["band"][1, at] - 0.35)
    painted = smooth((width - (z - middle).abs()) * 14 + 0.5) * (~rim).float()
    colour = pot[:, at] * (1 - painted) + band * painted
    far = x * x + y * y
    earth = rim & (z > 0.99) & (far < 0.72)
    crumbs = 0.7 + 0.5 * noise(d["noise"].T, at, world[0] * 19 + 3, world[2] * 19)
    soil = torch.stack([0.060 * crumbs, 0.042 * crumbs, 0.030 * crumbs])
    under = torch.where(rim, 1.0, 0.5 + 0.5 * smooth(3 * (1 - z)))
    openness = torch.where(earth, 0.55 + 0.45 * smooth(far * 1.6), under * (0.45 + 0.55 * smooth(world[1] * 3.5)))
    return torch.where(earth, soil, colour), openness, (~earth).float()


def surfaces(scene: Scene, d: Draws, albedo: Tensor, hits: Tensor, view: Tensor, world: Tensor, dark: Tensor) -> Tensor:
    """Return linear colours (3, H) of the H samples that hit a shape.

    `hits` (2, H) are image and slot, `view` (3, H) ray directions, `world` (3, H) points, `dark` (H,) bool, the points
    in shadow, and `albedo` (7, 3, N) one colour for each of PARTS. The light is Lambertian reflection, ambient light
    from sky and ground, a soft highlight and, for petals and leaves, light transmitted from behind.
    """
    direct, ambient = lamp_colours(d)
    colour, shapes = torch.empty_like(world), scene.shapes
    for part, name in enumerate(PARTS[1:], 1):
        slots = [i for i, (_, owner) in enumerate(SLOTS) if owner == name]
        chosen = ((hits[1] >= slots[0]) & (hits[1] <= slots[-1])).nonzero()[:, 0]
        (at, slot), points = hits[:, chosen], world[:, chosen]
        flat = at * len(SLOTS) + slot
        rows, form = shapes.rows.flatten(2)[..., flat], shapes.form.flatten(1)[:, flat]
        offset = points - shapes.origin.flatten(1)[:, flat]
        q = torch.stack([dot(row, offset) for row in rows])
        inner = NORMALS[SLOTS[slots[0]][0]](q, form)
        if name == "stem":  # hides the edges between its segments
            inner = torch.stack([q[0], q[1], 0.01 * q[2]])
        normal = unit(torch.stack([dot(rows[:, i], inner) for i in range(3)]))
        towards = -unit(view[:, chosen])
        normal = torch.where(dot(normal, towards) < 0, -normal, normal)

        brightness, openness = TEXTURES[name](q, at, d)
        base, polish = albedo[part][:, at] * brightness, torch.ones_like(brightness)
        if name == "pot":
            base, openness, polish = _glaze(q, points, slot, at, d, albedo[part])
        elif name in ("stem", "calyx", "leaf"):  # the head occludes the sky above points near it
            gap = points - scene.head[:, at]
            openness = openness * (0.35 + 0.65 * smooth(dot(gap, gap).sqrt() * 2.2))
        light, lit = scene.lights[0][:, at], (~dark[chosen]).float()
        facing = dot(normal, light)
        diffuse = facing.clamp(min=0) + (-facing).clamp(min=0) * TRANSLUCENCY.get(name, 0)
        shine = dot(normal, unit(light + towards)).clamp(min=0)
        for _ in range(4):  # 16th power: products are exactly rounded, powers are not
            shine = shine * shine
        sky = ambient[:, at] * ((0.72 + 0.28 * normal[1]) * openness)
        colour[:, chosen] = base * (direct[:, at] * (diffuse * lit) + sky) + direct[:, at] * (
            shine * lit * polish * GLOSS[name]
        )
    return colour
