"""Responses of filters ("filterL2L1"): Oramas et al. 2019 by plain loops, choice of layers, and the unchanged model."""

from collections.abc import Callable, Iterator

import pytest
import torch
from samples import uniform_noise
from torch import Tensor, nn
from torchvision.models import resnet18, squeezenet1_1

from evident.errors import UserError
from evident.models.flower_net import FlowerNet
from evident.models.mnist_net import MnistNet
from evident.relevance.responses import joined, layer_responses, responses

KINDS: dict[type[nn.Module], str] = {
    nn.Conv2d: "conv2d",
    nn.BatchNorm2d: "batch_norm",
    nn.ReLU: "relu",
    nn.MaxPool2d: "max_pool2d",
    nn.AdaptiveAvgPool2d: "adaptive_avg_pool2d",
    nn.Linear: "linear",
}


@pytest.fixture(autouse=True)
def fixed_weights() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def images(side: int = 32, count: int = 3) -> Tensor:
    return uniform_noise(count, side)


def flower_net() -> nn.Module:
    """Return a FlowerNet whose normalisation layers have random statistics and weights."""
    model = FlowerNet(4)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            for values in (module.weight, module.running_var):
                nn.init.uniform_(values, 0.5, 2)
            for values in (module.bias, module.running_mean):
                nn.init.normal_(values, 0, 0.5)
    return model.eval()


def slow_responses(model: nn.Module, image: Tensor, wanted: Callable[[str], bool]) -> list[float]:
    """Return x of one image (3, H, W), filter by filter and position by position, by a hook on every module."""
    layers = {
        f"{name}/{KINDS[type(module)]}": module for name, module in model.named_modules() if type(module) in KINDS
    }
    maps: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda module, args, output: maps.update({name: output[0].detach().clone()})

    handles = [module.register_forward_hook(keep(name)) for name, module in layers.items()]
    model(image[None])
    for handle in handles:
        handle.remove()
    x: list[float] = []
    *intermediate, _ = maps  # the last layer gives the class scores
    for name in filter(wanted, intermediate):
        r = []
        for channel in maps[name]:
            r.append(0.0)
            for value in channel.flatten().tolist():
                r[-1] += value * value
        x += [r_k / sum(r) for r_k in r]
    norm = sum(x_k * x_k for x_k in x) ** 0.5
    return [x_k / norm for x_k in x]


NAMED = ["features.8/relu", "features.1/batch_norm", "classifier.2/linear", "features.12/conv2d"]


