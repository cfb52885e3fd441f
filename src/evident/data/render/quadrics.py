"""Intersections of rays with quadrics, batched over images.

A scene of N images has P slots. A slot has the same kind in every image: a closed `ellipsoid`, a capped `frustum`
(cylinder, cone) or a `sheet`, the patch of a paraboloid inside an outline, curved like a leaf.

All operations on pixels are ones that IEEE 754 rounds exactly (+ - * / sqrt, comparisons). An image therefore has the
same bits in any batch, for any number of threads and on any machine; `torch.sin` and sums do not guarantee this.
Vectors have their components first: (3, ...).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

MISS = float("inf")


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return dot products (...) of vectors (3, ...), summed in a fixed order."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Tensor, b: Tensor) -> Tensor:
    """Return cross products (3, ...) of vectors (3, ...)."""
    return torch.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def unit(a: Tensor) -> Tensor:
    """Return vectors (3, ...) scaled to length one."""
    return a / dot(a, a).sqrt()


def sine(turns: Tensor) -> Tensor:
    """Return sin(2 pi turns) with an error of about 1e-7, from exactly rounded operations only."""
    x = turns - (turns + 0.5).floor()
    x = torch.where(x.abs() > 0.25, x.sign() * 0.5 - x, x) * (2 * torch.pi)
    square, result = x * x, torch.zeros_like(x)
    for k in (6, 5, 4, 3, 2, 1):
        result = (1 + result) * square * (-1 / (2 * k * (2 * k + 1)))
    return x * (1 + result)


def plane(origin: Tensor, direction: Tensor) -> Tensor:
    """Return the distance to the plane y = 0 along rays, in lengths of `direction`; inf for a miss."""
    t = -origin[1] / direction[1]
    return torch.where(t > 0, t, MISS)


def _first(enter: Tensor, leave: Tensor, near: float) -> Tensor:
    """Return the first t > near of a ray that is inside a solid from `enter` to `leave`, else inf."""
    seen = torch.where(enter > near, enter, leave)
    return torch.where((enter <= leave) & (seen > near), seen, MISS)


def ellipsoid(origin: Tensor, direction: Tensor, form: Tensor, near: float = 0.0) -> Tensor:
    """Return the first t > near at which rays meet the unit sphere |p| = 1, else inf; `form` is unused."""
    a, b, c = dot(direction, direction), dot(origin, direction), dot(origin, origin) - 1
    root = (b * b - a * c).sqrt()  # NaN on a miss, and every comparison with NaN is false
    return _first((-b - root) / a, (root - b) / a, near)


def frustum(origin: Tensor, direction: Tensor, form: Tensor, near: float = 0.0) -> Tensor:
    """Return the first t > near on the solid x² + y² <= (1 + k z)², |z| <= 1, else inf; k = form[0] in [-1, 1]."""
    k, (ox, oy, oz), (dx, dy, dz) = form[0], origin, direction
    radius, slope = 1 + k * oz, k * dz
    a = dx * dx + dy * dy - slope * slope
    b = ox * dx + oy * dy - radius * slope
    c = ox * ox + oy * oy - radius * radius
    root = (b * b - a * c).sqrt()
    pivot = -(b + torch.where(b < 0, -root, root))
    # A ray parallel to the axis of a cylinder has no root: all of it is inside, or none.
    always = (a == 0) & (b == 0) & (c <= 0)
    one, two = torch.where(always, -MISS, pivot / a), torch.where(always, MISS, c / pivot)
    down, up = (-1 - oz) / dz, (1 - oz) / dz
    bottom, top = torch.minimum(down, up), torch.maximum(down, up)
    # A ray steeper than the side (a < 0) is inside the double cone before its first root and after its second.
    low, high = torch.minimum(one, two), torch.maximum(one, two)
    steep, early = a < 0, bottom < low
    enter = torch.where(steep & early, bottom, torch.maximum(bottom, torch.where(steep, high, low)))
    leave = torch.where(steep & ~early, top, torch.minimum(top, torch.where(steep, low, high)))
    return _first(enter, leave, near)


def sheet(origin: Tensor, direction: Tensor, form: Tensor, near: float = 0.0) -> Tensor:
    """Return the first t > near on the sheet z = p x² + q y² inside y² <= 4 x (1 - x) (a + b x + c x²), else inf.

    form = (p, q, a, b, c).
    """
    (ox, oy, oz), (dx, dy, dz), (p, q, *outline) = origin, direction, form
    a = p * dx * dx + q * dy * dy
    b = p * ox * dx + q * oy * dy - 0.5 * dz
    c = p * ox * ox + q * oy * oy - oz
    root = (b * b - a * c).sqrt()
    pivot = -(b + torch.where(b < 0, -root, root))  # avoids cancellation, also for a flat sheet (a = 0)
    result = torch.full_like(pivot, MISS)
    for t in (pivot / a, c / pivot):
        x, y = ox + t * dx, oy + t * dy
        inside = (x > 0) & (x < 1) & (y * y <= 4 * x * (1 - x) * (outline[0] + x * (outline[1] + x * outline[2])))
        result = torch.where(inside & (t > near) & (t < result), t, result)
    return result


def ellipsoid_normal(point: Tensor, form: Tensor) -> Tensor:
    """Return the outward gradient (3, ...) at local points of the unit sphere."""
    return point


def frustum_normal(point: Tensor, form: Tensor) -> Tensor:
    """Return the outward gradient (3, ...) at local points of a frustum: of the side, or of a cap if that is nearer."""
    x, y, z = point
    radius = 1 + form[0] * z
    cap = 1 - z.abs() < 0.5 * (radius - (x * x + y * y).sqrt())
    side = torch.stack([x, y, -form[0] * radius])
    return torch.where(cap, torch.stack([x * 0, y * 0, z]), side)


def sheet_normal(point: Tensor, form: Tensor) -> Tensor:
    """Return the gradient (3, ...) at local points of a sheet, on the side of +z."""
    x, y, _ = point
    return torch.stack([-2 * form[0] * x, -2 * form[1] * y, torch.ones_like(x)])


HITS: dict[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]] = {
    "ellipsoid": ellipsoid,
    "frustum": frustum,
    "sheet": sheet,
}
NORMALS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ellipsoid": ellipsoid_normal,
    "frustum": frustum_normal,
    "sheet": sheet_normal,
}


@dataclass(frozen=True)
class Shapes:
    """Hold P shapes in each of N images.

    `kinds` (P,); `rows` (3, 3, N, P) and `origin` (3, N, P) of the local frames, local = rows · (world - origin);
    `corners` (3, 8, N, P) of the bounding boxes; `form` (5, N, P), the parameters of each kind; `shown` bool (N, P).
    """

    kinds: tuple[str, ...]
    origin: Tensor
    rows: Tensor
    corners: Tensor
    form: Tensor
    shown: Tensor

    def to_local(self, vector: Tensor) -> Tensor:
        """Return world directions (3, N) in each local frame (3, N, P)."""
        vector = vector[..., None]
        return torch.stack([dot(row, vector) for row in self.rows])


def shapes(kinds: tuple[str, ...], origin: Tensor, axes: Tensor, form: Tensor, shown: Tensor) -> Shapes:
    """Return shapes with local frames `axes` (3 axes, 3 components, N, P), orthogonal, in world lengths."""
    one = torch.ones_like(form[0])
    is_sheet = torch.tensor([kind == "sheet" for kind in kinds])
    low, zero = form[:2].clamp(max=0), torch.zeros_like(one)
    rise = form[:2].clamp(min=0)
    reach = torch.where(torch.tensor([kind == "frustum" for kind in kinds]), 1 + form[0].abs(), one)
    reach = torch.where(is_sheet, 1.2, reach)  # outlines stay within |y| <= 1.2
    x = (torch.where(is_sheet, zero, -reach), torch.where(is_sheet, one, reach))
    y = (-reach, reach)
    z = (
        torch.where(is_sheet, low[0] + 1.44 * low[1], -one),
        torch.where(is_sheet, rise[0] + 1.44 * rise[1], one),
    )
    corners = [origin + a * axes[0] + b * axes[1] + c * axes[2] for a in x for b in y for c in z]
    rows = torch.stack([axis / dot(axis, axis) for axis in axes])
    return Shapes(kinds, origin, rows, torch.stack(corners, 1), form, shown)
