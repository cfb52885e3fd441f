r"""The backward rules of layer-wise relevance propagation (LRP): relevance instead of gradients.

S. Bach et al., PLoS ONE 10(7), 2015; the choice of a rule for each layer follows G. Montavon et al., *Layer-wise
relevance propagation: an overview*, 2019, and S. Lapuschkin et al., Nature Communications 10, 2019 (flat). A neuron i
with relevance R_i distributes it among its inputs x_j, by their part in z_i. With x+ and x- the positive and negative
parts, and z stabilised to z + 1e-6 sign(z):

    epsilon    R_j = sum_i  x_j w_ij / z_i  R_i,                     z_i = sum_j x_j w_ij + b_i
    z+         R_j = sum_i  (x+_j w+_ij + x-_j w-_ij) / z_i  R_i,    z_i = sum_j (x+_j w+_ij + x-_j w-_ij) + b+_i
    flat       R_j = sum_i  1 / n_i  R_i                             n_i = the number of inputs of i

The sum of R is preserved, except for the part that biases and the stabiliser take. The rule of each call (*epsilon plus
flat*; the parts on gates and normalisations are our choice):

    the first convolution or fully connected layer, and averages before it    flat
    other convolutions                    z+
    other fully connected layers, averages, sums and differences    epsilon
    batch normalisation                   R unchanged; the layer before it has its weights and bias fused with it
    a nonlinearity, another normalisation, a constant factor or summand    R unchanged
    max-pooling, concatenation, reshaping, dropout                         the gradient: R goes to the value's origin
    a * b, a / b                          all of R to a map, none to its gate, which has fewer values

As in `backward_rules`, the rules replace calls, so functions and reused or in-place modules are handled alike, and no
module is changed. A call without a rule raises `UserError`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode, resolve_name

from evident.errors import NotApplicable
from evident.explainers.shared.excitation_rules import Unchanged
from evident.models import functions
from evident.models.calls import nonlinearity
from evident.models.functions import depends_on_image, image_operands

Call = Callable[..., Any]

_EPSILON = 1e-6
_MERGING = functions.SUMS | functions.DIFFERENCES
_GATING = functions.PRODUCTS | functions.QUOTIENTS


def _stabilised(z: Tensor) -> Tensor:
    return z + torch.where(z < 0, -_EPSILON, _EPSILON)


def relevance(parts: Sequence[tuple[Call, tuple[Tensor, ...]]], signal: Tensor) -> list[list[Tensor]]:
    """Return x times d/dx of sum f(x), times R / z, for every operand x of each part (f, operands); z is the sum of f.

    Each f is linear in its operands, except for a constant.
    """
    with torch.enable_grad():
        leaves = [[operand.detach().requires_grad_() for operand in operands] for _, operands in parts]
        # Clones: a call may work in place.
        outputs = [call(*(x.clone() for x in own)) for (call, _), own in zip(parts, leaves, strict=True)]
        share = signal / _stabilised(torch.stack([output.detach() for output in outputs]).sum(0))
        return [
            [x.detach() * back for x, back in zip(own, torch.autograd.grad(output, own, share), strict=True)]
            for own, output in zip(leaves, outputs, strict=True)
        ]


def _epsilon(x: Tensor, weight: Tensor, bias: Tensor | None, call: Call, signal: Tensor) -> Tensor:
    return relevance([(lambda x: call(x, weight, bias), (x,))], signal)[0][0]


def _z_plus(x: Tensor, weight: Tensor, bias: Tensor | None, call: Call, signal: Tensor) -> Tensor:
    bias = None if bias is None else bias.clamp(min=0)
    parts = [(lambda x: call(x, weight.clamp(min=0), bias), (x.clamp(min=0),))]
    if (x < 0).any():
        parts.append((lambda x: call(x, weight.clamp(max=0), None), (x.clamp(max=0),)))
    return torch.stack([part[0] for part in relevance(parts, signal)]).sum(0)


def _flat(x: Tensor, weight: Tensor, bias: Tensor | None, call: Call, signal: Tensor) -> Tensor:
    return relevance([(lambda x: call(x, torch.ones_like(weight), None), (torch.ones_like(x),))], signal)[0][0]


class _Layer:
    """Hold the rule of one call of a weighted layer, and the scale and shift of the batch normalisation after it."""

    def __init__(self, rule: Callable[[Tensor, Tensor, Tensor | None, Call, Tensor], Tensor], call: Call) -> None:
        self.rule, self.call = rule, call
        self.fused: tuple[Tensor, Tensor] | None = None

    def fuse(self, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> None:
        scale = torch.rsqrt(var + eps) * (1 if weight is None else weight)
        self.fused = scale, (0 if bias is None else bias) - mean * scale

    def back(self, x: Tensor, weight: Tensor, bias: Tensor | None, signal: Tensor) -> Tensor:
        if self.fused is not None:
            scale, shift = self.fused
            weight = weight * scale.view(-1, *[1] * (weight.dim() - 1))
            bias = shift if bias is None else bias * scale + shift
        return self.rule(x, weight, bias, self.call, signal)


class _Weighted(torch.autograd.Function):
    """The rule of `layer`."""

    @staticmethod
    def forward(ctx: Any, layer: _Layer, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        ctx.layer = layer
        return layer.call(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor | None, ...]:
        return None, ctx.layer.back(*ctx.saved_tensors, signal), None, None


class _Epsilon(torch.autograd.Function):
    """The epsilon rule of a call that is linear in its operands; with `flat`, of operands of one."""

    @staticmethod
    def forward(ctx: Any, call: Call, flat: bool, *operands: Tensor) -> Tensor:
        # Copies: the network may overwrite the operands of a sum.
        ctx.save_for_backward(*(torch.ones_like(x) if flat else x.clone() for x in operands))
        ctx.call = call
        y = call(*operands)
        if y is operands[0]:
            ctx.mark_dirty(y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[Any, ...]:
        return None, None, *relevance([(ctx.call, ctx.saved_tensors)], signal)[0]


def _keeps_relevance(func: Call, args: tuple[Any, ...], kwargs: dict[str, Any], place: int) -> bool:
    """Return whether R is unchanged by the call, whose argument at `place` alone depends on the image."""
    if func in _MERGING | functions.PRODUCTS:
        return True
    # A gated linear unit counts as a nonlinearity, but has two inputs.
    pointwise = func in functions.POINTWISE or nonlinearity(func, args, kwargs) not in (None, "glu")
    return place == 0 and (pointwise or func in functions.NORMALISATIONS | functions.QUOTIENTS)


class RelevanceRules(TorchFunctionMode):
    """Replace the backward pass of the calls inside a `with` block by the rules.

        with RelevanceRules() as rules:
            scores = model(images)
        score = scores[:, 0]
        (relevance,) = torch.autograd.grad(score, images, score.detach())

    `layers` counts the weighted layers. Only inputs receive signals; parameters must have `requires_grad=False`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._layers: dict[Any, _Layer] = {}

    @property
    def layers(self) -> int:
        return len(self._layers)

    def __torch_function__(
        self, func: Call, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if not args and "input" in kwargs:
            args = (kwargs.pop("input"),)
        operands, named = image_operands(args), image_operands(list(kwargs.values()))
        if func in functions.RESHAPING or not (operands or named):
            return func(*args, **kwargs)
        places = [place for place, value in enumerate(args) if depends_on_image(value)]
        if named or len(places) < len(operands):  # an operand that is named, or in a list
            return self._without_rule(func, args, kwargs)

        def call(*operands: Tensor) -> Any:
            changed = dict(zip(places, operands, strict=True))
            return func(*(changed.get(place, value) for place, value in enumerate(args)), **kwargs)

        if places == [0] and (func in functions.CONVOLUTIONS or func is F.linear):
            return self._weighted(func, *args, **kwargs)
        if functions.is_fixed_batch_norm(func, args, kwargs):
            self._fuse(*args, **kwargs)
            return Unchanged.apply(*operands, call)
        if places == [0] and func in functions.AVERAGES:
            return _Epsilon.apply(call, not self._layers, *operands)
        if (len(places) == 2 and func in _MERGING) or (len(places) == 1 and func in functions.MATRIX_PRODUCTS):
            return _Epsilon.apply(call, False, *operands)
        if functions.is_inactive_dropout(func, args, kwargs) or (places == [0] and func in functions.MAXIMA):
            return func(*args, **kwargs)
        if len(places) == 1 and _keeps_relevance(func, args, kwargs, places[0]):
            return Unchanged.apply(*operands, call)
        if len(places) == 2 and func in _GATING:
            a, b = operands
            if a.numel() > b.numel():
                return Unchanged.apply(a, lambda x: call(x, b))
            if a.numel() < b.numel() and func in functions.PRODUCTS:
                return Unchanged.apply(b, lambda x: call(a, x))
        return self._without_rule(func, args, kwargs)

    def _weighted(
        self, func: Call, input: Tensor, weight: Tensor, bias: Tensor | None = None, *rest: Any, **kwargs: Any
    ) -> Tensor:
        rule = _flat if not self._layers else _epsilon if func is F.linear else _z_plus
        layer = _Layer(rule, lambda x, weight, bias: func(x, weight, bias, *rest, **kwargs))
        y = _Weighted.apply(layer, input, weight, bias)
        self._layers[y.grad_fn] = layer
        return y

    def _fuse(
        self,
        input: Tensor,
        mean: Tensor,
        var: Tensor,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> None:
        if (layer := self._layers.get(input.grad_fn)) is not None:
            layer.fuse(mean, var, weight, bias, eps)

    def _without_rule(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output = func(*args, **kwargs)
        if functions.carries_signal(output):
            name = resolve_name(func) or func.__name__
            raise NotApplicable(
                f"LRP has no rule for {name} of these operands; use integrated_gradients, which needs none, or, for "
                "attention, attention_relevance"
            )
        return output
