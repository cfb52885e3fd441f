"""A network trained once for each (data, architecture, settings, seed), then loaded for ever after."""

import json
from collections.abc import Callable
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
from evident.data.images import Splits, loader
from evident.models.classifier import Classifier
from evident.models.normalise import normalisation
from evident.progress import Bar, bar

MODEL_FORMAT = 1  # raise it when the same config would give other weights


def identity(config: DictConfig) -> store.Identity:
    """Everything that decides the weights of the trained network, and nothing else."""
    resolved: Any = OmegaConf.to_container(config, resolve=True)
    return {
        "format": MODEL_FORMAT,
        "data": resolved["data"],
        "model": resolved["model"]["build"],
        "trainer": resolved["trainer"],
        # Sums in another order, on another device or number of threads, are other bits, and other weights in the end.
        "device": "cuda" if torch.cuda.is_available() and config.trainer.accelerator != "cpu" else "cpu",
        "threads": resolved["threads"],
        "seed": resolved["seed"],
    }


@dataclass(frozen=True)
class Trained:
    """A network in evaluation mode, its accuracies in [0, 1] by split, and its classes in the order of its scores.

    `hash` names it in the store.
    """

    hash: str
    network: nn.Module
    accuracy: dict[str, float]
    classes: list[str]


def trained(config: DictConfig, splits: Callable[[], Splits], loggers: list[Logger]) -> Trained:
    """The configured network, trained on `splits()` where it is not in the store yet."""
    make = partial(_train, config, splits, loggers)
    folder = store.artefact(Path(config.paths.store), "models", identity(config), make)
    network = _network(config)
    network.load_state_dict(load_file(folder / "network.safetensors"))
    return Trained(folder.name, network.eval(), **json.loads((folder / "about.json").read_text()))


def _network(config: DictConfig) -> nn.Module:
    network = instantiate(config.model.build, _partial_=True)(classes=config.data.classes)
    # Two to four times as fast on a CPU as the default layout.
    return network.to(memory_format=torch.channels_last)


def _train(config: DictConfig, load: Callable[[], Splits], loggers: list[Logger], folder: Path) -> None:
    splits = load()
    seed_everything(config.seed, verbose=False)
    network = _network(config)
    normalisation(network).measure(splits.train.images)
    settings = config.data.training
    classifier = Classifier(network, config.data.classes, settings.learning_rate, settings.weight_decay)
    train = loader(splits.train, settings.batch_size, shuffle_seed=config.seed)
    with bar(f"training {config.model.name}", settings.epochs * len(train)) as progress:
        trainer = Trainer(
            **config.trainer,
            devices=1,
            max_epochs=settings.epochs,
            logger=loggers,
            callbacks=[_Progress(progress)],
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            num_sanity_val_steps=0,
            log_every_n_steps=min(50, len(train)),
        )
        trainer.fit(classifier, train, loader(splits.val, 256))
    accuracy = {"val": float(trainer.callback_metrics["val_accuracy"])}
    trainer.test(classifier, loader(splits.test, 256), verbose=False)
    accuracy["test"] = float(trainer.callback_metrics["test_accuracy"])
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(weights, folder / "network.safetensors")
    (folder / "about.json").write_text(json.dumps({"accuracy": accuracy, "classes": splits.classes}, indent=1))


class _Progress(Callback):
    def __init__(self, progress: Bar) -> None:
        self.progress = progress

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        self.progress.advance()
