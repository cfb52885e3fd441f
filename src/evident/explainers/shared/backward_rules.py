"""Alternative rules for the backward pass, active inside a `with` block.

Guided backpropagation and deconvolution keep the forward pass of a network and change the backward pass of its
rectifiers. With x the input of a layer and R the signal that arrives at its output in the backward pass:

    gradient   R_in = R * 1[x > 0]
    deconvnet  R_in = R * 1[R > 0]               Zeiler and Fergus 2014, section 2.1
    guided     R_in = R * 1[x > 0] * 1[R > 0]    Springenberg et al. 2015, section 3.4

Both papers state their rule for rectifiers only. With it, other activations f (leaky ReLU, ELU, SiLU, GELU, ...) would
keep their gradient, and a network of SiLUs would get the plain gradient under another name. We generalise; for f = ReLU
these are the rules above:

    deconvnet  R_in = R * 1[R > 0]                       no term of the forward pass, as above
    guided     R_in = R f'(x) * 1[x > 0] * 1[R > 0]      the gradient, but no signal where R or x is negative

Gates and squashing functions (sigmoid, tanh, softmax) are not activations in this sense and keep their gradient.

A convolution with a stride leaves a grid in the signal: in the backward pass its kernel meets R at every stride-th
position and zeros between them. The rule `resampled` avoids the grid: it resizes R to the size that the output would
have with stride 1, and then applies the transposed convolution with stride 1. With W^T that convolution, with the same
weight, padding, dilation and groups, and h and H the lengths of one axis of R and R':

    resampled  R_in = W^T R'                     Oramas et al. 2019, arXiv 1712.06302
               R'[i] = R[floor((i + 1/2) h / H)]      the nearest neighbour, along both axes
               H = input + 2 padding - dilation (kernel - 1)

The result is not divided by stride^2, so the signal is larger than a gradient.

The rules replace *calls*: every torch function that the forward pass calls goes through
`BackwardRules.__torch_function__`. Modules, functions, in-place layers and reused layers are therefore handled alike,
and no hook or changed module is left behind. Calls that do not pass through Python (a scripted or compiled network)
are not seen.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.overrides import TorchFunctionMode

from evident.errors import UserError
from evident.models.calls import is_activation, rectifier

ReluRule = Literal["guided", "deconvnet"]
ConvolutionRule = Literal["resampled"]


_Call = Callable[..., Tensor]


def _called(ctx: Any, call: _Call, x: Tensor) -> Tensor:
    y = call(x)
    if y is x:
        ctx.mark_dirty(x)
    return y


def _rectify(ctx: Any, x: Tensor, ceiling: float | None, in_place: bool) -> Tensor:
    if not in_place:
        return x.relu() if ceiling is None else x.clamp(0, ceiling)
    ctx.mark_dirty(x)
    return x.relu_() if ceiling is None else x.clamp_(0, ceiling)


class _Guided(torch.autograd.Function):
    """R_in = R * 1[0 < x < ceiling] * 1[R > 0]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ceiling: float | None, in_place: bool) -> Tensor:
        # x, not y: the network may overwrite y. In place they are one, and torch's own rectifier keeps it too.
        ctx.save_for_backward(x)
        ctx.ceiling = ceiling
        return _rectify(ctx, x, ceiling, in_place)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        # The kernels of torch's own gradients: a mask of bools takes three times as long.
        if ctx.ceiling is None:
            return torch.ops.aten.threshold_backward(signal, x, 0.0).relu_(), None, None
        return torch.ops.aten.hardtanh_backward(signal, x, 0.0, ctx.ceiling).relu_(), None, None


