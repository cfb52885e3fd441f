"""The background: ground with the flower's shadow, and wall; one colour per pixel, in linear light."""

import torch
from torch import Tensor

from evident.data.render.casting import Grid, shadowed, swept
from evident.data.render.flower_scene import Draws, Scene
from evident.data.render.quadrics import plane, sine
from evident.data.render.shading import hsv, lamp_colours, noise, smooth, wave

TILE = 8


def untile(tiled: Tensor, images: int, size: int) -> Tensor:
    """Join tiles (N count², t, t) to images (N, size, size)."""
    side = tiled.shape[-1]
    count = -(-size // side)
    picture = tiled.view(images, count, count, side, side).transpose(2, 3)
    return picture.reshape(images, count * side, count * side)[:, :size, :size]


def _shadow(scene: Scene, size: int) -> Tensor:
    """Return the share of the lamp, in [0, 1], visible from each pixel's point on the ground (N, size, size)."""
    images, grid = scene.head.shape[1], Grid(size, TILE)
    tiles = grid.all(images)
    direction = grid.rays(scene.camera, tiles)
    eye = scene.camera.eye[:, tiles[0], None, None]
    t = plane(eye, direction)
    points = eye + direction * torch.where(t < 60, t, 60)
    reach = grid.touched(scene.camera, swept(scene.shapes, scene.lights[0])[:, 8:], margin=3)
    jitter = torch.tensor([-1.0, 0.35, -0.35, 1.0]).repeat(TILE // 4)
    lit = 1 - untile(shadowed(scene.shapes, points, tiles, scene.lights, reach, jitter).float(), images, size)
    padded = torch.nn.functional.pad(lit[:, None], (2, 2, 2, 2), mode="replicate")[:, 0]
    # The jitter has four values per axis. A window of four samples with halved ends weighs all four equally.
    window = (0.125, 0.25, 0.25, 0.25, 0.125)
    rows, blurred = torch.zeros_like(padded[:, :size]), torch.zeros_like(padded[:, :size, :size])
    for i, weight in enumerate(window):
        rows = rows + weight * padded[:, i : i + size]
    for i, weight in enumerate(window):
        blurred = blurred + weight * rows[:, :, i : i + size]
    return blurred


def _ground(scene: Scene, d: Draws, x: Tensor, z: Tensor, far: Tensor, image: Tensor) -> Tensor:
    """Return a two-tone ground (3, N, S, S), planks, tiles or soft patches, at points (x, z) `far` from the eye."""
    one = (slice(None), None, None)
    turn, scale = d["pattern_turn"][0][one], d["pattern_scale"][0][one]
    c, s = sine(turn + 0.25), sine(turn)
    u, v = (c * x + s * z) * scale, (c * z - s * x) * scale
    sharp = 11 / (far * far + 1)  # a pattern finer than a pixel is replaced by its mean
    patches = noise(d["noise"].T, image, u * 1.9 + 5, v * 1.9)
    grain = noise(d["noise"].T, image, u * 3.1, v * 6 + 8) * sharp.clamp(max=1)
    planks = smooth((wave(v * 1.2) - 0.06) * sharp * 4 + 0.5) * 2 - 1
    tone = noise(d["noise"].T, image, v.mul(2.4).floor() * 3 + 0.5, u * 0) * 0.8 * sharp.clamp(max=1)
    planks = torch.where(planks < 0.9, planks * 0.9, tone + 0.25 * grain)
    checks = (((wave(u) - 0.5) * sharp).clamp(-1, 1)) * (((wave(v) - 0.5) * sharp).clamp(-1, 1)) + 0.2 * patches
    style = d["pattern"][0][one]
    pattern = torch.where(style < 0.36, planks, torch.where(style < 0.62, checks, patches * 1.2 + 0.3 * grain))
    contrast = (0.1 + 0.32 * d["ground_contrast"][0][one]) / (1 + far * far * 0.012)
    colour = d["ground_colour"]
    base = hsv(colour[0], 0.05 + 0.33 * colour[1] * colour[1], 0.42 + 0.4 * colour[2])[(slice(None), *one)]
    return base * (1 + contrast * pattern)


def _wall(d: Draws, direction: Tensor, image: Tensor, size: int) -> Tensor:
    """Return the wall (3, N, S, S): a vertical colour gradient, soft stains and lights out of focus."""
    one = (slice(None), None, None)
    steps = Grid(size, size).steps()
    across, down = steps[0][None, None, :], steps[0][None, :, None]
    rise = smooth(0.5 - 0.5 * down)
    colour, fade = d["wall_colour"], d["wall_fade"]
    low = hsv(colour[0], 0.06 + 0.4 * colour[1] * colour[1], 0.34 + 0.56 * colour[2])[(slice(None), *one)]
    high = hsv(colour[0] + 0.16 * (fade[0] - 0.5), 0.05 + 0.4 * fade[1] * fade[1], 0.3 + 0.56 * colour[2])
    tone = low * (1 - rise) + high[(slice(None), *one)] * rise
    stains = noise(d["noise"].T, image, across * 2.2 + 4 + 0 * down, down * 2.2 + 9 + 0 * across)
    tone = tone * (1 + 0.13 * stains)
    glow = torch.zeros_like(stains)
    for i, glow_radius in enumerate(d["glow_size"]):
        x, y = across - d["glow_at"][2 * i][one], down - d["glow_at"][2 * i + 1][one]
        radius = glow_radius[one]
        disc = smooth((radius * radius - x * x - y * y) * (9 / radius) + 0.5)
        glow = glow + disc * (d["glow_tone"][i][one] * 0.3)
    return tone * (1 + glow * (d["glows"][0][one] > 0.45)).clamp(min=0.3)


def backdrop(scene: Scene, d: Draws, size: int) -> Tensor:
    """Return linear colours (3, N, size, size) of the scene without the flower, but with its shadow."""
    images = scene.head.shape[1]
    whole = Grid(size, size)
    direction = whole.rays(scene.camera, whole.all(images))
    eye = scene.camera.eye[:, :, None, None]
    t = plane(eye, direction)
    t = torch.where(t < 60, t, 60)
    x, z = eye[0] + t * direction[0], eye[2] + t * direction[2]
    image = torch.arange(images)[:, None, None].expand(x.shape)
    direct, ambient = (light[:, :, None, None] for light in lamp_colours(d))
    radius = scene.pot_radius[:, None, None]
    foot = ((x * x + z * z).sqrt() / radius - 0.7) * 0.75
    slant = scene.lights[0][1][:, None, None]
    light = direct * (slant * _shadow(scene, size)) + ambient * (0.35 + 0.65 * smooth(foot))
    ground = _ground(scene, d, x, z, t, image) * light
    wall = _wall(d, direction, image, size) * (0.5 * direct + ambient) * 0.8
    # The ground fades into the wall with distance. At the horizon the two meet sharply or softly.
    haze = smooth((t - 4) * (0.02 + 0.1 * d["haze"][0])[:, None, None])
    below = smooth(-direction[1] * 60)
    mixed = ground * (1 - haze) + wall * haze
    vignette = 1 - 0.16 * (whole.steps()[0] * whole.steps()[0] + (whole.steps()[0] * whole.steps()[0])[:, None])
    return (mixed * below + wall * (1 - below)) * vignette
