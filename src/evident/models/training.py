"""Networks: trained once for each (data, architecture, settings, seed), then loaded from the store.

A network whose config names published `weights` (`evident.models.pretrained`) is not trained but measured: its
accuracy on the test images is what the store keeps. `training` in the config of a data set says how networks learn
from it: its `_target_` is a `Training`, `Classification` if it names none.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from pytorch_lightning.loggers import Logger
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from evident import store
from evident.data.folder import class_names as names_of_folder
from evident.data.imagenet import class_names
from evident.data.images import NO_LABEL, loader
from evident.data.loading import base_config, load_data
from evident.errors import UserError
from evident.models.building import network_of, published, stored
from evident.models.checkpoint import digest_of, is_file
from evident.models.classifier import Classifier
from evident.models.engine import on_gpu, trainer_of
from evident.models.fitted import Fitted
from evident.models.siam.backbones import load_published_backbone
from evident.progress import Bar, bar

MODEL_FORMAT = 1  # increase it when the same config would give other weights
# Display formats for network measures, most important first.
MEASURES = {
    "test": "{:.2%} test accuracy",
    "test_top5": "{:.2%} in the top 5",
    "train": "{:.2%} train accuracy",
    "test_r2": "test R² {:.3f}",
    "test_rmse": "RMSE {:.3f}",
    "test_tau": "Kendall's tau {:.3f}",
    "test_attribute_precision": "average precision of attributes {:.3f}",
}
log = logging.getLogger("evident")


@dataclass(frozen=True)
class NetworkSpec:
    """Describe a network: its config, with the data set that it belongs to, its published weights, and its identity."""

    config: DictConfig
    weights: str | None
    identity: store.Identity

    @classmethod
    def of(cls, config: DictConfig) -> "NetworkSpec":
        """Resolve the network of the config of a cell."""
        own = base_config(config)
        weights = own.model.get("weights")
        if weights is not None and is_file(weights):
            weights = f"file {digest_of(Path(weights))}"
        identity = {
            "format": MODEL_FORMAT,
            "data": plain(own.data),
            "model": plain(own.model.build),
            "trainer": plain(own.trainer),
            **({"own": plain(own.model.own)} if "own" in own.model else {}),
        }
        if weights is not None:
            return cls(own, weights, {**identity, "weights": weights})
        # Device and number of threads change the order of floating-point sums, and so the weights.
        return cls(own, None, {**identity, **arithmetic(config), "seed": own.network_seed})

    @property
    def published(self) -> bool:
        """Whether the network gets published weights instead of being trained."""
        return self.weights is not None

    def load_data(self) -> Any:
        """Load the data set that the network belongs to."""
        return load_data(self.config)


def plain(config: DictConfig) -> Any:
    """Return a part of a config as plain dictionaries, lists and values, with its interpolations resolved."""
    return OmegaConf.to_container(config, resolve=True)


def arithmetic(config: DictConfig) -> store.Identity:
    """Return the settings that determine the last bits of every result: device and number of threads."""
    return {"device": "cuda" if on_gpu(config) else "cpu", "threads": config.threads}


class Training(Protocol):
    """Train networks on a data set: what the config of a data set names under `training`."""

    def batches(self, splits: Any) -> int:
        """Return how many batches `fit` trains and tests on."""

    def fit(self, network: nn.Module, splits: Any, seed: int, trainer: Callable[..., Trainer]) -> Fitted:
        """Train `network` in place and return its measures, by the names in `MEASURES`, and any predictions."""

    def module(self, network: nn.Module, classes: int) -> LightningModule:
        """Return a module that tests `network` and has it as its attribute `network`."""


def training_of(config: DictConfig) -> Training:
    """Build the `Training` of the configured data set; for data sets without one, the default."""
    settings = config.data.training or {}
    kind = settings.get("_target_", "evident.models.classifier.Classification")
    return instantiate(settings, _target_=kind, _convert_="all")


@dataclass(frozen=True)
class Trained:
    """Hold a network in evaluation mode, its measures by name, and its classes in the order of its outputs.

    `hash` names it in the store; `weights` are its published weights, if any; `predictions` are its outputs for all
    test images, if its training keeps them.
    """

    hash: str
    network: nn.Module
    accuracy: dict[str, float]
    classes: Sequence[str]
    weights: str | None = None
    predictions: Mapping[str, Tensor] = field(default_factory=dict)


def trained(spec: NetworkSpec, loggers: list[Logger]) -> Trained:
    """Return the network; train it, or measure its published weights, if the store does not have it yet."""
    config = spec.config
    make = partial(_measure if spec.published else _train, spec, loggers)
    folder = store.artefact(Path(config.paths.store), "models", spec.identity, make)
    about = json.loads((folder / "about.json").read_text())
    network = published(config) if spec.published else stored(config, folder)
    predictions = load_file(file) if (file := folder / "predictions.safetensors").exists() else {}
    return Trained(folder.name, network, **about, predictions=predictions)


def ready(spec: NetworkSpec) -> Trained:
    """Return the network without measuring it: published weights then need no data set.

    Other networks are `trained` if the store does not have them yet.
    """
    if spec.published:
        return Trained("", published(spec.config), {}, _class_names(spec.config.data), spec.weights)
    return trained(spec, [])


def _class_names(data: DictConfig) -> Sequence[str]:
    """Return the classes of a network with published weights, without loading its data set."""
    return names_of_folder(data.root, data.names) if "names" in data else class_names()


def format_measures(accuracy: Mapping[str, float]) -> str:
    """Format the measures of a network on the test images for readers."""
    known = [phrase.format(accuracy[name]) for name, phrase in MEASURES.items() if name in accuracy]
    first, *further = known or [f"{name} {value:.3f}" for name, value in accuracy.items()] or ["not measured"]
    return f"{first} ({', '.join(further)})" if further else first


def _measure(spec: NetworkSpec, loggers: list[Logger], folder: Path) -> None:
    config, splits = spec.config, spec.load_data()
    network, images = published(config), splits.split("test")
    batches = loader(images, 32)
    with bar(f"measuring {config.model.name}", len(batches)) as progress:
        trainer = trainer_of(config, loggers, _Progress(progress))
        trainer.test(Classifier(network, config.data.classes), batches, verbose=False)
    measured = trainer.callback_metrics
    accuracy = {"test": float(measured["test_accuracy"]), "test_top5": float(measured["test_top5"])}
    if (images.labels == NO_LABEL).all():
        accuracy = {}
    about = {"accuracy": accuracy, "classes": splits.class_names(), "weights": spec.weights}
    (folder / "about.json").write_text(json.dumps(about, indent=1))
    measures = format_measures(accuracy)
    log.info("%s on %d images of %s: %s", config.model.name, len(images), config.data.name, measures)


def _train(spec: NetworkSpec, loggers: list[Logger], folder: Path) -> None:
    config = spec.config
    if config.data.training is None:
        raise UserError(f"data={config.data.name} has no training settings; choose a model with published weights")
    splits, training = spec.load_data(), training_of(config)
    seed_everything(config.network_seed, verbose=False)
    network = network_of(config)
    load_published_backbone(network, Path(config.paths.data))
    with bar(f"training {config.model.name}", training.batches(splits)) as progress:
        accuracy, predictions = training.fit(
            network, splits, config.network_seed, partial(trainer_of, config, loggers, _Progress(progress))
        )
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(weights, folder / "network.safetensors")
    if predictions:
        save_file(dict(predictions), folder / "predictions.safetensors")
    (folder / "about.json").write_text(json.dumps({"accuracy": accuracy, "classes": splits.class_names()}, indent=1))


class _Progress(Callback):
    """Advance the bar after every batch that is trained or tested on."""

    def __init__(self, progress: Bar) -> None:
        self.progress = progress

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        self.progress.advance()

    def on_test_batch_end(self, *_: Any, **__: Any) -> None:
        self.progress.advance()
