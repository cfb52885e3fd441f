"""One cell, from config to scores: train or load the network, explain the test images, leave per-image scores."""

import json
import logging
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.loggers import Logger
from safetensors.torch import save_file

from evident import store
from evident.data.images import loader
from evident.errors import UserError
from evident.explainers.shared.learning import Learn
from evident.loggers import close, log_scores
from evident.models import training
from evident.models.training import trained
from evident.progress import bar
from evident.recorders.contributions import Scenes
from evident.recorders.explain import Explain
from evident.recorders.interpretation import Interpret

CELL_FORMAT = 2  # raise it when the same config would give other scores or files
log = logging.getLogger("evident")
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
# Images lie in memory: worker processes, which Lightning advises, would only copy them about.
warnings.filterwarnings("ignore", ".*does not have many workers.*")
# Lightning 2.6 asks for a class that torch 2.15 has renamed; nothing to do with us.
warnings.filterwarnings("ignore", ".*isinstance\\(treespec, LeafSpec\\).*")


def identity(config: DictConfig) -> store.Identity:
    """Everything that decides the scores of the cell, and nothing else."""
    resolved: Any = OmegaConf.to_container(config, resolve=True)
    explainer = get_object(config.explainer.build._target_)
    # A trained network's identity says on what it was computed; published weights are everywhere the same.
    sums = {"sums": training.order_of_sums(config)} if training.is_published(config) else {}
    # A data set made of the network's own is no part of the network's identity.
    made = {"data": resolved["data"]} if "base" in resolved["data"] else {}
    named = {"data": config.data.name, "model": config.model.name, "explainer": config.explainer.name}
    return {
        "format": CELL_FORMAT,
        "experiment": resolved["experiment"],
        "names": named,
        "network": training.identity(config),
        **sums,
        **made,
        "explainer": resolved["explainer"]["build"],
        "metric": resolved["metric"],
        "explained": resolved["explained"],
        # Of an explainer that has nothing to interpret, nothing hangs on how it would be.
        "interpretation": resolved["interpretation"] if hasattr(explainer, "interpret") else None,
        "seed": resolved["seed"],
    }


def run(config: DictConfig) -> None:
    """Compute the cell unless it is there; where that fails, log the traceback, keep it as `FAILED` and go on."""
    check(config)
    if not applies(config):
        return
    name = f"{config.data.name} {config.model.name} {config.explainer.name} seed {config.seed}"
    root = Path(config.paths.store)
    try:
        there = store.is_whole(store.location(root, "cells", identity(config)))
        folder = store.artefact(root, "cells", identity(config), partial(_compute, config, name))
        log.info("%s: %s", name, f"there already ({folder})" if there else folder)
    except Exception as error:  # whatever goes wrong in one cell, the others are still wanted
        report = str(error) if isinstance(error, UserError) else traceback.format_exc()
        file = store.record_failure(root, "cells", identity(config), report)
        log.error("%s: FAILED (%s)\n%s", name, file, report)


def applies(config: DictConfig) -> bool:
    """Whether the cell is one of its experiment: a sweep's axes also cross what does not belong together.

    An explainer may explain one kind of network alone, its `explains`; and of a network that `only` names, these
    explainers alone are wanted.
    """
    explainer, network = (get_object(config[part].build._target_) for part in ("explainer", "model"))
    fits = issubclass(network, getattr(explainer, "explains", object))
    return fits and config.explainer.name in config.only.get(config.model.name, [config.explainer.name])


def check(config: DictConfig) -> None:
    """Raise `UserError` for a seed or a number of threads or images that is none."""
    for key, lowest in {"seed": 0, "threads": 1, "explained.batch_size": 1, "explained.images": 1}.items():
        value = OmegaConf.select(config, key)
        if not isinstance(value, int) or value < lowest:
            raise UserError(f"{key}={value} is no whole number from {lowest} on")
    if config.explained.split not in ("test", "val"):
        raise UserError(f"explained.split={config.explained.split} is unknown; use test or val")


def leave(config: DictConfig) -> None:
    """Leave the cell as it is: only the report that follows the sweep is wanted."""


