"""Excitation backpropagation, compared with its equation in plain matrices, and its rule for each kind of call."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from samples import uniform_noise
from torch import Tensor, nn
from torchvision.models import densenet121, googlenet, resnet18, squeezenet1_1
from torchvision.ops import SqueezeExcitation

from evident.errors import UserError
from evident.explainers.excitation_backprop import ExcitationBackprop, winning_probability
from evident.models.flower_net import FlowerNet
from evident.models.mnist_net import MnistNet


def images(side: int = 8) -> Tensor:
    return uniform_noise(2, side, dtype=torch.float64)


def matrix(layer: Callable[[Tensor], Tensor], shape: torch.Size) -> Tensor:
    """Return the matrix (outputs, inputs) of a linear layer, computed column by column."""
    columns = [layer(unit.view(1, *shape)).flatten() for unit in torch.eye(shape.numel(), dtype=torch.float64)]
    return torch.stack(columns, 1)


def passed_down(won: Tensor, weights: Tensor, x: Tensor) -> Tensor:
    """Return R_j = sum_i w+_ij x+_j / sum_j w+_ij x+_j R_i, computed neuron by neuron."""
    result = torch.zeros_like(x)
    for i in range(len(won)):
        excited = weights[i].clamp(min=0) * x.clamp(min=0)
        if excited.sum() > 0:
            result += won[i] * excited / excited.sum()
    return result


class Net(nn.Module):
    """Apply two convolutions, one strided and padded, average pooling, and two fully connected layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.second = nn.Conv2d(4, 5, 3, stride=2, padding=1)
        self.pool = nn.AvgPool2d(2, 1)
        self.hidden, self.last = nn.Linear(20, 7), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.second(F.relu(self.first(x)))))
        return self.last(torch.relu_(self.hidden(x.flatten(1))))


@pytest.mark.parametrize("contrastive", [False, True])
@pytest.mark.parametrize("target", [0, 2])
def test_probabilities_equal_the_equation_in_matrices(target: int, contrastive: bool) -> None:
    model, inputs = Net().double(), images()
    ours = winning_probability(model, "first", inputs, target, contrastive)
    for n in range(2):
        with torch.no_grad():
            a = model.first(inputs[n : n + 1])
            b = model.second(F.relu(a))
            c = model.pool(F.relu(b))
            d = model.hidden(c.flatten(1))[0]
            convolution = matrix(lambda x: F.conv2d(x, model.second.weight, None, 2, 1), a.shape[1:])
            pooling = matrix(model.pool, b.shape[1:])
            won = torch.zeros(3, dtype=torch.float64)
            won[target] = 1
            at_hidden = passed_down(won, model.last.weight, F.relu(d))
            if contrastive:
                at_hidden -= passed_down(won, -model.last.weight, F.relu(d))
            at_pool = passed_down(at_hidden, model.hidden.weight, c.flatten())
            at_second = passed_down(at_pool, pooling, F.relu(b).flatten())
            expected = passed_down(at_second, convolution, F.relu(a).flatten())
        torch.testing.assert_close(ours[n].flatten(), expected, rtol=1e-10, atol=1e-14)
        assert expected.abs().max() > 0.01


