"""Captum methods configured by a YAML file: known answers, files of users, and errors."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from omegaconf import OmegaConf
from samples import flower_net, uniform_noise
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from evident.errors import UserError
from evident.explainers.captum_method import CaptumMethod
from evident.models.flower_net import FlowerNet
from evident.models.normalise import Normalise

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.5)


class Linear(nn.Module):
    """Compute scores that are linear in the image, so that every gradient method has a known answer."""

    def __init__(self, side: int = 8, classes: int = 3) -> None:
        super().__init__()
        self.normalise = Normalise(MEAN, STD)
        weight = torch.randn(classes, 3, side, side, generator=torch.Generator().manual_seed(0))
        self.weight = nn.Parameter(weight)

    def forward(self, images: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", self.normalise(images), self.weight)

    def slope(self, target: int) -> Tensor:
        """Return d score_target / d pixel (3, H, W)."""
        return self.weight[target].detach() / self.normalise.std[0]


def images(side: int = 8, count: int = 3) -> Tensor:
    return uniform_noise(count, side)


def gradient(model: nn.Module, **settings: Any) -> CaptumMethod:
    return CaptumMethod(model, "captum.attr.Saliency", "absolute_maximum", attribute={"abs": False}, **settings)


def test_gradient_of_a_linear_model_is_its_weights() -> None:
    model = Linear()
    explainer = gradient(model)
    attribution = explainer.attribute(images(), 2)
    torch.testing.assert_close(attribution, model.slope(2).expand_as(attribution))
    torch.testing.assert_close(explainer.heatmap(attribution)[0], model.slope(2).abs().amax(0))


def test_smooth_grad_of_a_linear_model_is_its_gradient() -> None:
    model = Linear()
    explainer = gradient(model, noise_tunnel={"nt_samples": 5, "stdevs": 0.15}, seed=0)
    attribution = explainer.attribute(images(), 1)
    torch.testing.assert_close(attribution, model.slope(1).expand_as(attribution))


def test_smooth_grad_draws_depend_on_seed_and_image_only() -> None:
    model = FlowerNet(4)
    same = images(32, 1).repeat(2, 1, 1, 1)
    maps = [
        gradient(model, noise_tunnel={"nt_samples": 3, "stdevs": 0.15}, seed=seed).attribute(same, 1) for seed in (0, 1)
    ]
    assert torch.equal(maps[0][0], maps[0][1])
    assert not torch.equal(maps[0], maps[1])


def test_input_x_gradient_is_computed_in_pixel_units() -> None:
    model = Linear()
    attribution = CaptumMethod(model, "captum.attr.InputXGradient", "positive_sum").attribute(images(), 0)
    torch.testing.assert_close(attribution, images() * model.slope(0))


def test_integrated_gradients_start_at_the_mean_colour() -> None:
    model = Linear()
    explainer = CaptumMethod(
        model, "captum.attr.IntegratedGradients", "positive_sum", {"n_steps": 4}, baseline="mean_colour"
    )
    difference = images() - torch.tensor(MEAN)[:, None, None]
    expected = difference * model.slope(0)
    torch.testing.assert_close(explainer.attribute(images(), 0), expected, rtol=1e-4, atol=1e-5)


def test_integrated_gradients_sum_to_the_difference_of_the_scores() -> None:
    model = flower_net()
    explainer = CaptumMethod(
        model, "captum.attr.IntegratedGradients", "positive_sum", {"n_steps": 256}, baseline="mean_colour"
    )
    with torch.no_grad():
        neutral = model.normalise.mean.expand(1, 3, 32, 32)
        difference = (model(images(32)) - model(neutral))[:, 2]
    total = explainer.attribute(images(32), 2).sum((1, 2, 3))
    torch.testing.assert_close(total, difference, rtol=2e-2, atol=2e-2 * float(difference.abs().max()))


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("captum.attr.DeepLift", "baseline: mean_colour"),
        ("captum.attr.DeepLift", "baseline: blur\n  construct: {multiply_by_inputs: false}"),
        ("captum.attr.FeatureAblation", "baseline: mean_colour\n  attribute: {perturbations_per_eval: 8}"),
        (
            "captum.attr.Occlusion",
            "baseline: mean_colour\n  attribute: {sliding_window_shapes: [3, 4, 4], strides: [3, 4, 4]}",
        ),
        ("captum.attr.KernelShap", "baseline: mean_colour\n  attribute: {n_samples: 10}\n  seed: ${seed}"),
    ],
    ids=["DeepLift", "DeepLift multipliers", "FeatureAblation", "Occlusion", "KernelShap"],
)
def test_yaml_file_adds_a_baseline(tmp_path: Path, method: str, settings: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"""# A user's own baseline.
name: mine
build:
  _target_: evident.explainers.captum_method.CaptumMethod
  method: {method}
  heatmap: positive_sum
  {settings}
