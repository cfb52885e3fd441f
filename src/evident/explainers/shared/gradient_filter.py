r"""FGVis's gradient filter: it prevents the optimisation from creating evidence that is not in the image.

J. Wagner et al.: *Interpretable and fine-grained visual explanations for convolutional neural networks*, CVPR 2019,
arXiv 1908.02686. A neuron may not be more active for the optimised image e than for the image x. With h the output of a
nonlinearity, b_u = max(0, h(x)), b_l = min(0, h(x)), and R the gradient that arrives at h(e):

    published    R_in = R * [h(e) <= b_u] * [h(e) >= b_l]
    one_sided    R_in = R * (1 - [h(e) > b_u] [R < 0]) * (1 - [h(e) < b_l] [R > 0])

The one-sided filter is ours, not the paper's. The published one also blocks the gradient that would bring a neuron back
into its bounds. The one-sided filter blocks only the gradient whose descent step pushes a neuron further out: that is R
< 0 above b_u and R > 0 below b_l. So R must be the gradient of an objective that is minimised; the published filter
does not depend on the sign.

The forward pass is unchanged. One pass of x gives the bounds of each *call* of a nonlinearity, so reused modules,
functions and in-place layers have bounds of their own. Calls after the last convolution or fully connected layer
compute the class scores and are not filtered; neither is the softmax of attention, which is not a function of a single
neuron.

One of the two bounds is zero, so both conditions together are 0 <= h(e) / h(x) <= 1. The published filter is therefore
a division and the kernel of hardtanh's gradient, which passes values strictly between two numbers. We move the bound
one float away from zero, so that h(e) = h(x) still passes. Rectifiers pass no R at h(e) = 0: they use the same kernel
with another lower limit, and it replaces their own backward pass. They are never below b_l = 0.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from evident.errors import NotApplicable, UserError
from evident.models.calls import is_weighted, nonlinearity, rectifier

Filter = Literal["published", "one_sided"]


class _Call(NamedTuple):
    """Hold one call of a nonlinearity in the pass of the image; `bound` is None where the call is not filtered."""

    kind: str
    shape: torch.Size
    bound: Tensor | None


Bounds = list[_Call]


def activation_bounds(model: nn.Module, images: Tensor) -> Bounds:
    """Return the bounds that `images` (N, 3, H, W) give the nonlinearities of `model`, in the order of the calls.

    Raises `UserError` if there is nothing to filter: no call before the last layer is a nonlinearity of
    `evident.models.calls`.
    """
    with torch.no_grad(), _Record() as record:
        model(images)
    if not any(call.bound is not None for call in record.calls[: record.last]):
        raise NotApplicable(
            f"the gradient filter has no effect on {type(model).__name__}, which calls no known nonlinearity before "
            "its last layer; use filter=none, or a layer of torch.nn"
        )
    free = [_Call(call.kind, call.shape, None) for call in record.calls[record.last :]]
    return record.calls[: record.last] + free


def _bound(value: Tensor, ceiling: float | None) -> Tensor:
    """Return the next float after h(x), away from zero, and at least the smallest normal float in absolute value.

    A smaller bound would make the division overflow.
    """
    tiny = torch.finfo(value.dtype).tiny
    bound = torch.nextafter(value, torch.copysign(torch.full_like(value, torch.inf), value))
    bound = torch.copysign(bound.abs().clamp_(min=tiny), bound)
    # A rectifier passes no gradient at its ceiling.
    return bound if ceiling is None else bound.clamp_(max=ceiling)


class _Record(TorchFunctionMode):
    """Record the nonlinearities of one pass; `last` counts those before the last weighted layer."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Bounds = []
        self.last = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        kind, rectifies = nonlinearity(func, args, kwargs), rectifier(func, args, kwargs)
        output = func(*args, **kwargs)
        if is_weighted(func):
            self.last = len(self.calls)
        if kind is not None:
            bound = _bound(output, rectifies.ceiling if rectifies else None)
            self.calls.append(_Call(kind, output.shape, bound))
        return output


def _pass(signal: Tensor, value: Tensor, bound: Tensor, above: float) -> Tensor:
    """Return `signal` where above < value / bound < 1, and zero elsewhere."""
    ratio = value / bound
    return torch.ops.aten.hardtanh_backward.grad_input(signal, ratio, above, 1.0, grad_input=ratio)


