"""Every explainer, metric and recorder on a second device (`second_device`), in a process of its own.

Torch must know all devices before its first backward pass, and a process that knows this one cannot fork. So
`test_second_device.py` runs this file; `pytest tests/second_device_cases.py` does too. What is not covered:

    difull                    its rule leaves subclasses of tensors alone, so its values are compared on a GPU only
    bfloat16                  the second device has no autocast
    training, Lightning       moves to a device that Lightning knows
    last bits                 the second device computes as the CPU does
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from captum.attr import Attribution
from omegaconf import OmegaConf
from torch import Tensor, nn

sys.path += [str(Path(__file__).parent / name) for name in ("explainers", "metrics")]

import test_explainer_contract as explainers
import test_metric_contract as metrics
from entry_point import ROOT
from hydra.utils import get_class
from samples import smooth_noise
from second_device import FAR, DrawnOnDevice, MixedDevices, register, second_device

from evident.cell_folder import CellFolder
from evident.contracts import Regressor
from evident.explainers.shared.heatmap import positive_sum
from evident.explainers.shared.seeding import seeded
from evident.models.training import Trained
from evident.recorders.contract import Recorder, Setup
from evident.recorders.explain import explain_batch

register()

RECORDERS = {
    name: build
    for file in sorted((ROOT / "conf" / "recorder").glob("*.yaml"))
    for name, build in OmegaConf.load(file).items()
}
OTHER_VALUES = ("difull",)


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    """Ask for deterministic algorithms, as cells do; torch then takes other paths on a device that is not the CPU."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def made(file: Path, model: nn.Module) -> Any:
    return explainers.make(file, model, **({"steps": 3} if explainers.takes(file, "steps") else {}))


def model_of(file: Path) -> nn.Module:
    return explainers.supported(explainers.class_of(file))[0].eval()


# The second device itself


def test_operands_on_two_devices_are_an_error() -> None:
    with second_device(), pytest.raises(MixedDevices, match=r"add of tensors on far and on the CPU"):
        torch.ones(2).to(FAR) + torch.ones(2)


def test_what_cuda_allows_is_no_error() -> None:
    with second_device():
        far = torch.arange(6.0).view(2, 3).to(FAR)
        assert (far * torch.tensor(2.0))[torch.tensor([1])].tolist() == [[6, 8, 10]]
        assert torch.tensor([1, 2], device=far.device).device.type == FAR
        far[torch.tensor([0])] = torch.tensor(7.0)
        assert far.cpu().tolist() == [[7, 7, 7], [3, 4, 5]]


def test_values_on_the_second_device_are_no_numpy_array() -> None:
    with second_device(), pytest.raises(Exception, match=r"numpy|convert"):
        torch.ones(2).to(FAR).numpy()


def test_random_numbers_drawn_on_the_second_device_are_an_error() -> None:
    image = smooth_noise(1)[0]
    with seeded(image, 3):
        expected = torch.normal(0, torch.ones(4))
    with second_device():
        with pytest.raises(DrawnOnDevice, match=r"normal"):
            torch.normal(0, torch.ones(4).to(FAR))
        with seeded(image.to(FAR), 3):
            drawn = torch.normal(0, torch.ones(4).to(FAR))
    assert drawn.device.type == FAR
    assert torch.equal(drawn.cpu(), expected)


def test_gradient_without_a_deterministic_algorithm_is_counted() -> None:
    with second_device() as device:
        images = torch.rand(1, 1, 8, 8).to(FAR).requires_grad_()
        nn.functional.adaptive_avg_pool2d(images, 3).sum().backward()
    assert device.nondeterministic == {"aten::_adaptive_avg_pool2d_backward": 1}


class Draws(Attribution):
    """Multiply by noise: drawn on the device, or on the CPU and not moved."""

    heatmap = staticmethod(positive_sum)

    def __init__(self, model: nn.Module, moved: bool) -> None:
        super().__init__(model)
        self.moved = moved

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        noise = torch.rand(inputs.shape, generator=torch.Generator().manual_seed(0))
        return inputs * (noise.to(inputs.device) if self.moved else noise)


def test_explainer_that_does_not_move_its_draws_is_found() -> None:
    model, images = nn.Identity(), smooth_noise()
    expected = Draws(model, moved=True).attribute(images, 0)
    with second_device():
        assert torch.equal(Draws(model, moved=True).attribute(images.to(FAR), 0).cpu(), expected)
        with pytest.raises(MixedDevices):
            Draws(model, moved=False).attribute(images.to(FAR), 0)


# Explainers and recorders


@pytest.mark.parametrize("file", explainers.EXPLAINERS, ids=explainers.name_of)
def test_explainer_and_its_recorders_keep_to_the_device_of_the_images(file: Path, tmp_path: Path) -> None:
    model, images = model_of(file), smooth_noise()
    target = explainers.some_targets(model)
    explainer = made(file, model)
    expected = explainer.heatmap(explainers.explain(explainer, images, target))
    batch = {"image": images, "label": target, "index": torch.arange(3), "mask": images[:, 0] > 0.5}
    names = [*model.regression_names()] if isinstance(model, Regressor) else []
    with second_device() as device:
        model.to(FAR)
        explainer = made(file, model)
        on_device = {name: value.to(FAR) for name, value in batch.items()}
        explained = explain_batch(explainer, model, on_device, on_device["label"])
        heatmap = explained.explanation.heatmap
        assert heatmap.device.type == FAR
        explainers.assert_close(heatmap.cpu(), expected)
        trained = Trained("", model, {}, [str(n) for n in range(max(4, len(names)))])
        rows = explainers.training_set(3)
        score = {"gini": metrics.configured(ROOT / "conf" / "metric" / "gini.yaml")}
        setup = Setup(explainer, trained, rows, lambda: _Splits(), {}, score, 2)
        for name, build in RECORDERS.items():
            recorder: type[Recorder] = get_class(build._target_)
            if recorder.applies(type(explainer)) and not (name == "outcomes" and names):
                kept = recorder(setup, **{key: value for key, value in build.items() if key != "_target_"})
                kept.record(explained)
                kept.save(CellFolder(tmp_path))
    assert not device.nondeterministic


class _Splits:
    def split(self, name: str) -> Any:
        return explainers.training_set(8)

    def class_names(self) -> tuple[str, ...]:
        return tuple(map(str, range(8)))


# Metrics


@pytest.mark.parametrize("file", metrics.FILES, ids=lambda file: file.stem)
def test_metric_keeps_to_the_device_of_the_explanation(file: Path) -> None:
    whole, score = metrics.explanation(), metrics.configured(file)
    expected = metrics.values(score(whole))
    with second_device() as device:
        moved = metrics.changed(whole, lambda tensor: tensor.to(FAR))
        for network in (moved.model, moved.twin, moved.shuffled):
            network.to(FAR)
        found = metrics.values(score(moved))
        assert {value.device.type for value in found.values()} == {FAR}
        found = {name: value.cpu() for name, value in found.items()}
    if file.stem not in OTHER_VALUES:
        metrics.assert_same(found, expected)
    assert not device.nondeterministic
