"""InDomain: the network itself in eval mode; in training mode, whole patches are removed from some images."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from entry_point import ROOT
from hydra import compose, initialize_config_dir
from samples import uniform_noise
from torch import Tensor, nn

from evident.cli import prepare
from evident.errors import UserError
from evident.models.building import network_of
from evident.models.flower_net import FlowerNet
from evident.models.in_domain import InDomain
from evident.models.mnist_net import MnistNet
from evident.models.normalise import Normalise

MEAN = (0.25, 0.5, 0.75)


class Seen(nn.Module):
    """Keep the images that it gets."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.normalise, self.classes = Normalise(MEAN), classes
        self.images = torch.empty(0)

    def forward(self, images: Tensor) -> Tensor:
        self.images = images
        return self.normalise(images).mean((2, 3))


def seen(images: Tensor, patches: int = 4, share: float = 0.5, training: bool = True) -> Tensor:
    """Return what the network sees of images."""
    made = Seen(6)
    InDomain(6, lambda classes: made, patches, share).train(training)(images)
    return made.images


def test_in_eval_mode_it_is_the_network_itself():
    torch.manual_seed(0)
    model, images = InDomain(6, FlowerNet).eval(), uniform_noise(3)
    before = torch.get_rng_state()
    assert torch.equal(model(images), model.network(images))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(seen(images, training=False), images)


@pytest.mark.parametrize(("size", "patches"), [(64, 4), (28, 4), (30, 4), (31, 7)])
def test_in_training_mode_whole_patches_become_the_mean_colour(size: int, patches: int):
    images = uniform_noise(60, size)
    torch.manual_seed(0)
    found, before = seen(images, patches), images.clone()
    removed = (found == torch.tensor(MEAN).view(1, 3, 1, 1)).all(1)
    assert torch.equal(found.movedim(1, -1)[~removed], images.movedim(1, -1)[~removed])
    spans = list(pairwise(-(-size * cell // patches) for cell in range(patches + 1)))
    cells = torch.stack([removed[:, t:b, i:j].float().mean((1, 2)) for t, b in spans for i, j in spans], 1)
    assert set(cells.unique().tolist()) == {0, 1}
    number = cells.sum(1)
    assert number.max() < patches**2
    assert 15 < (number > 0).sum() < 45
    assert len(number.unique()) > 5
    assert torch.equal(images, before)


@pytest.mark.parametrize(("share", "changed"), [(0.0, 0), (1.0, 40)])
def test_share_is_that_of_images_with_removed_patches(share: float, changed: int):
    images = uniform_noise(40, 16)
    assert int((seen(images, share=share) != images).flatten(1).any(1).sum()) == changed


def test_patches_are_removed_everywhere_and_anew_in_each_step():
    images = uniform_noise(200, 8)
    first, second = seen(images, share=1.0), seen(images, share=1.0)
    assert not torch.equal(first, second)
    removed = (first != images).any(1).float().mean(0)
    # On average half of the patches: (1 + ... + 15) / 15 / 16.
    assert (removed - 0.5).abs().max() < 0.15


def test_draws_follow_the_global_seed():
    images = uniform_noise(8, 16)
    torch.manual_seed(3)
    first = seen(images)
    torch.manual_seed(3)
    assert torch.equal(seen(images), first)


def test_wrong_settings_are_errors():
    for patches, share in ((1, 0.5), (4, 1.5), (4, -0.1)):
        with pytest.raises(UserError, match="give 2 or more patches"):
            InDomain(6, FlowerNet, patches, share)


@pytest.mark.parametrize(
    ("name", "data", "kind", "size"),
    [("flower_net", "an8flower_single_6c", FlowerNet, 112), ("mnist_net", "mnist", MnistNet, 28)],
)
def test_configs_build_the_network_with_the_layers_they_name(name: str, data: str, kind: type, size: int):
    prepare()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose(
            "config", [f"model={name}/in_domain", "data=mnist" if name == "mnist_net" else "data=an8flower_single_6c"]
        )
    model: Any = network_of(config)
    assert isinstance(model, InDomain)
    assert isinstance(model.network, kind)
    assert config.model.name == f"{name}_in_domain"
    names = dict(model.named_modules())
    assert {config.model.layer, config.model.middle_layer, *config.model.layers} <= set(names)
    assert model.eval()(uniform_noise(2, size)).shape == (2, config.data.classes)