class _Deconvnet(torch.autograd.Function):
    """R_in = R * 1[R > 0], whatever the input was; the ceiling of a rectifier has no effect either."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, ceiling: float | None, in_place: bool) -> Tensor:
        return _rectify(ctx, x, ceiling, in_place)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor, None, None]:
        return signal.relu(), None, None


class _GuidedActivation(torch.autograd.Function):
    """R_in = R f'(x) * 1[x > 0] * 1[R > 0]."""

    @staticmethod
    def forward(ctx: FunctionCtx, call: _Call, x: Tensor) -> Tensor:
        with torch.enable_grad():
            # Before the call, which may overwrite x.
            before = x.detach().clone().requires_grad_()
            (slope,) = torch.autograd.grad(call(before.clone()).sum(), before)
        ctx.save_for_backward(slope * (before.detach() > 0))
        return _called(ctx, call, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[None, Tensor]:
        return None, signal.clamp(min=0) * ctx.saved_tensors[0]


class _DeconvnetActivation(torch.autograd.Function):
    """R_in = R * 1[R > 0]."""

    @staticmethod
    def forward(ctx: FunctionCtx, call: _Call, x: Tensor) -> Tensor:
        return _called(ctx, call, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[None, Tensor]:
        return None, signal.clamp(min=0)


# By rule, for a rectifier and for another activation.
_RELU_RULES: dict[str, tuple[type[torch.autograd.Function], type[torch.autograd.Function]]] = {
    "guided": (_Guided, _GuidedActivation),
    "deconvnet": (_Deconvnet, _DeconvnetActivation),
}


class _Resampled(torch.autograd.Function):
    """R_in = W^T R', where R' is R resized (nearest neighbour) to the size of the output with stride 1."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
        groups: int,
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.padding, ctx.dilation, ctx.groups = x.shape, padding, dilation, groups
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        sizes = zip(ctx.shape[-2:], ctx.padding, ctx.dilation, weight.shape[2:], strict=True)
        size = [pixels + 2 * padding - dilation * (kernel - 1) for pixels, padding, dilation, kernel in sizes]
        signal = signal.reshape(-1, *signal.shape[-3:])  # a single image may have no batch dimension
        if signal.is_cpu:
            # Measured: both steps together are up to twice as fast in this format, whatever the weight's format.
            signal = signal.contiguous(memory_format=torch.channels_last)
        resampled = F.interpolate(signal, size, mode="nearest-exact")
        back = F.conv_transpose2d(resampled, weight, None, 1, ctx.padding, 0, ctx.groups, ctx.dilation)
        return back.reshape(ctx.shape), *[None] * 6


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[-1])


def _resampled_conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Compute `F.conv2d` with the same arguments; use the rule in the backward pass if the stride is not 1."""
    padding = 0 if padding == "valid" else padding
    # torch allows no other named padding together with a stride, and raises the error itself.
    if _pair(stride) == (1, 1) or isinstance(padding, str):
        return F.conv2d(input, weight, bias, stride, padding, dilation, groups)
    return _Resampled.apply(input, weight, bias, _pair(stride), _pair(padding), _pair(dilation), groups)


_CONVOLUTION_RULES: dict[str, Callable[..., Tensor]] = {"resampled": _resampled_conv2d}


def _check(argument: str, rule: str | None, rules: Iterable[str]) -> None:
    if rule is not None and rule not in rules:
        raise UserError(f"{argument}={rule!r} is not a backward rule; use {', '.join(rules)} or null")


class BackwardRules(TorchFunctionMode):
    """Change the backward pass of the calls inside a `with` block.

        with BackwardRules(relu="guided"):
            scores = model(images)
        (signal,) = torch.autograd.grad(scores[:, 0].sum(), images)

    The rules belong to the graph that the block records, so the backward pass may run after the block. Only inputs
    receive signals: under "resampled", the weight and bias of a strided convolution get no gradient. None means the
    gradient. `activations` counts the calls with the rule `relu`. Raises `UserError` for an unknown rule.
    """

    def __init__(self, relu: ReluRule | None = None, convolution: ConvolutionRule | None = None) -> None:
        _check("relu", relu, _RELU_RULES)
        _check("convolution", convolution, _CONVOLUTION_RULES)
        super().__init__()
        self.activations = 0
        self._relu = _RELU_RULES[relu] if relu else None
        self._convolution = _CONVOLUTION_RULES[convolution] if convolution else None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if self._relu is not None and is_activation(func, args, kwargs):
            self.activations += 1
            return self._activation(*self._relu, func, args, kwargs)
        if self._convolution is not None and func is F.conv2d:
            return self._convolution(*args, **kwargs)
        return func(*args, **kwargs)

    @staticmethod
    def _activation(
        of_rectifier: type[torch.autograd.Function],
        of_another: type[torch.autograd.Function],
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        if (call := rectifier(func, args, kwargs)) is not None:
            return of_rectifier.apply(*call)
        x, *others = args or (kwargs.pop("input"),)
        return of_another.apply(lambda x: func(x, *others, **kwargs), x)
