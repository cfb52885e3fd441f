"""`LayerCalls`: which calls are layers, their names, and the outputs that replace theirs."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import googlenet, mobilenet_v3_small, resnet18, squeezenet1_1

from evident.explainers.shared.backward_rules import BackwardRules
from evident.models.calls import LayerCall, LayerCalls
from evident.models.flower_net import FlowerNet
from evident.models.mnist_net import MnistNet

Rectify = Callable[[Tensor], Tensor]


@pytest.fixture(autouse=True)
def fixed_weights() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def images(side: int = 32, count: int = 2) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def calls(model: nn.Module, inputs: Tensor) -> list[LayerCall]:
    """Return the layers of one forward pass, each with a copy of its output."""
    seen: list[LayerCall] = []

    def visit(call: LayerCall) -> Tensor:
        seen.append(call._replace(output=call.output.clone()))
        return call.output

    with torch.no_grad(), LayerCalls(model, visit):
        model(inputs)
    return seen


def names(model: nn.Module, inputs: Tensor) -> list[str]:
    return [call.name for call in calls(model, inputs)]


def replaced(model: nn.Module, inputs: Tensor, layer: str, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the scores of the model if `change` is applied to the output of the layer."""
    with torch.no_grad(), LayerCalls(model, lambda call: change(call.output) if call.name == layer else call.output):
        return model(inputs)


def hooks(model: nn.Module) -> int:
    tables = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_always_called", "_backward_hooks")
    return sum(len(vars(module)[table]) for module in model.modules() for table in tables)


class Block(nn.Module):
    """Apply a convolution, a rectifier written in some way, and a linear layer."""

    def __init__(self, rectify: Rectify) -> None:
        super().__init__()
        self.convolution, self.rectify, self.last = nn.Conv2d(3, 4, 3), rectify, nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.rectify(self.convolution(x)).mean((2, 3)))


# Layers and their names


def test_names_in_flower_net() -> None:
    convolutions = [
        f"features.{3 * n + place}/{kind}"
        for n in range(7)
        for place, kind in enumerate(("conv2d", "batch_norm", "relu"))
    ]
    head = ["classifier.0/adaptive_avg_pool2d", "classifier.2/linear", "classifier.3/relu", "classifier.4/linear"]
    found = calls(FlowerNet(4).eval(), images())
    assert [call.name for call in found] == convolutions + head
    assert all(call.name.endswith(f"/{call.kind}") for call in found)


def test_names_in_mnist_net() -> None:
    assert names(MnistNet(10).eval(), images(28)) == [
        *("features.0/conv2d", "features.1/max_pool2d", "features.2/conv2d", "features.3/max_pool2d"),
        *("classifier.1/linear", "classifier.2/relu", "classifier.3/linear"),
    ]


def test_resnet_calls_the_rectifier_of_a_block_twice() -> None:
    found = names(resnet18().eval(), images())
    assert [name for name in found if name.startswith("layer3.1")] == [
        *("layer3.1.conv1/conv2d", "layer3.1.bn1/batch_norm", "layer3.1/relu"),
        *("layer3.1.conv2/conv2d", "layer3.1.bn2/batch_norm", "layer3.1/relu#2"),
    ]
    assert found[:4] == ["conv1/conv2d", "bn1/batch_norm", "relu", "maxpool/max_pool2d"]
    assert found[-2:] == ["avgpool/adaptive_avg_pool2d", "fc/linear"]


def test_googlenet_has_57_rectifiers_that_are_not_modules() -> None:
    model = googlenet(init_weights=False, aux_logits=False).eval()
    assert not any(isinstance(module, nn.ReLU) for module in model.modules())
    found = calls(model, images())
    kinds = Counter(call.kind for call in found)
    assert kinds == {
        "conv2d": 57,
        "batch_norm": 57,
        "relu": 57,
        "max_pool2d": 13,
        "adaptive_avg_pool2d": 1,
        "linear": 1,
    }
    assert {"conv1/relu", "inception3a.branch2.1/relu", "inception5b.branch4.1/relu"} <= {call.name for call in found}


