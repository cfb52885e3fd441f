"""FGVis's gradient filter: by hand in float64, at the last bit of its bounds, and on torchvision's networks."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torchvision import models

from evident.errors import UserError
from evident.explainers.shared.gradient_filter import GradientFilter, activation_bounds
from evident.models.calls import _NONLINEARITIES, _READERS

Function = Callable[[Tensor], Tensor]
LEAK = torch.tensor([0.25], dtype=torch.float64)

# By name: a plain formula of the nonlinearity, and all ways to call it.
WRITTEN: dict[str, tuple[Function, list[Function]]] = {
    "relu": (
        lambda x: x * (x > 0),
        [
            *(nn.ReLU(), nn.ReLU(inplace=True), F.relu, F.relu_, torch.relu, torch.relu_),
            *(lambda x: x.relu(), lambda x: x.relu_(), lambda x: x.clamp(min=0), lambda x: x.clamp_(min=0)),
            *(lambda x: x.clip(0), lambda x: x.clip_(0), lambda x: x.clamp_min(0.0), lambda x: x.clamp_min_(0)),
            *(lambda x: torch.clamp(x, 0), lambda x: torch.clamp_(x, 0), lambda x: torch.clip(x, 0)),
            *(lambda x: torch.clip_(x, 0), lambda x: torch.clamp_min(x, 0), lambda x: torch.clamp_min_(x, 0)),
            *(nn.Threshold(0, 0), lambda x: torch.threshold(x, 0, 0), lambda x: torch.threshold_(x, 0, 0)),
            lambda x: F.hardtanh(x, 0, 1e9),
            lambda x: F.threshold_(x, 0, 0),  # type: ignore[attr-defined]
            lambda x: x.view(len(x), -1, 1).relu_().view_as(x),
        ],
    ),
    "relu6": (
        lambda x: x.clamp(0, 6),
        [nn.ReLU6(), nn.ReLU6(inplace=True), F.relu6, nn.Hardtanh(0, 6), lambda x: F.hardtanh_(x, 0.0, 6.0)],
    ),
    "threshold": (
        lambda x: torch.where(x > 1, x, -2.0),
        [nn.Threshold(1, -2), lambda x: F.threshold_(x, 1, -2), lambda x: torch.threshold(x, 1, -2)],  # type: ignore[attr-defined]
    ),
    "leaky_relu": (
        lambda x: torch.where(x > 0, x, 0.01 * x),
        [nn.LeakyReLU(), nn.LeakyReLU(inplace=True), F.leaky_relu, F.leaky_relu_],
    ),
    "rrelu": (
        lambda x: torch.where(x > 0, x, x * (1 / 8 + 1 / 3) / 2),
        [nn.RReLU().eval(), F.rrelu, F.rrelu_, torch.rrelu, torch.rrelu_],
    ),
    "prelu": (
        lambda x: torch.where(x > 0, x, LEAK * x),
        [nn.PReLU().double(), lambda x: F.prelu(x, LEAK), lambda x: torch.prelu(x, LEAK)],
    ),
    "elu": (lambda x: torch.where(x > 0, x, x.exp() - 1), [nn.ELU(), nn.ELU(inplace=True), F.elu, F.elu_]),
    "selu": (
        lambda x: 1.0507009873554805 * torch.where(x > 0, x, 1.6732632423543772 * (x.exp() - 1)),
        [nn.SELU(), nn.SELU(inplace=True), F.selu, F.selu_, torch.selu, torch.selu_],
    ),
    "celu": (
        lambda x: torch.where(x > 0, x, x.exp() - 1),
        [nn.CELU(), nn.CELU(inplace=True), F.celu, F.celu_, torch.celu, torch.celu_],
    ),
    "silu": (lambda x: x / (1 + (-x).exp()), [nn.SiLU(), nn.SiLU(inplace=True), F.silu]),
    "gelu": (lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2, [nn.GELU(), F.gelu]),
    "mish": (lambda x: x * torch.log1p(x.exp()).tanh(), [nn.Mish(), nn.Mish(inplace=True), F.mish]),
    "hardswish": (
        lambda x: x * (x + 3).clamp(0, 6) / 6,
        [nn.Hardswish(), nn.Hardswish(inplace=True), F.hardswish],
    ),
    "hardsigmoid": (
        lambda x: (x + 3).clamp(0, 6) / 6,
        [nn.Hardsigmoid(), nn.Hardsigmoid(inplace=True), F.hardsigmoid],
    ),
    "softplus": (lambda x: torch.log1p(x.exp()), [nn.Softplus(), F.softplus]),
    "softsign": (lambda x: x / (1 + x.abs()), [nn.Softsign(), F.softsign]),
    "logsigmoid": (lambda x: -torch.log1p((-x).exp()), [nn.LogSigmoid(), F.logsigmoid]),
    "hardtanh": (lambda x: x.clamp(-1, 1), [nn.Hardtanh(), nn.Hardtanh(inplace=True), F.hardtanh, F.hardtanh_]),
    "hardshrink": (lambda x: x * (x.abs() > 0.5), [nn.Hardshrink(), F.hardshrink]),
    "softshrink": (lambda x: x.sign() * (x.abs() - 0.5).clamp(min=0), [nn.Softshrink(), F.softshrink]),
    "tanhshrink": (lambda x: x - x.tanh(), [nn.Tanhshrink(), F.tanhshrink]),
    "sigmoid": (
        lambda x: 1 / (1 + (-x).exp()),
        [
            *(nn.Sigmoid(), F.sigmoid, torch.sigmoid, torch.sigmoid_),
            *(lambda x: x.sigmoid(), lambda x: x.sigmoid_()),
        ],
    ),
    "tanh": (
        lambda x: 1 - 2 / (1 + (2 * x).exp()),
        [nn.Tanh(), F.tanh, torch.tanh, torch.tanh_, lambda x: x.tanh(), lambda x: x.tanh_()],
    ),
}
EVERY = [
    pytest.param(plain, written, id=f"{name}-{n}")
    for name, (plain, ways) in WRITTEN.items()
    for n, written in enumerate(ways)
]


class Layers(nn.Module):
    """Apply three linear layers with the same nonlinearity between them."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 12), nn.Linear(12, 10), nn.Linear(10, 4)
        self.function = function
        with torch.no_grad():
            for layer in (self.first, self.second):
                layer.weight.mul_(6)  # large values reach all branches of all functions

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.second(self.function(self.first(x)))))


