"""A landscape from its name: the picture, what is visible of each attribute, and how scenic that makes it.

Things are painted from the back to the front, so masks are exact. `without` paints the same landscape without an
attribute: the things whose body bears it are left out with their shadows, and what cannot be without them (boats
without water, wires without pylons); parts that bear it (panes, snow, sails) show what is behind them, and the horizon
disappears in mist. Everything else is drawn as before.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evident.data.render.landscape import truth
from evident.data.render.landscape.attributes import ATTRIBUTES, bearers
from evident.data.render.landscape.canvas import Bools, Canvas, boxes
from evident.data.render.landscape.composition import compose
from evident.data.render.landscape.sky import mist
from evident.data.render.landscape.view import View
from evident.errors import UserError

RENDER_FORMAT = 1  # raised whenever a picture or a taste changes, so that stored ones are made anew
STRIP = 0.016  # to both sides of the horizon, in sides of the picture
OPEN = ("sky", "cloud", "sea", "grass", "dry_grass", "sand", "soil", "field", "lake")


@dataclass(frozen=True)
class Scene:
    """One picture uint8 (3, H, W), masks bool (K, H, W) of ATTRIBUTES, and the truth of `truth`: `seen` float64 (K,).

    `indirect` bool (H, W) marks pixels whose light depends on what is seen elsewhere, if only in part: shadows, the
    lake's mirror, veils of cloud.
    """

    image: Tensor
    masks: Tensor
    indirect: Tensor
    seen: Tensor

    @property
    def contributions(self) -> Tensor:
        """What each attribute adds to the score, float64 (K,)."""
        return torch.from_numpy(truth.contributions(self.seen.numpy()))

    @property
    def contribution_maps(self) -> Tensor:
        """Where that comes from, float64 (K, H, W); each sums to its contribution."""
        return torch.from_numpy(truth.contribution_maps(self.masks.numpy()))

    @property
    def score(self) -> float:
        """The clean score, before anyone votes."""
        return float(truth.score(self.seen.numpy()))

    @property
    def variance(self) -> float:
        """The clean variance of votes."""
        return float(truth.variance(self.seen.numpy()))


def landscape(set_name: str, index: int, size: int, without: str | None = None, seed: int = 0) -> Scene:
    """The landscape of (set_name, seed, index), `size` pixels a side, the same bytes whenever it is asked for.

    `without` leaves one of ATTRIBUTES out. Raises UserError for one that is not there, and for a size below 16.
    """
    if without is not None and without not in ATTRIBUTES:
        raise UserError(f"no attribute {without!r} in landscapes; there are {', '.join(ATTRIBUTES)}")
    if size < 16:
        raise UserError(f"landscapes of {size} pixels asked for; 16 or more will do")
    gone = bearers(without)
    view, items = compose("landscape", set_name, seed, index)
    canvas = Canvas(size, gone)
    for item in items:
        if not gone.intersection(item.body):
            item.paint(canvas)
    horizon = _horizon(view, canvas)
    if without == "horizon":
        mist(view, canvas, horizon)
        horizon = np.zeros_like(horizon)
    masks = canvas.masks(horizon)
    tensors = canvas.image(), masks, boxes(canvas.indirect.astype(np.uint8)) > 0, truth.seen(masks)
    return Scene(*(torch.from_numpy(tensor) for tensor in tensors))


def _horizon(view: View, canvas: Canvas) -> Bools:
    """The strip (S, S) around the horizon in columns where open land or sea meets the sky there."""
    row = min(max(int(view.horizon * canvas.side), 3), canvas.side - 4)
    patch = canvas.whole()
    air, land = patch.shows("sky", "cloud"), patch.shows(*OPEN)
    meets = air[row - 3] & land[row + 2] & ~air[row + 2]
    return (np.abs(patch.v - np.float32(view.horizon)) < np.float32(STRIP)) & meets & land