def positive(model: nn.Module) -> nn.Module:
    """Make all weights, biases and slopes positive, so that every neuron is excited."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_().add_(1e-3)
    return model.double().eval()


@pytest.mark.parametrize(
    ("model", "layer", "side"),
    [
        (squeezenet1_1, "features.3", 48),
        (resnet18, "layer1", 48),
        (lambda: googlenet(init_weights=False, aux_logits=False), "inception4a", 48),
        (densenet121, "features.denseblock3", 48),
        (lambda: FlowerNet(3), "features.5", 48),
    ],
    ids=["squeezenet", "resnet", "googlenet", "densenet", "flower_net"],
)
def test_probabilities_of_the_layer_sum_to_one(model: Callable[[], nn.Module], layer: str, side: int) -> None:
    probability = winning_probability(positive(model()), layer, images(side), torch.tensor([1, 2]))
    assert (probability >= 0).all()
    torch.testing.assert_close(probability.sum((1, 2, 3)), torch.ones(2, dtype=torch.float64))


def test_contrastive_probabilities_sum_to_zero_and_their_map_is_clipped() -> None:
    model, inputs = FlowerNet(3).double().eval(), images(48)
    assert winning_probability(model, "features.5", inputs, 1, contrastive=True).sum((1, 2, 3)).abs().max() < 1e-9
    attribution = ExcitationBackprop(model, "features.5", contrastive=True, placement="resized").attribute(inputs, 1)
    assert attribution.min() == 0
    assert attribution.max() > 0


def test_map_is_the_up_sampled_sum_over_channels() -> None:
    model, inputs = FlowerNet(3).double().eval(), images(48)
    probability = winning_probability(model, "features", inputs, 1)
    expected = F.interpolate(probability.sum(1, keepdim=True), (48, 48), mode="bilinear")
    torch.testing.assert_close(
        ExcitationBackprop(model, "features", placement="resized").attribute(inputs, 1), expected
    )


# One layer at a time ------------------------------------------------------------------------------------------------


class ConvolutionThen(nn.Module):
    """Apply a convolution, then `rest`, then a linear layer to the mean of each map."""

    def __init__(self, rest: Callable[[Tensor], Tensor], maps: int = 2) -> None:
        super().__init__()
        self.first, self.rest, self.last = nn.Conv2d(3, 2, 1), rest, nn.Linear(maps, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.rest(self.first(x)).mean((2, 3)))


def won(rest: Callable[[Tensor], Tensor], maps: int = 2) -> Tensor:
    torch.manual_seed(3)
    return winning_probability(positive(ConvolutionThen(rest, maps)), "first", images(4), 0)


@pytest.mark.parametrize(
    "rest",
    [
        lambda x: torch.relu_(x),
        lambda x: F.relu6(x * 0.1, inplace=True),
        lambda x: F.leaky_relu(x),
        lambda x: torch.sigmoid(x),
        lambda x: F.group_norm(x, 2) + 9,
        lambda x: F.dropout(x, training=False),
        lambda x: x / 3,
        lambda x: 2 * x,
        lambda x: x.sub(0.1),
        lambda x: torch.mul(x, torch.tensor(0.5).double()),
    ],
)
def test_neuron_with_one_input_passes_its_probability_on(rest: Callable[[Tensor], Tensor]) -> None:
    probability = won(rest)
    torch.testing.assert_close(probability.sum((1, 2, 3)), torch.ones(2, dtype=torch.float64))


def test_in_place_layer_is_seen_if_its_output_is_ignored() -> None:
    def ignores(x: Tensor) -> Tensor:
        F.relu(x, inplace=True)
        return x

    torch.testing.assert_close(won(ignores), won(F.relu))


@pytest.mark.parametrize("add", [lambda a, b: a + b, torch.add, lambda a, b: a.add_(b), lambda a, b: a.__iadd__(b)])
def test_sum_splits_in_proportion_to_positive_parts(add: Callable[[Tensor, Tensor], Tensor]) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return add(x[:, :1] * 1, x[:, 1:] * 1).flatten(1)

    inputs = torch.tensor([[3.0, 1.0], [-3.0, 1.0], [3.0, -1.0], [-3.0, -1.0]]).view(4, 2, 1, 1)
    shares = winning_probability(Two(), "first", inputs, 0).flatten(1)
    assert shares.tolist() == [[0.75, 0.25], [0, 1], [1, 0], [0, 0]]


def test_constant_of_a_sum_receives_nothing() -> None:
    torch.testing.assert_close(won(lambda x: x + 5).sum((1, 2, 3)), torch.ones(2, dtype=torch.float64))


def test_gate_receives_nothing_from_its_map() -> None:
    gate = positive(SqueezeExcitation(2, 1))
    torch.testing.assert_close(won(gate).sum((1, 2, 3)), torch.ones(2, dtype=torch.float64))


def test_concatenation_and_max_pooling_pass_to_the_origin_of_the_value() -> None:
    probability = won(lambda x: torch.cat([F.max_pool2d(x, 4), F.max_pool2d(2 * x, 4)], 1), maps=4)
    torch.testing.assert_close(probability.sum((1, 2, 3)), torch.ones(2, dtype=torch.float64))
    assert ((probability > 0).sum((2, 3)) == 1).all()


def test_batch_normalisation_equals_its_fusion_with_the_convolution() -> None:
    convolution, norm = nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)
    normalised = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), convolution, norm, nn.ReLU())
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.7, -1.2, 2.0, -0.3, 1.0]))
        norm.bias.uniform_(-0.5, 0.5)
        norm.running_mean.uniform_(-0.5, 0.5)
        norm.running_var.uniform_(0.5, 2)
    fused = torch.nn.utils.fusion.fuse_conv_bn_eval(convolution.eval(), norm.eval())
    head = [nn.Flatten(), nn.Linear(80, 3)]
    with_norm = nn.Sequential(*normalised, *head).double().eval()
    without = nn.Sequential(*normalised[:2], fused, nn.ReLU(), *head).double().eval()
    torch.testing.assert_close(with_norm(images()), without(images()))
    first, second = (winning_probability(model, "1", images(), 1) for model in (with_norm, without))
    assert second.max() > 0
    torch.testing.assert_close(first, second)


def test_rule_applies_to_each_call_of_a_reused_layer() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.again, self.last = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return self.last(self.again(self.again(x).relu()).relu().mean((2, 3)))

    probability = winning_probability(positive(Twice()), "first", images(), 0)
    torch.testing.assert_close(probability.sum((1, 2, 3)), torch.ones(2, dtype=torch.float64))


def test_neuron_without_excitation_passes_nothing_on() -> None:
    model = nn.Sequential(nn.Conv2d(3, 1, 1), nn.Conv2d(1, 2, 1), nn.Flatten())
    with torch.no_grad():
        model[0].weight.fill_(1)
        model[1].weight.fill_(-1)
        model[1].bias.fill_(9)
    probability = winning_probability(model, "0", torch.rand(1, 3, 1, 1), 0)
    assert torch.equal(probability, torch.zeros(1, 1, 1, 1))


def test_layer_without_rectifier_has_non_negative_probabilities() -> None:
    probability = winning_probability(MnistNet(10).eval(), "features.2", torch.rand(2, 3, 28, 28), 3)
    assert (probability >= 0).all()
    torch.testing.assert_close(probability.sum((1, 2, 3)), torch.ones(2), rtol=0.2, atol=0)


def test_unknown_layer_raises() -> None:
    with pytest.raises(UserError, match="layer='middle' is not a module of FlowerNet"):
        ExcitationBackprop(FlowerNet(3), "middle")


def test_layer_without_any_rule_above_it_raises() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 4), nn.ReLU(), nn.Flatten())
    with pytest.raises(UserError, match="layer='0' has no convolution or fully connected layer above it"):
        winning_probability(model, "0", torch.rand(1, 3, 4, 4), 0)


def test_contrastive_without_a_weighted_layer_above_raises() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(UserError, match="layer='0' has no convolution or fully connected layer above it"):
        winning_probability(model, "0", torch.rand(1, 3, 4, 4), 0, contrastive=True)