def filtered(
    model: nn.Module, images: Tensor, optimised: Tensor, target: int = 1, kind: Any = "published", sign: float = 1
) -> tuple[Tensor, Tensor]:
    """Return the scores of `optimised`, and the gradient of `sign` times the target's score, filtered by `images`."""
    inputs = optimised.clone().requires_grad_()
    with GradientFilter(activation_bounds(model, images), kind):
        scores = model(inputs)
    return scores.detach(), torch.autograd.grad(sign * scores[:, target].sum(), inputs)[0]


def plain(model: nn.Module, optimised: Tensor, target: int = 1) -> tuple[Tensor, Tensor]:
    inputs = optimised.clone().requires_grad_()
    scores = model(inputs)
    return scores.detach(), torch.autograd.grad(scores[:, target].sum(), inputs)[0]


def between(value: Tensor, image: Tensor) -> Tensor:
    """Return [h(e) <= max(0, h(x))] [h(e) >= min(0, h(x))], with a tolerance for two ways to compute h."""
    tolerance = 1e-12
    return (value <= image.clamp(min=0) + tolerance) & (value >= image.clamp(max=0) - tolerance)


def passing(kind: str, value: Tensor, image: Tensor, signal: Tensor) -> Tensor:
    """Return where a filter passes the signal that arrives at h(e), neuron by neuron."""
    if kind == "published":
        return between(value, image)
    above = (value > 0) & ~between(value, image.clamp(min=0))
    below = (value < 0) & ~between(value, image.clamp(max=0))
    # A step of descent moves h against the signal.
    return ~(above & (-signal > 0)) & ~(below & (-signal < 0))