def load_data(config: DictConfig) -> Any:
    """The splits of the configured data set, made of those of its `base` where it has one."""
    build = instantiate(config.data.build, _partial_=True)
    if "base" in config.data:
        return build(load_data(training.on_base(config)))
    return build(root=Path(config.paths.data), store=Path(config.paths.store))


def _compute(config: DictConfig, name: str, folder: Path) -> None:
    torch.set_num_threads(config.threads)
    with loggers_of(config, name) as loggers:
        splits = load_data(config)
        trains_on = training.on_base(config)
        model = trained(trains_on, lambda: splits if trains_on is config else load_data(trains_on), loggers)
        network = model.network
        images = getattr(splits, config.explained.split).first(config.explained.images)
        explainer = instantiate(config.explainer.build, _partial_=True)(network)
        learn = Learn(explainer, lambda: splits.train, Path(config.paths.store), training.identity(config))
        callbacks: list[Callback] = [learn]
        with bar(name, len(images)) as progress:
            explain = Explain(
                explainer,
                {name: instantiate(metric) for name, metric in config.metric.items()},
                target=config.explained.target,
                examples=config.explained.examples,
                advance=progress.advance,
                seed=config.seed,
                removals=getattr(images, "removals", None),
            )
            callbacks.append(explain)
            if hasattr(explainer, "places"):
                callbacks.append(Scenes(explainer, folder, config.explained.examples))
            if config.interpretation:
                callbacks.append(Interpret(explainer, splits.train, folder, **config.interpretation))
            trainer = Trainer(
                **config.trainer,
                devices=1,
                logger=loggers,
                callbacks=callbacks,
                inference_mode=False,  # its tensors could never take part in a gradient
                enable_progress_bar=False,
                enable_model_summary=False,
                enable_checkpointing=False,
            )
            seed_everything(config.seed, verbose=False)
            trainer.test(
                training.training_of(trains_on).module(network, trains_on.data.classes),
                loader(images, config.explained.batch_size),
                verbose=False,
            )
        scores = explain.scores(images.names)
        if scores["image"].nunique() != len(images):
            raise RuntimeError(f"{scores['image'].nunique()} of {len(images)} images were scored")
        labels = {"experiment": config.experiment, "data": config.data.name, "model": config.model.name}
        labels |= {"explainer": config.explainer.name, "seed": config.seed}
        for position, (column, value) in enumerate(labels.items()):
            scores.insert(position, column, value)
        scores.to_parquet(folder / "scores.parquet", index=False)
        if hasattr(explainer, "relevance"):
            explainer.relevance.table(model.classes).to_csv(folder / "features.csv", index=False)
        save_file(explain.kept(), folder / "examples.safetensors")
        (folder / "classes.json").write_text(json.dumps(list(model.classes), indent=1))
        if model.predictions:
            true = splits.true_scores() if hasattr(splits, "true_scores") else {}
            save_file({**model.predictions, **true}, folder / "predictions.safetensors")
        if hasattr(splits, "attribute_names"):
            (folder / "attributes.json").write_text(json.dumps(list(splits.attribute_names), indent=1))
        (folder / "directions.json").write_text(json.dumps(explain.directions, indent=1))
        described: dict[str, Any] = {"hash": model.hash, "accuracy": model.accuracy}
        if model.weights is not None:
            described["weights"] = model.weights
        (folder / "network.json").write_text(json.dumps(described, indent=1))
        (folder / "cost.json").write_text(json.dumps(explain.cost(), indent=1))
        log_scores(loggers, scores, explain.kept())


@contextmanager
def loggers_of(config: DictConfig, name: str) -> Iterator[list[Logger]]:
    """The configured loggers of the cell called `name`, closed at the end, as failed where it was."""
    described = {**identity(config), "cell": store.digest(identity(config))}
    loggers: list[Logger] = []
    try:
        for logger in config.logger.values():
            build = instantiate(logger, _partial_=True)
            loggers.append(build(experiment=config.experiment, name=name, config=described))
        yield loggers
    except BaseException:
        close(loggers, failed=True)
        raise
    close(loggers, failed=False)
