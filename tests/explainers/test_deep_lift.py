"""DeepLift, compared with captum, with its rules in plain numbers, and with the sum that it must have."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import captum.attr
import pytest
import torch
import torch.nn.functional as F
from samples import flower_net, uniform_noise
from torch import Tensor, nn
from torchvision.models import (
    googlenet,
    mobilenet_v2,
    mobilenet_v3_small,
    resnet18,
    squeezenet1_1,
)

from evident.errors import UserError
from evident.explainers.deep_lift import DeepLift
from evident.explainers.shared.rescale_rule import ReferencePass, RescaleRules
from evident.models.mnist_net import MnistNet
from evident.models.normalise import Normalise
from evident.models.reference_images import Reference, reference_images


def images(side: int = 16, dtype: torch.dtype = torch.float64) -> Tensor:
    return uniform_noise(2, side, dtype=dtype)


def difference(model: nn.Module, inputs: Tensor, target: int) -> Tensor:
    """Return score(x) - score(reference) (N,)."""
    with torch.no_grad():
        return (model(inputs) - model(reference_images(inputs, model)))[:, target]


def assert_complete(model: nn.Module, inputs: Tensor, target: int = 1, rtol: float = 1e-9) -> Tensor:
    attribution = DeepLift(model).attribute(inputs, target)
    expected = difference(model, inputs, target)
    assert expected.abs().min() > 0
    torch.testing.assert_close(attribution.sum((1, 2, 3)), expected, rtol=rtol, atol=0)
    return attribution


class Around(nn.Module):
    """Apply a convolution, then `rest`, then a linear layer to the mean of each of `maps` maps."""

    def __init__(self, rest: Callable[[Tensor], Tensor], maps: int = 4) -> None:
        super().__init__()
        self.normalise, self.first = Normalise(), nn.Conv2d(3, 4, 3, padding=1)
        self.rest, self.last = rest, nn.Linear(maps, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.rest(self.first(self.normalise(x))).mean((2, 3)))


def around(rest: Callable[[Tensor], Tensor], maps: int = 4) -> nn.Module:
    torch.manual_seed(3)
    return Around(rest, maps).double().eval()


# One call at a time --------------------------------------------------------------------------------------------------


def multipliers(call: Callable[..., Tensor], x: Tensor, x0: Tensor, signal: Tensor) -> Tensor:
    """Return what `call` passes back of `signal`, for an input x and a reference x0."""
    x, x0 = x.clone().requires_grad_(), x0.clone().requires_grad_()
    with ReferencePass() as reference:
        call(x0 + 0)
    with RescaleRules(reference):
        y = call(x + 0)
    return torch.autograd.grad(y, x, signal)[0]


def test_rescale_rule_is_the_quotient_of_differences_or_the_derivative() -> None:
    x, x0 = torch.tensor([3.0, -1.0, 2.0, -2.0, 4.0]), torch.tensor([-1.0, 3.0, 1.0, -1.0, 4.0])
    signal = torch.tensor([2.0, 2.0, 2.0, 2.0, 2.0])
    assert multipliers(F.relu, x, x0, signal).tolist() == [1.5, 1.5, 2, 0, 2]
    assert multipliers(torch.relu_, x, x0, signal).tolist() == [1.5, 1.5, 2, 0, 2]
    assert multipliers(torch.square, x, x0, signal).tolist() == [4, 4, 6, -6, 16]


def test_maximum_gives_a_rise_to_its_own_place_and_a_fall_to_that_of_the_reference() -> None:
    # Two windows: the maximum rises by 4 to 5 at place 2, and falls by 3 from 5 at place 0.
    x, x0 = torch.tensor([[0.0, 1.0, 5.0, 1.0, 2.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0, 5.0, 0.0, 0.5]])
    passed = multipliers(lambda x: F.max_pool1d(x, 3), x, x0, torch.ones(1, 2))
    assert (passed * (x - x0)).tolist() == [[0, 0, 4, -3, 0, 0]]


def test_overlapping_windows_add_up() -> None:
    x, x0 = torch.tensor([[0.0, 3.0, 1.0]]), torch.tensor([[0.0, 1.0, 2.0]])
    passed = multipliers(lambda x: F.max_pool1d(x, 2, 1), x, x0, torch.ones(1, 2))
    assert (passed * (x - x0)).tolist() == [[0, 2 + 1, 0]]


def test_product_gives_each_operand_the_mean_of_the_other() -> None:
    passed = multipliers(lambda x: x[:1] * x[1:], torch.tensor([3.0, 5.0]), torch.tensor([1.0, 2.0]), torch.ones(1))
    assert passed.tolist() == [3.5, 2.0]
    assert (passed * torch.tensor([2.0, 3.0])).sum() == 3 * 5 - 1 * 2


def test_two_layers_equal_a_derivation_in_matrices() -> None:
    torch.manual_seed(1)
    weights = [torch.randn(shape, dtype=torch.float64) for shape in ((6, 12), (5, 6), (2, 5))]
    biases = [torch.randn(size, dtype=torch.float64) for size in (6, 5)]

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.normalise = Normalise(mean=(0.25, 0.5, 0.75), std=(0.5, 0.25, 1.0))

        def forward(self, x: Tensor) -> Tensor:
            a = F.linear(self.normalise(x).flatten(1), weights[0], biases[0])
            return F.linear(F.silu(F.linear(F.relu(a), weights[1], biases[1])), weights[2])

    inputs = images(2)
    ours = DeepLift(Network().double()).attribute(inputs, 1)
    colour = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64).view(3, 1, 1).expand(3, 2, 2)
    scale = torch.tensor([0.5, 0.25, 1.0], dtype=torch.float64).view(3, 1, 1).expand(3, 2, 2).flatten()
    for n in range(2):
        x = (inputs[n] - colour).flatten() / scale  # in the network's units; the reference is zero
        a, a0 = weights[0] @ x + biases[0], biases[0]
        b, b0 = weights[1] @ a.clamp(min=0) + biases[1], weights[1] @ a0.clamp(min=0) + biases[1]
        second = (b * b.sigmoid() - b0 * b0.sigmoid()) / (b - b0)
        first = (a.clamp(min=0) - a0.clamp(min=0)) / (a - a0)
        m = weights[0].T @ (first * (weights[1].T @ (second * weights[2][1])))
        torch.testing.assert_close(ours[n].flatten(), m * x, rtol=1e-10, atol=1e-12)


# The sum --------------------------------------------------------------------------------------------------------------


class Reused(nn.Module):
    """Use one rectifier module three times."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.relu(x) - 0.2) + self.relu(-x)