# Compared with a derivation by hand -----------------------------------------------------------------------------------

both_filters = pytest.mark.parametrize("kind", ["published", "one_sided"])


@pytest.mark.parametrize(("kind", "seed"), [("published", 0), ("one_sided", 1)])
@pytest.mark.parametrize(("by_hand", "written"), EVERY)
def test_gradient_equals_a_derivation_by_hand(by_hand: Function, written: Function, seed: int, kind: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Layers(written).double()
        images = torch.randn(40, 6, dtype=torch.float64)
        optimised = images + 0.3 * torch.randn_like(images)
    optimised[:10] = images[:10]

    def maps(x: Tensor) -> list[tuple[Tensor, Tensor]]:
        before = model.first(x)
        between_them = model.second(by_hand(before))
        return [(before, by_hand(before)), (between_them, by_hand(between_them))]

    passed = []
    signal = model.last.weight[1].detach().expand(40, -1)
    layers = (model.second, model.first)
    for layer, (before, value), (_, image) in zip(
        layers, reversed(maps(optimised)), reversed(maps(images)), strict=True
    ):
        before = before.detach().requires_grad_()
        (slope,) = torch.autograd.grad(by_hand(before).sum(), before)
        passed.append(passing(kind, value, image, signal))
        signal = (signal * passed[-1] * slope) @ layer.weight
    scores, gradient = filtered(model, images, optimised, kind=kind)
    # Torch's hardsigmoid computes 1/6 in float32.
    torch.testing.assert_close(gradient, signal.detach(), rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(scores, model(optimised), rtol=0, atol=0)
    for mask in passed:
        assert mask[:10].all()
        assert 0 < mask[10:].double().mean() < 1


@both_filters
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_residual_block_with_one_rectifier_in_place_equals_a_derivation_by_hand(kind: str, seed: int) -> None:
    """Compare with y = relu(x + W2 relu(W1 x)), score = w . y, whose module `relu` is called twice."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        block = models.resnet.BasicBlock(6, 6, norm_layer=nn.Identity)
        for convolution in (block.conv1, block.conv2):
            nn.init.normal_(convolution.weight, std=0.6)
        model = nn.Sequential(block, nn.Flatten(), nn.Linear(6, 2)).double()
        images, optimised = torch.randn(2, 50, 6, dtype=torch.float64)
    # On a single pixel, only the centre of each 3 x 3 kernel matters.
    first, second = (layer.weight[:, :, 1, 1].detach() for layer in (block.conv1, block.conv2))

    def parts(x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = (x @ first.T).clamp(min=0)
        return hidden, (x + hidden @ second.T).clamp(min=0)

    (hidden, output), (of_image, out_of_image) = parts(optimised), parts(images)
    signal = -model[2].weight[1].detach().expand(50, -1)
    to_sum = signal * passing(kind, output, out_of_image, signal) * (output > 0)
    to_hidden = to_sum @ second
    to_hidden = to_hidden * passing(kind, hidden, of_image, to_hidden) * (hidden > 0)
    gradient = filtered(model, images[..., None, None], optimised[..., None, None], kind=kind, sign=-1)[1]
    torch.testing.assert_close(gradient[..., 0, 0], to_sum + to_hidden @ first)


def test_all_known_nonlinearities_are_tested_above() -> None:
    class Seen(TorchFunctionMode):
        def __init__(self) -> None:
            super().__init__()
            self.functions: set[Any] = set()

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.functions.add(func)
            return func(*args, **(kwargs or {}))

    with Seen() as seen:
        for _, ways in WRITTEN.values():
            for written in ways:
                written(torch.ones(2, 1, dtype=torch.float64))
        F.glu(torch.ones(2, 2))
    # F.sigmoid and F.tanh call a method of the tensor, which is recorded instead.
    assert not (_READERS.keys() | _NONLINEARITIES.keys()) - seen.functions - {F.sigmoid, F.tanh}


def test_gated_linear_unit_is_bounded_by_its_output() -> None:
    first, last = nn.Linear(6, 16).double(), nn.Linear(8, 3).double()
    model = nn.Sequential(first, nn.GLU(), last)
    images = torch.randn(9, 6, dtype=torch.float64)
    optimised = images + torch.randn_like(images)
    (value, gate), (image, of_image) = first(optimised).chunk(2, 1), first(images).chunk(2, 1)
    open_, signal = gate.sigmoid(), last.weight[1]
    signal = signal * between(value * open_, image * of_image.sigmoid())
    expected = torch.cat([signal * open_, signal * value * open_ * (1 - open_)], 1) @ first.weight
    torch.testing.assert_close(filtered(model, images, optimised)[1], expected.detach())


def test_squeeze_and_excitation_bounds_the_gate_and_its_hidden_layer() -> None:
    """Compare with y = x s(W2 relu(W1 mean(x))), score = w . sum(y), by hand."""
    excite = models.efficientnet.SqueezeExcitation(4, 3, activation=nn.ReLU).double()
    model = nn.Sequential(excite, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2).double())
    images, optimised = torch.rand(2, 5, 4, 3, 3, dtype=torch.float64)

    def parts(x: Tensor) -> tuple[Tensor, ...]:
        before = x.mean((2, 3)) @ excite.fc1.weight[:, :, 0, 0].T + excite.fc1.bias
        gate = (before.clamp(min=0) @ excite.fc2.weight[:, :, 0, 0].T + excite.fc2.bias).sigmoid()
        return before, before.clamp(min=0), gate

    before, hidden, gate = parts(optimised)
    _, hidden_of_image, gate_of_image = parts(images)
    weight = model[3].weight[1]
    to_gate = weight * optimised.mean((2, 3)) * between(gate, gate_of_image) * gate * (1 - gate)
    to_hidden = to_gate @ excite.fc2.weight[:, :, 0, 0] * between(hidden, hidden_of_image) * (before > 0)
    expected = weight * gate + to_hidden @ excite.fc1.weight[:, :, 0, 0]
    gradient = filtered(model, images, optimised)[1]
    torch.testing.assert_close(gradient, (expected / 9)[:, :, None, None].expand_as(images).detach())


# At the last bit ------------------------------------------------------------------------------------------------


class Neurons(nn.Module):
    """Apply a function to single numbers; the gradient of the score is one where it passes."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.function(x), torch.ones(2, x.shape[1], dtype=x.dtype))


def numbers(dtype: torch.dtype) -> Tensor:
    """Return positive numbers of all magnitudes, including powers of two and their neighbours."""
    powers = torch.arange(-60, 60, dtype=dtype).exp2()
    infinity = torch.tensor(torch.inf, dtype=dtype)
    any_size = torch.rand(1000, dtype=dtype) * torch.randint(-60, 60, (1000,)).to(dtype).exp2()
    return torch.cat([powers, powers.nextafter(infinity), powers.nextafter(-infinity), any_size])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("function", "sign"), [(F.relu, 1), (lambda x: F.leaky_relu(x, 1.0), 1), (F.hardtanh, -1)])
def test_bound_itself_passes_and_the_next_float_does_not(function: Function, sign: int, dtype: torch.dtype) -> None:
    images = sign * numbers(dtype)[None]
    if function is F.hardtanh:
        images = images[images > -1][None]
    further = images.nextafter(torch.full_like(images, sign * torch.inf))
    nearer = images.nextafter(torch.zeros_like(images))
    model = Neurons(function)
    assert (filtered(model, images, images)[1] == 1).all()
    assert (filtered(model, images, nearer)[1] == 1).all()
    assert (filtered(model, images, further)[1] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bound_of_zero_passes_zero_only(dtype: torch.dtype) -> None:
    smallest = torch.finfo(dtype).tiny
    images = torch.tensor([[0.0, -0.0]], dtype=dtype)
    leaky = Neurons(lambda x: F.leaky_relu(x, 1.0))
    for passes, values in {1: (0.0, -0.0), 0: (smallest, -smallest, 1e-9, -1e-9, 1.0, -1.0, 1e30, -1e30)}.items():
        for value in values:
            gradient = filtered(leaky, images, torch.full_like(images, value))[1]
            assert (gradient == passes).all(), value


# Where the one-sided filter passes: the published filter blocks each of these neurons but those inside its bounds.
CASES = {
    # h(x), h(e), signals that pass
    "inside": (2.0, 1.0, (1, -1)),
    "at the bound": (2.0, 2.0, (1, -1)),
    "above": (2.0, 2.5, (1,)),
    "below, positive image": (2.0, -0.5, (-1,)),
    "inside, negative": (-2.0, -1.0, (1, -1)),
    "at the lower bound": (-2.0, -2.0, (1, -1)),
    "below": (-2.0, -2.5, (-1,)),
    "above, negative image": (-2.0, 0.5, (1,)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_sided_filter_blocks_only_what_pushes_further_out(case: str, dtype: torch.dtype) -> None:
    image, value, passes = CASES[case]
    leaky = Neurons(lambda x: F.leaky_relu(x, 1.0))
    for sign in (1, -1):
        of_image, optimised = (torch.tensor([[number]], dtype=dtype) for number in (image, value))
        gradient = filtered(leaky, of_image, optimised, kind="one_sided", sign=sign)[1]
        assert gradient.item() == (sign if sign in passes else 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rectify", [F.relu, lambda x: F.relu_(x * 1), F.relu6], ids=["relu", "in place", "relu6"])
def test_one_sided_rectifier_passes_what_returns_and_nothing_where_it_is_silent(
    rectify: Function, dtype: torch.dtype
) -> None:
    images = numbers(dtype).clamp(1e-9, 5)[None]
    further, nearer = (images.nextafter(torch.tensor(to, dtype=dtype)) for to in (torch.inf, 0))
    model = Neurons(rectify)
    for sign in (1, -1):
        for inside in (images, nearer):
            assert (filtered(model, images, inside, kind="one_sided", sign=sign)[1] == sign).all()
        returned = filtered(model, images, further, kind="one_sided", sign=sign)[1]
        assert (returned == (1 if sign > 0 else 0)).all()
        assert (filtered(model, images, -images, kind="one_sided", sign=sign)[1] == 0).all()
    at_ceiling = torch.full_like(images, 6.0)
    if rectify is F.relu6:
        assert (filtered(model, images, at_ceiling, kind="one_sided")[1] == 0).all()


def test_unknown_filter_raises() -> None:
    with pytest.raises(UserError, match="gradient filter 'none' is unknown; use published, one_sided"):
        GradientFilter([], "none")  # type: ignore[arg-type]


def test_rectifier_that_is_zero_for_the_image_passes_nothing() -> None:
    images, optimised = torch.tensor([[-1.0, 0.0, -1.0, 0.0]]), torch.tensor([[1e-30, 1e-30, -2.0, 0.0]])
    for rectify in (F.relu, F.relu6):
        assert (filtered(Neurons(rectify), images, optimised)[1] == 0).all()


def test_signal_passes_between_zero_and_a_bound_of_either_sign() -> None:
    images = torch.tensor([[2.0, 2.0, 2.0, 2.0, -2.0, -2.0, -2.0, -2.0]])
    optimised = torch.tensor([[1.0, 2.5, -0.1, 0.0, -1.0, -2.5, 0.1, 0.0]])
    gradient = filtered(Neurons(lambda x: F.leaky_relu(x, 0.5)), images, optimised)[1]
    slope = torch.tensor([[1.0, 0, 0, 0.5, 0.5, 0, 0, 0.5]])
    assert torch.equal(gradient, slope)


def test_rectifier_at_its_ceiling_passes_nothing() -> None:
    images = torch.tensor([[6.0, 7.0, 5.0, 7.0, 7.0, 6.0]])
    below = torch.tensor(6.0).nextafter(torch.tensor(0.0)).item()
    optimised = torch.tensor([[6.0, 6.0, 5.0, 8.0, 5.9, below]])
    for rectify in (F.relu6, nn.Hardtanh(0, 6), lambda x: F.relu6(x * 1, inplace=True)):
        assert filtered(Neurons(rectify), images, optimised)[1].tolist() == [[0, 0, 1, 0, 1, 1]]


# Networks -------------------------------------------------------------------------------------------------------

# The number of filtered calls and the number of all calls.
NETWORKS: dict[str, tuple[int, int]] = {
    "alexnet": (7, 7),
    "squeezenet1_1": (25, 26),  # a rectifier follows the convolution of the class scores
    "mobilenet_v2": (35, 35),
    "resnet18": (17, 17),
    "googlenet": (57, 57),
    "densenet121": (121, 121),
    "shufflenet_v2_x0_5": (37, 37),
    "mobilenet_v3_small": (42, 42),
    "efficientnet_b0": (65, 65),
}


def torchvision(name: str) -> nn.Module:
    further = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    model = models.get_model(name, num_classes=10, **further).eval().requires_grad_(False)
    for weight in model.parameters():
        if weight.dim() > 1:
            nn.init.kaiming_normal_(weight)
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_gradient_is_filtered_except_at_the_image_itself(name: str) -> None:
    model, images = torchvision(name), torch.rand(2, 3, 64, 64)
    bounds = activation_bounds(model, images)
    assert (sum(call.bound is not None for call in bounds), len(bounds)) == NETWORKS[name]
    target = int(model(images)[0].argmax())
    expected, gradient = plain(model, images, target)
    assert gradient.abs().max() > 0
    found = filtered(model, images, images, target)
    assert torch.equal(found[0], expected)
    assert torch.equal(found[1], gradient)
    other = torch.rand_like(images)
    expected, gradient = plain(model, other, target)
    found = filtered(model, images, other, target)
    assert torch.equal(found[0], expected)
    assert not torch.allclose(found[1], gradient, rtol=0.1, atol=0.1 * float(gradient.abs().max()))


def test_calls_after_the_last_weighted_layer_are_not_filtered() -> None:
    first, last = nn.Linear(6, 5), nn.Linear(5, 4)
    images, optimised = torch.randn(2, 3, 6)
    with_head = nn.Sequential(first, nn.ReLU(), last, nn.Sigmoid(), nn.ReLU())
    bounds = activation_bounds(with_head, images)
    assert [(call.kind, call.bound is None) for call in bounds] == [("relu", False), ("sigmoid", True), ("relu", True)]
    scores = nn.Sequential(first, nn.ReLU(), last)
    gate = scores(optimised)[:, 1].sigmoid().detach()
    expected = filtered(scores, images, optimised)[1] * (gate * (1 - gate))[:, None]
    torch.testing.assert_close(filtered(with_head, images, optimised)[1], expected)


def test_each_call_of_a_reused_module_has_its_own_bound() -> None:
    rectify = nn.ReLU(inplace=True)
    model = nn.Sequential(nn.Linear(6, 5), rectify, nn.Linear(5, 5), rectify, nn.Linear(5, 4))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[2].weight.copy_(-torch.eye(5))
        model[0].bias.zero_()
        model[2].bias.fill_(10.0)
    images = torch.ones(1, 6)
    # For the image the calls return 6 and 10 - 6. An input of 5/6 makes the second one return 5, above its bound.
    assert [call.bound[0, 0].item() for call in activation_bounds(model, images)] == pytest.approx([6.0, 4.0])
    assert (filtered(model, images, images * 5 / 6)[1] == 0).all()
    assert (filtered(model, images, images)[1] != 0).all()


@pytest.mark.parametrize(
    "compute",
    [
        lambda x: F.relu6(x + 3).div_(6),
        lambda x: F.relu6(x + 3, inplace=True) / 6,
        lambda x: F.leaky_relu(x).add_(1),
        lambda x: F.silu(x).mul_(2),
        lambda x: F.gelu(x).relu_(),
        lambda x: x.sub_(1).relu_() + 1,
        lambda x: F.hardtanh(x, 0, 1).add_(x),
    ],
)
def test_network_may_overwrite_the_output_of_a_nonlinearity(compute: Function) -> None:
    model, images = Layers(compute), torch.randn(5, 6)
    expected, gradient = plain(model, images)
    found = filtered(model, images, images)
    assert torch.equal(found[0], expected)
    assert torch.equal(found[1], gradient)
    assert not torch.equal(filtered(model, images, images + torch.randn(5, 6))[1], gradient)


# Networks whose passes differ, and state left behind ---------------------------------------------------------


class Fickle(nn.Module):
    """Make other calls in later passes than in the first one."""

    def __init__(self, first: Function, later: Function) -> None:
        super().__init__()
        self.layer, self.functions = nn.Linear(6, 6), [first, later]

    def forward(self, x: Tensor) -> Tensor:
        function = self.functions.pop(0) if len(self.functions) > 1 else self.functions[0]
        return self.layer(function(self.layer(x)))


@pytest.mark.parametrize(
    ("first", "later", "message"),
    [
        (
            torch.relu,
            torch.tanh,
            r"nonlinearity 1 is tanh of \(2, 6\), but it was relu of \(2, 6\) in the pass of the image",
        ),
        (torch.relu, lambda x: x[:1].relu(), r"nonlinearity 1 is relu of \(1, 6\), but it was relu of \(2, 6\)"),
        (torch.tanh, lambda x: x[:1].tanh(), r"nonlinearity 1 is tanh of \(1, 6\), but it was tanh of \(2, 6\)"),
        (torch.relu, lambda x: x.relu().tanh(), r"nonlinearity 2 is tanh of \(2, 6\), but it was the end"),
        (lambda x: x.relu().tanh(), torch.relu, r"nonlinearity 2 is its end, but it was tanh of \(2, 6\)"),
    ],
)
def test_network_that_makes_other_calls_raises(first: Function, later: Function, message: str) -> None:
    model = Fickle(first, later)
    with pytest.raises(UserError, match=message + ".*filter=none"):
        filtered(model, torch.randn(2, 6), torch.randn(2, 6))
    assert torch._C._len_torch_function_stack() == 0


def test_filter_leaves_no_state_behind() -> None:
    model, images = torchvision("mobilenet_v3_small"), torch.rand(1, 3, 32, 32)
    other = torch.rand_like(images)
    _, expected = plain(model, other)
    filtered(model, images, other)
    assert torch.equal(plain(model, other)[1], expected)
    tables = [vars(module)[name] for module in model.modules() for name in vars(module) if "hooks" in name]
    assert not any(tables)


def test_filter_leaves_no_state_behind_after_an_exception() -> None:
    model, images = torchvision("squeezenet1_1"), torch.rand(1, 3, 32, 32)
    _, expected = plain(model, images)
    handle = model.classifier.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        activation_bounds(model, images)
    handle.remove()
    bounds = activation_bounds(model, images)
    handle = model.classifier.register_forward_pre_hook(lambda *_: 1 / 0)
    # The network's own error is raised, not one about the missing calls.
    with pytest.raises(ZeroDivisionError), GradientFilter(bounds):
        model(images)
    handle.remove()
    assert torch._C._len_torch_function_stack() == 0
    assert torch.equal(plain(model, images)[1], expected)


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v3_small"])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_pass_without_gradients_is_unchanged(name: str, mode: Callable[[], Any]) -> None:
    model, images = torchvision(name), torch.rand(1, 3, 32, 32)
    with mode():
        expected = model(images)
        bounds = activation_bounds(model, images)
        with GradientFilter(bounds):
            assert torch.equal(model(images), expected)


def test_bounds_are_detached_and_not_overwritten_by_the_network() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.ReLU(inplace=True), nn.Linear(5, 2))
    images = torch.randn(4, 6)
    tanh, relu = (call.bound for call in activation_bounds(model, images))
    expected = model[0](images).tanh()
    torch.testing.assert_close(tanh, expected.detach())
    torch.testing.assert_close(relu, expected.detach().clamp(min=0))
    assert not tanh.requires_grad
