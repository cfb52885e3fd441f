"""Data sets with shuffled training labels: what changes, and the networks that learn from them."""

import os

import pytest
import torch
from entry_point import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from samples import training_set

from evident import cli
from evident.data.images import ImageSet, ImageSplits
from evident.data.loading import load_data
from evident.data.shuffled import shuffled
from evident.errors import UserError
from evident.models.training import NetworkSpec


def splits() -> ImageSplits:
    whole = training_set(60)
    masks = torch.rand(60, 32, 32) > 0.5
    train = ImageSet(whole.images, whole.labels, whole.names, masks)
    return ImageSplits(train, whole.block(20), whole.block(20, 1), ("a", "b", "c", "d"))


def test_training_labels_are_permuted_by_the_seed_and_nothing_else_changes() -> None:
    original = splits()
    made, again, other = (shuffled(original, seed) for seed in (0, 0, 1))
    assert torch.equal(made.train.labels.sort().values, original.train.labels.sort().values)
    # One label in four stays right by chance.
    assert 5 <= (made.train.labels == original.train.labels).sum() <= 25
    assert torch.equal(made.train.labels, again.train.labels)
    assert not torch.equal(made.train.labels, other.train.labels)
    assert made.train.images is original.train.images
    assert made.train.masks is original.train.masks
    assert made.train.names == original.train.names
    assert (made.val, made.test, made.classes) == (original.val, original.test, original.classes)
    assert torch.equal(original.train.labels, splits().train.labels)


def test_first_images_are_kept_if_fewer_are_asked_for() -> None:
    original = splits()
    made = shuffled(original, 0, train=40)
    assert made.train.names == original.train.names[:40]
    ours, theirs = (split.train.__getitems__(list(range(40))) for split in (made, original))
    assert torch.equal(ours["image"], theirs["image"])
    assert torch.equal(ours["mask"], theirs["mask"])
    assert torch.equal(made.train.labels.sort().values, original.train.labels[:40].sort().values)
    with pytest.raises(UserError, match="61 images requested, but the set has 60"):
        shuffled(original, 0, train=61)


def config_of(*overrides: str) -> DictConfig:
    cli.prepare()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", ["scale=smoke", f"paths.data={os.environ.get('EVIDENT_DATA', 'none')}", *overrides])


@pytest.mark.parametrize(("data", "model"), [("mnist", "mnist_net"), ("an8flower_single_6c", "flower_net")])
def test_shuffled_data_set_has_a_network_of_its_own(data: str, model: str) -> None:
    own, other = (config_of(f"data={name}", f"model={model}") for name in (data, f"{data}_shuffled"))
    assert other.data.name == f"{data}_shuffled"
    assert (other.data.classes, other.data.size) == (own.data.classes, own.data.size)
    assert NetworkSpec.of(own).identity != NetworkSpec.of(other).identity
    assert other.data.training.measure_train
    [learning_rate] = {config.data.training.learning_rate for config in (own, other)}
    assert learning_rate > 0


@pytest.mark.real_data
def test_shuffled_digits_are_the_first_training_digits() -> None:
    original, made = (load_data(config_of(f"data={name}", "model=mnist_net")) for name in ("mnist", "mnist_shuffled"))
    train, few = original.split("train"), made.split("train")
    assert torch.equal(train.images[: len(few)], few.images)
    assert not torch.equal(train.labels[: len(few)], few.labels)
    assert torch.equal(original.split("test").labels, made.split("test").labels)
    assert torch.equal(original.split("val").labels, made.split("val").labels)
