"""The networks that metrics compare with, and explainers that are built again for them."""

import os
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from captum.attr import Attribution
from entry_point import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from evident import cli
from evident.contracts import Fits
from evident.data.loading import load_data
from evident.errors import UserError
from evident.models.flower_net import FlowerNet
from evident.models.precision import PLAIN
from evident.models.training import NetworkSpec, trained
from evident.recorders.other_networks import TRAINING_IMAGES, other_networks


class Learner(Attribution, Fits):
    """Remember the labels that it has learnt from."""

    def __init__(self, model: nn.Module, power: int) -> None:
        super().__init__(model)
        self.model, self.power = model, power
        self.labels = torch.empty(0)

    def fit(self, dataloader: Iterable[Any]) -> None:
        self.labels = torch.cat([batch["label"] for batch in dataloader])

    def learned_settings(self) -> dict[str, Any]:
        return {}

    def save(self, folder: Path) -> None:
        torch.save(self.labels, folder / "labels.pt")

    def load(self, folder: Path) -> None:
        self.labels = torch.load(folder / "labels.pt", weights_only=True)


def config_of(store: Path, *overrides: str) -> DictConfig:
    cli.prepare()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", ["scale=smoke", f"paths.store={store}", *overrides])
    config.paths.data = os.environ.get("EVIDENT_DATA", "none")
    build = {"_target_": f"{__name__}.Learner", "power": 2}
    config.explainer = OmegaConf.create({"name": "learner", "build": build})
    return config


def test_explainer_learns_from_the_labels_that_its_network_was_trained_on(tmp_path: Path) -> None:
    config = config_of(tmp_path, "+data@shuffled=an8flower_single_6c_shuffled")
    splits = load_data(config)
    setup: Any = SimpleNamespace(splits=lambda: splits, explained_in=PLAIN)
    found = other_networks(config, setup, {"shuffled", "rebuild", "model"})
    own = splits.split("train")

    other = found["rebuild"](network := FlowerNet(6))
    assert (other.model, other.power) == (network, 2)
    assert torch.equal(other.labels, own.labels)

    shuffled = found["rebuild"](found["shuffled"])
    assert shuffled.model is found["shuffled"]
    kept = len(shuffled.labels)
    assert kept == config.scale.data.an8flower.shuffled.train < len(own)
    assert torch.equal(shuffled.labels.sort().values, own.labels[:kept].sort().values)
    assert not torch.equal(shuffled.labels, own.labels[:kept])

    # What is learnt of a network that the store has is stored, and nothing else.
    assert len(list(tmp_path.glob("relevance/*/labels.pt"))) == 1
    images: Tensor = found["training_images"]()
    assert torch.equal(images, own.__getitems__(list(range(TRAINING_IMAGES)))["image"])
    assert "twin" not in found


def test_network_of_shuffled_labels_has_the_seed_of_the_explained_one_and_its_train_accuracy(tmp_path: Path) -> None:
    config = config_of(tmp_path, "+data@shuffled=an8flower_single_6c_shuffled", "seed=3")
    found = other_networks(config, SimpleNamespace(splits=None, explained_in=PLAIN), {"shuffled"})  # type: ignore[arg-type]
    alone = config_of(tmp_path, "data=an8flower_single_6c_shuffled", "seed=3")
    expected = trained(NetworkSpec.of(alone), [])
    assert len(list(tmp_path.glob("models/*/DONE"))) == 1
    assert list(expected.accuracy) == ["val", "train", "test"]
    assert 0 <= expected.accuracy["train"] <= 1
    for value, other in zip(
        expected.network.state_dict().values(), found["shuffled"].state_dict().values(), strict=True
    ):
        assert torch.equal(value, other)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], r"data set with shuffled labels is not named; add one .* \+data@shuffled=mnist_shuffled"),
        (
            ["+data@shuffled=mnist_shuffled", "data=imagenet", "model=squeezenet1_1"],
            "squeezenet1_1 has published weights, which were not trained on shuffled labels",
        ),
    ],
)
def test_metric_without_its_network_is_an_error_of_one_line(overrides: list[str], message: str, tmp_path: Path) -> None:
    setup: Any = SimpleNamespace(splits=None, explained_in=PLAIN)
    with pytest.raises(UserError, match=message) as error:
        other_networks(config_of(tmp_path, *overrides), setup, {"shuffled"})
    assert "\n" not in str(error.value)
