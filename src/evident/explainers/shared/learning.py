"""What an explainer has to learn from the training set, learnt once for each trained network."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from captum.attr import Attribution
from pytorch_lightning import Callback, LightningModule, Trainer

from evident import store
from evident.data.images import ImageSet, loader

RELEVANCE_FORMAT = 1  # raise it when the same settings would give another relevance


class Learn(Callback):
    """Before the first test batch, once the trained network is on its device, the explainer learns, or loads.

    An explainer that learns has `fit(dataloader)`; `learns`, the settings that what it learns depends on; `save` and
    `load`. What it has learnt is an artefact of the network, whose identity is `network`.
    """

    def __init__(
        self, explainer: Attribution, training_set: Callable[[], ImageSet], root: Path, network: store.Identity
    ) -> None:
        self.explainer, self.training_set, self.root, self.network = explainer, training_set, root, network

    def on_test_start(self, trainer: Trainer, module: LightningModule) -> None:
        learn(self.explainer, self.training_set, self.root, self.network)


def learn(explainer: Any, training_set: Callable[[], ImageSet], root: Path, network: store.Identity) -> None:
    """Fit the explainer on `training_set()`, or load what it has learnt before; nothing where it has no `fit`."""
    if not hasattr(explainer, "fit"):
        return
    identity = {
        "format": RELEVANCE_FORMAT,
        "explainer": f"{type(explainer).__module__}.{type(explainer).__qualname__}",
        "learns": explainer.learns,
        "network": network,
    }
    make = partial(_make, explainer, training_set)
    explainer.load(store.artefact(root, "relevance", identity, make))


def _make(explainer: Any, training_set: Callable[[], ImageSet], folder: Path) -> None:
    explainer.fit(loader(training_set(), 64))
    explainer.save(folder)
