"""Rendered flowers like those of an8Flower: only the colour of one part distinguishes the classes.

*single-6c*: six colours of the petals. *double-12c*: six colours of the petals or of the stem, and the other part is
plain. Each scene is drawn from its own random stream, named by (variant, split, seed, index), and does not depend on
its label. The label, index mod classes, selects the colour only.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from evident.data.render.backdrop import TILE, backdrop, untile
from evident.data.render.casting import Grid, nearest, shadowed, swept
from evident.data.render.flower_scene import PART_OF_SLOT, PARTS, Draws, Scene, build, draws
from evident.data.render.quadrics import MISS
from evident.data.render.shading import hsv, surfaces
from evident.errors import UserError

RENDER_FORMAT = 1  # increase it when images change, so that stored images are rendered again

COLOURS = ("red", "yellow", "turquoise", "blue", "violet", "pink")
HUES, SATURATIONS, VALUES = (
    torch.tensor(column)
    for column in (
        (0.995, 0.135, 0.485, 0.622, 0.765, 0.905),
        (0.92, 0.90, 0.85, 0.85, 0.68, 0.50),
        (0.88, 0.96, 0.80, 0.90, 0.80, 0.97),
    )
)
CLASSES = {
    "single-6c": tuple(f"petals {colour}" for colour in COLOURS),
    "double-12c": tuple(f"{part} {colour}" for part in ("petals", "stem") for colour in COLOURS),
}
PETAL, STEM = PARTS.index("petal"), PARTS.index("stem")
SAMPLES = 2  # a pixel is the mean of SAMPLES x SAMPLES
COVERAGE = 0.01  # smallest share of the image that a mask covers
REACH = 2  # largest distance in pixels at which a part is visible outside its mask
CHUNK = 32  # images per chunk, so that tensors fit into the cache


class Rendered(NamedTuple):
    """Hold images uint8 (N, 3, S, S), labels (N,), parts uint8 (N, S, S) of PARTS and mask bool (N, S, S)."""

    images: Tensor
    labels: Tensor
    parts: Tensor
    mask: Tensor


def check_variant(variant: str) -> str:
    """Return `variant`; raise `UserError` if it is unknown."""
    if variant not in CLASSES:
        raise UserError(f"unknown an8Flower variant {variant!r}; use one of {', '.join(CLASSES)}")
    return variant


def coloured_part(labels: Tensor) -> Tensor:
    """Return the part (N,) whose colour is the class."""
    return torch.where(labels < len(COLOURS), PETAL, STEM)


def _albedo(variant: str, d: Draws, labels: Tensor) -> Tensor:
    """Return colours (7, 3, N) of PARTS; only one of them depends on the label."""

    def random_colour(name: str, hue: float, wide: float, s: tuple[float, float], v: tuple[float, float]) -> Tensor:
        a, b, c = d[name]
        return hsv(hue + wide * (a - 0.5), s[0] + (s[1] - s[0]) * b, v[0] + (v[1] - v[0]) * c)

    double = variant == "double-12c"
    leaf = random_colour("leaf_colour", 0.29, 0.1, (0.45, 0.75), (0.42, 0.68))
    calyx = random_colour("stem_colour", 0.28, 0.08, (0.3, 0.55), (0.42, 0.62))
    stem = random_colour("stem_colour", 0.28, 0.12, (0.06, 0.2), (0.5, 0.75)) if double else calyx * 1.1
    petal = random_colour("petal_colour", 0.28, 0.2, (0.0, 0.09), (0.72, 0.9))
    disc = random_colour("disc_colour", 0.085, 0.07, (0.5, 0.85), (0.35, 0.85))
    pot = random_colour("pot_colour", 0.06, 1.0, (0.05, 0.5), (0.4, 0.9))
    colour = labels % len(COLOURS)
    chosen = hsv(
        HUES[colour] + 0.012 * d["hue_jitter"][0],
        SATURATIONS[colour] + 0.05 * d["saturation_jitter"][0],
        VALUES[colour] + 0.03 * d["value_jitter"][0],
    )
    table = torch.stack([torch.zeros_like(leaf), pot, stem, leaf, calyx, disc, petal])
    part = coloured_part(labels)
    return torch.where((torch.arange(len(PARTS))[:, None] == part)[:, None], chosen, table)


def _flower(scene: Scene, d: Draws, albedo: Tensor, depth: Tensor, slot: Tensor, grid: Grid) -> Tensor:
    """Return linear colours (3, N count², tile, tile) of the samples that hit the flower, zero elsewhere."""
    colour = torch.zeros(3, *depth.shape)
    tiles = grid.all(scene.head.shape[1])
    busy = (depth < MISS).flatten(1).any(1).nonzero()[:, 0]
    tiles, depth, slot = tiles[:, busy], depth[busy], slot[busy]
    view = grid.rays(scene.camera, tiles)
    hit = depth < MISS
    world = scene.camera.eye[:, tiles[0], None, None] + view * torch.where(hit, depth, 1)
    reach = grid.touched(scene.camera, swept(scene.shapes, scene.lights[0]), margin=3 * SAMPLES)
    jitter = torch.tensor([-1.0, 0.35, -0.35, 1.0]).repeat(grid.tile // 4)
    dark = shadowed(scene.shapes, world, tiles, scene.lights, reach, jitter)
    image = tiles[0][:, None, None].expand(slot.shape)
    hits = torch.stack([image[hit], slot[hit].long()])
    local = torch.zeros(3, *hit.shape)
    local[:, hit] = surfaces(scene, d, albedo, hits, view[:, hit], world[:, hit], dark[hit])
    colour[:, busy] = local
    return colour


def _sum_samples(samples: Tensor) -> Tensor:
    """Return sums (..., tile / SAMPLES, tile / SAMPLES) over the samples of each pixel, in a fixed order."""
    return torch.as_tensor(sum(samples[..., i::SAMPLES, j::SAMPLES] for i in range(SAMPLES) for j in range(SAMPLES)))


def _visible(scene: Scene, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return depth and slot of each sample (see `nearest`) and the samples of each part in each pixel (7, N, S, S)."""
    depth, slot = nearest(scene.shapes, scene.camera, Grid(size * SAMPLES, TILE * SAMPLES))
    part = PART_OF_SLOT[slot.long()]
    counts = [untile(_sum_samples((part == k).to(torch.uint8)), len(scene.head[0]), size) for k in range(len(PARTS))]
    return depth, slot, torch.stack(counts)


