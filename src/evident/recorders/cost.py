"""What the explanations cost."""

import pandas as pd

from evident.cell_folder import COST, CellFolder
from evident.recorders.contract import ExplainedBatch, Recorder, Setup


class Costs(Recorder):
    """Add up images, seconds and passes over all batches, and keep the highest memory of any batch; COST."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._costs: list[dict[str, float]] = []

    def record(self, explained: ExplainedBatch) -> None:
        self._costs.append({"images": len(explained.explanation.images), **explained.cost})

    def save(self, folder: CellFolder) -> None:
        costs = pd.DataFrame(self._costs)
        totals = {str(name): float(value) for name, value in costs.drop(columns="peak_memory").sum().items()}
        folder.write(COST, {**totals, "peak_memory": float(costs["peak_memory"].max())})