def ignored_in_place(x: Tensor) -> Tensor:
    F.relu(x, inplace=True)
    return x


def squeeze_and_excite(x: Tensor) -> Tensor:
    return x * F.hardsigmoid(3 * x.mean((2, 3), keepdim=True))


CALLS: dict[str, Callable[[Tensor], Tensor]] = {
    "functional": F.relu,
    "method": lambda x: x.relu(),
    "in place": nn.ReLU(inplace=True),
    "in place, output ignored": ignored_in_place,
    "reused": Reused(),
    "ceiling": lambda x: F.relu6(20 * x),
    "clamp": lambda x: x.clamp(-0.1, 0.2),
    "leaky": F.leaky_relu,
    "prelu": lambda x: F.prelu(x, torch.tensor([0.3], dtype=x.dtype)),
    "elu": F.elu,
    "silu": F.silu,
    "silu in place": nn.SiLU(inplace=True),
    "gelu": F.gelu,
    "hardswish": F.hardswish,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "power": lambda x: (x**2 + 1) ** 0.5,
    "reciprocal": lambda x: 1 / (x.square() + 1),
    "max-pooling": lambda x: F.max_pool2d(x, 2),
    "overlapping max-pooling": lambda x: F.max_pool2d(x, 3, 2, 1),
    "adaptive max-pooling": lambda x: F.adaptive_max_pool2d(x, 3),
    "largest value": lambda x: x.amax((2, 3), keepdim=True),
    "residual": lambda x: F.relu(x + F.relu(x)),
    "residual in place": lambda x: F.relu(x).add_(x),
    "concatenation": lambda x: torch.cat([F.relu(x[:, :2]), F.silu(x[:, 2:])], 1),
    "gate": squeeze_and_excite,
    "gate in place": lambda x: (x + 0).mul_(torch.sigmoid(x)),
    "quotient": lambda x: x / (1 + x.abs()),
    "matrix product": lambda x: x @ x.transpose(-1, -2),
    "einsum": lambda x: torch.einsum("nchw,nchv->ncwv", x, x.tanh()),
    "padding and slices": lambda x: F.pad(F.relu(x)[..., 1:-1, 1:], (1, 1)),
    "dropout in eval mode": lambda x: F.dropout(F.relu(x), training=False),
}


@pytest.mark.parametrize("name", list(CALLS))
def test_attribution_sums_to_the_difference_of_the_scores(name: str) -> None:
    assert_complete(around(CALLS[name]), images())


