"""The rules for rectifiers, compared with a derivation by hand and with captum, and for calls that captum misses."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from captum.attr import Attribution
from captum.attr import Deconvolution as CaptumDeconvolution
from captum.attr import GuidedBackprop as CaptumGuidedBackprop
from samples import uniform_noise
from torch import Tensor, nn
from torchvision.models import mobilenet_v3_small, resnet18, squeezenet1_1

from evident.errors import UserError
from evident.explainers.guided import Deconvolution, GuidedBackprop, input_gradient
from evident.explainers.shared.backward_rules import BackwardRules

OURS: dict[Any, Any] = {"guided": GuidedBackprop, "deconvnet": Deconvolution}
THEIRS: dict[str, type[Attribution]] = {"guided": CaptumGuidedBackprop, "deconvnet": CaptumDeconvolution}
rules = pytest.mark.parametrize("rule", ["guided", "deconvnet"])


class Layers(nn.Module):
    """Apply two convolutions and a linear layer; subclasses write the two rectifiers in other ways."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Linear(8, 5)
        self.relu, self.other = nn.ReLU(), nn.ReLU()
        self.in_place = nn.ReLU(inplace=True)

    def rectify_first(self, x: Tensor) -> Tensor:
        return self.relu(x)

    def rectify_second(self, x: Tensor) -> Tensor:
        return self.other(x)

    def forward(self, images: Tensor) -> Tensor:
        x = self.rectify_second(self.second(self.rectify_first(self.first(images))))
        return self.last(x.mean((2, 3)))


class Reused(Layers):
    def rectify_second(self, x: Tensor) -> Tensor:
        return self.relu(x)


class InPlace(Layers):
    def rectify_first(self, x: Tensor) -> Tensor:
        return self.in_place(x)

    def rectify_second(self, x: Tensor) -> Tensor:
        self.in_place(x)  # the returned tensor is ignored, x is overwritten
        return x


def functional(rectify: Callable[[Tensor], Tensor]) -> type[Layers]:
    class Functional(Layers):
        def rectify_first(self, x: Tensor) -> Tensor:
            return rectify(x)

        rectify_second = rectify_first

    return Functional


WRITTEN = {
    "module": Layers,
    "reused": Reused,
    "in-place": InPlace,
    "F.relu": functional(F.relu),
    "F.relu in-place": functional(lambda x: F.relu(x, inplace=True)),
    "F.relu_": functional(F.relu_),
    "torch.relu": functional(torch.relu),
    "torch.relu_": functional(torch.relu_),
    "Tensor.relu": functional(lambda x: x.relu()),
    "Tensor.relu_": functional(lambda x: x.relu_()),
    "clamp": functional(lambda x: x.clamp(min=0)),
    "clamp positional": functional(lambda x: torch.clamp(x, 0)),
    "clamp_": functional(lambda x: x.clamp_(min=0)),
    "clip": functional(lambda x: x.clip(0)),
    "clamp_min": functional(lambda x: x.clamp_min(0.0)),
    "torch.clamp_min_": functional(lambda x: torch.clamp_min_(x, 0)),
    "F.threshold": functional(lambda x: F.threshold(x, 0, 0)),
    "nn.Threshold in-place": functional(nn.Threshold(0, 0, inplace=True)),
    "F.hardtanh": functional(lambda x: F.hardtanh(x, 0, 1e9)),
    "F.hardtanh_": functional(lambda x: F.hardtanh_(x, 0, 1e9)),
    "view, in-place": functional(lambda x: x.flatten(2).relu_().view_as(x)),
}


def images(side: int = 16) -> Tensor:
    return uniform_noise(size=side)


def captum(rule: str, model: nn.Module, inputs: Tensor, target: int) -> Tensor:
    with warnings.catch_warnings():
        # Captum warns that it sets hooks.
        warnings.filterwarnings("ignore", "Setting backward hooks", UserWarning)
        return THEIRS[rule](model).attribute(inputs.clone().requires_grad_(), target=target).detach()


@rules
def test_two_layers_equal_a_derivation_by_hand(rule: Any) -> None:
    weights = [torch.randn(shape, dtype=torch.float64) for shape in ((6, 4), (5, 6), (3, 5))]
    x = torch.randn(4, dtype=torch.float64, requires_grad=True)
    with BackwardRules(relu=rule):
        score = (weights[2] @ torch.relu(weights[1] @ F.relu(weights[0] @ x)))[1]
    (attribution,) = torch.autograd.grad(score, x)

    a = weights[0] @ x.detach()
    b = weights[1] @ (a * (a > 0))
    signal = weights[2][1]
    for weight, rectified in ((weights[1], b), (weights[0], a)):
        forward = (rectified > 0).double() if rule == "guided" else torch.ones_like(rectified)
        signal = weight.T @ (signal * (signal > 0) * forward)
    torch.testing.assert_close(attribution, signal, rtol=1e-12, atol=1e-12)


