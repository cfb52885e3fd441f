"""Passes of a network in bfloat16, or compiled, for work without gradients.

Modern processors compute bfloat16 several times as fast. `torch.compile` fuses layers; it takes minutes before the
first pass, so it pays for long runs only.
Masks and scores around the passes stay in float32: a regression over super-pixels would lose its digits. Rankings by
half-precision passes can differ where methods are close, so the precision is part of what names a cell.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from evident.errors import UserError

Precision = Literal["32-true", "bf16-mixed"]  # names of Lightning's
FULL: Precision = "32-true"


@dataclass(frozen=True)
class Passes:
    """Hold how passes are computed: their precision, and whether by a compiled network, which is kept for reuse.

    Raises `UserError` for an unknown precision, and for compiled passes without a C++ compiler.
    """

    precision: str = FULL
    compiled: bool = False
    _kept: dict[nn.Module, Callable[..., Any]] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise UserError(f"precision={self.precision} is unknown; use {' or '.join(get_args(Precision))}")
        compiler = os.environ.get("CXX", "g++")  # as torch chooses it
        if self.compiled and shutil.which(compiler) is None:
            raise UserError(
                f"compile=true needs a C++ compiler, and there is no {compiler}; install one, name it by CXX, or use "
                "compile=false"
            )

    def of(self, network: nn.Module) -> Callable[..., Any]:
        """Return the compiled forward pass of `network`, which is compiled when it is first called."""
        if network not in self._kept:
            # Of any batch size: one compiled pass for all, so values do not depend on which size came first.
            self._kept[network] = torch.compile(network.forward, dynamic=True)
        return self._kept[network]


PLAIN = Passes()


@contextmanager
def passes_in(network: nn.Module, passes: Passes) -> Iterator[None]:
    """Run the forward passes of `network` in this way in the body; a tensor comes out in the type of the images.

    With `bf16-mixed`, torch's autocast chooses the operations that lose little; `32-true` leaves them as they are.
    Only passes without gradients are compiled, and only while no module inside the network has a hook.
    """
    if passes == PLAIN:
        yield
        return
    plain = network.forward
    compiled = passes.of(network) if passes.compiled else plain

    # Autocast surrounds the passes alone: it would also round what explainers and metrics compute around them.
    def forward(images: Tensor, *further: Any, **named: Any) -> Any:
        # A compiled pass may miss hooks that were set after it was compiled.
        compute = plain if torch.is_grad_enabled() or _hooked(network) else compiled
        with torch.autocast(images.device.type, torch.bfloat16, enabled=passes.precision != FULL):
            output = compute(images, *further, **named)
        return output.to(images.dtype) if isinstance(output, Tensor) else output

    own = "forward" in network.__dict__  # set by the user on this network
    network.forward = forward
    try:
        yield
    finally:
        del network.forward
        if own:
            network.forward = plain


def _hooked(network: nn.Module) -> bool:
    """Return whether a module inside `network` has a forward hook; those of the network itself surround its pass."""
    inside = (module for module in network.modules() if module is not network)
    return any(module._forward_hooks or module._forward_pre_hooks for module in inside)
