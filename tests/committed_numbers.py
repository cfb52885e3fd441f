"""Numbers of every explainer and metric on a small network with weights from a formula, as they were committed.

A test that compares them fails where code gives other numbers on any machine. If they were meant to change, increase
`CELL_FORMAT`, so that the store computes its cells again, and write the numbers anew:

    python tests/committed_numbers.py
"""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn

from evident.request import CELL_FORMAT

HERE = Path(__file__).parent
# Whose numbers are all zero or all equal here: a mask that is empty because half of the score is there without it, one
# class predicted for all training images, a class that no removed feature changes, heatmaps whose best factor is 0, a
# control.
SILENT = {
    *("fgvis/keep_0.5", "fgvis/one_sided_keep_0.5", "vebi/labels_predicted", "control/constant"),
    *("ablation", "read_out", "sparsity", "infidelity"),
}
Network = TypeVar("Network", bound=nn.Module)


def by_formula(network: Network) -> Network:
    """Give every parameter float64 values that are the same on all machines, and return the network in eval mode."""
    network = network.double().eval()
    with torch.no_grad():
        for position, weight in enumerate(network.parameters()):
            inputs = max(1, weight[0].numel())
            # Far beyond its period the sine is as irregular as random numbers.
            values = torch.sin(12.9898 * torch.arange(weight.numel(), dtype=torch.float64) + position)
            weight.copy_(values.view_as(weight) * math.sqrt(8 / inputs))  # large enough for clear predictions
    return network


def summary(values: Tensor) -> list[float]:
    """Return the mean and the root mean square of a tensor, NaN counted as -1, and its values at five places."""
    flat = values.double().flatten().nan_to_num(nan=-1.0)
    places = flat[torch.arange(1, 6) * flat.numel() // 6]
    return [float(flat.mean()), float(flat.square().mean().sqrt()), *places.tolist()]


def check(kind: str, name: str, numbers: Mapping[str, list[float]]) -> None:
    """Compare the numbers of one explainer or metric with those in `numbers.json` of a folder of tests, to 1e-6."""
    committed = json.loads((HERE / kind / "numbers.json").read_text())
    advice = "increase CELL_FORMAT if they were meant to change, and run python tests/committed_numbers.py"
    assert committed["format"] == CELL_FORMAT, f"the committed numbers are of another CELL_FORMAT; {advice}"
    assert name in committed["numbers"], f"there are no committed numbers of {name}; {advice}"
    expected = committed["numbers"][name]
    assert name in SILENT or any(len(set(values)) > 1 for values in expected.values()), f"{name} protects nothing"
    assert numbers.keys() == expected.keys(), f"{name} has other scores than the committed ones; {advice}"
    for key, values in numbers.items():
        size = max(map(abs, expected[key]))
        assert values == pytest.approx(expected[key], rel=1e-6, abs=1e-6 * size), f"{name} {key}; {advice}"


def main() -> None:
    """Write the numbers of all explainers and metrics."""
    sys.path += [str(HERE / "explainers"), str(HERE / "metrics")]
    import test_explainer_contract
    import test_metric_contract

    modules: dict[str, Any] = {"explainers": test_explainer_contract, "metrics": test_metric_contract}
    for kind, module in modules.items():
        numbers = {name: module.numbers_of(name) for name in module.NAMES}
        lines = [f"  {json.dumps(name)}: {json.dumps(values)}" for name, values in numbers.items()]
        text = f'{{"format": {CELL_FORMAT}, "numbers": {{\n' + ",\n".join(lines) + "\n}}"
        (HERE / kind / "numbers.json").write_text(f"{text}\n")


if __name__ == "__main__":
    main()
