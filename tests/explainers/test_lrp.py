"""LRP, compared with zennit and with its rules in plain matrices, and its rule for each kind of call."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from samples import flower_net, uniform_noise
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, mobilenet_v3_small, resnet18, resnet50, squeezenet1_1
from zennit.attribution import Gradient
from zennit.canonizers import Canonizer, SequentialMergeBatchNorm
from zennit.composites import EpsilonPlusFlat
from zennit.torchvision import ResNetCanonizer

from evident.errors import UserError
from evident.explainers.lrp import LRP
from evident.models.flower_net import FlowerNet
from evident.models.mnist_net import MnistNet

EPSILON = 1e-6


def images(side: int = 8) -> Tensor:
    return uniform_noise(2, side, dtype=torch.float64)


def with_statistics(model: nn.Module) -> nn.Module:
    """Give every batch normalisation random statistics, and slopes of both signs."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            # Zennit leaves the epsilon in after it merged the layer.
            module.eps = 0.0
            with torch.no_grad():
                for values, low, high in (
                    (module.weight, -1, 1),
                    (module.bias, -0.5, 0.5),
                    (module.running_mean, -0.5, 0.5),
                    (module.running_var, 0.5, 2),
                ):
                    values.uniform_(low, high, generator=generator)
    return model.double().eval()


# Parity ---------------------------------------------------------------------------------------------------------------


def zennits(model: nn.Module, inputs: Tensor, target: int, *canonizers: Canonizer) -> Tensor:
    classes = torch.eye(model(inputs).shape[1], dtype=inputs.dtype)[[target] * len(inputs)]
    with Gradient(model, EpsilonPlusFlat(canonizers=list(canonizers))) as attributor:
        return attributor(inputs, lambda output: output.detach() * classes)[1].detach()


def flower_net_of_unit_deviation() -> nn.Module:
    model = flower_net()
    model.normalise.std.fill_(1)  # zennit passes the gradient of the normalisation, ours the relevance
    return model


def small_vgg() -> nn.Module:
    first = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(inplace=True)]
    second = [nn.MaxPool2d(2), nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(3)]
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(108, 9), nn.ReLU(), nn.Dropout(), nn.Linear(9, 4))


@pytest.mark.parametrize(
    ("network", "side", "canonizers"),
    [
        (flower_net_of_unit_deviation, 48, [SequentialMergeBatchNorm]),
        (small_vgg, 16, []),
        (lambda: squeezenet1_1(num_classes=5), 64, []),
        (lambda: resnet18(num_classes=5), 64, [ResNetCanonizer]),
        (lambda: resnet50(num_classes=5), 48, [ResNetCanonizer]),
    ],
    ids=["flower_net", "small_vgg", "squeezenet", "resnet18", "resnet50"],
)
def test_relevance_equals_zennit(network: Callable[[], nn.Module], side: int, canonizers: list[Any]) -> None:
    model, inputs = with_statistics(network()), images(side) - 0.5
    ours = LRP(model).attribute(inputs, 1)
    theirs = zennits(model, inputs, 1, *(canonizer() for canonizer in canonizers))
    assert theirs.abs().max() > 0
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-9 * float(theirs.abs().max()))


# The formula ----------------------------------------------------------------------------------------------------------


def matrix(layer: Callable[[Tensor], Tensor], shape: torch.Size) -> Tensor:
    """Return the matrix (outputs, inputs) of a linear layer, computed column by column."""
    columns = [layer(unit.view(1, *shape)).flatten() for unit in torch.eye(shape.numel(), dtype=torch.float64)]
    return torch.stack(columns, 1)


def passed_down(relevance: Tensor, parts: Tensor, bias: Tensor | float) -> Tensor:
    """Return R_j = sum_i z_ij / z_i R_i for parts z_ij (outputs, inputs), computed neuron by neuron."""
    result = torch.zeros(parts.shape[1], dtype=torch.float64)
    biases = torch.as_tensor(bias, dtype=torch.float64).expand(len(parts))
    for i in range(len(parts)):
        z = parts[i].sum() + biases[i]
        result += parts[i] / (z + (EPSILON if z >= 0 else -EPSILON)) * relevance[i]
    return result


def positive_parts(weights: Tensor, x: Tensor) -> Tensor:
    return weights.clamp(min=0) * x.clamp(min=0) + weights.clamp(max=0) * x.clamp(max=0)


