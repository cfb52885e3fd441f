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
    """Run the forward passes of `network` in this precision in the body; a tensor comes out in the type of the images.

    With `bf16-mixed`, torch's autocast chooses the operations that lose little; `32-true` leaves the passes as they
    are. Raises `UserError` for an unknown precision.
    """
    check_precision(precision)
    if precision == FULL:
        yield
        return
    plain = network.forward

    # Autocast surrounds the passes alone: it would also round what explainers and metrics compute around them.
    def forward(images: Tensor, *further: Any, **named: Any) -> Any:
        with torch.autocast(images.device.type, torch.bfloat16):
            output = plain(images, *further, **named)
        return output.to(images.dtype) if isinstance(output, Tensor) else output

    own = "forward" in network.__dict__  # set by the user on this network
    network.forward = forward
    try:
        yield
    finally:
        del network.forward
        if own:
            network.forward = plain
