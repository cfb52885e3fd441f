"""Contributions of positions and attributes, from networks whose score is their sum."""

import torch
from torch import Tensor

from evident.cell_folder import CONTRIBUTIONS, CellFolder
from evident.contracts import HasOwnMap, Regressor, ShowsAttributes, StatesContributions
from evident.recorders.contract import ExplainedBatch, Recorder, Setup, as_pixels

EXTREMES = 6  # images with the largest errors, in each direction


class Contributions(Recorder):
    """Keep the own map of the explainer, and the contributions that it states, for every image; CONTRIBUTIONS.

    For all N images: the explained output `target` (N,), its `label`, NaN if unknown, what the network `predicted`, and
    the `own_map` (N, h, w). For explainers that state contributions also `contributions` (N, K); if they show
    attributes too, for some images `shown` (S,): `images` uint8 (S, 3, H, W), `attribute_maps` (S, K, h, w) and, if
    masks of the attributes are known, `visible` (S, K), whether the image shows the attribute. Shown are the first
    `examples` images, then the largest over- and the largest underestimates.
    """

    products = (HasOwnMap,)

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._of_all: list[dict[str, Tensor]] = []
        self._of_shown: dict[int, dict[str, Tensor]] = {}

    def record(self, explained: ExplainedBatch) -> None:
        explainer, batch = self.setup.explainer, explained.batch
        images, network = batch["image"], explained.explanation.model
        if not (isinstance(explainer, HasOwnMap) and isinstance(network, Regressor)) or network is None:
            return
        target = explained.explanation.target
        row = torch.arange(len(images), device=target.device)
        seen = sum(len(rows["predicted"]) for rows in self._of_all)
        unknown = torch.full(images.shape[:1], torch.nan)
        labels = torch.stack([batch.get(name, unknown).to(target.device) for name in network.regression_names()], 1)
        kept = {
            "target": target,
            "label": labels[row, target],
            "predicted": network(images)[row, target],
            "own_map": explainer.own_map(images, target)[:, 0],
        }
        if isinstance(explainer, StatesContributions):
            kept["contributions"] = explainer.contributions(images, target)
            maps = explainer.attribute_maps(images) if isinstance(explainer, ShowsAttributes) else None
            if maps is not None:
                self._keep_shown(seen, images, maps, batch.get("attribute_masks"))
        self._of_all.append({name: values.detach().float().cpu() for name, values in kept.items()})
        # Photographs are large: only those that may still be shown are kept.
        shown = set(self._shown())
        self._of_shown = {row: kept for row, kept in self._of_shown.items() if row in shown}

    def _keep_shown(self, seen: int, images: Tensor, maps: Tensor, masks: Tensor | None) -> None:
        pixels, maps = as_pixels(images).cpu(), maps.float().cpu()
        for row in range(len(images)):
            # Copies: a view would keep its whole batch in memory.
            self._of_shown[seen + row] = {"images": pixels[row].clone(), "attribute_maps": maps[row].clone()}
            if masks is not None:
                self._of_shown[seen + row]["visible"] = masks[row].flatten(1).any(1).cpu()

    def _whole(self, name: str) -> Tensor:
        return torch.cat([rows[name] for rows in self._of_all])

    def _shown(self) -> list[int]:
        error = self._whole("predicted") - self._whole("label")
        order = [row for row in error.argsort(stable=True).tolist() if not error[row].isnan()]
        count = min(EXTREMES, len(order))
        return [*range(min(self.setup.examples, len(error))), *order[: -count - 1 : -1], *order[:count]]

    def save(self, folder: CellFolder) -> None:
        kept = {name: self._whole(name) for name in self._of_all[0]} if self._of_all else {}
        if self._of_shown:
            shown = self._shown()
            kept["shown"] = torch.tensor(shown)
            for name in self._of_shown[shown[0]]:
                kept[name] = torch.stack([self._of_shown[row][name] for row in shown])
        folder.write(CONTRIBUTIONS, kept)
