"""What an explainer learns from the training set, stored once for each trained network."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from captum.attr import Attribution

from evident import store
from evident.contracts import Fits
from evident.data.images import ImageSet, loader

RELEVANCE_FORMAT = 1  # increase it when the same settings would give another relevance


def learn(
    explainer: Attribution, training_set: Callable[[], ImageSet], store_root: Path, network_identity: store.Identity
) -> None:
    """Fit `explainer` on `training_set()`, or load the stored result of an earlier fit.

    Do nothing for an explainer that is not `Fits`. The stored result is identified by the explainer's class, its
    `learned_settings()` and `network_identity`, which describes the trained network.
    """
    if not isinstance(explainer, Fits):
        return
    name = f"{type(explainer).__module__}.{type(explainer).__qualname__}"
    identity = {
        "format": RELEVANCE_FORMAT,
        "explainer": name,
        **({} if name.startswith("evident.") else {"_target_": name}),  # code of the user is part of the identity
        "learns": explainer.learned_settings(),
        "network": network_identity,
    }
    make = partial(_make, explainer, training_set)
    explainer.load(store.artefact(store_root, "relevance", identity, make))


def _make(explainer: Fits, training_set: Callable[[], ImageSet], folder: Path) -> None:
    explainer.fit(loader(training_set(), 64))
    explainer.save(folder)
