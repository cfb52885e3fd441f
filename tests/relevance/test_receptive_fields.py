"""Receptive fields: the closed formula, changed pixels, and known numbers."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision.models as zoo
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from evident.errors import UserError
from evident.models.calls import LayerCall, LayerCalls
from evident.models.flower_net import FlowerNet
from evident.models.mnist_net import MnistNet
from evident.relevance.receptive_fields import receptive_fields


@pytest.fixture(autouse=True)
def fixed_weights() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def outputs(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Return the output of every layer by name."""
    found: dict[str, Tensor] = {}

    def keep(call: LayerCall) -> Tensor:
        found[call.name] = call.output.clone()
        return call.output

    with torch.no_grad(), LayerCalls(model, keep):
        model(images)
    return found


def names(model: nn.Module, size: tuple[int, int]) -> list[str]:
    return list(outputs(model.eval(), torch.rand(1, 3, *size)))


def fields_by_change(model: nn.Module, size: tuple[int, int]) -> dict[str, Tensor]:
    """Return the boxes by brute force: the rows and columns of the image that change a position when they change.

    All weights are made positive, so changes cannot cancel; the change is large, so it wins every maximum.
    """
    model = model.double().eval()
    for parameter in model.parameters():
        parameter.data.abs_()
    images = torch.ones(1 + sum(size), 3, *size, dtype=torch.float64)
    for row in range(size[0]):
        images[1 + row, :, row] = 1e30
    for column in range(size[1]):
        images[1 + size[0] + column, :, :, column] = 1e30

    def box(values: Tensor) -> Tensor:
        maps = values if values.dim() == 4 else values[..., None, None]
        changed = ((maps[1:] - maps[:1]).abs() > 1e-9 * maps[:1].abs()).any(1)
        sides = changed.split(size)
        first = [side.int().argmax(0) for side in sides]
        end = [len(side) - side.flip(0).int().argmax(0) for side in sides]
        return torch.stack((*first, *end)) * changed.any(0)

    return {name: box(values) for name, values in outputs(model, images).items()}


def assert_fields_equal_those_by_change(model: nn.Module, size: tuple[int, int]) -> None:
    layers = names(model, size)
    fields = receptive_fields(model, size, layers)
    expected = fields_by_change(model, size)
    assert list(fields) == list(expected) == layers
    for name, field in fields.items():
        assert torch.equal(field, expected[name]), name


Window = tuple[int, int, int, int]  # kernel, stride, padding, dilation


def random_chain(seed: int) -> tuple[nn.Sequential, list[Window]]:
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    layers: list[nn.Module] = []
    windows: list[Window] = []
    channels = 3
    for _ in range(draw(2, 4)):
        kernel, stride, dilation, ceil_mode = draw(1, 4), draw(1, 2), draw(1, 2), draw(0, 1) == 1
        kind = ["convolution", "convolution", "max", "average"][draw(0, 3)]
        padding = draw(0, 3 if kind == "convolution" else kernel // 2)
        if kind == "convolution":
            groups = channels if draw(0, 1) else 1
            layers += [nn.Conv2d(channels, 2 * channels, kernel, stride, padding, dilation, groups), nn.ReLU()]
            channels *= 2
        elif kind == "max":
            layers.append(nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil_mode))
        else:
            dilation = 1
            layers.append(nn.AvgPool2d(kernel, stride, padding, ceil_mode))
        windows.append((kernel, stride, padding, dilation))
    return nn.Sequential(*layers), windows


@pytest.mark.parametrize("seed", range(30))
def test_fields_of_a_chain_equal_the_closed_formula(seed: int) -> None:
    (model, windows), size = random_chain(seed), (101, 96)
    extent, jump, start = 1, 1, 0
    for kernel, stride, padding, dilation in windows:
        start -= padding * jump
        extent += (kernel - 1) * dilation * jump
        jump *= stride
    layer = names(model, size)[-1]
    field = receptive_fields(model, size, [layer])[layer]
    within = 0
    for row in range(field.shape[1]):
        for column in range(field.shape[2]):
            top, left = start + row * jump, start + column * jump
            box = field[:, row, column].tolist()
            if top >= 0 and left >= 0 and top + extent <= size[0] and left + extent <= size[1]:
                assert box == [top, left, top + extent, left + extent]
                within += 1
            elif box[2]:
                # Near the border, a dilated window or one that ends in padding may see less than by the formula.
                assert box[0] >= max(top, 0)
                assert box[1] >= max(left, 0)
                assert box[2] <= min(top + extent, size[0])
                assert box[3] <= min(left + extent, size[1])
    assert within


