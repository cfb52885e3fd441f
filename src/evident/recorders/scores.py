"""The scores of every image, by every metric that applies."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from torch import Tensor

from evident.cell_folder import DIRECTIONS, SCORES, CellFolder
from evident.errors import UserError, warn_once
from evident.metrics.contract import Curve, applies, direction_of, forward_only, image_scores, missing_fields, needs_of
from evident.models.precision import PLAIN, Passes, passes_in
from evident.recorders.contract import ExplainedBatch, Recorder, Setup

# What a data set must have for a metric that needs a field of the explanation.
FROM_DATA = {
    "mask": "masks",
    "other": "images of two classes",
    "tile": "grids of images",
    "truth": "scenes of known truth",
    "removals": "scenes without their attributes",
    "parts": "scenes whose parts can be rendered again",
}


class Scores(Recorder):
    """Score every batch with the configured metrics; SCORES and DIRECTIONS.

    A metric that does not apply to the explainer, for example because it needs evidence, gives no rows, and a blank in
    the table. Raises `UserError` for a metric that needs what the data set does not have, unless `leave_out` says to
    leave it out with a warning, and if no metric applies.
    """

    def __init__(self, setup: Setup, leave_out: bool = False) -> None:
        super().__init__(setup)
        self.leave_out = leave_out
        self.directions: dict[str, str] = {}
        self._rows: list[pd.DataFrame] = []

    def record(self, explained: ExplainedBatch) -> None:
        explanation = explained.explanation
        for name, metric in self.setup.metrics.items():
            missing = missing_fields(metric, explanation)
            for need in [need for need in FROM_DATA if need in missing]:
                text = f"metric {name} needs {FROM_DATA[need]}, which this data set does not have"
                if not self.leave_out:
                    raise UserError(f"{text}; leave it out of metric")
                warn_once(f"{text}: left out")
            if not applies(metric, explanation):
                continue
            with passes_in(self.setup.network.network, self._passes(metric)):
                result = metric(explanation)
            results = result if isinstance(result, Mapping) else {name: result}
            for key, value in results.items():
                self.directions[key] = direction_of(metric, key)
                self._rows += _rows(key, value, explained.batch["index"], explanation.target)

    def _passes(self, metric: Callable[..., Any]) -> Passes:
        """Return how a metric's passes are computed; one that explains again would else measure the rounding."""
        if forward_only(metric):
            return self.setup.scored_in
        return self.setup.explained_in if "explainer" in needs_of(metric) else PLAIN

    def save(self, folder: CellFolder) -> None:
        if not self.setup.metrics:
            return
        folder.write(SCORES, self.frame())
        folder.write(DIRECTIONS, self.directions)

    def frame(self) -> pd.DataFrame:
        """Return all scores in the form of `cell_folder.SCORES`."""
        if not self._rows:
            name = type(self.setup.explainer).__name__
            metrics = ", ".join(self.setup.metrics)
            raise UserError(f"none of the metrics {metrics} applies to {name}; add one that applies")
        scores = pd.concat(self._rows, ignore_index=True)
        names = self.setup.images.names
        scores["image"] = [names[index] for index in scores["image"]]
        for position, (column, value) in enumerate(self.setup.labels.items()):
            scores.insert(position, column, value)
        if scores["image"].nunique() != len(names):
            raise RuntimeError(f"{scores['image'].nunique()} of {len(names)} images were scored")
        return scores


def _rows(name: str, result: Tensor | Curve, index: Tensor, target: Tensor) -> list[pd.DataFrame]:
    def frame(axis: str, at: float, values: Tensor) -> pd.DataFrame:
        columns = {"image": index.cpu(), "target": target.cpu(), "metric": name, "axis": axis, "at": at}
        return pd.DataFrame({**columns, "value": values.double().cpu()})

    rows = [frame("", float("nan"), image_scores(result))]
    if isinstance(result, Curve):
        points = zip(result.at.tolist(), result.values.T, strict=True)
        rows += [frame(result.axis, at, values) for at, values in points]
    return rows
