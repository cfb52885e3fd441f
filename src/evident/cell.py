"""One cell: load the network and the images, explain them, save the products of the recorders."""

import logging
import sys
import traceback
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig
from pytorch_lightning import seed_everything
from pytorch_lightning.loggers import Logger

from evident import store
from evident.cell_folder import EXAMPLES, NETWORK, PREDICTIONS, SCORES, CellFolder
from evident.contracts import ChangesParts, NamesAttributes, Regressor, Removable, Splits
from evident.data.class_names import index_of
from evident.data.images import loader
from evident.data.loading import load_data
from evident.errors import NotApplicable, UserError, warn_once
from evident.explainers.shared.classes import KINDS
from evident.explainers.shared.learning import learn
from evident.loggers import log_scores, loggers_of
from evident.metrics.contract import needs_of
from evident.models.engine import trainer_of
from evident.models.training import Trained, trained, training_of
from evident.progress import bar
from evident.recorders.contract import Recorder, Setup
from evident.recorders.explain import Explain
from evident.recorders.other_networks import other_networks
from evident.request import Request
from evident.threads import use_threads

log = logging.getLogger("evident")
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
# Lightning recommends worker processes. Rendered images are in memory and photographs are few: one process loads them.
warnings.filterwarnings("ignore", ".*does not have many workers.*")
# Lightning 2.6 uses a class that torch 2.15 has renamed; the warning is raised inside Lightning.
warnings.filterwarnings("ignore", ".*isinstance\\(treespec, LeafSpec\\).*")


def run(config: DictConfig) -> None:
    """Compute the cell unless the store has it, or again with `recompute`.

    If it fails, log the error, write it to `FAILED` and return: one line for a `UserError`, else the traceback. With
    `raise_errors` the exception is raised. With `leave_out`, an explainer that does not apply to the network is no
    failure; the line is written to `LEFT_OUT`, and the report has it.
    """
    request = Request(config)
    if not request.applies:
        return
    try:
        if config.recompute:
            store.forget(request.root, "cells", request.identity)
        known = store.is_whole(request.folder)
        folder = store.artefact(request.root, "cells", request.identity, partial(compute, request))
        log.info("%s: %s", request.name, f"there already ({folder})" if known else folder)
        if _alone():
            log.info("hydra.mode=RUN computes one cell and writes no table; leave it out for the table")
    except Exception as error:  # a failed cell must not stop the sweep
        if config.raise_errors:
            raise
        report = str(error) if isinstance(error, UserError) else traceback.format_exc()
        if config.leave_out and isinstance(error, NotApplicable):
            _record(request, report, "LEFT_OUT")
            log.info("%s: left out: %s", request.name, report)
            return
        log.error("%s: FAILED (%s)\n%s", request.name, _record(request, report, "FAILED"), report)
        if _alone():
            sys.exit(1)


def _record(request: Request, report: str, name: Literal["FAILED", "LEFT_OUT"]) -> Path | str:
    """Return the file that keeps the error, or why there is none: the disk may be full."""
    try:
        return store.record_failure(request.root, "cells", request.identity, report, name)
    except UserError:
        return "not recorded"


