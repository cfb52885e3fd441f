"""Landscapes by their index, painted once and kept in the store."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from evident import store as artefacts
from evident.data.render.landscape.attributes import ATTRIBUTES
from evident.data.render.landscape.scene import RENDER_FORMAT, Scene, landscape
from evident.progress import bar

PICTURES = "landscapes.safetensors"


@dataclass(frozen=True)
class Painter:
    """The landscapes of one set by their index, `size` pixels a side; what is painted often is kept in `store`."""

    set_name: str
    size: int
    seed: int
    store: Path

    def paint(self, index: int, without: str | None = None) -> Scene:
        """The landscape of that index, without an attribute where one is named."""
        return landscape(self.set_name, index, self.size, without, self.seed)

    def identity(self, what: str, count: int) -> artefacts.Identity:
        """Which pictures these are: `what` of the first `count` landscapes."""
        return {
            "set": what, "format": RENDER_FORMAT, "split": self.set_name, "count": count, "seed": self.seed,
            "size": self.size,
        }  # fmt: skip

    def removals(self, visible: Tensor) -> dict[str, Tensor]:
        """Of landscapes 0 to N - 1, whose `visible` attributes (N, K) are known, those without one of them each.

        `row`, `attribute`, `score` (P,) and `images` uint8 (P, 3, H, W), painted once.
        """

        def make(folder: Path) -> None:
            row, attribute = visible.nonzero(as_tuple=True)
            images = torch.empty(len(row), 3, self.size, self.size, dtype=torch.uint8)
            score = torch.empty(len(row))
            with bar(f"removing attributes of {self.set_name}", len(row)) as progress:
                for place, (index, number) in enumerate(zip(row.tolist(), attribute.tolist(), strict=True)):
                    scene = self.paint(index, ATTRIBUTES[number])
                    images[place], score[place] = scene.image, scene.score
                    progress.advance()
            save_file({"row": row, "attribute": attribute, "images": images, "score": score}, folder / PICTURES)

        identity = self.identity("landscapes without an attribute", len(visible))
        return load_file(artefacts.artefact(self.store, "data", identity, make) / PICTURES)

    def paintings(self, count: int) -> dict[str, Tensor]:
        """The first `count` landscapes, painted once.

        `images` uint8 (N, 3, H, W), `masks` uint8 (N, K, bytes), eight pixels a byte, and float64 (N, K): `seen` as the
        truth has it, and `areas`, the plain shares of the picture.
        """
        size = self.size

        def make(folder: Path) -> None:
            pixels = size * size
            tensors = {
                "images": torch.empty(count, 3, size, size, dtype=torch.uint8),
                "masks": torch.empty(count, len(ATTRIBUTES), -(-pixels // 8), dtype=torch.uint8),
                "seen": torch.empty(count, len(ATTRIBUTES), dtype=torch.float64),
                "areas": torch.empty(count, len(ATTRIBUTES), dtype=torch.float64),
            }
            with bar(f"rendering {self.set_name}", count) as progress:
                for index in range(count):
                    scene = self.paint(index)
                    flat = scene.masks.flatten(1)
                    tensors["images"][index], tensors["seen"][index] = scene.image, scene.seen
                    tensors["masks"][index] = torch.from_numpy(np.packbits(flat.numpy(), axis=-1))
                    tensors["areas"][index] = flat.sum(1) / pixels
                    progress.advance()
            save_file(tensors, folder / PICTURES)

        folder = artefacts.artefact(self.store, "data", self.identity("landscapes", count), make)
        return load_file(folder / PICTURES)
