"""Training of classifiers: deterministic for each seed, done once, stored as plain tensors."""

from pathlib import Path

import pytest
import torch
from entry_point import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from safetensors.torch import load_file

from evident import cli
from evident.data.images import ImageSet, ImageSplits
from evident.models import training
from evident.models.training import NetworkSpec


def spec(store: Path, *overrides: str) -> NetworkSpec:
    cli.prepare()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        composed = compose("config", ["experiment=mnist", "scale=smoke", f"paths.store={store}", *overrides])
    return NetworkSpec.of(composed)


def bars(config: DictConfig | None = None) -> ImageSplits:
    """Return two easy classes: horizontal bars, labelled 0, and vertical bars, labelled 1."""
    images = torch.zeros(64, 1, 28, 28, dtype=torch.uint8)
    images[::2, :, 12:16] = 255
    images[1::2, :, :, 12:16] = 255
    labels = torch.arange(64) % 2
    split = ImageSet(images, labels, [str(index) for index in range(64)])
    return ImageSplits(split, split, split, tuple("0123456789"))


@pytest.fixture(autouse=True)
def train_on_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "load_data", bars)


def test_weights_are_bit_identical_for_the_same_seed_only(tmp_path: Path) -> None:
    weights = []
    for store, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.rand(5)  # the state of the global generator must not matter
        trained = training.trained(spec(tmp_path / store, f"seed={seed}"), [])
        weights.append(torch.cat([value.flatten().float() for value in trained.network.state_dict().values()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_network_learns_and_is_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = spec(tmp_path, "data.training.epochs=5")
    first = training.trained(network, [])
    assert first.accuracy == {"val": 1.0, "test": 1.0}
    assert not first.network.training
    monkeypatch.setattr(training, "load_data", lambda config: pytest.fail("the data was loaded again"))
    again = training.trained(network, [])
    images = torch.rand(3, 3, 28, 28)
    assert torch.equal(first.network(images), again.network(images))
    assert again.classes == list("0123456789")


def test_accuracy_on_the_training_images_is_measured_where_it_is_asked_for(tmp_path: Path) -> None:
    trained = training.trained(spec(tmp_path, "data.training.epochs=5", "+data.training.measure_train=true"), [])
    assert trained.accuracy == {"val": 1.0, "train": 1.0, "test": 1.0}
    assert training.format_measures(trained.accuracy) == "100.00% test accuracy (100.00% train accuracy)"
    # The weights are the same.
    other = training.trained(spec(tmp_path, "data.training.epochs=5"), [])
    weights = (network.state_dict().values() for network in (trained.network, other.network))
    assert all(map(torch.equal, *weights))


def test_checkpoint_holds_tensors_only(tmp_path: Path) -> None:
    training.trained(spec(tmp_path), [])
    [file] = tmp_path.glob("models/*/network.safetensors")
    assert "normalise.mean" in load_file(file)


@pytest.mark.parametrize("change", ["seed=1", "threads=2", "data.training.epochs=2", "trainer.precision=64-true"])
def test_identity_depends_on_what_changes_the_weights(tmp_path: Path, change: str) -> None:
    assert spec(tmp_path).identity != spec(tmp_path, change).identity


@pytest.mark.parametrize("change", ["explained.batch_size=1", "explainer=rise", "logger=none", "paths.results=here"])
def test_identity_ignores_what_does_not_change_the_weights(tmp_path: Path, change: str) -> None:
    assert spec(tmp_path).identity == spec(tmp_path / "other", change).identity
