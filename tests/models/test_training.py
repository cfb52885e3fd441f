"""Training is deterministic given the seed, and stores plain tensors."""

from pathlib import Path

import pytest
import torch
from entry_point import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from safetensors.torch import load_file

from evident import cli
from evident.data.images import ImageSet, Splits
from evident.models import training


def config(store: Path, *overrides: str) -> DictConfig:
    cli.prepare()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", ["experiment=mnist", "scale=smoke", f"paths.store={store}", *overrides])


def bars() -> Splits:
    """Digits 0 and 1 of a simpler world: a horizontal and a vertical bar."""
    images = torch.zeros(64, 1, 28, 28, dtype=torch.uint8)
    images[::2, :, 12:16] = 255
    images[1::2, :, :, 12:16] = 255
    labels = torch.arange(64) % 2
    split = ImageSet(images, labels, [str(index) for index in range(64)])
    return Splits(split, split, split, tuple("0123456789"))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    weights = []
    for store, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.rand(5)  # whatever was drawn before must not matter
        trained = training.trained(config(tmp_path / store, f"seed={seed}"), bars, [])
        weights.append(torch.cat([value.flatten().float() for value in trained.network.state_dict().values()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_it_learns_and_is_trained_once(tmp_path: Path) -> None:
    settings = config(tmp_path, "data.training.epochs=5")
    first = training.trained(settings, bars, [])
    assert first.accuracy == {"val": 1.0, "test": 1.0}
    assert not first.network.training

    def nothing() -> Splits:
        raise AssertionError("the data was loaded again")

    again = training.trained(settings, nothing, [])
    images = torch.rand(3, 3, 28, 28)
    assert torch.equal(first.network(images), again.network(images))
    assert again.classes == list("0123456789")


def test_the_checkpoint_holds_tensors_only(tmp_path: Path) -> None:
    training.trained(config(tmp_path), bars, [])
    [file] = tmp_path.glob("models/*/network.safetensors")
    assert "normalise.mean" in load_file(file)


@pytest.mark.parametrize("change", ["seed=1", "threads=1", "data.training.epochs=2", "trainer.precision=64-true"])
def test_what_changes_the_weights_changes_the_name(tmp_path: Path, change: str) -> None:
    assert training.identity(config(tmp_path)) != training.identity(config(tmp_path, change))


@pytest.mark.parametrize("change", ["explained.batch_size=1", "explainer=rise", "logger=none", "paths.results=here"])
def test_what_does_not_change_the_weights_keeps_the_name(tmp_path: Path, change: str) -> None:
    assert training.identity(config(tmp_path)) == training.identity(config(tmp_path / "else", change))
