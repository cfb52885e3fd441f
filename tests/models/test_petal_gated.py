"""PetalGated: only pixels with the colour of petals have an effect; known colours, and rendered flowers."""

import colorsys
from typing import Any

import pytest
import torch
from entry_point import ROOT
from hydra.utils import instantiate
from omegaconf import OmegaConf
from samples import uniform_noise
from torch import Tensor

from evident.data.render.flower_scene import PARTS
from evident.data.render.flowers import HUES, SATURATIONS, Rendered, render
from evident.models.flower_net import FlowerNet
from evident.models.normalise import mean_colour
from evident.models.petal_gated import PetalGate, PetalGated

CONFIG: Any = OmegaConf.load(ROOT / "conf" / "model" / "petal_gated.yaml")


def gated(seed: int = 0) -> PetalGated:
    torch.manual_seed(seed)
    return instantiate(CONFIG.build, classes=6).eval()


def gate() -> PetalGate:
    return PetalGate(CONFIG.build.hue, CONFIG.build.saturation)


def passes(*colours: tuple[float, float, float]) -> list[bool]:
    """Return which colours (hue, saturation, value) pass the gate."""
    pixels = torch.tensor([colorsys.hsv_to_rgb(h % 1, s, v) for h, s, v in colours])
    return gate()(pixels.T[None, :, None])[0, 0, 0].tolist()


@pytest.fixture(scope="module")
def flowers() -> Rendered:
    return render("single-6c", "test", range(24))


# Known colours


@pytest.mark.parametrize("value", [0.2, 0.7, 1.0])
def test_colours_of_the_classes_pass_at_any_brightness(value: float):
    colours = [(h, s, value) for h, s in zip(HUES.tolist(), SATURATIONS.tolist(), strict=True)]
    assert all(passes(*colours))


@pytest.mark.parametrize("index", range(6))
def test_limits_are_those_of_hue_and_saturation(index: int):
    h, s = HUES[index].item(), SATURATIONS[index].item()
    inside = [(h + 0.032, s, 0.8), (h - 0.032, s, 0.8), (h, 0.86 * s, 0.8), (h, 1.0, 0.8)]
    outside = [(h + 0.034, s, 0.8), (h - 0.034, s, 0.8), (h, 0.84 * s, 0.8)]
    assert passes(*inside, *outside) == [True] * 4 + [False] * 3


def test_greys_and_colours_of_other_parts_do_not_pass():
    greys = [(0.0, 0.0, v) for v in (0.0, 0.3, 1.0)]
    leaf, stem, disc, terracotta = (0.29, 0.6, 0.5), (0.28, 0.4, 0.5), (0.085, 0.7, 0.6), (0.03, 0.5, 0.6)
    assert not any(passes(*greys, leaf, stem, disc, terracotta))


def test_gate_agrees_with_hues_by_the_standard_library():
    pixels = uniform_noise(1, 40)
    found = gate()(pixels)[0, 0]
    for row in range(0, 40, 3):
        for column in range(40):
            h, s, _ = colorsys.rgb_to_hsv(*pixels[0, :, row, column].tolist())
            apart = [abs((h - other + 0.5) % 1 - 0.5) for other in HUES.tolist()]
            near = [a <= 0.033 and s >= 0.85 * other for a, other in zip(apart, SATURATIONS.tolist(), strict=True)]
            assert bool(found[row, column]) == any(near)


# Rendered flowers


def test_most_pixels_of_petals_pass_and_hardly_any_others(flowers: Rendered):
    found = gate()(flowers.images.float() / 255)[:, 0]
    petals = flowers.parts == PARTS.index("petal")
    assert found[petals].float().mean() > 0.7
    assert found[~petals].float().mean() < 0.002
    assert petals[found].float().mean() > 0.97
    assert (found & petals).sum((1, 2)).min() > 10


def hidden(model: PetalGated, images: Tensor) -> Tensor:
    """Return images whose pixels outside the gate are random colours that do not pass either."""
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(1))
    free = ~model.gate(images) & ~model.gate(noise)
    return torch.where(free, noise, images)


def test_pixels_outside_the_gate_change_no_output(flowers: Rendered):
    model, images = gated(), flowers.images[:6].float() / 255
    other = hidden(model, images)
    assert ((other - images).abs().amax(1) > 0).float().mean() > 0.7
    assert torch.equal(model(other), model(images))


def test_pixels_outside_the_gate_have_no_gradient(flowers: Rendered):
    model, images = gated(), (flowers.images[:6].float() / 255).requires_grad_()
    gradient = torch.autograd.grad(model(images).square().sum(), images)[0].abs().amax(1)
    found = model.gate(images)[:, 0]
    assert gradient[~found].max() == 0
    assert (gradient[found] > 0).float().mean() > 0.9


def test_the_network_sees_the_mean_colour_where_nothing_passes():
    model = gated()
    images = uniform_noise(2) * 0.1 + 0.5  # too pale
    assert not model.gate(images).any()
    expected = model.network(mean_colour(model).expand(2, 3, 64, 64))
    torch.testing.assert_close(model(images), expected)


def test_gate_learns_nothing():
    model = gated()
    assert not list(model.gate.parameters())
    assert isinstance(model.network, FlowerNet)
