"""Where a cell's metrics, scores and figures go: CSV files and Weights & Biases, through Lightning's loggers."""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import wandb as weights_and_biases
from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger
from torch import Tensor

from evident.report.figures.heatmaps import overlay

log = logging.getLogger("evident")


def csv(folder: str, *, experiment: str, name: str, config: dict[str, Any]) -> CSVLogger:
    """Metrics as CSV in folder/experiment/cell."""
    # What a killed run of the same cell has left would be mixed with ours.
    shutil.rmtree(Path(folder) / experiment / config["cell"], ignore_errors=True)
    return CSVLogger(folder, name=experiment, version=config["cell"])


def wandb(folder: str, project: str, *, experiment: str, name: str, config: dict[str, Any]) -> WandbLogger:
    """One run of `project` in the group of the experiment, offline unless the user is logged in."""
    Path(folder).mkdir(parents=True, exist_ok=True)

    def start(mode: str | None) -> WandbLogger:
        described: dict[str, Any] = {"name": name, "project": project, "group": experiment, "config": config}
        quiet = weights_and_biases.Settings(silent=True)
        logger = WandbLogger(save_dir=folder, mode=mode, settings=quiet, **described)
        _ = logger.experiment  # starts the run, so that what hinders it is known here
        return logger

    if "WANDB_MODE" in os.environ:
        return start(None)
    try:
        return start(None if weights_and_biases.login(prompt=False) else "offline")
    except weights_and_biases.errors.Error as error:
        if not isinstance(error, weights_and_biases.errors.UsageError):  # nobody is logged in, as is usual
            log.warning("Weights & Biases: %s; this run is kept offline", error)
        return start("offline")


def log_scores(loggers: list[Logger], scores: pd.DataFrame, examples: dict[str, Tensor]) -> None:
    """Mean scores to every logger; to Weights & Biases the table of all scores and the first heatmaps too.

    A logger that fails costs a warning, never the scores.
    """
    for logger in loggers:
        with _warned(logger, "log the scores"):
            _log(logger, scores, examples)


@contextmanager
def _warned(logger: Logger, work: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # servers, disks and versions of theirs: nothing of it touches the scores
        log.warning("%s could not %s: %s", type(logger).__name__, work, error)


def _log(logger: Logger, scores: pd.DataFrame, examples: dict[str, Tensor]) -> None:
    whole = scores[scores["at"].isna()]
    means = {str(metric): float(value) for metric, value in whole.groupby("metric")["value"].mean().items()}
    logger.log_metrics(means)
    if isinstance(logger, WandbLogger):
        logger.log_table("scores", dataframe=whole.drop(columns="at"))
        if examples:
            logger.log_image("examples", [overlay(examples)])


def close(loggers: list[Logger], failed: bool) -> None:
    """Write what is pending and end the Weights & Biases run, as failed where the cell was.

    A logger that cannot be closed costs a warning, and the others are closed all the same.
    """
    for logger in loggers:
        with _warned(logger, "be closed"):
            logger.finalize("failed" if failed else "success")
            if isinstance(logger, WandbLogger):
                logger.experiment.finish(exit_code=int(failed))
