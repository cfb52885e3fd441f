"""What an explainer learns is learnt once for each trained network, and before anything is explained."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from captum.attr import Attribution
from pytorch_lightning import Callback, Trainer
from torch import Tensor, nn

from evident import store
from evident.data.images import Batch, ImageSet, loader
from evident.explainers.shared import learning as module
from evident.explainers.shared.heatmap import positive_sum
from evident.explainers.shared.learning import Learn, learn
from evident.explainers.vebi import VEBI
from evident.models.classifier import Classifier
from evident.models.mnist_net import MnistNet
from evident.recorders.explain import Explain

NETWORK: store.Identity = {"data": "digits", "seed": 0}


class Mean(Attribution):
    """Learns the sum of the training images' labels, and writes down what is asked of it, in order."""

    heatmap = staticmethod(positive_sum)

    def __init__(self, model: nn.Module | None = None, **learns: Any) -> None:
        super().__init__(model)
        self.learns, self.asked, self.learnt = learns, list[str](), -1

    def fit(self, dataloader: Iterable[Batch]) -> None:
        self.asked.append("fit")
        self.learnt = sum(int(batch["label"].sum()) for batch in dataloader)

    def save(self, folder: Path) -> None:
        (folder / "sum.txt").write_text(str(self.learnt))

    def load(self, folder: Path) -> None:
        self.asked.append("load")
        self.learnt = int((folder / "sum.txt").read_text())

    def attribute(self, inputs: Tensor, target: Tensor) -> Tensor:
        self.asked.append("attribute")
        assert self.learnt >= 0
        return inputs


def images(count: int = 130, classes: int = 10) -> ImageSet:
    pixels = torch.randint(0, 256, (count, 1, 28, 28), generator=torch.Generator().manual_seed(1)).byte()
    return ImageSet(pixels, torch.arange(count) % classes, [f"digit{n}" for n in range(count)])


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MnistNet(10).eval()


def artefacts(root: Path) -> list[Path]:
    return sorted(path for path in (root / "relevance").glob("*") if path.is_dir())


def test_it_is_learnt_once_and_loaded_ever_after(tmp_path: Path) -> None:
    first, second = Mean(mu=10.0), Mean(mu=10.0)
    for explainer in (first, second):
        learn(explainer, images, tmp_path, NETWORK)
    assert first.asked == ["fit", "load"]
    assert second.asked == ["load"]
    assert first.learnt == second.learnt == 13 * 45
    [folder] = artefacts(tmp_path)
    assert {path.name for path in folder.iterdir()} == {"sum.txt", "config.yaml", "environment.json", "DONE"}
    assert store.is_whole(folder)


def test_other_settings_and_other_networks_learn_for_themselves(tmp_path: Path) -> None:
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
        assert explainer.asked == ["fit", "load"]
        assert len(artefacts(tmp_path)) == number


def test_another_format_learns_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn(Mean(), images, tmp_path, NETWORK)
    monkeypatch.setattr(module, "RELEVANCE_FORMAT", module.RELEVANCE_FORMAT + 1)
    learn(Mean(), images, tmp_path, NETWORK)
    assert len(artefacts(tmp_path)) == 2


def test_an_explainer_that_learns_nothing_is_left_alone(tmp_path: Path) -> None:
    explainer = Attribution(nn.Identity())
    learned = vars(explainer).copy()
    learn(explainer, images, tmp_path, NETWORK)
    assert vars(explainer) == learned
    assert list(tmp_path.iterdir()) == []


def test_what_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    class Failing(Mean):
        def save(self, folder: Path) -> None:
            super().save(folder)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        learn(Failing(), images, tmp_path, NETWORK)
    assert artefacts(tmp_path) == []


def test_vebi_loads_what_another_has_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = VEBI(network(), mu=5.0)
    learn(first, images, tmp_path, NETWORK)
    [folder] = artefacts(tmp_path)
    assert {"relevance.safetensors", "layers.json", "DONE"} <= {path.name for path in folder.iterdir()}

    monkeypatch.setattr(VEBI, "fit", lambda *_: pytest.fail("it is there already"))
    # How its features are shown does not change which they are.
    second = VEBI(network(), mu=5.0, top=1, resampled=False, batch_size=7)
    learn(second, images, tmp_path, NETWORK)
    assert torch.equal(second.relevance.weights, first.relevance.weights)
    assert torch.equal(second.relevance.gain, first.relevance.gain)
    assert second.relevance.features == first.relevance.features
    assert artefacts(tmp_path) == [folder]


@pytest.mark.parametrize("settings", [{"mu": 5.0}, {"layers": "all"}, {"layers": ["classifier.2/relu"]}])
def test_what_vebi_learns_depends_on_its_settings(tmp_path: Path, settings: dict) -> None:
    for changed in ({}, settings):
        learn(VEBI(network(), **changed), lambda: images(20), tmp_path, NETWORK)
    assert len(artefacts(tmp_path)) == 2


def run(explainer: Attribution, callbacks: list[Callback], batch_size: int = 4) -> None:
    """The test as a cell runs it."""
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, callbacks=callbacks, inference_mode=False, **quiet)
    trainer.test(Classifier(explainer.forward_func, 10), loader(images(8), batch_size), verbose=False)


def test_the_explainer_has_learnt_before_the_first_batch_is_explained(tmp_path: Path) -> None:
    explainer = Mean(network())
    run(explainer, [Learn(explainer, images, tmp_path, NETWORK), Explain(explainer, {}, "label")])
    assert explainer.asked == ["fit", "load", "attribute", "attribute"]
    again = Mean(network())
    run(again, [Learn(again, images, tmp_path, NETWORK), Explain(again, {}, "label")])
    assert again.asked == ["load", "attribute", "attribute"]


def test_vebi_learns_and_explains_in_one_test(tmp_path: Path) -> None:
    explainer = VEBI(network(), mu=5.0)
    callback = Explain(explainer, {}, "predicted", examples=8)
    run(explainer, [Learn(explainer, images, tmp_path, NETWORK), callback])
    expected = VEBI(network(), mu=5.0)
    expected.fit(loader(images(), 64))
    torch.testing.assert_close(explainer.relevance.weights, expected.relevance.weights)
    kept = callback.kept()
    heatmaps = expected.heatmap(expected.attribute(images(8).__getitems__(list(range(8)))["image"], kept["target"]))
    torch.testing.assert_close(kept["heatmaps"], heatmaps)
    assert kept["heatmaps"].flatten(1).amax(1).tolist() == pytest.approx([1.0] * 8)
