"""A network trained once for each (data, architecture, settings, seed), then loaded for ever after.

A network whose config names published `weights` (`evident.models.pretrained`) is not trained but measured: its
accuracy on the test images is its artefact.

A data set that is made of another one's images names that one `base`; the network is the base's.

How networks learn from a data set, its `training` says: what its `_target_` is, a `Training`, classification where it
names none.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from pytorch_lightning.loggers import Logger
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from evident import store
from evident.data.imagenet import class_names
from evident.data.images import Splits, loader
from evident.errors import UserError
from evident.models.classifier import Classifier
from evident.models.fitted import Fitted
from evident.models.pretrained import load_weights
from evident.models.siam.backbones import load_published_backbone
from evident.progress import Bar, bar

MODEL_FORMAT = 1  # raise it when the same config would give other weights
# What readers are told of a network, the first of these that was measured before the others.
TOLD = {
    "test": "{:.2%} test accuracy",
    "test_top5": "{:.2%} in the top 5",
    "test_r2": "test R² {:.3f}",
    "test_rmse": "RMSE {:.3f}",
    "test_tau": "Kendall's tau {:.3f}",
    "test_attribute_precision": "average precision of attributes {:.3f}",
}
log = logging.getLogger("evident")


def identity(config: DictConfig) -> store.Identity:
    """Everything that decides the weights of the network, and nothing else."""
    resolved: Any = OmegaConf.to_container(on_base(config), resolve=True)
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


def on_base(config: DictConfig) -> DictConfig:
    """The config with the data set that the network is of: `config` itself, unless its data set has a `base`."""
    if "base" not in config.data:
        return config
    own = config.copy()
    own.data = own.data.base
    return own


def order_of_sums(config: DictConfig) -> store.Identity:
    """What decides the last bits of every result."""
    on_gpu = torch.cuda.is_available() and config.trainer.accelerator != "cpu"
    return {"device": "cuda" if on_gpu else "cpu", "threads": config.threads}


def is_published(config: DictConfig) -> bool:
    """Whether the network gets weights that others have published, instead of being trained."""
    return config.model.get("weights") is not None


class Training(Protocol):
    """How networks learn from a data set: what its config says under `training`."""

    def batches(self, splits: Any) -> int:
        """How many batches `fit` trains and tests on."""

    def fit(self, network: nn.Module, splits: Any, seed: int, trainer: Callable[..., Trainer]) -> Fitted:
        """Train `network` in place; return how well it does, in the words of `told`."""

    def module(self, network: nn.Module, classes: int) -> LightningModule:
        """What tests `network`, its `network`."""


def training_of(config: DictConfig) -> Training:
    """How networks learn from the configured data set, or would, where they come with their weights."""
    settings = config.data.training or {}
    kind = settings.get("_target_", "evident.models.classifier.Classification")
    return instantiate(settings, _target_=kind, _convert_="all")


@dataclass(frozen=True)
class Trained:
    """A network in evaluation mode, how well it does by measure, and its classes in the order of its scores.

    `hash` names it in the store; `weights` are those that were published, if they were. `predictions` are what it says
    of all test images, where its training keeps that.
    """

    hash: str
    network: nn.Module
    accuracy: dict[str, float]
    classes: Sequence[str]
    weights: str | None = None
    predictions: Mapping[str, Tensor] = field(default_factory=dict)


def trained(config: DictConfig, splits: Callable[[], Splits], loggers: list[Logger]) -> Trained:
    """The configured network, trained, or measured, on `splits()` where it is not in the store yet."""
    make = partial(_measure if is_published(config) else _train, config, splits, loggers)
    folder = store.artefact(Path(config.paths.store), "models", identity(config), make)
    about = json.loads((folder / "about.json").read_text())
    network = _published(config) if is_published(config) else _stored(config, folder)
    predictions = load_file(file) if (file := folder / "predictions.safetensors").exists() else {}
    return Trained(folder.name, network, **about, predictions=predictions)


def ready(config: DictConfig, splits: Callable[[], Splits]) -> tuple[nn.Module, Sequence[str]]:
    """The configured network and its classes, for one who has no images to measure it on.

    Published weights need no data set; other networks are `trained` on `splits()` where they are not in the store yet.
    """
    if is_published(config):
        return _published(config), class_names()
    model = trained(config, splits, [])
    return model.network, model.classes


def told(accuracy: Mapping[str, float]) -> str:
    """How well a network does on the test images, for readers."""
    first, *further = [phrase.format(accuracy[name]) for name, phrase in TOLD.items() if name in accuracy]
    return f"{first} ({', '.join(further)})" if further else first


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
    if config.data.training is None:
        raise UserError(f"data={config.data.name} trains no network; choose a model that comes with weights")
    splits, training = load(), training_of(config)
    seed_everything(config.seed, verbose=False)
    network = _network(config)
    load_published_backbone(network, Path(config.paths.data))
    with bar(f"training {config.model.name}", training.batches(splits)) as progress:
        accuracy, predictions = training.fit(network, splits, config.seed, partial(_trainer, config, loggers, progress))
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(weights, folder / "network.safetensors")
    if predictions:
        save_file(dict(predictions), folder / "predictions.safetensors")
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