@rules
@pytest.mark.parametrize("written", list(WRITTEN))
def test_rule_is_the_same_for_all_ways_to_write_a_rectifier(rule: Any, written: str) -> None:
    plain, network = Layers(), WRITTEN[written]()
    network.load_state_dict(plain.state_dict())
    inputs = images()
    torch.testing.assert_close(network(inputs), plain(inputs))
    expected = captum(rule, plain, inputs, 3)
    assert expected.abs().max() > 0
    attribution = OURS[rule](network).attribute(inputs, 3)
    torch.testing.assert_close(attribution, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


@rules
def test_captum_does_not_see_a_functional_rectifier(rule: Any) -> None:
    network = WRITTEN["F.relu"]()
    inputs = images().requires_grad_()
    (gradient,) = torch.autograd.grad(network(inputs)[:, 3].sum(), inputs)
    torch.testing.assert_close(captum(rule, network, images(), 3), gradient)
    assert not torch.allclose(OURS[rule](network).attribute(images(), 3), gradient, rtol=0.1)


@rules
def test_squeezenet_agrees_with_captum_on_a_copy_without_in_place_modules(rule: Any) -> None:
    network = squeezenet1_1(num_classes=10).eval()
    attribution = OURS[rule](network).attribute(images(64), 3)
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    expected = captum(rule, network, images(64), 3)
    torch.testing.assert_close(attribution, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


@rules
def test_resnet_agrees_with_captum_on_a_copy_without_reused_modules(rule: Any) -> None:
    network = resnet18(num_classes=10).eval()
    attribution = OURS[rule](network).attribute(images(64), 3)

    class Unshared(nn.Module):
        """Use another module at each call, as captum needs."""

        def __init__(self) -> None:
            super().__init__()
            self.calls, self.count = nn.ModuleList([nn.ReLU(), nn.ReLU()]), 0

        def forward(self, x: Tensor) -> Tensor:
            self.count += 1
            return self.calls[self.count % 2](x)

    network.relu = nn.ReLU()
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        for block in stage:
            block.relu = Unshared()
    expected = captum(rule, network, images(64), 3)
    torch.testing.assert_close(attribution, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


@pytest.mark.parametrize(
    "rectify",
    [F.relu6, nn.ReLU6(), nn.ReLU6(inplace=True), lambda x: F.hardtanh(x, 0, 6)],
    ids=["relu6", "ReLU6", "ReLU6 in place", "hardtanh"],
)
def test_ceiling_stops_the_guided_signal_but_not_deconvolution(
    rectify: Callable[[Tensor], Tensor],
) -> None:
    signal = torch.tensor([1.0, 1.0, 1.0, -1.0])
    for rule, expected in zip(OURS, ([0.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0]), strict=True):
        x = torch.tensor([-1.0, 3.0, 7.0, 3.0], requires_grad=True)
        with BackwardRules(relu=rule):
            y = rectify(x + 0)
        assert y.tolist() == [0, 3, 6, 3]
        y.backward(signal)
        assert x.grad is not None
        assert x.grad.tolist() == expected


@pytest.mark.parametrize(
    "compute",
    [
        lambda x: x.clamp(0, 1),
        lambda x: x.clamp(min=0.5),
        lambda x: x.clamp(max=0.0),
        lambda x: x.clamp(min=torch.zeros(())),
        lambda x: F.hardtanh(x),
        lambda x: F.threshold(x, 0, -1),
        lambda x: x.sigmoid(),
        lambda x: torch.tanh(x),
        lambda x: F.hardsigmoid(x),
        lambda x: x.softmax(0),
    ],
)
def test_other_calls_keep_their_gradient(compute: Callable[[Tensor], Tensor]) -> None:
    x = torch.linspace(-2, 2, 9, requires_grad=True)
    signal = torch.linspace(-1, 1, 9).flip(0)
    (expected,) = torch.autograd.grad(compute(x), x, signal)
    for rule in OURS:
        with BackwardRules(relu=rule):
            y = compute(x)
        assert torch.equal(torch.autograd.grad(y, x, signal)[0], expected)


#  slope where x > 0, in float64, independent of torch's derivatives
SLOPES: dict[str, tuple[Callable[..., Tensor], Callable[[Tensor], Tensor]]] = {
    "leaky_relu": (F.leaky_relu, torch.ones_like),
    "prelu": (lambda x, **_: F.prelu(x, torch.tensor([0.3], dtype=x.dtype)), torch.ones_like),
    "elu": (F.elu, torch.ones_like),
    "selu": (F.selu, lambda x: torch.full_like(x, 1.0507009873554805)),
    "silu": (F.silu, lambda x: 1 / (1 + (-x).exp()) * (1 + x * (1 - 1 / (1 + (-x).exp())))),
    "gelu": (F.gelu, lambda x: (1 + (x / 2**0.5).erf()) / 2 + x * (-(x**2) / 2).exp() / (2 * torch.pi) ** 0.5),
    "hardswish": (F.hardswish, lambda x: torch.where(x < 3, x / 3 + 0.5, 1)),
    "softplus": (F.softplus, lambda x: x.exp() / (1 + x.exp())),
}


IN_PLACE = ("leaky_relu", "elu", "selu", "silu", "hardswish")


@pytest.mark.parametrize(("name", "in_place"), [(name, False) for name in SLOPES] + [(name, True) for name in IN_PLACE])
def test_activation_has_its_slope_where_input_and_signal_are_positive(name: str, in_place: bool) -> None:
    activation, slope = SLOPES[name]
    settings = {"inplace": True} if in_place else {}
    x = torch.linspace(-4, 4, 34, dtype=torch.float64)
    signal = torch.tensor([1.5, -1.0], dtype=torch.float64).repeat(17)
    for rule, expected in (
        ("guided", torch.where((x > 0) & (signal > 0), signal * slope(x), 0)),
        ("deconvnet", signal.clamp(min=0)),
    ):
        leaf = x.clone().requires_grad_()
        chosen: Any = rule
        with BackwardRules(relu=chosen) as rules:
            y = activation(leaf + 0, **settings)
        torch.testing.assert_close(y, activation(x))
        torch.testing.assert_close(torch.autograd.grad(y, leaf, signal)[0], expected, rtol=1e-12, atol=1e-12)
        assert rules.activations == 1


@rules
def test_rule_changes_networks_of_other_activations(rule: Any) -> None:
    for network in (mobilenet_v3_small(num_classes=5).eval(), functional(F.gelu)()):
        inputs = images(32)
        plain = input_gradient(network, inputs, 3, relu=None)
        changed = input_gradient(network, inputs, 3, relu=rule)
        assert (changed - plain).abs().max() > 0.1 * plain.abs().max()


@rules
def test_network_without_activations_raises(rule: Any) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(UserError, match=f"Sequential calls no rectifier or other activation, so {rule} would be the"):
        OURS[rule](network).attribute(images(), 1)


def test_no_rule_gives_the_gradient() -> None:
    network = Layers()
    inputs = images().requires_grad_()
    with BackwardRules():
        scores = network(inputs)
    (attribution,) = torch.autograd.grad(scores.sum(), inputs)
    assert torch.equal(attribution, torch.autograd.grad(network(inputs).sum(), inputs)[0])


def test_rule_ends_with_the_block_after_an_exception() -> None:
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    with pytest.raises(ZeroDivisionError), BackwardRules(relu="deconvnet"):
        _ = 1 / 0
    assert torch.autograd.grad(torch.relu(x).sum(), x)[0].tolist() == [0, 1]


@rules
def test_backward_pass_may_run_inside_or_after_the_block(rule: Any) -> None:
    network, inputs = Layers(), images().requires_grad_()
    with BackwardRules(relu=rule):
        within = torch.autograd.grad(network(inputs).sum(), inputs)[0]
        scores = network(inputs)
    assert torch.equal(torch.autograd.grad(scores.sum(), inputs)[0], within)


def test_network_may_overwrite_the_output_of_its_rectifier() -> None:
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    with BackwardRules(relu="guided"):
        y = torch.relu(x)
        y.mul_(-3).add_(1)
    y.backward(torch.tensor([-1.0, -1.0]))
    assert x.grad is not None
    assert x.grad.tolist() == [0, 3]


def test_forward_pass_is_bit_identical() -> None:
    network = resnet18(num_classes=10).eval()
    with torch.no_grad():
        expected = network(images(64))
        with BackwardRules(relu="guided"):
            assert torch.equal(network(images(64)), expected)


def test_unknown_rule_raises() -> None:
    rule: Any = "gided"
    with pytest.raises(UserError, match=r"relu='gided' is not a backward rule; use guided, deconvnet"):
        BackwardRules(relu=rule)
