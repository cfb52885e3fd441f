"""Checkpoints of the user: files, prefixes and shapes; inputs and outputs of networks that are not like ours."""

import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from evident.errors import UserError, warn_once
from evident.models.checkpoint import OwnNetwork, is_file, load_state, read_state
from evident.models.normalise import mean_colour


class Small(nn.Module):
    """Compute scores by a convolution, batch normalisation and a linear layer."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.fc = nn.Linear(4, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.features(images).mean((2, 3)))


class Changed(nn.Module):
    """Change the output of `Small`."""

    def __init__(self, change: Any, classes: int = 3) -> None:
        super().__init__()
        self.small, self.change = Small(classes), change

    def forward(self, images: Tensor) -> Any:
        return self.change(self.small(images))


def other_weights() -> dict[str, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return Small().state_dict()


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in other_weights().items()}


@pytest.mark.parametrize(
    "content",
    [
        other_weights(),
        OrderedDict(other_weights()),
        {"state_dict": other_weights(), "epoch": 3},
        {"model": prefixed("module."), "optimizer": {"lr": 0.1}},
        {"state_dict": prefixed("network.")},
        prefixed("model.module."),
        {"model_state_dict": {**prefixed("model."), "criterion.weight": torch.ones(2)}},
    ],
    ids=["plain", "ordered", "state_dict", "parallel", "lightning", "nested", "with a loss"],
)
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt"])
def test_weights_of_every_training_script_are_found(tmp_path: Path, content: Any, suffix: str) -> None:
    torch.save(content, tmp_path / f"own{suffix}")
    network = Small()
    load_state(network, read_state(tmp_path / f"own{suffix}"), "own")
    for name, value in other_weights().items():
        assert torch.equal(network.state_dict()[name], value)


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file(prefixed("model."), tmp_path / "own.safetensors")
    network = Small()
    load_state(network, read_state(tmp_path / "own.safetensors"), "own")
    assert torch.equal(network.fc.weight, other_weights()["fc.weight"])


def test_unused_weights_are_named(caplog: pytest.LogCaptureFixture) -> None:
    warn_once.cache_clear()
    load_state(Small(), {**other_weights(), "head.weight": torch.ones(2)}, "own.pth")
    assert [record.message for record in caplog.records] == ["own.pth: 1 of 10 weights are not used, first head.weight"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"fc.weight": torch.ones(7, 4)},
            r"own.pth does not fit Small: 1 of 8 .* first fc.weight, \(7, 4\)",
        ),
        ({"fc.bias": None}, r"1 of 8 weights differ, first fc.bias, absent in own.pth, \(3,\) in the network"),
    ],
)
def test_weights_of_another_network_are_refused(change: dict[str, Any], message: str) -> None:
    state = {name: value for name, value in {**other_weights(), **change}.items() if value is not None}
    with pytest.raises(UserError, match=message):
        load_state(Small(), state, "own.pth")


def test_whole_networks_and_other_files_are_refused(tmp_path: Path) -> None:
    torch.save(Small(), tmp_path / "whole.pth")
    (tmp_path / "text.pt").write_text("weights")
    (tmp_path / "empty.ckpt").write_bytes(b"")
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    for name, message in {
        "whole.pth": r"whole.pth holds more than weights, .* save network.state_dict\(\) instead",
        "text.pt": r"text.pt (cannot be read|holds more than weights)",
        "empty.ckpt": r"empty.ckpt cannot be read",
        "list.pt": r"list.pt holds no weights by name",
        "broken.safetensors": r"broken.safetensors cannot be read",
    }.items():
        with pytest.raises(UserError, match=message) as error:
            read_state(tmp_path / name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("weights", "file"),
    [("own.pth", True), ("/a b/own.PT", True), ("IMAGENET1K_V1 squeezenet1_1-b8a52dc0.pth", False), ("random", False),
     ("file 0f3a", False), ("timm 1.0.31", False)],
)  # fmt: skip
def test_files_of_the_user_are_told_from_names_of_published_weights(weights: str, file: bool) -> None:
    assert is_file(weights) is file


IMAGES = torch.rand(5, 3, 9, 9, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("change", "settings"),
    [
        (lambda scores: {"aux": scores * 2, "logits": scores}, {"output": "logits"}),
        (lambda scores: (scores * 2, scores), {"output": 1}),
        (lambda scores: scores.softmax(1), {"gives": "probabilities"}),
        (lambda scores: {"p": scores.softmax(1)}, {"gives": "probabilities", "output": "p"}),
    ],
    ids=["dictionary", "tuple", "softmax", "softmax in a dictionary"],
)
def test_probabilities_are_those_of_the_network(change: Any, settings: dict[str, Any]) -> None:
    own = Changed(change).eval()
    network = OwnNetwork(own, 3, **settings)
    network.check(9)
    assert torch.allclose(network(IMAGES).softmax(1), own.small(IMAGES).softmax(1), atol=1e-6)


@pytest.mark.parametrize("shape", [(-1, 1), (-1,)])
@pytest.mark.parametrize("gives", ["logits", "probabilities"])
def test_single_output_is_that_of_the_second_of_two_classes(shape: tuple[int, ...], gives: Any) -> None:
    sigmoid = gives == "probabilities"
    own = Changed(lambda scores: (scores.sigmoid() if sigmoid else scores).reshape(shape), classes=1).eval()
    network = OwnNetwork(own, 2, gives=gives)
    network.check(9)
    expected = own.small(IMAGES).sigmoid()[:, 0]
    assert torch.allclose(network(IMAGES).softmax(1), torch.stack([1 - expected, expected], 1), atol=1e-6)


def test_probabilities_of_zero_give_finite_scores_and_gradients() -> None:
    network = OwnNetwork(Changed(lambda scores: (scores * 1e4).softmax(1)), 3, gives="probabilities").eval()
    images = IMAGES.clone().requires_grad_()
    scores = network(images)
    scores.sum().backward()
    assert scores.isfinite().all()
    assert images.grad is not None
    assert images.grad.isfinite().all()


@pytest.mark.parametrize(
    ("change", "classes", "settings", "message"),
    [
        (lambda s: {"aux": s, "logits": s}, 3, {}, r"Changed returns a dict with aux, logits; .* model.own.output="),
        (lambda s: (s, s), 3, {}, r"Changed returns a tuple with 0, 1; say which part the class scores are"),
        (lambda s: (s, s), 3, {"output": 2}, r"Changed does not accept images .* or has no model.own.output=2"),
        (lambda s: s.softmax(1), 3, {}, r"Changed returns probabilities .*; give model.own.gives=probabilities"),
        (lambda s: s[:, :1].sigmoid(), 2, {}, r"Changed returns probabilities .*; give model.own.gives=probabilities"),
        (lambda s: s, 3, {"gives": "probabilities"}, r"Changed returns no probabilities .*; give .*gives=logits"),
        (lambda s: s, 4, {}, r"Changed returns \(6, 3\) for 6 images and 4 classes; .*model.names=FILE.json"),
        (lambda s: s[..., None, None], 3, {}, r"Changed returns \(6, 3, 1, 1\) for 6 images and 3 classes"),
    ],
)  # fmt: skip
def test_wrong_settings_are_detected(change: Any, classes: int, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        OwnNetwork(Changed(change).eval(), classes, **settings).check(9)


def test_small_images_are_refused_in_one_line() -> None:
    with pytest.raises(UserError, match=r"Small does not accept images of 2 x 2 pixels \(.*\); set data.size") as error:
        OwnNetwork(Small().eval(), 3).check(2)
    assert "\n" not in str(error.value)


def test_colours_are_normalised_or_the_neutral_one_is_stated() -> None:
    own = Small().eval()
    normalised = OwnNetwork(own, 3, mean=[0.5, 0.4, 0.3], std=[0.2, 0.2, 0.1])
    colour, spread = (torch.tensor(values).view(1, 3, 1, 1) for values in ([0.5, 0.4, 0.3], [0.2, 0.2, 0.1]))
    assert torch.allclose(normalised(IMAGES), own((IMAGES - colour) / spread), atol=1e-6)
    assert torch.allclose(mean_colour(normalised), colour)
    stated = OwnNetwork(own, 3, reference=[0.5, 0.4, 0.3])
    assert torch.equal(stated(IMAGES), own(IMAGES))
    assert torch.allclose(mean_colour(stated), colour)
    with pytest.raises(UserError, match=r"or give model.own.mean and std, or model.own.reference"):
        mean_colour(OwnNetwork(own, 3))


@pytest.mark.parametrize("settings", [{"mean": [0, 0, 0]}, {"mean": [0] * 3, "std": [1] * 3, "reference": [0] * 3}])
def test_half_a_normalisation_is_refused(settings: dict[str, Any]) -> None:
    message = "give both model.own.mean and model.own.std, or model.own.reference alone"
    with pytest.raises(UserError, match=re.escape(message)):
        OwnNetwork(Small(), 3, **settings)
