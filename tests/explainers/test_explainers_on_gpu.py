"""Every explainer of conf/explainer gives the same heatmaps on a GPU as on the CPU, by the same draws.

So it does for a network that keeps channels last in memory, as cells do.

Searches amplify last bits from step to step, so they are compared after their first steps. The same comparisons run
here on two copies on the CPU: equal ones agree, and one whose weights differ by a hundredth is found.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from devices import assert_agree, on
from explainer_configs import FOLDER
from samples import smooth_noise
from test_explainer_contract import (
    IGNORE_THE_NETWORK,
    class_of,
    every_explainer,
    explain,
    make,
    read,
    some_targets,
    supported,
    takes,
)
from torch import Tensor

from evident.models.precision import FULL, Passes, passes_in

STEPS = 3


def compare(file: Path, device: str, precision: str = FULL, **changes: Any) -> None:
    """Compare heatmaps on the CPU with those of a copy of the network on a device, with `changes` (see `on`)."""
    network = supported(class_of(file))[0].eval()
    images, settings = smooth_noise(), {"steps": STEPS} if takes(file, "steps") else {}
    maps = []
    for place, model in (("cpu", network), (device, on(device, network, **changes))):
        explainer = make(file, model, **settings)
        with passes_in(model, Passes(precision)):
            attribution = explain(explainer, images.to(place), some_targets(network).to(place))
            maps.append(explainer.heatmap(attribution))
        assert maps[-1].device.type == torch.device(place).type
    assert_agree({"heatmap": _halved(maps[1])}, {"heatmap": _halved(maps[0])}, precision)


def _halved(heatmap: Tensor) -> Tensor:
    """Return means over 2 x 2 pixels: a maximum that pooling finds one pixel further is the same evidence."""
    return torch.nn.functional.avg_pool2d(heatmap.detach().cpu(), 2)


@pytest.mark.gpu
@every_explainer
def test_heatmaps_on_a_gpu_are_those_of_the_cpu(file: Path) -> None:
    torch.backends.cudnn.allow_tf32 = False
    compare(file, "cuda")


@pytest.mark.gpu
@every_explainer
def test_heatmaps_in_bfloat16_on_a_gpu_are_those_of_the_cpu(file: Path) -> None:
    if not read(file).get("forward_only"):
        pytest.skip("takes gradients, which are always in float32")
    compare(file, "cuda", "bf16-mixed")


@every_explainer
def test_heatmaps_of_a_network_with_channels_last_are_the_same(file: Path) -> None:
    compare(file, "cpu", memory_format=torch.channels_last)


CHEAP = [FOLDER / f"{name}.yaml" for name in ("gradient", "grad_cam", "lrp", "lime", "fgvis")]


@pytest.mark.parametrize("file", CHEAP, ids=lambda file: file.stem)
def test_rounding_errors_of_another_device_pass(file: Path) -> None:
    compare(file, "cpu", noise=1e-7)


@pytest.mark.parametrize("file", CHEAP, ids=lambda file: file.stem)
def test_weights_that_differ_by_a_hundredth_are_found(file: Path) -> None:
    assert file.stem not in IGNORE_THE_NETWORK
    with pytest.raises(AssertionError, match=r"heatmap: .* of the values differ"):
        compare(file, "cpu", noise=0.01)
