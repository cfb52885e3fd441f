"""Rendered landscapes by index, rendered once and kept in the store."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from evident.data.render.landscape.attributes import ATTRIBUTES
from evident.data.render.landscape.scene import RENDER_FORMAT, Scene, landscape
from evident.progress import bar
from evident.store import Identity, artefact

FILE = "landscapes.safetensors"


@dataclass(frozen=True)
class LandscapeRenderer:
    """Render the landscapes of one set by index, `size` pixels a side, and keep the results in `store`.

    Indices count from `first`, so that a block of a set renders its own landscapes.
    """

    set_name: str
    size: int
    seed: int
    store: Path
    first: int = 0

    def render(self, index: int, without: str | None = None) -> Scene:
        """Return the landscape at `index`, without the attribute `without` if given."""
        return landscape(self.set_name, self.first + index, self.size, without, self.seed)

    def identity(self, content: str, count: int) -> Identity:
        """Return the identity of the stored file that holds `content` of the first `count` landscapes."""
        return {
            "set": content, "format": RENDER_FORMAT, "split": self.set_name, "count": count, "seed": self.seed,
            "size": self.size,
        } | ({"first": self.first} if self.first else {})  # fmt: skip

    def removals(self, visible: Tensor) -> dict[str, Tensor]:
        """Render each of the first N landscapes once without each of its `visible` attributes, bool (N, K).

        Returns `row`, `attribute`, `score` (P,) and `images` uint8 (P, 3, H, W), one row per visible attribute.
        """

        def make(folder: Path) -> None:
            row, attribute = visible.nonzero(as_tuple=True)
            images = torch.empty(len(row), 3, self.size, self.size, dtype=torch.uint8)
            score = torch.empty(len(row))
            with bar(f"removing attributes of {self.set_name}", len(row)) as progress:
                for position, (index, number) in enumerate(zip(row.tolist(), attribute.tolist(), strict=True)):
                    scene = self.render(index, ATTRIBUTES[number])
                    images[position], score[position] = scene.image, scene.score
                    progress.advance()
            save_file({"row": row, "attribute": attribute, "images": images, "score": score}, folder / FILE)

        identity = self.identity("landscapes without an attribute", len(visible))
        return load_file(artefact(self.store, "data", identity, make) / FILE)

    def originals(self, count: int) -> dict[str, Tensor]:
        """Render the first `count` landscapes.

        Returns `images` uint8 (N, 3, H, W), `masks` uint8 (N, K, bytes) with eight pixels per byte, and float64 (N, K):
        `seen`, the shares of the image weighted by position (see `truth`), and `areas`, the unweighted shares.
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
                    scene = self.render(index)
                    flat = scene.masks.flatten(1)
                    tensors["images"][index], tensors["seen"][index] = scene.image, scene.seen
                    tensors["masks"][index] = torch.from_numpy(np.packbits(flat.numpy(), axis=-1))
                    tensors["areas"][index] = flat.sum(1) / pixels
                    progress.advance()
            save_file(tensors, folder / FILE)

        folder = artefact(self.store, "data", self.identity("landscapes", count), make)
        return load_file(folder / FILE)
