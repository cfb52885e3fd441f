"""Where a cell's metrics, scores and figures go: CSV files and Weights & Biases, through Lightning's loggers."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import wandb as weights_and_biases
from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger
from torch import Tensor

from evident.callbacks.figures import overlay


def csv(folder: str, *, experiment: str, name: str, config: dict[str, Any]) -> CSVLogger:
    """Metrics as CSV in folder/experiment/cell."""
    # What a killed run of the same cell has left would be mixed with ours.
    shutil.rmtree(Path(folder) / experiment / config["cell"], ignore_errors=True)
    return CSVLogger(folder, name=experiment, version=config["cell"])


def wandb(folder: str, project: str, *, experiment: str, name: str, config: dict[str, Any]) -> WandbLogger:
    """One run of `project` in the group of the experiment, offline unless the user is logged in."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    return WandbLogger(
        name=name,
        save_dir=folder,
        project=project,
        group=experiment,
        config=config,
        mode=None if _is_logged_in() else "offline",
        settings=weights_and_biases.Settings(silent=True),
    )


def _is_logged_in() -> bool:
    try:
        return weights_and_biases.login(prompt=False)
    except weights_and_biases.errors.UsageError:
        return False


def log_scores(loggers: list[Logger], scores: pd.DataFrame, examples: dict[str, Tensor]) -> None:
    """Mean scores to every logger; to Weights & Biases the table of all scores and the first heatmaps too."""
    whole = scores[scores["at"].isna()]
    means = {str(metric): float(value) for metric, value in whole.groupby("metric")["value"].mean().items()}
    for logger in loggers:
        logger.log_metrics(means)
        if isinstance(logger, WandbLogger):
            logger.log_table("scores", dataframe=whole.drop(columns="at"))
            if examples:
                logger.log_image("examples", [overlay(examples)])


def close(loggers: list[Logger], failed: bool) -> None:
    """Write what is pending and end the Weights & Biases run, as failed where the cell was."""
    for logger in loggers:
        logger.finalize("failed" if failed else "success")
        if isinstance(logger, WandbLogger):
            logger.experiment.finish(exit_code=int(failed))