def _alone() -> bool:
    """Return whether the command computes this cell only, so that no report follows and says what failed."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.RUN


def skip(config: DictConfig) -> None:
    """Do nothing; `task=report` only rebuilds the report."""


def compute(request: Request, path: Path) -> None:
    """Compute the cell and write its files to the folder `path`."""
    use_threads(request.config.threads)
    for key in request.unused:
        warn_once(f"{key} has settings but is not selected; they are left out")
    folder = CellFolder(path)
    with loggers_of(request) as loggers:
        setup, splits = load(request, loggers)
        for recorder in explain(request, setup, loggers):
            recorder.save(folder)
        save_network(setup.network, splits, folder)
        if not folder.has(SCORES):
            raise UserError("no recorder wrote scores; add scores to recorder")
        log_scores(loggers, folder.read(SCORES), folder.get(EXAMPLES) or {})


def load(request: Request, loggers: list[Logger]) -> tuple[Setup, Splits]:
    """Load the images and the network, train it if necessary, and build the explainer; it is not fitted yet."""
    config = request.config
    if not request.metrics:
        raise UserError("metric=[] scores nothing; name a metric of conf/metric")
    splits = load_data(config)
    network = trained(request.network, loggers)
    setup = Setup(
        explainer=instantiate(config.explainer.build, _partial_=True)(network.network),
        network=network,
        images=splits.split(config.explained.split).block(config.explained.images, config.network_seed),
        splits=lambda: splits,
        labels=request.labels,
        metrics={name: instantiate(metric) for name, metric in request.metrics.items()},
        examples=config.explained.examples,
        scored_in=request.passes,
        explained_in=request.explained_in,
    )
    return setup, splits


def recorders_of(request: Request, setup: Setup, of_a_picture: bool = False) -> list[Recorder]:
    """Build the recorders of the request; with `of_a_picture` those alone whose product depends on the picture."""
    chosen = [
        build for build in request.recorders.values() if not of_a_picture or get_object(build._target_).of_pictures
    ]
    return [instantiate(build, _partial_=True)(setup) for build in chosen]


def explain(request: Request, setup: Setup, loggers: list[Logger]) -> Sequence[Recorder]:
    """Explain all images, batch by batch, and return the recorders that have recorded them.

    Lightning's test loop is used because it moves network and batches to the device and disables gradients. The
    measures of the test are logged, but not stored.
    """
    config, network = request.config, setup.network.network
    recorders = recorders_of(request, setup)
    needed = {need for metric in setup.metrics.values() for need in needs_of(metric)}
    with bar(request.name, len(setup.images)) as progress:
        callback = Explain(
            setup.explainer,
            recorders,
            _target(config, setup.network),
            config.seed,
            removals=setup.images.removals if "removals" in needed and isinstance(setup.images, Removable) else None,
            parts=setup.images.changed_parts if "parts" in needed and isinstance(setup.images, ChangesParts) else None,
            further=other_networks(config, setup, needed),
            passes=setup.explained_in,
            prepare=partial(fit_explainer, request, setup),
            advance=progress.advance,
        )
        # Inference tensors cannot require gradients.
        trainer = trainer_of(config, loggers, callback, inference_mode=False)
        seed_everything(config.seed, verbose=False)
        module = training_of(request.network.config).module(network, request.network.config.data.classes)
        trainer.test(module, loader(setup.images, config.explained.batch_size), verbose=False)
    return recorders


def _target(config: DictConfig, network: Trained) -> str | int:
    """Return the kind of class to explain, or the index of the class that the config names."""
    target = config.explained.target
    if target in ("label", *KINDS):
        return target
    index = index_of(target, network.classes, Path(config.paths.data))
    if index is None:
        kinds = ", ".join(("label", *KINDS))
        raise UserError(
            f"explained.target={target} is unknown; use {kinds}, the name of a class, or an index from 0 to "
            f"{len(network.classes) - 1}"
        )
    return index


def fit_explainer(request: Request, setup: Setup) -> None:
    """Fit the explainer on the training set, or load the stored result of an earlier fit."""
    learn(setup.explainer, lambda: setup.splits().split("train"), request.root, request.network.identity)


def save_network(network: Trained, splits: Splits | None, folder: CellFolder) -> None:
    """Write hash, measures and classes of the network, and its outputs for the test images if `network` has them."""
    described: dict[str, Any] = {
        "hash": network.hash,
        "accuracy": network.accuracy,
        "classes": list(network.classes),
        "regression": isinstance(network.network, Regressor),
    }
    if network.weights is not None:
        described["weights"] = network.weights
    if isinstance(splits, NamesAttributes):
        described["attributes"] = list(splits.attribute_names())
    folder.write(NETWORK, described)
    if network.predictions:
        folder.write(PREDICTIONS, dict(network.predictions))
