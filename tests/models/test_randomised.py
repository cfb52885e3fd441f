"""Networks with random weights: which tensors change, how, and what stays."""

from typing import Any

import pytest
import torch
from samples import smooth_noise
from torch import Tensor, nn

from evident.errors import UserError
from evident.models.flower_net import FlowerNet
from evident.models.mnist_net import MnistNet
from evident.models.randomised import randomised, weighted_layers


def network() -> FlowerNet:
    """Return a network whose batch normalisations have seen images."""
    torch.manual_seed(0)
    model = FlowerNet(4)
    for _ in range(20):
        model(smooth_noise(16))
    return model.eval()


def training_images() -> Tensor:
    return smooth_noise(12, seed=5)


def test_layers_are_convolutions_with_their_normalisation_and_linear_layers() -> None:
    layers = weighted_layers(FlowerNet(4))
    assert len(layers) == 9
    assert layers[1] == ["features.3.weight", "features.4.weight", "features.4.bias"]
    assert layers[-1] == ["classifier.4.weight", "classifier.4.bias"]
    assert len(weighted_layers(MnistNet(10))) == 4


def test_parameters_before_the_first_layer_belong_to_it() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1), nn.PReLU())
    assert weighted_layers(model) == [["0.weight", "0.bias", "1.weight", "1.bias", "2.weight"]]


@pytest.mark.parametrize("model", [nn.Identity(), nn.BatchNorm2d(3)])
def test_network_without_weights_is_refused(model: nn.Module) -> None:
    with pytest.raises(UserError, match="has no layers with weights"):
        randomised(model, [0])


def test_chosen_layers_hold_the_same_numbers_in_another_order_and_others_are_equal() -> None:
    model = network()
    made = randomised(model, [8], training_images=training_images)
    for (name, before), after in zip(model.named_parameters(), made.parameters(), strict=True):
        assert torch.equal(before.flatten().sort().values, after.flatten().sort().values)
        assert torch.equal(before, after) == (not name.startswith("classifier.4")), name


def test_permutation_depends_on_seed_and_name_only() -> None:
    model = network()
    alone, all_layers = (randomised(model, layers, 3, training_images) for layers in ([4], range(9)))
    assert torch.equal(alone.features[12].weight, all_layers.features[12].weight)
    other = randomised(model, [4], 4, training_images)
    assert not torch.equal(alone.features[12].weight, other.features[12].weight)
    again = randomised(model, [4], 3, training_images)
    assert all(map(torch.equal, alone.state_dict().values(), again.state_dict().values()))


def test_model_is_not_changed_and_shares_no_memory() -> None:
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    made = randomised(model, range(9), training_images=training_images)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert not any(module.training for module in made.modules())
    places = {parameter.data_ptr() for parameter in model.parameters()}
    assert places.isdisjoint(parameter.data_ptr() for parameter in made.parameters())


def statistics(model: nn.Module) -> list[Any]:
    return [norm.running_mean for norm in model.modules() if isinstance(norm, nn.BatchNorm2d)]


def test_statistics_behind_the_first_random_layer_are_those_of_the_training_images() -> None:
    model = network()
    made = randomised(model, [2, 5], training_images=training_images)
    same = [torch.equal(before, after) for before, after in zip(statistics(model), statistics(made), strict=True)]
    assert same == [True, True, *[False] * 5]
    signals: list[tuple[Tensor, nn.BatchNorm2d]] = []
    for norm in [norm for norm in made.modules() if isinstance(norm, nn.BatchNorm2d)][2:]:
        norm.register_forward_hook(lambda norm, inputs, _: signals.append((inputs[0], norm)))
    with torch.no_grad():
        made(training_images())
    for place, (signal, norm) in enumerate(signals):
        assert norm.momentum == 0.1
        # Running variances have n - 1 below, those of a batch n; so the layers behind the first differ a little.
        slack: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-6} if place == 0 else {"rtol": 0.1, "atol": 0.01}
        torch.testing.assert_close(signal.mean((0, 2, 3)), norm.running_mean, **slack)
        torch.testing.assert_close(signal.var((0, 2, 3)), norm.running_var, **slack)


def test_random_network_stays_alive() -> None:
    made = randomised(network(), range(9), training_images=training_images)
    with torch.no_grad():
        outputs = made(smooth_noise(8, seed=9))
    assert outputs.std(0).mean() > 0.01
    assert outputs.isfinite().all()


def test_training_images_are_asked_for_only_where_there_are_statistics() -> None:
    def fail() -> Tensor:
        raise AssertionError

    randomised(MnistNet(10), range(4), training_images=fail)
    randomised(network(), [8], training_images=fail)  # no normalisation follows
    with pytest.raises(UserError, match=r"has batch normalisations.*give training images"):
        randomised(network(), [0])