class Net(nn.Module):
    """Apply three convolutions, one without a rectifier, a residual sum, average pooling, and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.second = nn.Conv2d(4, 4, 3, stride=1, padding=1)
        self.third = nn.Conv2d(4, 5, 3, stride=2, padding=1)
        self.pool = nn.AvgPool2d(2, 1)
        self.hidden, self.last = nn.Linear(20, 7), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        x = self.pool(F.silu(self.third(x + self.second(x))))
        return self.last(torch.relu_(self.hidden(x.flatten(1))))


@pytest.mark.parametrize("target", [0, 2])
def test_relevance_equals_the_rules_in_matrices(target: int) -> None:
    model, inputs = Net().double(), images() - 0.5
    ours = LRP(model).attribute(inputs, target)
    for n in range(2):
        with torch.no_grad():
            x = inputs[n : n + 1]
            a = F.relu(model.first(x))
            b = model.second(a)
            c = F.silu(model.third(a + b))
            d = model.pool(c).flatten()
            e = F.relu(model.hidden(d))
            score = model.last(e)[target]
            r = passed_down(score[None], (model.last.weight * e)[target][None], model.last.bias[target])
            r = passed_down(r, model.hidden.weight * d, model.hidden.bias)
            r = passed_down(r, matrix(model.pool, c.shape[1:]) * c.flatten(), 0.0)
            third = matrix(lambda x: F.conv2d(x, model.third.weight, None, 2, 1), a.shape[1:])
            bias = model.third.bias.clamp(min=0).repeat_interleave(9)
            r = passed_down(r, positive_parts(third, (a + b).flatten()), bias)
            both = torch.stack([a.flatten(), b.flatten()], 1)
            shares = torch.stack([passed_down(r[i : i + 1], both[i : i + 1], 0.0) for i in range(len(r))])
            second = matrix(lambda x: F.conv2d(x, model.second.weight, None, 1, 1), a.shape[1:])
            bias = model.second.bias.clamp(min=0).repeat_interleave(36)
            r = shares[:, 0] + passed_down(shares[:, 1], positive_parts(second, a.flatten()), bias)
            first = matrix(lambda x: F.conv2d(x, torch.ones_like(model.first.weight)), x.shape[1:])
            expected = passed_down(r, first, 0.0)
        torch.testing.assert_close(ours[n].flatten(), expected, rtol=1e-8, atol=1e-12)
        assert expected.abs().max() > 1e-4


@pytest.mark.parametrize("network", [small_vgg, lambda: squeezenet1_1(num_classes=5)], ids=["small_vgg", "squeezenet"])
def test_relevance_of_a_network_without_biases_sums_to_the_score(network: Callable[[], nn.Module]) -> None:
    model = network().double().eval()
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.bias = None
            nn.init.kaiming_normal_(module.weight)  # so that the stabiliser is small beside the activations
    inputs = images(64 if network is not small_vgg else 16)
    with torch.no_grad():
        scores = model(inputs)[:, 1]
    torch.testing.assert_close(LRP(model).attribute(inputs, 1).sum((1, 2, 3)), scores, rtol=1e-3, atol=1e-6)


def test_relevance_has_the_sign_of_the_contribution_at_a_negative_score() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.Flatten(), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, 2.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1))
        model[2].weight.copy_(torch.tensor([[1.0, -3.0]]))
    # The maps are 3 and 6: contributions of 3 and -18, and a third of their sum for each channel.
    assert LRP(model).attribute(torch.ones(1, 3, 1, 1), 0).flatten().tolist() == pytest.approx([-5, -5, -5], rel=1e-5)


# One call at a time ---------------------------------------------------------------------------------------------------


class Around(nn.Module):
    """Apply two convolutions, then `rest`, then a linear layer to the mean of each of `maps` maps."""

    def __init__(self, rest: Callable[[Tensor], Tensor], maps: int = 4) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.rest, self.last = rest, nn.Linear(maps, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.rest(self.second(self.first(x))).mean((2, 3)))


def relevance(rest: Callable[[Tensor], Tensor], maps: int = 4) -> Tensor:
    torch.manual_seed(3)
    return LRP(Around(rest, maps).double().eval()).attribute(images() - 0.5, 1)


def ignored_in_place(x: Tensor) -> Tensor:
    F.relu(x, inplace=True)
    return x


@pytest.mark.parametrize(
    "rest",
    [
        lambda x: torch.relu_(x),
        nn.ReLU(inplace=True),
        ignored_in_place,
        lambda x: x.clamp(min=0),
        lambda x: F.dropout(F.relu(x), training=False),
        lambda x: F.relu(torch.cat([x[:, :1], x[:, 1:]], 1)),
        lambda x: F.relu(x) * torch.ones((), dtype=x.dtype),
    ],
)
def test_relevance_is_the_same_for_all_ways_to_write_a_rectifier(rest: Callable[[Tensor], Tensor]) -> None:
    torch.testing.assert_close(relevance(rest), relevance(F.relu))


def test_rule_applies_to_each_call_of_a_reused_layer() -> None:
    class Twice(nn.Module):
        def __init__(self, again: nn.Module, more: nn.Module) -> None:
            super().__init__()
            self.again, self.more, self.relu = again, more, nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.relu(self.more(self.relu(self.again(self.relu(x)))))

    torch.manual_seed(4)
    layer, copy = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
    copy.load_state_dict(layer.state_dict())
    torch.testing.assert_close(relevance(Twice(layer, layer)), relevance(Twice(layer, copy)))


@pytest.mark.parametrize(
    "add",
    [
        lambda a, b: a + b,
        torch.add,
        lambda a, b: a.add_(b),
        lambda a, b: a.__iadd__(b),
        lambda a, b: a - -1 * b,
    ],
)
def test_sum_splits_in_proportion_whether_in_place_or_not(add: Callable[[Tensor, Tensor], Tensor]) -> None:
    expected = relevance(lambda x: torch.stack([x, F.silu(x)]).sum(0))
    torch.testing.assert_close(relevance(lambda x: add(x + 0, F.silu(x))), expected)


def test_gate_receives_nothing_from_its_map() -> None:
    expected = relevance(lambda x: F.relu(x) * torch.full((2, 4, 1, 1), 0.5, dtype=x.dtype))
    for gated in (lambda x: F.relu(x) * 0.5, lambda x: F.relu(x) / 2):
        torch.testing.assert_close(relevance(gated), expected)

    def gate(x: Tensor) -> Tensor:
        return 0.5 + 0 * x.mean((2, 3), keepdim=True).sigmoid()

    torch.testing.assert_close(relevance(lambda x: F.relu(x) * gate(x)), expected)
    torch.testing.assert_close(relevance(lambda x: gate(x) * F.relu(x)), expected)


def test_averages_before_the_first_layer_are_flat() -> None:
    attribution = LRP(MnistNet(10).double().eval()).attribute(images(28), 3)
    assert attribution.abs().max() > 0
    torch.testing.assert_close(attribution, attribution.mean(1, keepdim=True).expand_as(attribution))


@pytest.mark.parametrize("network", [mobilenet_v2, mobilenet_v3_small], ids=["mobilenet_v2", "mobilenet_v3"])
def test_networks_with_gates_and_other_nonlinearities_have_relevance(network: Callable[..., nn.Module]) -> None:
    attribution = LRP(with_statistics(network(num_classes=5))).attribute(images(64), 1)
    assert attribution.isfinite().all()
    assert attribution.abs().max() > 0


# Errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rest", "named"),
    [
        (lambda x: x * torch.sigmoid(x), "torch.Tensor.mul"),
        (lambda x: x.softmax(1), "torch.Tensor.softmax"),
        (lambda x: x @ x, "torch.Tensor.matmul"),
        (lambda x: F.glu(x, 1).repeat(1, 2, 1, 1), "torch.nn.functional.glu"),
        (lambda x: torch.where(x > 0, x, 0), "torch.where"),
        (lambda x: F.batch_norm(x, None, None, training=True), "torch.nn.functional.batch_norm"),
        (lambda x: F.conv_transpose2d(x, torch.ones(4, 4, 1, 1, dtype=x.dtype)), "conv_transpose2d"),
    ],
)
def test_call_without_a_rule_raises(rest: Callable[[Tensor], Tensor], named: str) -> None:
    with pytest.raises(UserError, match=rf"LRP has no rule for .*{named.rpartition('.')[2]} of these operands; use"):
        relevance(rest)


def test_network_without_weighted_layers_raises() -> None:
    model = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(UserError, match="Sequential calls no convolution and no fully connected layer, so LRP has"):
        LRP(model).attribute(images(), 0)


def test_model_comes_back_without_hooks() -> None:
    model = FlowerNet(3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    LRP(model).attribute(torch.rand(1, 3, 32, 32), 1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