def test_squeezenet_ends_with_a_convolution() -> None:
    found = names(squeezenet1_1().eval(), images(64))
    assert "features.3.expand1x1_activation/relu" in found
    assert found[-3:] == ["classifier.1/conv2d", "classifier.2/relu", "classifier.3/adaptive_avg_pool2d"]


def test_mobilenet_has_three_kinds_of_nonlinearity() -> None:
    found = calls(mobilenet_v3_small().eval(), images())
    kinds = Counter(call.kind for call in found)
    assert (kinds["hardswish"], kinds["relu"], kinds["hardsigmoid"]) == (19, 14, 9)
    assert {"features.0.2/hardswish", "classifier.1/hardswish"} <= {call.name for call in found}


@pytest.mark.parametrize("make", [resnet18, squeezenet1_1, mobilenet_v3_small])
def test_names_are_unique_and_outputs_have_two_or_four_dimensions(make: Callable[[], nn.Module]) -> None:
    found = calls(make().eval(), images(64))
    assert len({call.name for call in found}) == len(found)
    assert all(call.output.dim() in (2, 4) and len(call.output) == 2 for call in found)


@pytest.mark.parametrize(
    "rectify",
    [
        F.relu,
        F.relu_,
        lambda x: F.relu(x, inplace=True),
        torch.relu,
        torch.relu_,
        lambda x: x.relu(),
        lambda x: x.relu_(),
        lambda x: x.clamp(min=0),
        lambda x: torch.clamp_min_(x, 0),
        lambda x: F.threshold(x, 0, 0),
        F.relu6,
        lambda x: F.hardtanh(x, 0, 6, inplace=True),
    ],
)
def test_rectifier_is_named_after_the_module_that_calls_it(rectify: Rectify) -> None:
    assert names(nn.Sequential(Block(rectify)), images()) == ["0.convolution/conv2d", "0/relu", "0.last/linear"]


@pytest.mark.parametrize("in_place", [False, True])
def test_module_named_relu_is_not_named_twice(in_place: bool) -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu, self.activation = nn.ReLU(in_place), nn.ReLU(in_place)

        def forward(self, x: Tensor) -> Tensor:
            return self.activation(self.relu(torch.relu(self.relu(x))))

    assert names(nn.Sequential(Named()), images()) == ["0/relu", "0/relu#2", "0/relu#3", "0.activation/relu"]
    assert names(Named(), images()) == ["relu", "relu#2", "relu#3", "activation/relu"]


def test_shared_module_has_its_first_name() -> None:
    shared = nn.Conv2d(3, 3, 1)
    assert names(nn.Sequential(shared, nn.ReLU(), shared), images()) == ["0/conv2d", "1/relu", "0/conv2d#2"]


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        (nn.ConvTranspose2d(4, 4, 2), "conv_transpose2d"),
        (nn.BatchNorm2d(4), "batch_norm"),
        (nn.InstanceNorm2d(4), "instance_norm"),
        (nn.GroupNorm(2, 4), "group_norm"),
        (nn.LocalResponseNorm(2), "local_response_norm"),
        (nn.MaxPool2d(2), "max_pool2d"),
        (nn.AdaptiveMaxPool2d(1), "adaptive_max_pool2d"),
        (nn.AvgPool2d(2), "avg_pool2d"),
        (nn.AdaptiveAvgPool2d(1), "adaptive_avg_pool2d"),
        (nn.ReLU6(inplace=True), "relu"),
        (nn.Hardtanh(), "hardtanh"),
        (nn.LeakyReLU(inplace=True), "leaky_relu"),
        (nn.RReLU(), "rrelu"),
        (nn.PReLU(4), "prelu"),
        (nn.ELU(inplace=True), "elu"),
        (nn.SELU(), "selu"),
        (nn.CELU(), "celu"),
        (nn.SiLU(inplace=True), "silu"),
        (nn.GELU(), "gelu"),
        (nn.Mish(), "mish"),
        (nn.Hardswish(inplace=True), "hardswish"),
        (nn.Hardsigmoid(), "hardsigmoid"),
        (nn.Softplus(), "softplus"),
        (nn.Sigmoid(), "sigmoid"),
        (nn.Tanh(), "tanh"),
    ],
)
def test_layer_has_its_kind(module: nn.Module, kind: str) -> None:
    maps = torch.rand(2, 4, 6, 6, generator=torch.Generator().manual_seed(1))
    [found] = calls(nn.Sequential(module.eval()), maps.clone())
    assert (found.name, found.kind) == (f"0/{kind}", kind)
    assert torch.equal(found.output, module(maps))