def _pass_back(signal: Tensor, value: Tensor, bound: Tensor, ceiling: float | None) -> Tensor:
    """Return `signal` where 0 < value < ceiling, but only its positive part where value >= bound."""
    allowed = torch.where(value < bound, signal, signal.clamp(min=0))
    if ceiling is None:
        return torch.ops.aten.threshold_backward.grad_input(allowed, value, 0.0, grad_input=allowed)
    return torch.ops.aten.hardtanh_backward.grad_input(allowed, value, 0.0, ceiling, grad_input=allowed)


def _outward(value: Tensor, bound: Tensor) -> Tensor:
    """Return 1 where value > b_u, -1 where value < b_l and 0 in between, for a bound of either sign."""
    ratio = value / bound
    outside = (ratio >= 1).to(value) - (ratio <= -torch.finfo(value.dtype).tiny).to(value)
    return outside * bound.sign()


class _FilteredRectifier(torch.autograd.Function):
    """Multiply R by 1[0 < h(e) < ceiling], and filter it by 1[h(e) <= h(x)], or only where R < 0 if `one_sided`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ceiling: float | None, in_place: bool, bound: Tensor, one_sided: bool) -> Tensor:
        if in_place:
            ctx.mark_dirty(x)
            y = x.relu_() if ceiling is None else x.clamp_(0, ceiling)
        else:
            y = x.relu() if ceiling is None else x.clamp(0, ceiling)
        # As torch does for its own rectifiers: the next layer may overwrite the tensor that is not saved.
        ctx.save_for_backward(y if ceiling is None else x, bound)
        ctx.ceiling, ctx.one_sided = ceiling, one_sided
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor, None, None, None, None]:
        y, bound = ctx.saved_tensors
        passed = _pass_back(signal, y, bound, ctx.ceiling) if ctx.one_sided else _pass(signal, y, bound, 0.0)
        return passed, None, None, None, None


class GradientFilter(TorchFunctionMode):
    """Filter the gradients of the calls inside a `with` block by the bounds of an earlier pass.

        with GradientFilter(activation_bounds(model, images), "one_sided"):
            scores = model(optimised)
        (gradient,) = torch.autograd.grad(-scores[:, 0].sum(), optimised)    # a minimised objective

    `kind` is `published` or `one_sided` (ours, not the paper's). The filter belongs to the graph that the block
    records. A block covers one pass of the same number of images as the bounds. Raises `UserError` for another kind,
    and if the network makes other calls than in the pass of the images.
    """

    def __init__(self, bounds: Bounds, kind: Filter = "published") -> None:
        if kind not in get_args(Filter):
            raise UserError(f"the gradient filter {kind!r} is unknown; use {', '.join(get_args(Filter))}")
        super().__init__()
        self._bounds, self._next, self._one_sided = bounds, 0, kind == "one_sided"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if kind is None and self._next < len(self._bounds):
            raise NotApplicable(self._mismatch("its end"))

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        kind, rectifies = nonlinearity(func, args, kwargs), rectifier(func, args, kwargs)
        if kind is None:
            return func(*args, **kwargs)
        if rectifies is not None:
            bound = self._bound_of(kind, rectifies.x.shape)
            if bound is None:
                return func(*args, **kwargs)
            return _FilteredRectifier.apply(*rectifies, bound, self._one_sided)
        output = func(*args, **kwargs)
        bound = self._bound_of(kind, output.shape)
        if bound is not None and output.requires_grad:
            # Computed now, because the network may overwrite the output.
            if self._one_sided:
                outward = _outward(output.detach(), bound)
                output.register_hook(lambda signal: signal.masked_fill(signal * outward < 0, 0))
            else:
                value, below = output.detach() / bound, -torch.finfo(output.dtype).tiny
                output.register_hook(lambda signal: torch.ops.aten.hardtanh_backward(signal, value, below, 1.0))
        return output

    def _bound_of(self, kind: str, shape: torch.Size) -> Tensor | None:
        before = self._bounds[self._next] if self._next < len(self._bounds) else None
        if before is None or (before.kind, before.shape) != (kind, shape):
            raise NotApplicable(self._mismatch(f"{kind} of {tuple(shape)}"))
        self._next += 1
        return before.bound

    def _mismatch(self, now: str) -> str:
        rest = self._bounds[self._next :]
        before = f"{rest[0].kind} of {tuple(rest[0].shape)}" if rest else "the end"
        return (
            f"the network's nonlinearity {self._next + 1} is {now}, but it was {before} in the pass of the image; "
            "the gradient filter needs a network that makes the same calls in every pass, or filter=none"
        )