@pytest.mark.parametrize(
    "network",
    [
        lambda: squeezenet1_1(num_classes=5),
        lambda: resnet18(num_classes=5),
        lambda: mobilenet_v2(num_classes=5),
        lambda: mobilenet_v3_small(num_classes=5),
        lambda: googlenet(num_classes=5, init_weights=False, aux_logits=False, transform_input=True),
    ],
    ids=["squeezenet", "resnet", "mobilenet_v2", "mobilenet_v3", "googlenet"],
)
def test_attribution_of_a_network_sums_to_the_difference_of_the_scores(network: Callable[[], nn.Module]) -> None:
    model = nn.Sequential(Normalise(), network()).double().eval()
    assert_complete(model, images(64), rtol=1e-5)


def test_attribution_of_the_digits_network_sums_to_the_difference_of_the_scores() -> None:
    assert_complete(MnistNet(10).double().eval(), images(28))


def test_captum_is_incomplete_on_functional_rectifiers() -> None:
    model, inputs = around(F.relu), images()
    theirs = captums(model, inputs)
    assert ((theirs.sum((1, 2, 3)) / difference(model, inputs, 1)) - 1).abs().max() > 0.1
    assert_complete(model, inputs)


# Parity ---------------------------------------------------------------------------------------------------------------


def captums(model: nn.Module, inputs: Tensor, baseline: Reference = "mean_colour") -> Tensor:
    model, references = copy.deepcopy(model), reference_images(inputs, model, baseline)
    with warnings.catch_warnings():
        # Captum warns that it sets hooks.
        warnings.filterwarnings("ignore", "Setting forward, backward hooks", UserWarning)
        return captum.attr.DeepLift(model).attribute(inputs.clone().requires_grad_(), references, target=1).detach()


def max_pooling_network() -> nn.Module:
    # Captum needs a layer between a nonlinearity and a pooling, because both hook the same tensor otherwise.
    first = [nn.Conv2d(3, 8, 3), nn.ELU(), nn.BatchNorm2d(8), nn.MaxPool2d(2)]
    second = [nn.Conv2d(8, 8, 3), nn.ReLU(), nn.BatchNorm2d(8), nn.MaxPool2d(2)]
    return nn.Sequential(Normalise(), *first, *second, nn.Flatten(), nn.Linear(32, 7), nn.Tanh(), nn.Linear(7, 3))


def test_attribution_equals_captum_on_modules() -> None:
    model, inputs = flower_net().double().eval(), images(48)
    expected = captums(model, inputs)
    torch.testing.assert_close(DeepLift(model).attribute(inputs, 1), expected, rtol=1e-5, atol=1e-9)
    assert expected.abs().max() > 1e-3


def test_attribution_equals_captum_on_max_pooling_modules() -> None:
    model, inputs = max_pooling_network().double().eval(), images()
    # Not the mean colour: all values of a window are then equal up to rounding, which decides where the maximum is.
    expected = captums(model, inputs, "blur")
    torch.testing.assert_close(DeepLift(model, "blur").attribute(inputs, 1), expected, rtol=1e-5, atol=1e-9)
    assert expected.abs().max() > 1e-3


# Errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rest", "named"),
    [
        (lambda x: x.softmax(1), "torch.Tensor.softmax"),
        (lambda x: F.layer_norm(x, x.shape[1:]), "torch.nn.functional.layer_norm"),
        (lambda x: torch.where(x > 0, x, 0), "torch.where"),
        (lambda x: x.detach() * x, "torch.Tensor.detach"),
        (lambda x: F.glu(x, 1).repeat(1, 2, 1, 1), "torch.nn.functional.glu"),
        (lambda x: F.batch_norm(x, None, None, training=True), "torch.nn.functional.batch_norm"),
        (lambda x: F.dropout(x, training=True), "torch.nn.functional.dropout"),
        (lambda x: F.conv2d(x, x[:1, :4, :1, :1].transpose(0, 1).repeat(1, 4, 1, 1)), "conv2d"),
    ],
)
def test_call_without_a_rule_raises(rest: Callable[[Tensor], Tensor], named: str) -> None:
    with pytest.raises(UserError, match=rf"DeepLift has no rule for .*{named.rpartition('.')[2]}; use integrated_gra"):
        DeepLift(around(rest)).attribute(images(), 1)


def test_network_with_other_calls_for_the_reference_raises() -> None:
    calls = iter([F.silu, F.relu])
    model = around(lambda x: next(calls)(x))
    with pytest.raises(UserError, match=r"call 1 .* is .*relu of \(2, 4, 16, 16\) for the image, but .*silu"):
        DeepLift(model).attribute(images(), 1)


class Hidden(torch.autograd.Function):
    """Compute a rectifier in one step, which no mode sees."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> Tensor:
        return signal * (ctx.saved_tensors[0] > 0)


def test_sum_that_is_wrong_raises() -> None:
    with pytest.raises(
        UserError, match=r"DeepLift of Around sums to .*: the network makes calls that Python does not see"
    ):
        DeepLift(around(Hidden.apply)).attribute(images(), 1)
