"""Sums over training images that the mu-lasso needs: X X^T and X L^T, for responses X (m, N) and labels L (C, N).

X X^T has m^2 entries. All layers of ResNet-50 are 77,952 features, whose X X^T would be 48 GB. With fewer images than
features X itself is kept, and a row of X X^T is computed when the solver asks for it: it asks only for the features
that get weight on the way.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from evident.relevance.mu_lasso import Floats

WIDTH = 4096  # features converted to float64 at once: a batch of them fits into the cache, which is 7 times faster


class Moments:
    """Accumulate sums over images in float64: `cross` X L^T (m, C), `total` X 1 (m,), and X X^T (m, m) or X itself.

    `labels` L 1 (C,) counts the images of each class. `lowest` and `highest` (C,) are the extreme values of L.
    """

    def __init__(self) -> None:
        self.cross = self.total = self.labels = torch.zeros(())
        self.lowest, self.highest = torch.tensor(torch.inf), torch.tensor(-torch.inf)
        self._gram: Tensor | None = None
        self._kept: list[Tensor] = []  # the responses of all images, while there are fewer images than features

    def add(self, x: Tensor, labels: Tensor) -> None:
        """Add the responses x (N, m) and the labels (N, C) of N images."""
        self._kept.append(x)
        if self._gram is not None or sum(map(len, self._kept)) >= x.shape[1]:
            for part in self._kept:
                added = part.double().T @ part.double()
                self._gram = added if self._gram is None else self._gram + added
            self._kept.clear()
        x, labels = x.double(), labels.double()
        self.cross = self.cross.to(x) + x.T @ labels
        self.total = self.total.to(x) + x.sum(0)
        self.labels = self.labels.to(x) + labels.sum(0)
        self.lowest = torch.minimum(self.lowest.to(x), labels.amin(0))
        self.highest = torch.maximum(self.highest.to(x), labels.amax(0))

    def gram(self) -> "Tensor | GramRows":
        """Return X X^T (m, m) in float64 on the CPU, or its rows on demand."""
        return GramRows([part.cpu() for part in self._kept]) if self._gram is None else self._gram.cpu()

    def scaled(self) -> Tensor:
        """Return X L^T (m, C) for L scaled to [0, 1]; zero for a label that is the same for all images."""
        span = self.highest - self.lowest
        return (self.cross - self.total[:, None] * self.lowest) / span.where(span > 0, torch.inf)


class GramRows:
    """Compute rows of X X^T in float64 from the responses (N, m), given in `parts`; keep rows that were asked for."""

    def __init__(self, parts: Sequence[Tensor]) -> None:
        self._parts = parts
        self._rows: dict[int, Floats] = {}
        self.shape = (parts[0].shape[1], parts[0].shape[1])

    def __getitem__(self, feature: int) -> Floats:
        """Return the row (m,) of a feature."""
        if feature not in self._rows:
            row = torch.zeros(self.shape[0], dtype=torch.float64)
            for part in self._parts:
                column = part[:, feature].double()
                for entries, block in zip(row.split(WIDTH), part.split(WIDTH, dim=1), strict=True):
                    entries.addmv_(block.double().T, column)
            self._rows[feature] = row.numpy()
        return self._rows[feature]

    def __matmul__(self, weights: Tensor) -> Tensor:
        """Return X X^T W (m, C) for weights W (m, C) float64."""
        return sum((part.double().T @ (part.double() @ weights) for part in self._parts), torch.zeros_like(weights))