@pytest.mark.parametrize("seed", range(30))
def test_fields_of_a_chain_equal_those_by_changed_pixels(seed: int) -> None:
    assert_fields_equal_those_by_change(random_chain(seed)[0], (31, 34))


class Dense(zoo.DenseNet):
    def __init__(self) -> None:
        super().__init__(growth_rate=4, block_config=(2, 3), num_init_features=8, num_classes=3)


class Channelwise(nn.Module):
    """Compute two halves of the channels with different receptive fields."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.wide = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(4, 4, 5, padding=2)
        self.grouped, self.head = nn.Conv2d(8, 8, 1, groups=2), nn.Conv2d(4, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        narrow, wide = self.stem(images).chunk(2, 1)
        x = self.grouped(torch.cat((narrow, self.wide(wide)), 1))
        return self.head(x[:, :4])


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int]]] = {
    "FlowerNet": (partial(FlowerNet, 6), (72, 48)),
    "MnistNet": (partial(MnistNet, 10), (28, 28)),
    "resnet18": (partial(zoo.resnet18, num_classes=3), (64, 33)),
    "resnext": (lambda: zoo.ResNet(zoo.resnet.Bottleneck, [1, 1, 1, 1], 3, groups=4, width_per_group=4), (48, 32)),
    "squeezenet1_1": (partial(zoo.squeezenet1_1, num_classes=3), (64, 64)),
    "googlenet": (partial(zoo.googlenet, num_classes=3, init_weights=False, aux_logits=False), (48, 40)),
    "shufflenet": (partial(zoo.shufflenet_v2_x0_5, num_classes=3), (64, 64)),
    "densenet": (Dense, (48, 64)),
    "alexnet": (partial(zoo.alexnet, num_classes=3), (72, 64)),
    "channelwise": (Channelwise, (12, 12)),
    "same": (lambda: nn.Conv2d(3, 2, (4, 3), padding="same", dilation=(1, 2)), (9, 12)),
    "valid": (lambda: nn.Conv2d(3, 2, (4, 3), padding="valid", dilation=(1, 2)), (9, 12)),
    "reflect": (lambda: nn.Conv2d(3, 2, 5, stride=3, padding=2, padding_mode="reflect"), (9, 12)),
    "replicate": (lambda: nn.Conv2d(3, 2, 3, padding=2, padding_mode="replicate"), (9, 12)),
    "circular": (lambda: nn.Conv2d(3, 2, 3, padding=1, padding_mode="circular"), (9, 12)),
    "zero padding": (lambda: nn.Sequential(nn.ZeroPad2d((2, 0, 1, 3)), nn.Conv2d(3, 2, 2, stride=2)), (9, 12)),
    "nothing but padding": (lambda: nn.Sequential(nn.Conv2d(3, 2, 2, padding=4), nn.MaxPool2d(2)), (9, 12)),
    "adaptive": (lambda: nn.Sequential(nn.AdaptiveAvgPool2d((3, None)), nn.AdaptiveMaxPool2d((2, 5))), (9, 12)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("network", list(NETWORKS))
def test_fields_of_a_network_equal_those_by_changed_pixels(network: str) -> None:
    build, size = NETWORKS[network]
    assert_fields_equal_those_by_change(build(), size)


def test_position_that_sees_only_padding_has_an_empty_box() -> None:
    field = receptive_fields(nn.Conv2d(3, 1, 1, padding=1), (2, 3), ["conv2d"])["conv2d"]
    assert field.dtype == torch.int64
    assert field[:, 0].tolist() == field[:, 3].tolist() == [[0] * 5] * 4
    assert field[:, 2, 2].tolist() == [1, 1, 2, 2]


def test_flower_net_has_fields_of_61_pixels_at_a_stride_of_16() -> None:
    fields = receptive_fields(FlowerNet(6), (112, 112), ["features.20/relu", "classifier.2/linear"])
    features = fields["features.20/relu"]
    assert features.shape == (4, 7, 7)
    assert features[:, 3, 3].tolist() == [18, 18, 79, 79]
    assert features[:, 2, 3].tolist() == [2, 18, 63, 79]
    assert features[:, 0, 6].tolist() == [0, 66, 31, 112]
    assert fields["classifier.2/linear"].tolist() == [[[0]], [[0]], [[112]], [[112]]]


def test_alexnet_has_fields_of_known_sizes() -> None:
    layers = [f"features.{index}/conv2d" for index in (0, 3, 6, 8, 10)]
    fields = receptive_fields(zoo.alexnet(), (224, 224), [*layers, "classifier.1/linear"])
    sizes = []
    for layer in layers:
        _, rows, columns = fields[layer].shape
        top, left, bottom, right = fields[layer][:, rows // 2, columns // 2].tolist()
        assert bottom - top == right - left
        sizes.append(bottom - top)
    assert sizes == [11, 51, 99, 131, 163]
    assert fields["classifier.1/linear"].flatten().tolist() == [0, 0, 224, 224]


class Between(nn.Module):
    """Apply a convolution, the function `between`, and a convolution."""

    def __init__(self, between: Callable[[Tensor], Tensor], channels: int = 4) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(channels, 2, 1)
        self.between = between

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.between(self.first(images)))


def centre(between: Callable[[Tensor], Tensor], channels: int = 4) -> list[int]:
    field = receptive_fields(Between(between, channels), (9, 11), ["last/conv2d"])["last/conv2d"]
    return field[:, 4, 5].tolist()


def with_ignored_result(call: Callable[[Tensor], Any]) -> Callable[[Tensor], Tensor]:
    def between(x: Tensor) -> Tensor:
        call(x)
        return x

    return between


def blur(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1)


def twice(x: Tensor) -> Tensor:
    relu = nn.ReLU()
    return relu(relu(x))


def with_overwritten_copy(x: Tensor) -> Tensor:
    rectified = F.relu(x)
    rectified += x.mean((2, 3), keepdim=True)
    return x


def half_in_place(x: Tensor) -> Tensor:
    x[:, :2].add_(blur(x[:, :2]))
    return x[:, 2:]


NARROW, WIDER, ALL = [3, 4, 6, 7], [2, 3, 7, 8], [0, 0, 9, 11]
SEEN: list[tuple[str, Callable[[Tensor], Tensor], list[int]]] = [
    ("F.relu", F.relu, NARROW),
    ("torch.relu_", torch.relu_, NARROW),
    ("in-place F.relu", with_ignored_result(partial(F.relu, inplace=True)), NARROW),
    ("reused relu", twice, NARROW),
    ("relu6, dropout", lambda x: F.dropout(F.relu6(x), 0.5, False, True), NARROW),
    ("clamp, scaled", lambda x: 1 - 2 * x.clamp(min=0) / 3 + torch.rand(4, 1, 1), NARROW),
    ("PReLU", nn.PReLU(4), NARROW),
    ("batch norm", nn.BatchNorm2d(4), NARROW),
    ("local response norm", nn.LocalResponseNorm(3), NARROW),
    ("softmax of channels", nn.Softmax(1), NARROW),
    ("channels last", lambda x: F.layer_norm(x.permute(0, 2, 3, 1), [4]).permute(0, 3, 1, 2), NARROW),
    ("masked", lambda x: torch.where(x > 0, x, 0.1 * x), NARROW),
    ("a copy is overwritten", with_overwritten_copy, NARROW),
    ("residual", lambda x: x + blur(x), WIDER),
    ("residual in place", with_ignored_result(lambda x: x.add_(blur(x))), WIDER),
    ("residual by operator", lambda x: x.__iadd__(blur(x)), WIDER),
    ("masked by neighbours", lambda x: x * (blur(x) > 0), WIDER),
    ("shifted", lambda x: torch.maximum(x, x.roll((1, -1), (2, 3))), [2, 4, 6, 8]),
    ("stacked", lambda x: torch.stack((x, blur(x)), 1).sum(1), WIDER),
    ("instance norm", nn.InstanceNorm2d(4), ALL),
    ("group norm", nn.GroupNorm(2, 4), ALL),
    ("batch norm without running statistics", nn.BatchNorm2d(4, track_running_stats=False), ALL),
    ("squeeze and excitation", SqueezeExcitation(4, 2), ALL),
    ("gate of a mean", lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(), ALL),
    ("centred", lambda x: x - x.mean(axis=(-2, -1), keepdim=True), ALL),
]


@pytest.mark.parametrize(("between", "seen"), [case[1:] for case in SEEN], ids=[case[0] for case in SEEN])
def test_operation_has_its_known_field(between: Callable[[Tensor], Tensor], seen: list[int]) -> None:
    assert centre(between) == seen


def test_in_place_change_of_a_view_changes_the_viewed_channels_only() -> None:
    assert centre(half_in_place, 2) == NARROW
    assert centre(lambda x: (half_in_place(x), x[:, :2])[1], 2) == WIDER


def test_join_of_parallel_branches_has_the_widest_field() -> None:
    assert centre(lambda x: torch.cat((x, blur(x)), 1), 8) == WIDER
    assert centre(lambda x: torch.cat((blur(x), torch.zeros(4, 1, 9, 11)), 1), 5) == WIDER
    assert centre(lambda x: torch.cat((x, blur(x)), 1)[:, :4]) == NARROW


def test_local_response_norm_sees_neighbouring_channels_only() -> None:
    def between(x: Tensor) -> Tensor:
        return F.local_response_norm(torch.cat((x, blur(x)), 1), 3)

    assert centre(lambda x: between(x)[:, :3], 3) == NARROW
    assert centre(lambda x: between(x)[:, :4]) == WIDER


@pytest.mark.parametrize(
    ("network", "size"),
    [
        (zoo.mobilenet_v2, 64),
        (zoo.mobilenet_v3_small, 64),
        (zoo.densenet121, 64),
        (zoo.vgg11, 32),
        (zoo.efficientnet_b0, 64),
        (zoo.regnet_y_400mf, 64),
        (partial(zoo.inception_v3, init_weights=False, aux_logits=False), 96),
    ],
    ids=lambda network: getattr(network, "__name__", None),
)
def test_last_layer_of_a_torchvision_network_sees_the_whole_image(network: Callable[[], nn.Module], size: int) -> None:
    model = network().eval().to("meta")  # weights do not matter
    layers = list(outputs(model, torch.rand(1, 3, size, size, device="meta")))
    last = receptive_fields(model, (size, size), layers)[layers[-1]]
    # The first convolutions of Inception have no padding and do not see the last pixels.
    end = 93 if layers[0].startswith("Conv2d_1a") else size
    assert last.flatten().tolist() == [0, 0, end, end]


def test_grey_images_have_one_channel() -> None:
    field = receptive_fields(nn.Conv2d(1, 2, 3), (5, 5), ["conv2d"], channels=1)["conv2d"]
    assert field[:, 1, 2].tolist() == [1, 2, 4, 5]


def test_unknown_layer_is_named_with_the_nearest_layers() -> None:
    with pytest.raises(
        UserError, match=r"'features.2/rellu' is not a layer of FlowerNet's .* 25 layers: features.2/relu, "
    ):
        receptive_fields(FlowerNet(6), (32, 32), ["features.0/conv2d", "features.2/rellu"])


@pytest.mark.parametrize(
    ("between", "message"),
    [
        (lambda x: x.cumsum(2), r"the receptive field of torch.Tensor.cumsum is unknown"),
        (lambda x: x @ x.mT, r"the receptive field of torch.Tensor.matmul is unknown"),
        (
            lambda x: F.interpolate(x, scale_factor=2.0),
            r"the receptive field of torch.nn.functional.interpolate is unknown",
        ),
        (
            lambda x: F.conv2d(torch.ones(4, 4, 9, 9), x),
            r"the receptive field of torch.nn.functional.conv2d is unknown",
        ),
        (lambda x: F.conv2d(x, x), r"the receptive field of torch.nn.functional.conv2d is unknown"),
        (lambda x: torch.ones(4, 4, 9, 11).add_(x), r"the receptive field of torch.Tensor.add_ is unknown"),
        (lambda x: torch.add(x, x, out=torch.empty(0)), r"the receptive field of torch.add is unknown"),
        (lambda x: x - x.mean(0), r"reduces over the batch"),
        (lambda x: x - x.mean(), r"reduces over the batch"),
        (lambda x: x if x.sum((1, 2, 3)).all() else -x, r"the receptive field of torch.Tensor.all is unknown"),
        (lambda x: x.flatten(0, 1)[:, None].expand(-1, 4, -1, -1), r"last/conv2d .* is not the batch"),
    ],
)
def test_operation_without_a_rule_is_an_error(between: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(UserError, match=message):
        centre(between)


@pytest.mark.parametrize("layer", ["layer1.0/relu", "nowhere/relu"])
def test_model_is_unchanged(layer: str) -> None:
    model = zoo.resnet18(num_classes=3).train()
    model.layer2.eval()
    model.conv1.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    with torch.inference_mode():
        if layer == "nowhere/relu":
            with pytest.raises(UserError):
                receptive_fields(model, (32, 32), [layer])
        else:
            receptive_fields(model, (32, 32), [layer])
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == [p is not model.conv1.weight for p in model.parameters()]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_model_is_unchanged_after_an_unknown_operation() -> None:
    model = Between(lambda x: x.cumsum(2)).train()
    with pytest.raises(UserError):
        receptive_fields(model, (9, 11), ["last/conv2d"])
    assert model.training
    assert model.first.training
    assert not model.first._forward_hooks
    assert model(torch.rand(1, 3, 9, 11)).shape == (1, 2, 9, 11)