""")
    config = OmegaConf.create({"seed": 3, "explainer": OmegaConf.load(file)})
    model = nn.Sequential(Normalise(), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    hooks = [len(module._forward_hooks) + len(module._backward_hooks) for module in model.modules()]
    explainer = instantiate(config.explainer.build, _partial_=True)(model)
    attribution = explainer.attribute(images(), torch.tensor([0, 2, 1]))
    assert attribution.shape == (3, 3, 8, 8)
    assert attribution.abs().max() > 0
    assert not attribution.requires_grad
    assert torch.equal(attribution, explainer.attribute(images(), torch.tensor([0, 2, 1])))
    assert [len(module._forward_hooks) + len(module._backward_hooks) for module in model.modules()] == hooks


class Block(nn.Module):
    """Call `rest` between two layers, as a module if it is one."""

    def __init__(self, rest: Any) -> None:
        super().__init__()
        self.first, self.rest, self.last = nn.Conv2d(3, 4, 3), rest, nn.LazyLinear(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.rest(self.first(x)).flatten(1))


class Twice(nn.ReLU):
    """Is a rectifier of another class."""


def reused() -> nn.Module:
    relu = nn.ReLU()
    return nn.Sequential(relu, nn.Conv2d(4, 4, 1), relu)


METHODS = {
    "DeepLift": "evident.explainers.deep_lift.DeepLift",
    "GuidedBackprop": "evident.explainers.guided.GuidedBackprop",
    "Deconvolution": "evident.explainers.guided.Deconvolution",
    "LRP": "evident.explainers.lrp.LRP",
}
MISSED: dict[str, tuple[Any, str]] = {
    "functional": (lambda: F.relu, r"relu in the forward pass \(Block\)"),
    "reused": (reused, r"the second call of rest.0 \(ReLU\)"),
    "another class": (Twice, r"relu in rest \(Twice\)"),
    "smooth": (nn.SiLU, r"silu in rest \(SiLU\)"),
}


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("missed", list(MISSED))
def test_method_that_hooks_modules_raises_where_it_misses_a_call(method: str, missed: str) -> None:
    rest, named = MISSED[missed]
    model = Block(rest())
    model(images())
    explainer = CaptumMethod(model, f"captum.attr.{method}", "positive_sum")
    with pytest.raises(UserError, match=rf"captum's {method} hooks modules and misses {named}: .*{METHODS[method]}"):
        explainer.attribute(images(), 1)


@pytest.mark.parametrize(
    ("rest", "named"),
    [
        ([nn.ReLU(), nn.MaxPool2d(2)], r"rest.1 \(MaxPool2d\), which follows another hooked module"),
        ([nn.MaxPool2d((3, 3), 2)], r"the overlapping windows of rest.0"),
        ([SqueezeExcitation(4, 2)], r"mul in rest.0 \(SqueezeExcitation\)"),
        ([nn.GroupNorm(2, 4)], r"group_norm in rest.0 \(GroupNorm\)"),
    ],
)
def test_deep_lift_of_captum_raises_where_its_sum_would_be_wrong(rest: list[nn.Module], named: str) -> None:
    model = Block(nn.Sequential(*rest))
    model(images())
    with pytest.raises(UserError, match=f"captum's DeepLift hooks modules and misses .*{named}"):
        CaptumMethod(model, "captum.attr.DeepLift", "positive_sum").attribute(images(), 1)


def test_lrp_of_captum_raises_for_a_module_without_a_rule() -> None:
    with pytest.raises(UserError, match=r"captum's LRP hooks modules and misses normalise \(Normalise\): .*lrp.LRP"):
        CaptumMethod(FlowerNet(3).eval(), "captum.attr.LRP", "positive_sum").attribute(images(32), 1)


def test_method_without_module_hooks_explains_functional_networks() -> None:
    model = Block(F.relu)
    model(images())
    assert CaptumMethod(model, "captum.attr.Saliency", "absolute_maximum").attribute(images(), 1).abs().max() > 0


def test_method_with_random_draws_needs_a_seed() -> None:
    explainer = CaptumMethod(
        Linear(), "captum.attr.KernelShap", "positive_sum", {"n_samples": 5}, baseline="mean_colour"
    )
    with pytest.raises(UserError, match=r"KernelShap draws .* add `seed: \$\{seed\}`"):
        explainer.attribute(images(count=1), 0)


@pytest.mark.parametrize(
    ("method", "complaint"),
    [
        ("captum.attr.Salience", "'captum.attr.Salience' was not found; use one like"),
        ("no.such.module.Saliency", "'no.such.module.Saliency' was not found; use one like"),
        ("Saliency", "'Saliency' was not found; use one like"),
        ("torch.nn.Linear", "Linear.* is not a captum Attribution; use one like"),
    ],
)
def test_unknown_method_raises(method: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        CaptumMethod(Linear(), method, "positive_sum")


def test_unknown_heatmap_raises() -> None:
    with pytest.raises(UserError, match="heatmap='sum' is unknown; use positive_sum, absolute_maximum or"):
        CaptumMethod(Linear(), "captum.attr.Saliency", "sum")


def test_unknown_baseline_raises() -> None:
    baseline: Any = "black"
    explainer = CaptumMethod(Linear(), "captum.attr.DeepLift", "positive_sum", baseline=baseline)
    with pytest.raises(UserError, match="'black' is unknown; use mean_colour or blur"):
        explainer.attribute(images(), 0)


def test_wrong_number_of_targets_raises() -> None:
    with pytest.raises(UserError, match=r"target of shape \(2,\) for 3 images"):
        gradient(Linear()).attribute(images(), torch.tensor([0, 1]))
