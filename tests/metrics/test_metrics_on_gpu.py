"""Every metric of conf/metric gives the same scores on a GPU as on the CPU, by the same draws.

So it does for networks that keep channels last in memory, as cells do.

The same comparisons run here on two copies on the CPU: equal ones agree, and one whose weights differ is found.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from devices import assert_agree, on
from samples import kaiming
from test_metric_contract import FILES, NAMES, Explainer, changed, configured, every_file, explanation, values

from evident.metrics.contract import Explanation, forward_only
from evident.models.precision import FULL, Passes, passes_in


def compare(file: Path, device: str, precision: str = FULL, **changes: Any) -> None:
    """Compare scores on the CPU with those of copies of the networks on a device, with `changes` (see `on`)."""
    score, here = configured(file), explanation(change=_alive)
    there = _moved(explanation(change=_alive), device, **changes)
    found = []
    for whole in (here, there):
        assert whole.model is not None
        with passes_in(whole.model, Passes(precision)):
            found.append(values(score(whole)))
    assert {value.device.type for value in found[1].values()} == {torch.device(device).type}
    assert_agree(found[1], found[0], precision)


def _alive(network: Any) -> Any:
    """Return a network whose scores depend on the image by more than rounding errors."""
    return kaiming(network).eval()


def _moved(whole: Explanation, device: str, **changes: Any) -> Explanation:
    moved = changed(whole, lambda tensor: tensor.to(device))
    networks: Any = (whole.model, whole.twin, whole.shuffled)
    model, twin, shuffled = (on(device, network, **changes) for network in networks)
    fields = {**moved.__dict__, "model": model, "twin": twin, "shuffled": shuffled, "explainer": Explainer(model)}
    return Explanation(**fields)


@pytest.mark.gpu
@every_file
def test_scores_on_a_gpu_are_those_of_the_cpu(file: Path) -> None:
    torch.backends.cudnn.allow_tf32 = False
    compare(file, "cuda")


@pytest.mark.gpu
@every_file
def test_scores_in_bfloat16_on_a_gpu_are_those_of_the_cpu(file: Path) -> None:
    if not forward_only(configured(file)):
        pytest.skip("takes gradients, or no passes, which are always in float32")
    compare(file, "cuda", "bf16-mixed")


@every_file
def test_scores_of_networks_with_channels_last_are_the_same(file: Path) -> None:
    compare(file, "cpu", memory_format=torch.channels_last)


@every_file
def test_rounding_errors_of_another_device_pass(file: Path) -> None:
    compare(file, "cpu", noise=1e-7)


# Not of the read-out: its score counts right images, which few changes of weights alter.
@pytest.mark.parametrize("name", ["stability", "perturbation_blur", "road", "class_overlap"])
def test_weights_that_differ_are_found(name: str) -> None:
    with pytest.raises(AssertionError, match=r"of the values differ|NaN in other places"):
        compare(FILES[NAMES.index(name)], "cpu", noise=0.1)
