"""Logging of metrics, scores and figures of a cell, by Lightning's loggers: CSV files and Weights & Biases."""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from hydra.utils import instantiate
from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger
from torch import Tensor

from evident import store
from evident.report.figures.heatmaps import overlay
from evident.request import Request

log = logging.getLogger("evident")


def csv(folder: str, *, experiment: str, name: str, config: dict[str, Any]) -> CSVLogger:
    """Log metrics as CSV to folder/experiment/cell."""
    # The files of a killed run of the same cell would be mixed with the new ones.
    shutil.rmtree(Path(folder) / experiment / config["cell"], ignore_errors=True)
    (Path(folder) / experiment / config["cell"]).mkdir(parents=True)  # so that an error is raised here
    return CSVLogger(folder, name=experiment, version=config["cell"])


def wandb(folder: str, project: str, *, experiment: str, name: str, config: dict[str, Any]) -> WandbLogger:
    """Log one run of `project` in the group of the experiment; offline unless the user is logged in."""
    import wandb as weights_and_biases  # takes seconds, and a machine that logs as CSV may lack it

    Path(folder).mkdir(parents=True, exist_ok=True)

    def start(mode: Literal["offline"] | None) -> WandbLogger:
        described: dict[str, Any] = {"name": name, "project": project, "group": experiment, "config": config}
        quiet = weights_and_biases.Settings(silent=True)
        # Lightning would start the run later, with settings of its own that cause warnings.
        run = weights_and_biases.init(dir=folder, mode=mode, settings=quiet, **described)
        return WandbLogger(experiment=run)

    if "WANDB_MODE" in os.environ:
        return start(None)
    try:
        return start(None if weights_and_biases.login(prompt=False) else "offline")
    except weights_and_biases.errors.Error as error:
        if not isinstance(error, weights_and_biases.errors.UsageError):  # a UsageError means only: not logged in
            log.warning("Weights & Biases: %s; this run is logged offline", error)
        return start("offline")


@contextmanager
def loggers_of(request: Request) -> Iterator[list[Logger]]:
    """Yield the configured loggers of the cell, and close them at the end, as failed if the cell failed.

    A logger that cannot be started costs a warning, not the cell.
    """
    described = {**request.identity, "cell": store.digest(request.identity)}
    loggers: list[Logger] = []
    try:
        for name, logger in request.config.logger.items():
            with _warned(f"logger={name}", "be started"):
                build = instantiate(logger, _partial_=True)
                loggers.append(build(experiment=request.config.experiment, name=request.name, config=described))
        yield loggers
    except BaseException:
        close(loggers, failed=True)
        raise
    close(loggers, failed=False)


def log_scores(loggers: list[Logger], scores: pd.DataFrame, examples: dict[str, Tensor]) -> None:
    """Log mean scores to every logger; to Weights & Biases also the table of all scores and the first heatmaps.

    If a logger fails, log a warning and continue: the scores are stored by the cell.
    """
    for logger in loggers:
        with _warned(type(logger).__name__, "log the scores"):
            _log(logger, scores, examples)


@contextmanager
def _warned(logger: str, work: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a failure of a logger's server, disk or library must not fail the cell
        reason = " ".join(str(error).split()) or type(error).__name__
        log.warning("%s could not %s, and the cell goes on without it: %s", logger, work, reason)


def _log(logger: Logger, scores: pd.DataFrame, examples: dict[str, Tensor]) -> None:
    whole = scores[scores["at"].isna()]
    means = {str(metric): float(value) for metric, value in whole.groupby("metric")["value"].mean().items()}
    logger.log_metrics(means)
    if isinstance(logger, WandbLogger):
        logger.log_table("scores", dataframe=whole.drop(columns=["at", "axis"]))
        if examples:
            logger.log_image("examples", [overlay(examples)])


def close(loggers: list[Logger], failed: bool) -> None:
    """Write pending data and end the Weights & Biases run, marked as failed if the cell failed.

    If a logger cannot be closed, log a warning and close the others.
    """
    for logger in loggers:
        with _warned(type(logger).__name__, "be closed"):
            logger.finalize("failed" if failed else "success")
            if isinstance(logger, WandbLogger):
                logger.experiment.finish(exit_code=int(failed))
