"""A network trained once for each (data, architecture, settings, seed), then loaded for ever after.

A network whose config names published `weights` (`evident.models.pretrained`) is not trained but measured: its
accuracy on the test images is its artefact.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.loggers import Logger
from safetensors.torch import load_file, save_file
from torch import nn

from evident import store
from evident.data.imagenet import class_names
from evident.data.images import Splits, loader
from evident.errors import UserError
from evident.models.classifier import Classifier
from evident.models.normalise import normalisation
from evident.models.pretrained import load_weights
from evident.progress import Bar, bar

MODEL_FORMAT = 1  # raise it when the same config would give other weights
log = logging.getLogger("evident")


def identity(config: DictConfig) -> store.Identity:
    """Everything that decides the weights of the network, and nothing else."""
    resolved: Any = OmegaConf.to_container(config, resolve=True)
    decided = {
        "format": MODEL_FORMAT,
        "data": resolved["data"],
        "model": resolved["model"]["build"],
        "trainer": resolved["trainer"],
    }
    if is_published(config):
        return {**decided, "weights": resolved["model"]["weights"]}
    # Sums in another order, on another device or number of threads, are other bits, and other weights in the end.
    return {**decided, **order_of_sums(config), "seed": resolved["seed"]}


def order_of_sums(config: DictConfig) -> store.Identity:
    """What decides the last bits of every result."""
    on_gpu = torch.cuda.is_available() and config.trainer.accelerator != "cpu"
    return {"device": "cuda" if on_gpu else "cpu", "threads": config.threads}


def is_published(config: DictConfig) -> bool:
    """Whether the network gets weights that others have published, instead of being trained."""
    return config.model.get("weights") is not None


@dataclass(frozen=True)
class Trained:
    """A network in evaluation mode, its accuracies in [0, 1] by split, and its classes in the order of its scores.

    `hash` names it in the store; `weights` are those that were published, if they were.
    """

    hash: str
    network: nn.Module
    accuracy: dict[str, float]
    classes: Sequence[str]
    weights: str | None = None


def trained(config: DictConfig, splits: Callable[[], Splits], loggers: list[Logger]) -> Trained:
    """The configured network, trained, or measured, on `splits()` where it is not in the store yet."""
    make = partial(_measure if is_published(config) else _train, config, splits, loggers)
    folder = store.artefact(Path(config.paths.store), "models", identity(config), make)
    about = json.loads((folder / "about.json").read_text())
    network = _published(config) if is_published(config) else _stored(config, folder)
    return Trained(folder.name, network, **about)


def ready(config: DictConfig, splits: Callable[[], Splits]) -> tuple[nn.Module, Sequence[str]]:
    """The configured network and its classes, for one who has no images to measure it on.

    Published weights need no data set; other networks are `trained` on `splits()` where they are not in the store yet.
    """
    if is_published(config):
        return _published(config), class_names()
    model = trained(config, splits, [])
    return model.network, model.classes


def told(accuracy: Mapping[str, float]) -> str:
    """The accuracy on the test images, for readers."""
    text = f"{accuracy['test']:.2%} test accuracy"
    return f"{text} ({accuracy['test_top5']:.2%} in the top 5)" if "test_top5" in accuracy else text


def _network(config: DictConfig) -> nn.Module:
    network = instantiate(config.model.build, _partial_=True)(classes=config.data.classes)
    # Two to four times as fast on a CPU as the default layout.
    return network.to(memory_format=torch.channels_last)


def _stored(config: DictConfig, folder: Path) -> nn.Module:
    network = _network(config)
    network.load_state_dict(load_file(folder / "network.safetensors"))
    return network.eval()


def _published(config: DictConfig) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)  # so that random weights are always the same ones
        network: Any = _network(config)
    load_weights(network, config.model.weights, Path(config.paths.data))
    return network.eval()


def _measure(config: DictConfig, load: Callable[[], Splits], loggers: list[Logger], folder: Path) -> None:
    splits, network = load(), _published(config)
    batches = loader(splits.test, 32)
    with bar(f"measuring {config.model.name}", len(batches)) as progress:
        trainer = _trainer(config, loggers, progress)
        trainer.test(Classifier(network, config.data.classes), batches, verbose=False)
    measured = trainer.callback_metrics
    accuracy = {"test": float(measured["test_accuracy"]), "test_top5": float(measured["test_top5"])}
    about = {"accuracy": accuracy, "classes": splits.classes, "weights": config.model.weights}
    (folder / "about.json").write_text(json.dumps(about, indent=1))
    log.info("%s on %d images of %s: %s", config.model.name, len(splits.test), config.data.name, told(accuracy))


def _train(config: DictConfig, load: Callable[[], Splits], loggers: list[Logger], folder: Path) -> None:
    settings = config.data.training
    if settings is None:
        raise UserError(f"data={config.data.name} trains no network; choose a model that comes with weights")
    splits = load()
    seed_everything(config.seed, verbose=False)
    network = _network(config)
    normalisation(network).measure(splits.train.images[torch.arange(len(splits.train))])
    classifier = Classifier(network, config.data.classes, settings.learning_rate, settings.weight_decay)
    train = loader(splits.train, settings.batch_size, shuffle_seed=config.seed)
    test = loader(splits.test, 256)
    with bar(f"training {config.model.name}", settings.epochs * len(train) + len(test)) as progress:
        steps = {"max_epochs": settings.epochs, "log_every_n_steps": min(50, len(train))}
        trainer = _trainer(config, loggers, progress, **steps, num_sanity_val_steps=0)
        trainer.fit(classifier, train, loader(splits.val, 256))
        accuracy = {"val": float(trainer.callback_metrics["val_accuracy"])}
        trainer.test(classifier, test, verbose=False)
    accuracy["test"] = float(trainer.callback_metrics["test_accuracy"])
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(weights, folder / "network.safetensors")
    (folder / "about.json").write_text(json.dumps({"accuracy": accuracy, "classes": splits.classes}, indent=1))


def _trainer(config: DictConfig, loggers: list[Logger], progress: Bar, **settings: Any) -> Trainer:
    return Trainer(
        **config.trainer,
        **settings,
        devices=1,
        logger=loggers,
        callbacks=[_Progress(progress)],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )


class _Progress(Callback):
    """A step of the bar after every batch trained on or measured."""

    def __init__(self, progress: Bar) -> None:
        self.progress = progress

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        self.progress.advance()

    def on_test_batch_end(self, *_: Any, **__: Any) -> None:
        self.progress.advance()