@pytest.mark.parametrize(
    ("make", "side", "layers", "wanted"),
    [
        (flower_net, 32, "relu", lambda name: name.endswith("relu")),
        (flower_net, 32, "all", lambda name: True),
        (flower_net, 32, NAMED, lambda name: name in NAMED),
        (lambda: MnistNet(10), 28, "all", lambda name: True),
        (lambda: MnistNet(10), 28, "relu", lambda name: name.endswith("relu")),
    ],
    ids=["FlowerNet relu", "FlowerNet all", "FlowerNet named", "MnistNet all", "MnistNet relu"],
)
def test_responses_equal_the_formula_of_the_paper(
    make: Callable[[], nn.Module], side: int, layers: str | list[str], wanted: Callable[[str], bool]
) -> None:
    model = make().double().eval()
    inputs = images(side, 2).double()
    expected = [slow_responses(model, image, wanted) for image in inputs]
    x = responses(model, inputs, layers)
    torch.testing.assert_close(x, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("layers", ["relu", "all"])
def test_each_layer_sums_to_one_and_x_has_length_one(layers: str) -> None:
    blocks, _ = layer_responses(flower_net(), images(), layers)
    for block in blocks.values():
        assert (block >= 0).all()
        torch.testing.assert_close(block.sum(1), torch.ones(3))
    x = joined(blocks)
    assert (x >= 0).all()
    torch.testing.assert_close(x.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize(
    ("make", "side", "last", "scores"),
    [
        (flower_net, 32, "classifier.3/relu", 4),
        (lambda: MnistNet(10), 28, "classifier.2/relu", 10),
        # The last convolution gives a map for each class, followed by a rectifier and a pooling.
        (lambda: squeezenet1_1(num_classes=5), 64, "features.12.expand3x3_activation/relu", 5),
    ],
    ids=["FlowerNet", "MnistNet", "SqueezeNet"],
)
def test_class_scores_are_not_features(make: Callable[[], nn.Module], side: int, last: str, scores: int) -> None:
    model, inputs = make().eval(), images(side)
    for layers in ("relu", "all"):
        blocks, output = layer_responses(model, inputs, layers)
        assert list(blocks)[-1] == last
        assert scores not in {block.shape[1] for block in blocks.values()}
        assert torch.equal(output, model(inputs))


def test_layers_are_in_the_order_of_the_forward_pass() -> None:
    model = flower_net()
    blocks, _ = layer_responses(model, images(), NAMED)
    assert list(blocks) == [*("features.1/batch_norm", "features.8/relu", "features.12/conv2d", "classifier.2/linear")]
    expected = layer_responses(model, images(), "all")[0]
    assert all(torch.equal(blocks[name], expected[name]) for name in NAMED)


def test_layer_with_zero_output_has_zero_responses() -> None:
    model = flower_net()
    nn.init.constant_(model.features[4].weight, 0)
    nn.init.constant_(model.features[4].bias, -1)
    blocks, _ = layer_responses(model, images(), "relu")
    assert (blocks["features.5/relu"] == 0).all()
    torch.testing.assert_close(joined(blocks).norm(dim=1), torch.ones(3))
    assert (responses(model, images(), ["features.5/relu"]) == 0).all()


def test_scale_of_a_layer_has_no_effect() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    expected = responses(model, images(4))
    with torch.no_grad():
        for parameter in model[0].parameters():
            parameter.mul_(2.0**-50)
    torch.testing.assert_close(responses(model, images(4)), expected)


@pytest.mark.parametrize("layers", ["relu", "all"])
def test_memory_layout_has_no_effect(layers: str) -> None:
    model, inputs = flower_net().double(), images().double()
    expected = responses(model, inputs, layers)
    channels_last = responses(
        model.to(memory_format=torch.channels_last), inputs.contiguous(memory_format=torch.channels_last), layers
    )
    torch.testing.assert_close(channels_last, expected, rtol=1e-12, atol=1e-15)


def test_responses_are_read_before_an_in_place_layer_overwrites_the_map() -> None:
    model = resnet18(num_classes=5).eval()
    overwritten, _ = layer_responses(model, images(), "all")
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            assert module.inplace
            module.inplace = False
    kept, _ = layer_responses(model, images(), "all")
    assert overwritten.keys() == kept.keys()
    assert all(torch.equal(overwritten[name], kept[name]) for name in kept)
    assert not torch.allclose(kept["bn1/batch_norm"], kept["relu"])


@pytest.mark.parametrize("layers", ["relu", "all"])
def test_batch_equals_its_images(layers: str) -> None:
    model, inputs = flower_net().double(), images(count=5).double()
    parts = torch.cat([responses(model, part, layers) for part in inputs.split(2)])
    torch.testing.assert_close(responses(model, inputs, layers), parts, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("layers", "named"),
    [
        (["features.2/relu", "features.2", "nothing/relu"], "layers=features.2, nothing/relu names"),
        (["classifier.4/linear"], "layers=classifier.4/linear names"),
        ("softmax", "layers=softmax names"),
        ([], r"layers=\[\] names"),
    ],
)
def test_unknown_layers_are_named_with_the_known_layers(layers: str | list[str], named: str) -> None:
    model = flower_net().train()
    with pytest.raises(UserError, match=f"{named} no intermediate layer of FlowerNet; use relu, all,") as error:
        responses(model, images(), layers)
    message = str(error.value)
    assert "\n" not in message
    assert "features.0/conv2d, features.1/batch_norm, features.2/relu" in message
    assert message.endswith("classifier.3/relu")
    assert model.training


def test_a_network_without_intermediate_layers_has_no_features() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 2))
    with pytest.raises(UserError, match="layers=all names no intermediate layer of Sequential"):
        responses(model, images(4), "all")


@pytest.mark.parametrize("layers", ["all", "none"])
def test_model_is_unchanged(layers: str) -> None:
    model = flower_net().train()
    model.features[1].eval()
    model.features[0].weight.requires_grad_(False)
    mine = model.features[3].register_forward_hook(lambda *_: None)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    gradients = [parameter.requires_grad for parameter in model.parameters()]
    try:
        responses(model, images(), layers)
    except UserError:
        assert layers == "none"
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == gradients
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()) == 1
    mine.remove()
    assert torch.equal(responses(model.eval(), images()), responses(model.train(), images()))


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_gradient_mode_has_no_effect(mode: Callable[[], torch.autograd.grad_mode.no_grad]) -> None:
    model = flower_net()
    expected = responses(model, images())
    with mode():
        x = responses(model, images())
    assert torch.equal(x, expected)
    assert not x.requires_grad


def test_normalisation_of_whole_maps_is_no_channels_last() -> None:
    class Normalised(nn.Module):
        """Normalise maps over (K, h, w), or over their last axis alone if `last`."""

        def __init__(self, last: bool) -> None:
            super().__init__()
            self.convolution, self.head, self.last = nn.Conv2d(3, 4, 8, 8), nn.Linear(4, 2), last

        def forward(self, images: Tensor) -> Tensor:
            maps = self.convolution(images).relu()
            shape = maps.shape[3:] if self.last else maps.shape[1:]
            return self.head(nn.functional.layer_norm(maps, normalized_shape=shape).mean((2, 3)))

    images = torch.rand(2, 3, 32, 32)
    assert responses(Normalised(last=False), images).shape == (2, 4)
    with pytest.raises(UserError, match="computes on tokens or on maps with channels last"):
        responses(Normalised(last=True), images)
