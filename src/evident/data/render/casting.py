"""Ray casting in scenes of quadrics: the visible shape of each sample, and the points in shadow.

A slot is tested only in the tiles of the image that its bounding box, or the shadow of this box, can touch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from evident.data.render.quadrics import HITS, MISS, Shapes, dot


@dataclass(frozen=True)
class Camera:
    """Hold N pinhole cameras: `eye` (3, N) and the frame's `forward`, `right` and `up` (3, N).

    The ray through (u, v) in [-1, 1]² has the direction forward + u right + v up, so its t is the depth in lengths of
    `forward`.
    """

    eye: Tensor
    forward: Tensor
    right: Tensor
    up: Tensor


@dataclass(frozen=True)
class Grid:
    """Divide the frame of each image, `size` samples wide, into `count`² tiles of `tile`² samples."""

    size: int
    tile: int

    @property
    def count(self) -> int:
        return -(-self.size // self.tile)

    def steps(self) -> Tensor:
        """Return frame coordinates (count, tile) of the sample centres from left to right, in [-1, 1]."""
        return ((torch.arange(self.count * self.tile) + 0.5) * (2 / self.size) - 1).view(-1, self.tile)

    def all(self, images: int) -> Tensor:
        """Return all tiles (3, N count²) as image, row and column."""
        return torch.ones(images, self.count, self.count).nonzero().T

    def rays(self, camera: Camera, tiles: Tensor) -> Tensor:
        """Return directions (3, T, tile, tile) of the rays in tiles (3, T)."""
        return self.spread(camera.forward, camera.right, camera.up, *tiles)

    def spread(self, base: Tensor, right: Tensor, up: Tensor, image: Tensor, row: Tensor, col: Tensor) -> Tensor:
        """Return base + u right + v up (3, T, tile, tile) from the vectors (3, N) of each tile's image."""
        steps = self.steps()
        across = base[:, image, None] + right[:, image, None] * steps[col]
        down = up[:, image, None] * -steps[row]
        return across[:, :, None, :] + down[:, :, :, None]

    def touched(self, camera: Camera, points: Tensor, margin: float = 0.0) -> Tensor:
        """Return the tiles, bool (N, P, count, count), that the projections of points (3, K, N, P) touch.

        The K points of a shape count as their bounding box in the frame, enlarged by `margin` samples.
        """
        to = points - camera.eye[:, None, :, None]
        depth = dot(to, camera.forward[:, None, :, None]) / dot(camera.forward, camera.forward)[:, None]
        edges = torch.arange(self.count) * self.tile
        touches = torch.ones(())
        for axis, sign in ((camera.up, -1), (camera.right, 1)):
            at = dot(to, axis[:, None, :, None]) / dot(axis, axis)[:, None] / depth * sign
            at = torch.where((depth > 1e-3).all(0), (at + 1) * (self.size / 2), at.new_tensor(MISS))
            # A box that reaches behind the eye has no bounds in the frame: it may touch any tile.
            low = torch.where(at[0] < MISS, at.amin(0), -MISS)[..., None] - margin
            high = at.amax(0)[..., None] + margin
            inside = (edges + self.tile > low) & (edges < high)
            touches = inside[..., None] if touches.dim() == 0 else touches & inside[..., None, :]
        return touches


def nearest(scene: Shapes, camera: Camera, grid: Grid) -> tuple[Tensor, Tensor]:
    """Return depth and slot (N count², tile, tile) of the nearest shape in each sample; inf and P if there is none."""
    images, slots = scene.shown.shape
    depth = torch.full((images * grid.count**2, grid.tile, grid.tile), MISS, dtype=scene.rows.dtype)
    slot = torch.full(depth.shape, slots, dtype=torch.uint8)
    touched = grid.touched(camera, scene.corners) & scene.shown[..., None, None]
    eye = scene.to_local(camera.eye) - torch.stack([dot(row, scene.origin) for row in scene.rows])
    frame = [scene.to_local(axis) for axis in (camera.forward, camera.right, camera.up)]
    for p, kind in enumerate(scene.kinds):
        tiles = touched[:, p].nonzero().T
        image, row, col = tiles
        at = (image * grid.count + row) * grid.count + col
        direction = grid.spread(*(axis[..., p] for axis in frame), *tiles)
        origin, form = eye[:, image, p, None, None], scene.form[:, image, p, None, None]
        t, before = HITS[kind](origin, direction, form, 0.0), depth[at]
        slot[at] = torch.where(t < before, p, slot[at])
        depth[at] = torch.minimum(t, before)
    return depth, slot


def shadowed(
    scene: Shapes,
    points: Tensor,
    tiles: Tensor,
    lights: tuple[Tensor, Tensor, Tensor],
    reach: Tensor,
    jitter: Tensor,
) -> Tensor:
    """Return which points (3, T, tile, tile) in tiles (3, T) lie in the shadow of a shape: bool (T, tile, tile).

    The light comes from lights[0] + jitter[x] lights[1] + jitter[y] lights[2], each (3, N): neighbouring samples see
    different points of the same lamp, and their average is a soft shadow. `reach` (N, P, count, count) marks the tiles
    that the shadow of a slot can touch (`Grid.touched` of `swept`).
    """
    dark = torch.zeros(points.shape[1:], dtype=torch.bool)
    towards = [scene.to_local(light) for light in lights]
    image, row, col = tiles
    for p, kind in enumerate(scene.kinds):
        at = (reach[image, p, row, col] & scene.shown[image, p]).nonzero()[:, 0]
        n = image[at]
        offset = points[:, at] - scene.origin[:, n, p, None, None]
        origin = torch.stack([dot(line[:, n, p, None, None], offset) for line in scene.rows])
        base, right, up = (light[:, n, p, None, None] for light in towards)
        direction = base + right * jitter + up * jitter[:, None]
        form = scene.form[:, n, p, None, None]
        dark[at] |= HITS[kind](origin, direction, form, 0.004) < MISS
    return dark


def swept(scene: Shapes, light: Tensor) -> Tensor:
    """Return corners (3, 16, N, P) of the volume between the shapes' boxes and their shadows on y = 0.

    The light (3, N) is a direction towards the lamp.
    """
    corners = scene.corners
    fall = corners[1] / light[1][:, None]
    return torch.cat([corners, corners - fall * light[:, None, :, None]], 1)
