"""Cost of an explanation: images that pass the network, time and memory."""

import math
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from evident.metrics import cost as module
from evident.metrics.cost import Cost


class Named(nn.Module):
    """Take images by keyword and return two outputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, *, images: torch.Tensor) -> dict[str, torch.Tensor]:
        scores = self.layer(images)
        return {"scores": scores, "square": scores**2}


def hooks(model: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._backward_hooks) for part in model.modules())


def test_forward_passes_are_counted_in_images():
    model = nn.Linear(3, 2)
    with Cost(model) as cost:
        model(torch.zeros(8, 3))
        model(torch.zeros(1, 3))
    assert (cost.forward_passes, cost.backward_passes) == (9, 0)


def test_backward_passes_are_counted_in_images_with_a_gradient():
    model = nn.Linear(3, 2)
    with Cost(model) as cost:
        model(torch.zeros(8, 3)).sum().backward()
        model(torch.zeros(4, 3))
    assert (cost.forward_passes, cost.backward_passes) == (12, 8)


def test_two_gradients_of_one_output_count_twice():
    model = nn.Linear(3, 2)
    with Cost(model) as cost:
        scores = model(torch.zeros(5, 3))
        for label in range(2):
            torch.autograd.grad(scores[:, label].sum(), model.weight, retain_graph=True)
    assert cost.backward_passes == 10


def test_backward_pass_of_named_outputs_counts_once():
    model = Named()
    with Cost(model) as cost:
        outputs = model(images=torch.ones(6, 3))
        (outputs["scores"].sum() + outputs["square"].sum()).backward()
    assert (cost.forward_passes, cost.backward_passes) == (6, 6)


def test_backward_pass_to_the_image_counts_with_frozen_weights():
    model = nn.Linear(3, 2).requires_grad_(False)
    with Cost(model) as cost:
        model(torch.zeros(2, 3, requires_grad=True)).sum().backward()
        model(torch.zeros(2, 3))
    assert (cost.forward_passes, cost.backward_passes) == (4, 2)


def test_no_grad_counts_forward_passes_only():
    model = nn.Linear(3, 2)
    with torch.no_grad(), Cost(model) as cost:
        model(torch.zeros(3, 3))
    assert (cost.forward_passes, cost.backward_passes) == (3, 0)


def test_counting_ends_with_the_block():
    model = nn.Linear(3, 2)
    with Cost(model) as cost:
        scores = model(torch.zeros(3, 3))
    model(torch.zeros(3, 3))
    scores.sum().backward()
    assert (cost.forward_passes, cost.backward_passes) == (3, 0)
    assert hooks(model) == 0


def test_hooks_are_removed_after_an_exception():
    model = nn.Linear(3, 2)
    cost = Cost(model)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), cost:
        model(model(torch.zeros(3, 3)))
    assert hooks(model) == 0
    assert cost.forward_passes == 3
    assert cost.seconds >= 0


def test_counts_are_reset_on_entry():
    model = nn.Linear(3, 2)
    cost = Cost(model)
    for images in (3, 4):
        with cost:
            model(torch.zeros(images, 3))
        assert cost.forward_passes == images


def test_counting_does_not_change_gradients():
    model, images = nn.Linear(3, 2), torch.randn(4, 3)
    expected = torch.autograd.grad((model(images) ** 2).sum(), model.weight)[0]
    with Cost(model):
        observed = torch.autograd.grad((model(images) ** 2).sum(), model.weight)[0]
    assert torch.equal(observed, expected)


def test_seconds_are_measured_inside_the_block():
    cost = Cost(nn.Linear(3, 2))
    assert math.isnan(cost.seconds)
    with cost:
        time.sleep(0.05)
    assert 0.05 <= cost.seconds < 5


on_linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs /proc/self/clear_refs")


@on_linux
def test_peak_memory_is_measured_above_the_start():
    model = nn.Identity()
    before = torch.ones(2**25)  # 128 MiB, before the block and gone within it
    with Cost(model) as cost:
        held = torch.ones(2**24)  # 64 MiB
        del held
    assert 60 * 2**20 < cost.peak_memory < 100 * 2**20
    del before
    with Cost(model) as cost:
        pass
    assert cost.peak_memory < 8 * 2**20


@on_linux
def test_peak_memory_does_not_depend_on_memory_freed_before():
    torch.ones(31 * 2**18)  # after a block of 31 MiB is freed, malloc takes smaller blocks from the heap
    freed = [torch.ones(20 * 2**18) for _ in range(10)]
    above = [torch.ones(2**12) for _ in range(100)]  # the heap below these stays resident
    del freed
    with Cost(nn.Identity()) as cost:
        held = [torch.ones(16 * 2**18) for _ in range(4)]
        del held
    assert 60 * 2**20 < cost.peak_memory < 100 * 2**20
    del above


def test_peak_memory_is_nan_if_the_system_records_no_peak(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_PROCESS", tmp_path / "nowhere")
    with Cost(nn.Identity()) as cost:
        pass
    assert math.isnan(cost.peak_memory)
    assert cost.seconds >= 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_peak_memory_on_a_gpu_is_memory_of_the_gpu():
    model = nn.Linear(3, 2).cuda()
    with Cost(model) as cost:
        held = torch.ones(2**24, device="cuda")
        del held
    assert cost.peak_memory == 2**26
