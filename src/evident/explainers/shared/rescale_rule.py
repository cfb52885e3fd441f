r"""DeepLift's rules for the calls of a forward pass: multipliers instead of derivatives.

A. Shrikumar, P. Greenside, A. Kundaje: *Learning important features through propagating activation differences*, ICML
2017, arXiv 1704.02685. With x and y the input and output of a call for the image, x0 and y0 those for the reference,
dx = x - x0 and dy = y - y0, a signal R at the output becomes the signal m R at the input:

    linear call                  the gradient                                         section 3.5.1, the Linear rule
    nonlinearity of one number   m = dy / dx, and the derivative where dx = 0         section 3.5.2, the Rescale rule

The paper states no rule for other calls. Those of SHAP's DeepExplainer (S. Lundberg and S.-I. Lee, NIPS 2017) also keep
the sum of m dx equal to dy; we use them for max-pooling and products, and likewise for matrix products and quotients:

    maximum     dy+ goes to where x has its maximum, dy- to where x0 has its own (of equal values, the first)
    a * b       m = (b + b0) / 2 for a and (a + a0) / 2 for b, the Shapley values of the product
    a / b       a * (1 / b)

So the sum of m dx over the image is score(x) - score(x0). A call without a rule raises `UserError`.

The rules replace calls, as in `backward_rules`, and the n-th call of a rule in the pass of the image is compared with
the n-th in the pass of the reference: reused modules, functions and in-place layers are handled alike.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode, resolve_name

from evident.errors import NotApplicable
from evident.models import functions
from evident.models.calls import nonlinearity
from evident.models.functions import depends_on_image, image_operands

Call = Callable[..., Any]

# Below this difference of inputs, dy / dx is rounding error.
_SMALLEST = 1e-10
_LINEAR = functions.RESHAPING | functions.AVERAGES | functions.SUMS | functions.DIFFERENCES
_BILINEAR = functions.PRODUCTS | functions.MATRIX_PRODUCTS
_LINEAR_IN_FIRST = functions.CONVOLUTIONS | functions.TRANSPOSED_CONVOLUTIONS | functions.QUOTIENTS | {F.linear}


def _back(call: Call, operands: tuple[Tensor, ...], signal: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients of `call` at `operands`, for the gradient `signal` of its output."""
    with torch.enable_grad():
        leaves = [operand.detach().requires_grad_() for operand in operands]
        # Clones: the call may work in place.
        return torch.autograd.grad(call(*(leaf.clone() for leaf in leaves)), leaves, signal)


class _Rescale(torch.autograd.Function):
    """R_in = R dy / dx."""

    @staticmethod
    def forward(ctx: Any, call: Call, x0: Tensor, x: Tensor) -> Tensor:
        dx = x - x0
        zero = dx.abs() <= _SMALLEST
        # Before the call, which may overwrite x.
        derivative = _back(call, (x,), torch.ones_like(x))[0] if zero.any() else None
        y = call(x)
        if y is x:
            ctx.mark_dirty(x)
        multiplier = (y - call(x0)) / dx
        ctx.save_for_backward(multiplier if derivative is None else torch.where(zero, derivative, multiplier))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[None, None, Tensor]:
        return None, None, signal * ctx.saved_tensors[0]


class _Maximum(torch.autograd.Function):
    """R_in = (R dy+ at the maximum of x, plus R dy- at the maximum of x0) / dx."""

    @staticmethod
    def forward(ctx: Any, call: Call, x0: Tensor, x: Tensor) -> Tensor:
        y = call(x)
        ctx.save_for_backward(x0, x, y - call(x0))
        ctx.call = call
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[None, None, Tensor]:
        x0, x, dy = ctx.saved_tensors
        (rise,) = _back(ctx.call, (x,), signal * dy.clamp(min=0))
        (fall,) = _back(ctx.call, (x0,), signal * dy.clamp(max=0))
        (derivative,) = _back(ctx.call, (x,), signal)
        dx = x - x0
        return None, None, torch.where(dx.abs() <= _SMALLEST, derivative, (rise + fall) / dx)


