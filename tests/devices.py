"""Comparisons of explanations and scores on a GPU with those on the CPU.

Both compute the same formulas and draw the same numbers; the last bits of sums differ. `TOLERANCE` is stated for each
precision, as a share of the largest value: float32 has seven digits, of which sums of thousands of terms lose two or
three; bfloat16 has two to three, and networks lose one. Single pixels may differ by more where a choice hangs on last
bits (which of two equal super-pixels, which cell is kept), so a share of them is left out, `STRAY`.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

TOLERANCE = {"32-true": 1e-3, "bf16-mixed": 5e-2}
STRAY = {"32-true": 0.01, "bf16-mixed": 0.05}


def assert_agree(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], precision: str = "32-true") -> None:
    """Raise `AssertionError` unless both hold the same values, up to the tolerance of the precision.

    NaN must be in the same places. The error names the first that differs.
    """
    assert found.keys() == expected.keys()
    for name, right in expected.items():
        left = found[name].detach().cpu()
        assert left.shape == right.shape, f"{name or 'values'} is {tuple(left.shape)}, not {tuple(right.shape)}"
        assert left.isnan().equal(right.isnan()), f"{name or 'values'}: NaN in other places"
        left, right = left.double().nan_to_num(), right.detach().double().nan_to_num()
        difference = (left - right).abs() / right.abs().max().clamp(min=1e-30)
        stray = float((difference > TOLERANCE[precision]).double().mean())
        assert stray <= STRAY[precision], (
            f"{name or 'values'}: {stray:.1%} of the values differ by more than {TOLERANCE[precision]:g} of the "
            f"largest ({float(difference.max()):.2g} at most)"
        )


def on(
    device: str, network: nn.Module, noise: float = 0.0, memory_format: torch.memory_format = torch.preserve_format
) -> Any:
    """Return a copy of a network on a device in a memory format, its weights changed by this share at random."""
    moved = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in moved.parameters():
            weight.mul_(1 + noise * torch.randn(weight.shape, generator=generator))
    return moved.to(device).to(memory_format=memory_format)
