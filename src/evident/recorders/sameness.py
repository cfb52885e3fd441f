r"""How similar the heatmaps of different images are: an explanation that is always the same explains nothing.

With h_i the heatmap of image i, minus its mean and divided by its norm, the mean of Pearson's correlation over all
pairs of n images needs the sum of the h_i only:

    2 / (n (n - 1)) sum_{i < j} h_i . h_j = (|sum_i h_i|^2 - n) / (n (n - 1))
"""

import torch
from torch import Tensor

from evident.cell_folder import SAMENESS, CellFolder
from evident.recorders.contract import ExplainedBatch, Recorder, Setup


class Sameness(Recorder):
    """Keep the mean correlation of the heatmaps of two images, and the share of constant heatmaps; SAMENESS."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._total: Tensor | None = None
        self._images = self._varying = 0

    def record(self, explained: ExplainedBatch) -> None:
        heatmaps = explained.explanation.heatmap.detach().double().cpu()
        centred = heatmaps - heatmaps.mean((1, 2), keepdim=True)
        norms = torch.linalg.vector_norm(centred, dim=(1, 2), keepdim=True)
        # A constant heatmap has no correlation. Its norm is zero up to the rounding of its mean.
        varying = norms > 1e-9 * torch.linalg.vector_norm(heatmaps, dim=(1, 2), keepdim=True)
        total = torch.where(varying, centred / norms, 0).sum(0)
        self._total = total if self._total is None else self._total + total
        self._images += len(heatmaps)
        self._varying += int(varying.sum())

    def save(self, folder: CellFolder) -> None:
        if self._total is None:
            return
        pairs = self._varying * (self._varying - 1)
        correlation = float((self._total.square().sum() - self._varying) / pairs) if pairs else None
        folder.write(SAMENESS, {"correlation": correlation, "constant": 1 - self._varying / self._images})