class _Product(torch.autograd.Function):
    """R_a = R (b + b0) / 2 and R_b = R (a + a0) / 2: the gradient at the mean of both passes."""

    @staticmethod
    def forward(ctx: Any, call: Call, a0: Tensor, b0: Tensor, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward((a + a0) / 2, (b + b0) / 2)
        ctx.call = call
        y = call(a, b)
        if y is a:
            ctx.mark_dirty(a)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[Any, ...]:
        return None, None, None, *_back(ctx.call, ctx.saved_tensors, signal)


_Rule = type[torch.autograd.Function]


class _RuleCall(NamedTuple):
    """Hold one call that needs a rule: its name and its operands that depend on the image."""

    name: str
    operands: tuple[Tensor, ...]

    def __str__(self) -> str:
        return f"{self.name} of {' and '.join(str(tuple(operand.shape)) for operand in self.operands)}"

    def like(self, other: "_RuleCall") -> bool:
        return str(self) == str(other)


def _is_linear(func: Call, args: tuple[Any, ...], kwargs: dict[str, Any], place: int) -> bool:
    """Return whether the call is linear in its argument at `place`, the only one that depends on the image."""
    if func in _BILINEAR:
        return True
    first = func in _LINEAR_IN_FIRST or functions.is_fixed_batch_norm(func, args, kwargs)
    return place == 0 and (first or functions.is_inactive_dropout(func, args, kwargs))


def _rule(func: Call, args: tuple[Any, ...], kwargs: dict[str, Any], places: list[int]) -> _Rule | None:
    """Return the rule of a call that is not linear in its arguments at `places`, or None."""
    if len(places) == 2 and func in _BILINEAR:
        return _Product
    if places == [0] and func in functions.MAXIMA:
        return _Maximum
    # A gated linear unit counts as a nonlinearity, but has two inputs.
    pointwise = func in functions.POINTWISE or nonlinearity(func, args, kwargs) not in (None, "glu")
    return _Rescale if places == [0] and pointwise else None


class _Calls(TorchFunctionMode, ABC):
    """Find the calls that need a rule, and refuse those that have none."""

    @abstractmethod
    def _apply(self, rule: _Rule, call: Call, made: _RuleCall) -> Any:
        """Return the output of the call."""

    def __torch_function__(
        self, func: Call, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if not args and "input" in kwargs:
            args = (kwargs.pop("input"),)
        operands, named = image_operands(args), image_operands(list(kwargs.values()))
        if func in _LINEAR or not (operands or named):
            return func(*args, **kwargs)
        places = [place for place, value in enumerate(args) if depends_on_image(value)]
        if named or len(places) < len(operands):  # an operand that is named, or in a list
            return self._without_rule(func, args, kwargs)
        if len(places) == 1 and _is_linear(func, args, kwargs, places[0]):
            return func(*args, **kwargs)
        if func in functions.QUOTIENTS and places[-1] == 1 and not kwargs:
            with self:  # the rules apply to both calls
                return args[0] * torch.reciprocal(args[1])
        rule = _rule(func, args, kwargs, places)
        if rule is None:
            return self._without_rule(func, args, kwargs)

        def call(*operands: Tensor) -> Any:
            changed = dict(zip(places, operands, strict=True))
            return func(*(changed.get(place, value) for place, value in enumerate(args)), **kwargs)

        return self._apply(rule, call, _RuleCall(_name(func), tuple(operands)))

    def _without_rule(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output = func(*args, **kwargs)
        if functions.carries_signal(output):
            raise NotApplicable(f"DeepLift has no rule for {_name(func)}; use integrated_gradients, which needs none")
        return output


def _name(func: Call) -> str:
    return resolve_name(func) or func.__name__


class ReferencePass(_Calls):
    """Record, in `calls`, what the pass of the reference hands to the calls that need a rule."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[_RuleCall] = []

    def _apply(self, rule: _Rule, call: Call, made: _RuleCall) -> Any:
        # Copies: later calls may overwrite the operands.
        copies = tuple(operand.detach().clone() for operand in made.operands)
        self.calls.append(_RuleCall(made.name, copies))
        return call(*made.operands)


class RescaleRules(_Calls):
    """Replace the backward pass of the calls inside a `with` block by the rules.

        with ReferencePass() as reference:
            model(references)
        with RescaleRules(reference) as rules:
            scores = model(images)
        (multipliers,) = torch.autograd.grad(scores[:, 0].sum(), images)

    Images and references have one shape and require gradients; parameters must have `requires_grad=False`. Each block
    covers one pass. Raises `UserError` for a call without a rule, and if both passes make different calls.
    """

    def __init__(self, reference: ReferencePass) -> None:
        super().__init__()
        self._calls, self._next = reference.calls, 0

    def _apply(self, rule: _Rule, call: Call, made: _RuleCall) -> Any:
        before = self._calls[self._next] if self._next < len(self._calls) else None
        if before is None or not made.like(before):
            raise NotApplicable(
                f"call {self._next + 1} that needs a rule of DeepLift is {made} for the image, but "
                f"{before or 'no call'} for the reference; use integrated_gradients, which needs no equal calls"
            )
        self._next += 1
        return rule.apply(call, *before.operands, *made.operands)
