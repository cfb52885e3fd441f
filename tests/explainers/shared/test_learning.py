"""What an explainer learns: fitted once for each trained network and each setting, then loaded."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from captum.attr import Attribution
from torch import nn

from evident import store
from evident.contracts import Fits
from evident.data.images import ImageSet, loader
from evident.explainers.shared import learning as module
from evident.explainers.shared.learning import learn
from evident.explainers.vebi import VEBI
from evident.models.mnist_net import MnistNet
from evident.values import Batch

NETWORK: store.Identity = {"data": "digits", "seed": 0}


class Mean(Attribution, Fits):
    """Learn the sum of the training images' labels, and record the calls."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(nn.Identity())
        self.settings, self.calls, self.learned = settings, list[str](), -1

    def fit(self, dataloader: Iterable[Batch]) -> None:
        self.calls.append("fit")
        self.learned = sum(int(batch["label"].sum()) for batch in dataloader)

    def learned_settings(self) -> dict[str, Any]:
        return self.settings

    def save(self, folder: Path) -> None:
        (folder / "sum.txt").write_text(str(self.learned))

    def load(self, folder: Path) -> None:
        self.calls.append("load")
        self.learned = int((folder / "sum.txt").read_text())


def images(count: int = 130, classes: int = 10) -> ImageSet:
    pixels = torch.randint(0, 256, (count, 1, 28, 28), generator=torch.Generator().manual_seed(1)).byte()
    return ImageSet(pixels, torch.arange(count) % classes, [f"digit{n}" for n in range(count)])


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MnistNet(10).eval()


def artefacts(root: Path) -> list[Path]:
    return sorted(path for path in (root / "relevance").glob("*") if path.is_dir())


def test_result_is_learned_once_and_loaded_afterwards(tmp_path: Path) -> None:
    first, second = Mean(mu=10.0), Mean(mu=10.0)
    for explainer in (first, second):
        learn(explainer, images, tmp_path, NETWORK)
    assert first.calls == ["fit", "load"]
    assert second.calls == ["load"]
    assert first.learned == second.learned == 13 * 45
    [folder] = artefacts(tmp_path)
    assert {path.name for path in folder.iterdir()} == {"sum.txt", "config.yaml", "environment.json", "DONE"}
    assert store.is_whole(folder)


def test_other_settings_networks_and_classes_learn_separately(tmp_path: Path) -> None:
    class Median(Mean):
        pass

    cases = [
        (Mean(mu=10.0), NETWORK),
        (Mean(mu=5.0), NETWORK),
        (Mean(mu=10.0, layers=["relu", "layer1/relu"]), NETWORK),
        (Mean(mu=10.0), {**NETWORK, "seed": 1}),
        (Median(mu=10.0), NETWORK),
    ]
    for number, (explainer, identity) in enumerate(cases, start=1):
        learn(explainer, images, tmp_path, identity)
        assert explainer.calls == ["fit", "load"]
        assert len(artefacts(tmp_path)) == number


def test_new_format_learns_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn(Mean(), images, tmp_path, NETWORK)
    monkeypatch.setattr(module, "RELEVANCE_FORMAT", module.RELEVANCE_FORMAT + 1)
    learn(Mean(), images, tmp_path, NETWORK)
    assert len(artefacts(tmp_path)) == 2


def test_explainer_that_does_not_fit_is_unchanged(tmp_path: Path) -> None:
    explainer = Attribution(nn.Identity())
    state = vars(explainer).copy()
    learn(explainer, images, tmp_path, NETWORK)
    assert vars(explainer) == state
    assert list(tmp_path.iterdir()) == []


def test_failed_save_leaves_no_artefact(tmp_path: Path) -> None:
    class Failing(Mean):
        def save(self, folder: Path) -> None:
            super().save(folder)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        learn(Failing(), images, tmp_path, NETWORK)
    assert artefacts(tmp_path) == []


def test_vebi_loads_the_stored_relevance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = VEBI(network(), mu=5.0)
    learn(first, images, tmp_path, NETWORK)
    [folder] = artefacts(tmp_path)
    assert {"relevance.safetensors", "layers.json", "DONE"} <= {path.name for path in folder.iterdir()}

    monkeypatch.setattr(VEBI, "fit", lambda *_: pytest.fail("the relevance is stored already"))
    # Settings of the display do not change the relevance.
    second = VEBI(network(), mu=5.0, top=1, resampled=False, batch_size=7)
    learn(second, images, tmp_path, NETWORK)
    assert torch.equal(second.relevance().weights, first.relevance().weights)
    assert torch.equal(second.relevance().gain, first.relevance().gain)
    assert second.relevance().features == first.relevance().features
    assert artefacts(tmp_path) == [folder]


@pytest.mark.parametrize("settings", [{"mu": 5.0}, {"layers": "all"}, {"layers": ["classifier.2/relu"]}])
def test_relevance_depends_on_the_learned_settings(tmp_path: Path, settings: dict) -> None:
    for changed in ({}, settings):
        learn(VEBI(network(), **changed), lambda: images(20), tmp_path, NETWORK)
    assert len(artefacts(tmp_path)) == 2


def test_loaded_vebi_explains_like_the_fitted_one(tmp_path: Path) -> None:
    loaded, fitted = VEBI(network(), mu=5.0), VEBI(network(), mu=5.0)
    learn(loaded, images, tmp_path, NETWORK)
    fitted.fit(loader(images(), 64))
    pixels, target = images(8).__getitems__(list(range(8)))["image"], torch.arange(8)
    assert torch.equal(loaded.attribute(pixels, target), fitted.attribute(pixels, target))
