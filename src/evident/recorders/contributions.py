"""What the figure of a scene's explanation is drawn from: its map, its attributes, and what people and network say."""

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from safetensors.torch import save_file
from torch import Tensor

from evident.data.images import Batch
from evident.data.scenes.splits import SCORES

EXTREMES = 6  # scenes of the largest errors in either direction


class Scenes(Callback):
    """Keeps what an explainer with maps of its own places says of scenes; `scenes.safetensors` in `folder` at the end.

    Of all N scenes `votes`, NaN where nobody voted, and `predicted` (N, 2), and the first score's `places` (N, h, w).
    Of an explainer that states contributions also those, `contributions` (N, K), and of some scenes, `shown` (S,),
    `images` uint8 (S, 3, H, W), `attribute_maps` (S, K, h, w) and, where it is known what a scene shows, `visible`
    (S, K): the first `examples`, then the largest over- and then
    the largest under-estimates of the first score.
    """

    def __init__(self, explainer: Any, folder: Path, examples: int) -> None:
        self.explainer, self.folder, self.examples = explainer, folder, examples
        self._of_all: list[dict[str, Tensor]] = []
        self._of_shown: dict[int, dict[str, Tensor]] = {}

    def on_test_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Batch, *_: Any) -> None:
        images, target = batch["image"], torch.zeros_like(batch["index"])
        seen = sum(len(rows["predicted"]) for rows in self._of_all)
        said = {
            "votes": torch.stack([batch.get(score, torch.full(images.shape[:1], torch.nan)) for score in SCORES], 1),
            "predicted": module.network(images),
            "places": self.explainer.places(images, target)[:, 0],
        }
        if hasattr(self.explainer, "contributions"):
            said["contributions"] = self.explainer.contributions(images, target)
            pixels, maps = (images * 255).round().byte().cpu(), self.explainer.attribute_maps(images).float().cpu()
            for row in range(len(images)):
                # Copies: a view would keep its whole batch.
                self._of_shown[seen + row] = {"images": pixels[row].clone(), "attribute_maps": maps[row].clone()}
                if "attribute_masks" in batch:
                    self._of_shown[seen + row]["visible"] = batch["attribute_masks"][row].flatten(1).any(1).cpu()
        self._of_all.append({name: values.detach().float().cpu() for name, values in said.items()})
        # Photos are large: none is kept longer than it may be shown.
        shown = set(self._shown())
        self._of_shown = {row: kept for row, kept in self._of_shown.items() if row in shown}

    def _whole(self, name: str) -> Tensor:
        return torch.cat([rows[name] for rows in self._of_all])

    def _shown(self) -> list[int]:
        error = (self._whole("predicted") - self._whole("votes"))[:, SCORES.index("average")]
        order = [row for row in error.argsort(stable=True).tolist() if not error[row].isnan()]
        count = min(EXTREMES, len(order))
        return [*range(min(self.examples, len(error))), *order[: -count - 1 : -1], *order[:count]]

    def on_test_end(self, trainer: Trainer, module: LightningModule) -> None:
        kept = {name: self._whole(name) for name in self._of_all[0]}
        if self._of_shown:
            shown = self._shown()
            kept["shown"] = torch.tensor(shown)
            for name in self._of_shown[shown[0]]:
                kept[name] = torch.stack([self._of_shown[row][name] for row in shown])
        save_file({name: values.contiguous() for name, values in kept.items()}, self.folder / "scenes.safetensors")
