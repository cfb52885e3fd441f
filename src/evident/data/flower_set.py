"""The rendered flowers of one split, with their parts; each part can be rendered again alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from evident.contracts import ChangesParts
from evident.data.images import ImageSet, Rows
from evident.data.render.flower_parts import CHANGES, masks_of, render_changes
from evident.data.render.flowers import RENDER_FORMAT
from evident.errors import UserError
from evident.store import artefact
from evident.values import PartChanges

FILE = "images.safetensors"


@dataclass(frozen=True)
class FlowerRenderer:
    """Render the scenes of one split again, and keep the results in `store`."""

    variant: str
    split: str
    seed: int
    size: int
    store: Path

    def changes(self, scenes: Tensor, shown: Tensor, draws: int) -> dict[str, Tensor]:
        """Render scenes (N,) with each `shown` part, bool (N, 7), drawn anew; see `render_changes`.

        Returns `row`, `part` (P,) and `images` uint8 (P, 3, S, S).
        """
        identity = {
            "set": "an8flower changed parts", "format": RENDER_FORMAT, "variant": self.variant, "split": self.split,
            "scenes": scenes.tolist(), "draws": draws, "seed": self.seed, "size": self.size,
        }  # fmt: skip

        def make(folder: Path) -> None:
            made = render_changes(self.variant, self.split, scenes, self.seed, self.size, shown, draws)
            save_file(dict(zip(("row", "part", "images"), made, strict=True)), folder / FILE)

        return load_file(artefact(self.store, "data", identity, make) / FILE)


class FlowerSet(ImageSet, ChangesParts):
    """Hold rendered flowers with the part uint8 (N, S, S) that each pixel shows.

    `scenes` (N,) are their numbers in the split, which a block of the set keeps. The parts that change alone are those
    of `evident.data.render.flower_parts.CHANGES`: petals, disc, stem (with the calyx), leaves, pot, background and
    light.
    """

    def __init__(
        self,
        images: Rows,
        labels: Tensor,
        names: Sequence[str],
        masks: Rows | None,
        parts: Tensor,
        scenes: Tensor,
        renderer: FlowerRenderer,
    ) -> None:
        super().__init__(images, labels, names, masks)
        self.parts, self.scenes, self._renderer = parts, scenes, renderer

    def rows(self, rows: slice) -> "FlowerSet":
        """Return the images of these rows."""
        kept = super().rows(rows)
        return FlowerSet(
            kept.images, kept.labels, kept.names, kept.masks, self.parts[rows], self.scenes[rows], self._renderer
        )

    def changed_parts(self, index: Tensor, draws: int = 3) -> PartChanges:
        """Return the images of these indices (B,) with `draws` other versions of each part that they show.

        Raises `UserError` for `draws` below 1.
        """
        if draws < 1:
            raise UserError(f"draws={draws} must be 1 or more")
        # Sorted and without repetition, so that any order of the same images is one artefact.
        scenes, first = self.scenes[index].unique(return_inverse=True)
        own = torch.empty_like(scenes).scatter(0, first, index)
        shown = masks_of(self.parts[own]).flatten(2).any(2)
        shown[:, list(CHANGES).index("light")] = True
        made = self._renderer.changes(scenes, shown, draws)
        entry, row = (made["row"][:, None] == first).nonzero(as_tuple=True)
        images = made["images"][entry].float().div_(255)
        return PartChanges(row, made["part"][entry], images, masks_of(self.parts[index]))
