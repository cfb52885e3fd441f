"""Passes of a network in bfloat16, which modern processors compute several times as fast, for work without gradients.

Masks and scores around the passes stay in float32: a regression over super-pixels would lose its digits. Rankings by
half-precision passes can differ where methods are close, so the precision is part of what names a cell.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from evident.errors import UserError

Precision = Literal["32-true", "bf16-mixed"]  # names of Lightning's
FULL: Precision = "32-true"


def check_precision(precision: str) -> None:
    """Raise `UserError` for a precision that is not known."""
    if precision not in get_args(Precision):
        raise UserError(f"precision={precision} is unknown; use {' or '.join(get_args(Precision))}")


@contextmanager
def passes_in(network: nn.Module, precision: str) -> Iterator[None]:
    """Run the forward passes of `network` in this precision in the body; its inputs and outputs keep their types.

    With `bf16-mixed`, torch's autocast chooses the operations that lose little. Raises `UserError` for an unknown
    precision.
    """
    check_precision(precision)
    if precision == FULL:
        yield
        return
    device = next((parameter.device.type for parameter in network.parameters()), "cpu")
    context = torch.autocast(device, torch.bfloat16)

    def enter(module: nn.Module, given: tuple[Any, ...]) -> None:
        context.__enter__()

    def leave(module: nn.Module, given: tuple[Any, ...], output: Any) -> Any:
        context.__exit__(None, None, None)
        return output.to(given[0].dtype) if isinstance(output, Tensor) else None  # None keeps the output

    # Only the passes: autocast would also round what explainers and metrics compute around them.
    handles = network.register_forward_pre_hook(enter), network.register_forward_hook(leave, always_call=True)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