@pytest.mark.parametrize(
    "compute",
    [
        lambda x: x.clamp(0, 1),
        lambda x: x.clamp(min=0.5),
        lambda x: x * 2,
        lambda x: F.interpolate(x, scale_factor=2),
        nn.Dropout(),
        nn.Identity(),
    ],
)
def test_other_operations_are_not_layers(compute: Rectify) -> None:
    assert names(Block(compute).eval(), images()) == ["convolution/conv2d", "last/linear"]


def test_outputs_of_other_dimensions_are_not_layers() -> None:
    class Other(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            scale = torch.relu(torch.ones(3))
            tokens = F.linear(torch.relu(x.flatten(2)), torch.eye(x[0, 0].numel()))
            return torch.relu(tokens.view_as(x) * scale.view(3, 1, 1))

    assert names(Other(), images(4)) == ["relu"]


# Replaced outputs


@pytest.mark.parametrize("kind", ["conv2d", "batch_norm", "relu", "adaptive_avg_pool2d", "linear"])
def test_visit_replaces_an_output_like_a_forward_hook(kind: str) -> None:
    model = FlowerNet(4).eval()
    for call in calls(model, images()):
        if call.kind == kind:
            module = model.get_submodule(call.name.partition("/")[0])
            handle = module.register_forward_hook(lambda module, args, output: torch.zeros_like(output))
            with torch.no_grad():
                expected = model(images())
            handle.remove()
            assert torch.equal(replaced(model, images(), call.name, torch.zeros_like), expected)


@pytest.mark.parametrize("number", [1, 2])
def test_one_call_of_a_reused_in_place_rectifier_can_be_replaced(number: int) -> None:
    model = resnet18(num_classes=5).eval()
    block: Any = model.layer3[1]
    count = Counter[str]()

    def silence(module: nn.Module, args: Any, output: Tensor) -> Tensor | None:
        count["relu"] += 1
        return torch.zeros_like(output) if count["relu"] == number else None

    handle = block.relu.register_forward_hook(silence)
    with torch.no_grad():
        expected, plain = model(images()), replaced(model, images(), "", torch.zeros_like)
    handle.remove()
    layer = "layer3.1/relu" if number == 1 else "layer3.1/relu#2"
    changed = replaced(model, images(), layer, torch.zeros_like)
    assert torch.equal(changed, expected)
    assert not torch.equal(changed, plain)


@pytest.mark.parametrize("rectify", [torch.relu, F.relu, F.relu_, lambda x: x.relu(), lambda x: x.relu_()])
def test_visit_replaces_the_output_of_a_function(rectify: Rectify) -> None:
    model, double = Block(rectify), Block(lambda x: 2 * rectify(x))
    double.load_state_dict(model.state_dict())
    with torch.no_grad():
        expected = double(images())
    assert torch.equal(replaced(model, images(), "relu", lambda output: 2 * output), expected)


@pytest.mark.parametrize("make", [FlowerNet, squeezenet1_1, mobilenet_v3_small])
def test_scores_are_bit_identical_if_visit_changes_nothing(make: Callable[..., nn.Module]) -> None:
    model = make(10).eval() if make is FlowerNet else make().eval()
    with torch.no_grad():
        assert torch.equal(replaced(model, images(64), "", torch.zeros_like), model(images(64)))


def test_kept_output_survives_in_place_layers_if_visit_returns_a_copy() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True))
    kept: dict[str, Tensor] = {}

    def keep(call: LayerCall) -> Tensor:
        kept[call.name] = call.output
        return call.output.clone()

    with torch.no_grad(), LayerCalls(model, keep):
        model(images())
    assert torch.equal(kept["0/conv2d"], model[0](images()))
    assert kept["0/conv2d"].min() < 0
    assert torch.equal(kept["1/relu"], kept["0/conv2d"].clamp(min=0))


