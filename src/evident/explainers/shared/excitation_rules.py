r"""The backward rules of excitation backpropagation, which propagate probabilities instead of gradients.

J. Zhang et al.: *Top-down neural attention by excitation backprop*, ECCV 2016, arXiv 1608.00507. A neuron that wins
with probability R distributes it among the neurons that excite it. With x+ and w+ the positive parts of its inputs and
weights, equations 5 and 10 (MWP, the marginal winning probability):

    R_j = sum_i  w+_ij x+_j / Z_i  R_i,     Z_i = sum_j w+_ij x+_j

The sum of R is preserved, except at neurons that no input excites (Z_i = 0; they are active by their bias alone).
The contrastive rule subtracts, at one layer, the same expression with -w in place of w: evidence for a class minus
evidence against it.

The rule of each call of a forward pass (the paper's networks have the first three kinds; the others are our choice):

    convolution, fully connected    the rule
    average pooling, mean, sum      the rule with weights of one
    max-pooling, concatenation, reshaping, dropout    the gradient: all of R goes to the origin of the value
    a nonlinearity, a normalisation    R unchanged: a neuron with one input
    batch normalisation             R unchanged; where its slope is negative, the convolution before it has weights -w
    a + b                           the rule with weights of one; all of R to a where b is a constant
    a * b, a / b                    all of R to the operand with more values: the map, not its gate

As in `backward_rules`, the rules replace calls, so functions and reused or in-place modules are handled alike. Every
other call uses its gradient. Attention, a product of several parts of the image, has no rule and is refused.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from evident.errors import NotApplicable
from evident.models import functions
from evident.models.calls import nonlinearity
from evident.models.functions import depends_on_image, image_operands

Call = Callable[..., Any]

_WEIGHTED = functions.CONVOLUTIONS | {F.linear}
_PRODUCTS = functions.PRODUCTS | functions.QUOTIENTS
_ATTENTION = functions.MATRIX_PRODUCTS | {F.scaled_dot_product_attention, F.multi_head_attention_forward}


def winning(x: Tensor, excited: Callable[[Tensor], Tensor], signal: Tensor) -> Tensor:
    """Return x+ * f^T(R / f(x+)) for a linear f, `excited`, with non-negative weights; R / 0 counts as zero."""
    with torch.enable_grad():
        x = x.detach().clamp(min=0).requires_grad_()
        z = excited(x)
        (back,) = torch.autograd.grad(z, x, torch.where(z > 0, signal / z, 0))
    return x.detach() * back


class _Weighted(torch.autograd.Function):
    """MWP of a convolution or a fully connected layer."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, call: Call, used: set[str]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.call, ctx.used = call, used
        # Later layers set these attributes on this call's node in the graph.
        ctx.slope, ctx.contrastive = None, False
        return call(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        if ctx.slope is not None:
            weight = weight * ctx.slope.sign().view(-1, *[1] * (weight.dim() - 1))
        ctx.used.add("weights")
        excited = winning(x, lambda x: ctx.call(x, weight.clamp(min=0), None), signal)
        if ctx.contrastive:
            ctx.used.add("contrastive")
            excited -= winning(x, lambda x: ctx.call(x, (-weight).clamp(min=0), None), signal)
        return excited, None, None, None, None


class _Mean(torch.autograd.Function):
    """MWP of a linear call with non-negative weights and no bias."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, call: Call, used: set[str]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.call, ctx.used = call, used
        return call(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor, None, None]:
        ctx.used.add("weights of one")
        return winning(ctx.saved_tensors[0], ctx.call, signal), None, None


class _Sum(torch.autograd.Function):
    """MWP of a + b: R a+ / (a+ + b+) and R b+ / (a+ + b+)."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, call: Call, used: set[str]) -> Tensor:
        ctx.used = used
        # Clamped copies: the call may overwrite a.
        ctx.save_for_backward(a.clamp(min=0), b.clamp(min=0))
        y = call(a, b)
        if y is a:
            ctx.mark_dirty(a)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor, Tensor, None, None]:
        ctx.used.add("weights of one")
        a, b = ctx.saved_tensors
        share = torch.where(a + b > 0, signal / (a + b), 0)
        return (a * share).sum_to_size(a.shape), (b * share).sum_to_size(b.shape), None, None


class Unchanged(torch.autograd.Function):
    """R unchanged, to x alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, call: Call) -> Tensor:
        ctx.shape = x.shape
        y = call(x)
        if y is x:
            ctx.mark_dirty(x)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor, None]:
        return signal.sum_to_size(ctx.shape), None


class ExcitationRules(TorchFunctionMode):
    """Replace the backward pass of the calls inside a `with` block by the rules.

        with ExcitationRules() as rules:
            scores = model(images)
        (probability,) = torch.autograd.grad(scores[:, 0].sum(), images)

    `last` is the graph node of the last weighted layer's call, or None; setting its attribute `contrastive` makes the
    rule there contrastive. After the backward pass, `used` names the rules that it met: "weights" of a layer, "weights
    of one", "contrastive". Only inputs receive signals; parameters must have `requires_grad=False`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last: Any = None
        self.used: set[str] = set()

    def __torch_function__(
        self, func: Call, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if not args and "input" in kwargs:
            args = (kwargs.pop("input"),)
        if func in _WEIGHTED:
            return self._weighted(func, *args, **kwargs)
        if func in functions.SUMS and len(args) == 2 and not kwargs and all(map(depends_on_image, args)):
            return _Sum.apply(*args, func, self.used)
        if func in functions.SUMS or func in _PRODUCTS:
            return self._through_the_largest(func, args, kwargs)
        if func in _ATTENTION and len(image_operands([args, list(kwargs.values())])) > 1:
            raise NotApplicable("excitation backpropagation has no rule for attention; use attention_relevance")
        if not args or not depends_on_image(args[0]):
            return func(*args, **kwargs)
        if func is F.batch_norm:
            return self._batch_norm(*args, **kwargs)
        if func in functions.AVERAGES:
            return _Mean.apply(args[0], lambda x: func(x, *args[1:], **kwargs), self.used)
        # A gated linear unit counts as a nonlinearity, but has two inputs.
        if func in functions.NORMALISATIONS or nonlinearity(func, args, kwargs) not in (None, "glu"):
            return Unchanged.apply(args[0], lambda x: func(x, *args[1:], **kwargs))
        return func(*args, **kwargs)

    def _weighted(
        self, func: Call, input: Tensor, weight: Tensor, bias: Tensor | None = None, *rest: Any, **kwargs: Any
    ) -> Tensor:
        def call(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            return func(x, weight, bias, *rest, **kwargs)

        y = _Weighted.apply(input, weight, bias, call, self.used)
        self.last = y.grad_fn
        return y

    def _batch_norm(
        self, input: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None = None, *rest: Any, **kwargs: Any
    ) -> Tensor:
        node: Any = input.grad_fn
        if weight is not None and hasattr(node, "slope"):
            node.slope = weight
        return Unchanged.apply(input, lambda x: F.batch_norm(x, mean, var, weight, *rest, **kwargs))

    def _through_the_largest(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        operands = [index for index, value in enumerate(args) if depends_on_image(value)]
        if not operands:
            return func(*args, **kwargs)
        index = max(operands, key=lambda index: args[index].numel())
        return Unchanged.apply(args[index], lambda x: func(*args[:index], x, *args[index + 1 :], **kwargs))
