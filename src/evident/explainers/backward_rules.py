"""Other rules for the backward pass, for as long as a `with` block lasts.

Guided backpropagation and deconvolution leave a network's forward pass as it is and change what its
rectifiers let through on the way back. With x the rectifier's input and R the signal that comes back:

    gradient   R_in = R * 1[x > 0]
    deconvnet  R_in = R * 1[R > 0]               Zeiler and Fergus 2014, section 2.1
    guided     R_in = R * 1[x > 0] * 1[R > 0]    Springenberg et al. 2015, section 3.4

What is replaced is the *call*: every torch function that the forward pass calls goes through
`BackwardRules.__torch_function__`. So modules and functions, in-place and reused ones are one and the same
thing, and no hook and no changed module is left behind. Calls that do not pass through Python (a scripted
or compiled network) are not seen.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.overrides import TorchFunctionMode

from evident.errors import UserError

ReluRule = Literal["guided", "deconvnet"]


class Rectifier(NamedTuple):
    """One call of min(max(x, 0), ceiling): ReLU has no ceiling, ReLU6 has 6."""

    x: Tensor
    ceiling: float | None = None
    in_place: bool = False


def _rectify(ctx: Any, x: Tensor, ceiling: float | None, in_place: bool) -> Tensor:
    if not in_place:
        return x.clamp(0, ceiling)
    ctx.mark_dirty(x)
    return x.clamp_(0, ceiling)


class _Guided(torch.autograd.Function):
    """R_in = R * 1[0 < x < ceiling] * 1[R > 0]."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, ceiling: float | None, in_place: bool) -> Tensor:
        y = _rectify(ctx, x, ceiling, in_place)
        # The mask, not y: the network may overwrite y.
        ctx.save_for_backward(y > 0 if ceiling is None else (y > 0) & (y < ceiling))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor, None, None]:
        (active,) = ctx.saved_tensors
        return torch.where(active & (signal > 0), signal, 0), None, None


class _Deconvnet(torch.autograd.Function):
    """R_in = R * 1[R > 0]: the forward pass has no say, not even a ceiling."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, ceiling: float | None, in_place: bool) -> Tensor:
        return _rectify(ctx, x, ceiling, in_place)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor, None, None]:
        return torch.where(signal > 0, signal, 0), None, None


_RELU_RULES: dict[str, type[torch.autograd.Function]] = {"guided": _Guided, "deconvnet": _Deconvnet}


# Readers: the arguments of a torch call -> the rectifier that it is, or None where it is something else.


def _relu(input: Tensor, inplace: bool = False) -> Rectifier:
    return Rectifier(input, None, inplace)


def _relu6(input: Tensor, inplace: bool = False) -> Rectifier:
    return Rectifier(input, 6.0, inplace)


def _hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Rectifier | None:
    return Rectifier(input, max_val, inplace) if min_val == 0 else None


def _threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Rectifier | None:
    return Rectifier(input, None, inplace) if threshold == 0 and value == 0 else None


def _clamp(
    input: Tensor, min: Any = None, max: Any = None, *, out: Tensor | None = None, inplace: bool = False
) -> Rectifier | None:
    # A ceiling here is no activation of a network's but a range, like that of pixels.
    rectifies = isinstance(min, int | float) and min == 0 and max is None and out is None
    return Rectifier(input, None, inplace) if rectifies else None


def _in_place(read: Callable[..., Rectifier | None]) -> Callable[..., Rectifier | None]:
    return lambda *args, **kwargs: read(*args, **kwargs, inplace=True)


_READERS: dict[Callable[..., Any], Callable[..., Rectifier | None]] = {
    **dict.fromkeys((F.relu, torch.relu, Tensor.relu), _relu),
    **dict.fromkeys((F.relu_, torch.relu_, Tensor.relu_), _in_place(_relu)),
    F.relu6: _relu6,
    F.hardtanh: _hardtanh,
    F.hardtanh_: _in_place(_hardtanh),
    **dict.fromkeys((F.threshold, torch.threshold), _threshold),
    torch.threshold_: _in_place(_threshold),
    **dict.fromkeys((torch.clamp, torch.clip, torch.clamp_min), _clamp),
    **dict.fromkeys((Tensor.clamp, Tensor.clip, Tensor.clamp_min), _clamp),
    **dict.fromkeys((torch.clamp_, torch.clip_, torch.clamp_min_), _in_place(_clamp)),
    **dict.fromkeys((Tensor.clamp_, Tensor.clip_, Tensor.clamp_min_), _in_place(_clamp)),
}


class BackwardRules(TorchFunctionMode):
    """`with BackwardRules(relu="guided"): scores = model(images)`; then differentiate the scores as usual.

    The rule stays with the graph that the block has recorded: its backward pass may come after the block.
    Only calls within the block are changed. Raises `UserError` for an unknown rule; None means the
    gradient.
    """

    def __init__(self, relu: ReluRule | None = None) -> None:
        if relu is not None and relu not in _RELU_RULES:
            raise UserError(f"relu={relu!r} is no backward rule; use {', '.join(get_args(ReluRule))} or null")
        super().__init__()
        self._relu = _RELU_RULES[relu] if relu else None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if self._relu is not None and func in _READERS:
            rectifier = _READERS[func](*args, **kwargs)
            if rectifier is not None:
                return self._relu.apply(*rectifier)
        return func(*args, **kwargs)