def test_gradients_flow_through_replaced_outputs() -> None:
    model, inputs = Block(torch.relu), images().requires_grad_()
    with LayerCalls(model, lambda call: 3 * call.output if call.name == "relu" else call.output):
        scores = model(inputs)
    (gradient,) = torch.autograd.grad(scores.sum(), inputs)
    torch.testing.assert_close(gradient, 3 * torch.autograd.grad(model(inputs).sum(), inputs)[0])


@pytest.mark.parametrize("rule", ["guided", "deconvnet"])
def test_enclosing_backward_rules_apply_and_their_outputs_are_seen(rule: Any) -> None:
    model, inputs = resnet18(num_classes=5).eval(), images().requires_grad_()
    with BackwardRules(rule):
        (expected,) = torch.autograd.grad(model(inputs)[:, 2].sum(), inputs)
    (plain,) = torch.autograd.grad(model(inputs)[:, 2].sum(), inputs)
    seen: list[LayerCall] = []

    def visit(call: LayerCall) -> Tensor:
        seen.append(call._replace(output=call.output.detach().clone()))
        return call.output

    with BackwardRules(rule), LayerCalls(model, visit):
        scores = model(inputs)
    (gradient,) = torch.autograd.grad(scores[:, 2].sum(), inputs)
    assert torch.equal(gradient, expected)
    assert not torch.allclose(gradient, plain)
    for found, alone in zip(seen, calls(model, images()), strict=True):
        assert found[:2] == alone[:2]
        assert torch.equal(found.output, alone.output)


# Calls outside the forward pass, and hooks


def test_calls_outside_the_forward_pass_are_ignored() -> None:
    model, seen = Block(torch.relu), list[str]()

    def visit(call: LayerCall) -> Tensor:
        seen.append(call.name)
        return call.output

    with torch.no_grad(), LayerCalls(model, visit):
        F.relu(F.conv2d(images(), torch.ones(1, 3, 1, 1)))
        nn.Conv2d(3, 2, 1)(images())
        assert seen == []
        scores = model(images())
        F.relu(scores)
    assert seen == ["convolution/conv2d", "relu", "last/linear"]
    torch.relu(model(images()))
    assert len(seen) == 3


def test_hooks_are_removed_afterwards() -> None:
    model = FlowerNet(4).eval()
    handle = model.features[0].register_forward_hook(lambda *_: None)
    with LayerCalls(model, lambda call: call.output):
        assert hooks(model) > 1
        model(images())
    assert hooks(model) == 1
    handle.remove()


def test_hooks_are_removed_after_an_exception_in_the_forward_pass() -> None:
    def fail(call: LayerCall) -> Tensor:
        raise ZeroDivisionError

    model = FlowerNet(4).eval()
    with pytest.raises(ZeroDivisionError), LayerCalls(model, fail):
        model(images())
    assert hooks(model) == 0
    assert len(names(model, images())) == 25


def test_names_stay_correct_after_a_caught_exception_in_a_submodule() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x) @ torch.ones(1, 1, 5, 7)

    class Careful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Sequential(nn.ReLU(), Broken()), nn.Sequential(nn.ReLU())
            self.refuses = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            try:
                x = self.first(x)
            except RuntimeError:
                x = torch.relu(x)
            try:
                self.refuses(x)
            except ZeroDivisionError:
                return torch.tanh(self.second(x))
            raise AssertionError("the layer accepted its input")

    def refuse(module: nn.Module, args: Any) -> None:
        raise ZeroDivisionError

    model = nn.Sequential(Careful(), nn.Sigmoid())
    handle = model[0].refuses.register_forward_pre_hook(refuse)
    found = names(model, images())
    handle.remove()
    assert found == ["0.first.0/relu", "0.first.1/relu", "0/relu", "0.second.0/relu", "0/tanh", "1/sigmoid"]
    assert hooks(model) == 0