def render_draws(variant: str, d: Draws, labels: Tensor, size: int) -> Rendered:
    """Render the scenes that the draws (count, N) describe as the classes `labels` (N,)."""
    scene, images = build(d), len(labels)
    d = {name: value.float() for name, value in d.items()}
    depth, slot, counts = _visible(scene, size)
    flower = _flower(scene, d, _albedo(variant, d, labels), depth, slot, Grid(size * SAMPLES, TILE * SAMPLES))
    cover = 1 - counts[0].float() / SAMPLES**2
    light = torch.stack([untile(_sum_samples(channel), images, size) for channel in flower]) / SAMPLES**2
    light = light + backdrop(scene, d, size) * (1 - cover)
    light = light * (1.18 / (1 + 0.18 * light))  # bright regions saturate softly
    pixels = (light.clamp(0, 1).sqrt() * 255 + 0.5).floor().to(torch.uint8).transpose(0, 1)
    chosen = counts[coloured_part(labels), torch.arange(images)]
    return Rendered(pixels, labels, _majority_part(counts), chosen * 2 >= SAMPLES**2)


def _majority_part(counts: Tensor) -> Tensor:
    """Return the part uint8 (N, S, S) with the most samples in each pixel; ties go to the later one of PARTS."""
    largest, part = counts[0].clone(), torch.zeros_like(counts[0])
    for k, count in enumerate(counts):
        part[count >= largest] = k
        largest = torch.maximum(largest, count)
    return part


def _is_valid(counts: Tensor) -> Tensor:
    """Return whether (N,) petals and stem both cover enough pixels, visible at most REACH pixels outside their masks.

    Both parts are checked, not only the coloured one, so that the selection of scenes does not depend on the label.
    """
    valid = torch.ones(counts.shape[1], dtype=torch.bool)
    for part in (PETAL, STEM):
        mask = counts[part] * 2 >= SAMPLES**2
        grown = max_pool2d(mask.float(), 2 * REACH + 1, 1, REACH) > 0
        stray = ((counts[part] > 0) & ~grown).flatten(1).any(1)
        valid &= (mask.flatten(1).sum(1) >= COVERAGE * mask[0].numel()) & ~stray
    return valid


def valid_draws(variant: str, split: str, indices: list[int], seed: int, size: int) -> Draws:
    """Return draws of valid scenes; invalid ones are drawn again from a stream named with the number of the attempt."""
    found = draws(variant, split, indices, [0] * len(indices), seed)
    todo, attempt = torch.arange(len(indices)), 0
    while len(todo):
        scenes = build({name: value[:, todo] for name, value in found.items()})
        todo, attempt = todo[~_is_valid(_visible(scenes, size)[2])], attempt + 1
        again = draws(variant, split, [indices[i] for i in todo], [attempt] * len(todo), seed)
        for name, value in again.items():
            found[name][:, todo] = value
    return found


def render(
    variant: str,
    split: str,
    indices: Iterable[int],
    seed: int = 0,
    size: int = 112,
    labels: Tensor | None = None,
) -> Rendered:
    """Render the images of (variant, split, index, seed).

    An image has the same bytes in any batch and order and for any number of threads. `labels` (N,) renders the same
    scenes as other classes than index mod classes. Raises `UserError` for an unknown variant.
    """
    classes, wanted = len(CLASSES[check_variant(variant)]), list(indices)
    given = torch.tensor(wanted, dtype=torch.long) % classes if labels is None else labels.long()
    made = [
        render_draws(
            variant, valid_draws(variant, split, wanted[i : i + CHUNK], seed, size), given[i : i + CHUNK], size
        )
        for i in range(0, max(1, len(wanted)), CHUNK)
    ]
    return Rendered(*(torch.cat(column).contiguous() for column in zip(*made, strict=True)))
