"""Render a landscape from its name: the image, the visible part of each attribute, and the resulting scenicness.

Objects are rendered from back to front, so masks are exact. `without` renders the same landscape without an attribute.
Objects whose body has it are omitted with their shadows, and with them objects that cannot exist without them (boats
without water, wires without pylons). Parts that have it (panes, snow, sails) show what is behind them. The horizon
disappears in mist. Everything else stays the same.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evident.data.render.landscape import truth
from evident.data.render.landscape.attributes import ATTRIBUTES, materials_of
from evident.data.render.landscape.canvas import Bools, Canvas, boxes
from evident.data.render.landscape.composition import compose
from evident.data.render.landscape.sky import mist
from evident.data.render.landscape.view import View
from evident.errors import UserError

RENDER_FORMAT = 1  # increase it when an image or a formula changes, so that stored images are rendered again
STRIP = 0.016  # above and below the horizon, in sides of the image
OPEN = ("sky", "cloud", "sea", "grass", "dry_grass", "sand", "soil", "field", "lake")


@dataclass(frozen=True)
class Scene:
    """Hold an image uint8 (3, H, W), masks bool (K, H, W) of ATTRIBUTES and `seen` float64 (K,), as defined in `truth`.

    `indirect` bool (H, W) marks pixels whose light depends at least partly on objects elsewhere: shadows, reflections,
    thin clouds.
    """

    image: Tensor
    masks: Tensor
    indirect: Tensor
    seen: Tensor

    @property
    def contributions(self) -> Tensor:
        """The contribution of each attribute to the score, float64 (K,)."""
        return torch.from_numpy(truth.contributions(self.seen.numpy()))

    @property
    def contribution_maps(self) -> Tensor:
        """The contributions by pixel, float64 (K, H, W); each map sums to the contribution of its attribute."""
        return torch.from_numpy(truth.contribution_maps(self.masks.numpy()))

    @property
    def score(self) -> float:
        """The true score, without the noise of votes."""
        return float(truth.score(self.seen.numpy()))

    @property
    def variance(self) -> float:
        """The true variance of votes."""
        return float(truth.variance(self.seen.numpy()))


def landscape(set_name: str, index: int, size: int, without: str | None = None, seed: int = 0) -> Scene:
    """Render the landscape (set_name, seed, index), `size` pixels a side, always with the same bytes.

    `without` removes one of ATTRIBUTES. Raises `UserError` for an unknown attribute and for a size below 16.
    """
    if without is not None and without not in ATTRIBUTES:
        raise UserError(f"landscapes have no attribute {without!r}; use one of {', '.join(ATTRIBUTES)}")
    if size < 16:
        raise UserError(f"landscapes of {size} pixels requested; use 16 or more")
    gone = materials_of(without)
    view, items = compose("landscape", set_name, seed, index)
    canvas = Canvas(size, gone)
    for item in items:
        if not gone.intersection(item.body):
            item.render(canvas)
    horizon = _horizon(view, canvas)
    if without == "horizon":
        mist(view, canvas, horizon)
        horizon = np.zeros_like(horizon)
    masks = canvas.masks(horizon)
    tensors = canvas.image(), masks, boxes(canvas.indirect.astype(np.uint8)) > 0, truth.seen(masks)
    return Scene(*(torch.from_numpy(tensor) for tensor in tensors))


def _horizon(view: View, canvas: Canvas) -> Bools:
    """Return the strip (S, S) around the horizon in the columns where open land or sea meets the sky."""
    row = min(max(int(view.horizon * canvas.side), 3), canvas.side - 4)
    patch = canvas.whole()
    air, land = patch.shows("sky", "cloud"), patch.shows(*OPEN)
    meets = air[row - 3] & land[row + 2] & ~air[row + 2]
    return (np.abs(patch.v - np.float32(view.horizon)) < np.float32(STRIP)) & meets & land
