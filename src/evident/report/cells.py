"""What a report is made of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig


@dataclass(frozen=True)
class Cell:
    """A cell that has its scores: what was asked for and the folder that holds the answer."""

    config: DictConfig
    folder: Path

    @property
    def labels(self) -> dict[str, Any]:
        """explainer, data, model and seed: its place in every table."""
        config = self.config
        names = {"explainer": config.explainer.name, "data": config.data.name, "model": config.model.name}
        return {**names, "seed": config.seed}
