"""The rule for strided convolutions, compared with plain loops, and for every way to call a convolution."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from samples import uniform_noise
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.shared.backward_rules import BackwardRules, ReluRule
from evident.explainers.shared.heatmap import channel_norm
from evident.models.flower_net import FlowerNet
from evident.models.untouched import untouched

Pair = tuple[int, ...]


def random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def resampled(
    compute: Callable[[Tensor], Tensor], x: Tensor, signal: Tensor | None = None, relu: ReluRule | None = None
) -> Tensor:
    """Return the signal at x, started from `signal` or from the output itself."""
    x = x.detach().clone().requires_grad_()
    with BackwardRules(relu=relu, convolution="resampled"):
        y = compute(x)
    return torch.autograd.grad(y, x, y.detach() if signal is None else signal)[0]


# A second derivation of Oramas et al. 2019, in loops over single numbers.


class Convolution(NamedTuple):
    size: Pair
    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def at_stride_one(self) -> Pair:
        spans = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True)]
        return tuple(n + 2 * p - span + 1 for n, p, span in zip(self.size, self.padding, spans, strict=True))

    def left_over(self) -> Pair:
        """Return the number of positions after the last one that the stride reaches."""
        return tuple((n - 1) % s for n, s in zip(self.at_stride_one(), self.stride, strict=True))

    def outputs(self) -> Pair:
        return tuple((n - 1) // s + 1 for n, s in zip(self.at_stride_one(), self.stride, strict=True))

    def options(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}

    def taps(self, weight: np.ndarray, row: int, column: int) -> Iterator[tuple[int, int, int, int, Any]]:
        """Yield (filter, channel, y, x, weight) of all pixels that the filters read at a padded position."""
        filters, channels, height, width = weight.shape
        for f, c, i, j in np.ndindex(filters, channels, height, width):
            y = row - self.padding[0] + i * self.dilation[0]
            x = column - self.padding[1] + j * self.dilation[1]
            if 0 <= y < self.size[0] and 0 <= x < self.size[1]:
                yield f, f // (filters // self.groups) * channels + c, y, x, weight[f, c, i, j]

    def forward(self, image: np.ndarray, weight: np.ndarray) -> np.ndarray:
        result = np.zeros((len(weight), *self.outputs()))
        for row, column in np.ndindex(*self.outputs()):
            for f, c, y, x, w in self.taps(weight, row * self.stride[0], column * self.stride[1]):
                result[f, row, column] += w * image[c, y, x]
        return result

    def back(self, signal: np.ndarray, weight: np.ndarray) -> np.ndarray:
        height, width = self.at_stride_one()
        rows, columns = nearest(signal.shape[1], height), nearest(signal.shape[2], width)
        result = np.zeros((self.groups * weight.shape[1], *self.size))
        for row, column in np.ndindex(height, width):
            for f, c, y, x, w in self.taps(weight, row, column):
                result[c, y, x] += w * signal[f, rows[row], columns[column]]
        return result


def nearest(short: int, long: int) -> list[int]:
    """Return the nearest pixel of the short line for each pixel of the long line; in a tie, the later one."""

    def centre(pixel: int, length: int) -> Fraction:
        return Fraction(2 * pixel + 1, 2 * length)

    return [min(range(short), key=lambda j: (abs(centre(j, short) - centre(i, long)), -j)) for i in range(long)]


def max_pool(image: np.ndarray, kernel: int, stride: int) -> tuple[np.ndarray, dict[Pair, Pair]]:
    height, width = ((n - kernel) // stride + 1 for n in image.shape[1:])
    pooled = np.zeros((len(image), height, width))
    switches: dict[Pair, Pair] = {}
    for c, row, column in np.ndindex(pooled.shape):
        window = image[c, row * stride : row * stride + kernel, column * stride : column * stride + kernel]
        y, x = np.unravel_index(window.argmax(), window.shape)
        switches[c, row, column] = (c, row * stride + int(y), column * stride + int(x))
        pooled[c, row, column] = window.max()
    return pooled, switches


CONVOLUTIONS = {
    "stride 2, padding 1": Convolution((8, 8), (3, 3), (2, 2), (1, 1)),
    "stride 2, odd size": Convolution((9, 9), (3, 3), (2, 2), (1, 1)),
    "stride 2, padding 2": Convolution((10, 9), (5, 5), (2, 2), (2, 2)),
    "stride 3, no padding": Convolution((11, 9), (3, 3), (3, 3)),
    "stride 3, padding 2": Convolution((10, 12), (3, 3), (3, 3), (2, 2)),
    "stride 4, as in AlexNet": Convolution((18, 17), (11, 11), (4, 4), (2, 2)),
    "stride 4, beyond the kernel": Convolution((9, 12), (2, 2), (4, 4)),
    "one pixel": Convolution((7, 8), (1, 1), (2, 2)),
    "dilation 2": Convolution((11, 10), (3, 3), (2, 2), (2, 2), (2, 2)),
    "groups 2": Convolution((9, 8), (3, 3), (2, 2), (1, 1), (1, 1), 2),
    "a group a channel": Convolution((8, 8), (3, 3), (2, 2), (1, 1), (1, 1), 4),
    "unequal strides": Convolution((8, 9), (3, 3), (1, 2), (1, 1)),
    "not square": Convolution((9, 10), (3, 2), (2, 3), (1, 0)),
    "all at once": Convolution((7, 12), (1, 3), (2, 3), (2, 1), (1, 2), 2),
}
every_convolution = pytest.mark.parametrize("convolution", CONVOLUTIONS.values(), ids=list(CONVOLUTIONS))


def weights_of(convolution: Convolution) -> Tensor:
    return random(4, 4 // convolution.groups, *convolution.kernel)


@every_convolution
def test_convolution_equals_plain_loops(convolution: Convolution) -> None:
    image, weight, bias = random(1, 4, *convolution.size), weights_of(convolution), random(4)
    signal = random(1, 4, *convolution.outputs())
    back = resampled(lambda x: F.conv2d(x, weight, bias, **convolution.options()), image, signal)
    expected = torch.from_numpy(convolution.back(signal[0].numpy(), weight.numpy()))
    torch.testing.assert_close(back[0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("stride", [2, 3, 4])
def test_cases_include_sizes_that_the_stride_divides_and_others(stride: int) -> None:
    pairs = [zip(c.stride, c.left_over(), strict=True) for c in CONVOLUTIONS.values()]
    left_over = {left for pair in pairs for s, left in pair if s == stride}
    assert {stride - 1} < left_over


def test_network_equals_plain_loops() -> None:
    first = Convolution((23, 21), (3, 3), (2, 2), (1, 1))
    second = Convolution((5, 5), (3, 3), (3, 2), (1, 1), (1, 1), 2)
    image, weights = random(1, 3, 23, 21), (random(4, 3, 3, 3), random(6, 2, 3, 3))

    def network(x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(F.conv2d(x, weights[0], **first.options())), 3, 2)
        return F.relu(F.conv2d(x, weights[1], **second.options()))

    w = [weight.numpy() for weight in weights]
    a = first.forward(image[0].numpy(), w[0])
    pooled, switches = max_pool(a * (a > 0), 3, 2)
    b = second.forward(pooled, w[1])
    output = b * (b > 0)
    torch.testing.assert_close(network(image)[0].numpy(), output, rtol=1e-12, atol=1e-12)

    for channel in range(6):
        start = np.zeros_like(output)
        start[channel] = output[channel]
        signal = second.back(start * (start > 0) * (b > 0), w[1])
        unpooled = np.zeros_like(a)
        for place, origin in switches.items():
            unpooled[origin] += signal[place]
        expected = first.back(unpooled * (unpooled > 0) * (a > 0), w[0])
        back = resampled(network, image, torch.from_numpy(start)[None], relu="guided")
        torch.testing.assert_close(back[0].numpy(), expected, rtol=1e-12, atol=1e-12)


# What the rule does not change


@every_convolution
def test_forward_pass_is_bit_identical(convolution: Convolution) -> None:
    image, weight, bias = torch.randn(2, 4, *convolution.size), weights_of(convolution).float(), torch.randn(4)
    expected = F.conv2d(image, weight, bias, **convolution.options())
    with BackwardRules(convolution="resampled"):
        assert torch.equal(F.conv2d(image, weight, bias, **convolution.options()), expected)


@pytest.mark.parametrize("padding", [0, 1, "valid", "same"])
def test_stride_one_gives_the_gradient_bit_for_bit(padding: int | str) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=padding), nn.Conv2d(4, 4, 3, padding=padding, groups=2))
    x = torch.randn(2, 3, 12, 12, requires_grad=True)
    y = network(x)
    (gradient,) = torch.autograd.grad(y, x, y.detach())
    assert torch.equal(resampled(network, x), gradient)


def test_other_strided_layers_keep_their_gradient() -> None:
    transposed = nn.ConvTranspose2d(3, 3, 3, stride=2)
    for layer in (lambda x: F.avg_pool2d(x, 2), lambda x: F.max_pool2d(x, 3, 2), transposed):
        x = torch.randn(2, 3, 12, 12, requires_grad=True)
        y = layer(x)
        assert torch.equal(resampled(layer, x), torch.autograd.grad(y, x, y.detach())[0])


def test_signal_is_not_divided_by_the_stride() -> None:
    back = resampled(
        lambda x: F.conv2d(x, torch.ones(1, 1, 1, 1), stride=4), torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 2, 2)
    )
    assert torch.equal(back, torch.ones(1, 1, 8, 8))


# Ways to call a convolution

LAYER = nn.Conv2d(3, 4, 3, stride=2, padding=1)
W, B = LAYER.weight.detach(), LAYER.bias.detach()
CALLED: dict[str, Callable[[Tensor], Tensor]] = {
    "module": LAYER,
    "positions": lambda x: F.conv2d(x, W, B, 2, 1, 1, 1),
    "names": lambda x: torch.conv2d(input=x, weight=W, bias=B, stride=2, padding=1, dilation=1, groups=1),
    "pairs": lambda x: F.conv2d(x, W, B, (2, 2), (1, 1), (1, 1)),
    "lists of one": lambda x: F.conv2d(x, W, B, [2], [1], [1]),
    "padded before": lambda x: F.conv2d(F.pad(x, (1, 1, 1, 1)), W, B, 2),
    "valid": lambda x: F.conv2d(F.pad(x, (1, 1, 1, 1)), W, B, 2, "valid"),
    "without a batch": lambda x: torch.stack([F.conv2d(image, W, B, 2, 1) for image in x]),
    "in two parts": lambda x: torch.cat([LAYER(part) for part in x.split(1)]),
}


@pytest.mark.parametrize("size", [(12, 12), (11, 14)])
@pytest.mark.parametrize("called", list(CALLED))
def test_rule_is_the_same_for_all_ways_to_call_a_convolution(called: str, size: Pair) -> None:
    x = torch.randn(2, 3, *size)
    signal = torch.randn(LAYER(x).shape)
    convolution = Convolution(size, (3, 3), (2, 2), (1, 1))
    expected = np.stack([convolution.back(rows.numpy(), W.double().numpy()) for rows in signal])
    torch.testing.assert_close(resampled(CALLED[called], x, signal), torch.from_numpy(expected).float())


@pytest.mark.parametrize("mode", ["reflect", "circular", "replicate"])
def test_other_padding_modes_keep_their_gradient(mode: Any) -> None:
    layer = nn.Conv2d(3, 4, 3, stride=2, padding=1, padding_mode=mode)
    x, signal = torch.randn(2, 3, 12, 12), torch.randn(2, 4, 6, 6)
    padded = F.pad(x, (1, 1, 1, 1), mode=mode)
    inner = resampled(lambda p: F.conv2d(p, layer.weight, layer.bias, 2), padded, signal)
    x.requires_grad_()
    (expected,) = torch.autograd.grad(F.pad(x, (1, 1, 1, 1), mode=mode), x, inner)
    torch.testing.assert_close(resampled(layer, x, signal), expected)


def test_layer_may_be_called_twice() -> None:
    layer = nn.Conv2d(3, 3, 3, stride=2, padding=1)
    x = torch.randn(2, 3, 16, 16)
    between, signal = layer(x).detach(), torch.randn(2, 3, 4, 4)
    expected = resampled(layer, x, resampled(layer, between, signal))
    torch.testing.assert_close(resampled(lambda x: layer(layer(x)), x, signal), expected)


def test_unsupported_padding_raises_the_error_of_torch() -> None:
    with pytest.raises(RuntimeError, match="padding='same' is not supported"), BackwardRules(convolution="resampled"):
        F.conv2d(torch.zeros(1, 3, 8, 8), W, B, 2, "same")


# Networks


def flower_features() -> nn.Module:
    return FlowerNet(6).features.eval()


def images(size: int = 48) -> Tensor:
    return uniform_noise(3, size)


def test_images_do_not_influence_each_other() -> None:
    network, inputs = flower_features(), images()
    together = resampled(network, inputs, relu="guided")
    for n in range(3):
        alone = resampled(network, inputs[n : n + 1], relu="guided")
        torch.testing.assert_close(together[n : n + 1], alone, rtol=1e-6, atol=1e-6 * float(alone.abs().max()))


@pytest.mark.parametrize("size", [48, 45])
def test_memory_format_does_not_change_results(size: int) -> None:
    network, inputs = flower_features(), images(size=size)
    expected = resampled(network, inputs, relu="guided")
    network.to(memory_format=torch.channels_last)
    for given in (inputs, inputs.contiguous(memory_format=torch.channels_last)):
        back = resampled(network, given, relu="guided")
        torch.testing.assert_close(back, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_backward_pass_may_run_inside_or_after_the_block() -> None:
    network, inputs = flower_features(), images().requires_grad_()
    with BackwardRules(convolution="resampled"):
        within = torch.autograd.grad(network(inputs).sum(), inputs)[0]
        after = network(inputs)
    assert torch.equal(torch.autograd.grad(after.sum(), inputs)[0], within)
    assert not torch.allclose(torch.autograd.grad(network(inputs).sum(), inputs)[0], within, rtol=0.1)


def test_model_is_unchanged_afterwards() -> None:
    network, inputs = flower_features(), images()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    first = resampled(network, inputs, relu="guided")
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(weight.grad is None and weight.requires_grad for weight in network.parameters())
    assert torch.equal(resampled(network, inputs, relu="guided"), first)
    x = inputs.clone().requires_grad_()
    torch.autograd.grad(network(x).sum(), x)
    with untouched(network):
        assert torch.equal(resampled(network, inputs, relu="guided"), first)


def test_weights_of_a_strided_convolution_get_no_gradient() -> None:
    layer = nn.Conv2d(3, 4, 3, stride=2)
    with BackwardRules(convolution="resampled"):
        layer(images().requires_grad_()).sum().backward()
    assert layer.weight.grad is None
    assert layer.bias is not None
    assert layer.bias.grad is None


def test_heatmap_of_a_uniform_filter_is_uniform() -> None:
    # Sums over 3x3 pixels with stride 2: the gradient has a grid pattern, the rule does not.
    layer = nn.Conv2d(1, 1, 3, stride=2, bias=False)
    nn.init.ones_(layer.weight)
    x = torch.ones(1, 1, 17, 17, requires_grad=True)
    y = layer(x)
    gradient = channel_norm(torch.autograd.grad(y, x, y.detach())[0])[0, 2:-2, 2:-2]
    heatmap = channel_norm(resampled(layer, x.detach()))[0, 2:-2, 2:-2]
    assert gradient.unique().tolist() == [9, 18, 36]
    assert heatmap.unique().tolist() == [81]


def test_unknown_rule_raises() -> None:
    rule: Any = "resample"
    with pytest.raises(UserError, match=r"convolution='resample' is not a backward rule; use resampled or null"):
        BackwardRules(convolution=rule)
