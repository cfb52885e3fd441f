"""Receptive fields: which pixels each position of a layer's map depends on, clipped at the border of the image.

The usual formulas (kernel, stride and padding give size, jump and start; Araujo, Norris and Sim 2019) hold for chains
of layers and for positions away from the border. Here the network computes its own receptive fields: instead of an
image it gets the coordinates of each pixel, and every operation propagates these *extents*:

    e(pixel) = (-row, -column, row, column)
    e(y)     = max e(x), over all x that y is computed from; -inf if there is none (padding, constants)

e(y) is the smallest box that holds every pixel that y depends on; top and left are negated. A convolution becomes a
max-pooling of the maximum over channels, every pooling a max-pooling, a rectifier the identity, a sum or product the
maximum of its operands, and a mean the maximum over the averaged values. Residual, parallel and gated branches need no
rules of their own. Only the connections matter, not the weights.
"""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import resolve_name

from evident.errors import NotApplicable, UserError
from evident.models.calls import LayerCall, LayerCalls
from evident.models.functions import spellings
from evident.models.untouched import untouched

_NOTHING = float("-inf")
_Function = Callable[..., Any]


def receptive_fields(
    model: nn.Module, size: tuple[int, int], layers: Sequence[str], channels: int = 3
) -> dict[str, Tensor]:
    """Compute the receptive field of every position of each layer's map: integers (4, h, w), by layer.

    Layers are named as by `LayerCalls`. The four are top, left, bottom and right in pixels of the image
    (N, channels, *size), bottom and right exclusive: `image[..., top:bottom, left:right]`. The box covers all channels
    of the position. A layer with output (N, K) counts as a 1x1 map. A position that sees only padding has the empty box
    0, 0, 0, 0. Raises `UserError` for a layer that is not in the forward pass, and for an operation without a rule.
    """
    wanted, fields, seen = set(layers), dict[str, Tensor](), list[str]()

    def visit(call: LayerCall) -> Tensor:
        seen.append(call.name)
        if call.name in wanted:
            fields[call.name] = boxes(call.name, call.output)
        return call.output

    with untouched(model), torch.no_grad(), LayerCalls(model, visit):
        model(extents_of_pixels(size, channels))
    for layer in layers:
        if layer not in fields:
            raise UserError(
                f"{layer!r} is not a layer of {type(model).__name__}'s forward pass; nearest of its {len(seen)} "
                f"layers: {', '.join(get_close_matches(layer, seen, 4, 0))}"
            )
    return {layer: fields[layer] for layer in layers}


def extents_of_pixels(size: tuple[int, int], channels: int = 3) -> Tensor:
    """Return the extents (4, channels, *size) of the pixels of an image; operations on them return extents."""
    rows, columns = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in size), indexing="ij")
    pixels = torch.stack((-rows, -columns, rows, columns))[:, None].repeat(1, channels, 1, 1)
    return pixels.as_subclass(Extent)


def boxes(layer: str, output: Tensor) -> Tensor:
    """Return the boxes (4, h, w) of a layer's extents: top, left, bottom and right, as `receptive_fields` does.

    Raises `UserError` if `output` holds no extents.
    """
    with torch._C.DisableTorchFunctionSubclass():
        if not isinstance(output, Extent) or output.shape[0] != 4:
            raise UserError(
                f"the output of {layer} has no receptive field: its first dimension is not the batch; omit it"
            )
        extent = output.amax(1).view(4, *(output.shape[2:] or (1, 1)))
        signs, ends = torch.tensor([[-1, -1, 1, 1], [0, 0, 1, 1]]).view(2, 4, 1, 1)
        return torch.where(extent == _NOTHING, 0, extent * signs + ends).long()


# The effect of operations on extents -----------------------------------------------------------------------------


def _itself(input: Tensor, *_: Any, **__: Any) -> Tensor:
    return input


def _extent(tensor: Tensor) -> Tensor:
    return tensor if isinstance(tensor, Extent) else torch.full(tensor.shape, _NOTHING)


def _union(*operands: Any, **named: Any) -> Tensor:
    return reduce(torch.maximum, [_extent(x) for x in (*operands, *named.values()) if isinstance(x, Tensor)])


def _union_over(input: Tensor, dims: Any, *_: Any, **__: Any) -> Tensor:
    return input.amax(dims, keepdim=True).expand_as(input).clone()


def _reduced(input: Tensor, dim: Any = None, keepdim: bool = False, *, axis: Any = None, **_: Any) -> Tensor:
    dim = axis if dim is None else dim
    dims = list(range(input.dim())) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    if any(d % input.dim() == 0 for d in dims):
        raise NotApplicable(
            "a receptive field is in one image, but the forward pass reduces over the batch; use another network"
        )
    return input.amax(dims, keepdim)


def _pair(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else [value[0], value[-1]]


def _conv2d(
    input: Tensor, weight: Tensor, _: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Tensor:
    reach = [step * (width - 1) for step, width in zip(_pair(dilation), weight.shape[2:], strict=True)]
    top, left = [r // 2 for r in reach] if padding == "same" else _pair(0 if padding == "valid" else padding)
    bottom, right = (reach[0] - top, reach[1] - left) if padding == "same" else (top, left)
    # We pad separately: the padding of max_pool2d may not exceed half a window, that of a convolution may.
    seen = F.pad(input.unflatten(1, (groups, -1)).amax(2), (left, right, top, bottom), value=_NOTHING)
    return F.max_pool2d(seen, weight.shape[2:], stride, 0, dilation).repeat_interleave(len(weight) // groups, 1)


def _avg_pool2d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, *_: Any, **__: Any
) -> Tensor:
    return F.max_pool2d(input, kernel_size, stride, padding, 1, ceil_mode)


def _pad(input: Tensor, pad: Any, mode: str = "constant", value: Any = None) -> Tensor:
    return F.pad(input, pad, mode, _NOTHING if mode == "constant" else None)


def _statistics(input: Tensor, *_: Any, training: bool = False, use_input_stats: bool = False, **__: Any) -> Tensor:
    # Running statistics are constants; statistics of the image depend on its whole map.
    return _union_over(input, list(range(2, input.dim()))) if training or use_input_stats else input


def _group_norm(input: Tensor, num_groups: int, *_: Any, **__: Any) -> Tensor:
    return _union_over(input.reshape(len(input), num_groups, -1), 2).view_as(input)


def _local_response_norm(input: Tensor, size: int, *_: Any, **__: Any) -> Tensor:
    return F.pad(input, (0, 0, 0, 0, size // 2, (size - 1) // 2), value=_NOTHING).unfold(1, size, 1).amax(-1)


# Rules by operation ---------------------------------------------------------------------------------------------


_POINTWISE = """relu relu6 hardtanh threshold clamp clip clamp_min clamp_max leaky_relu rrelu prelu elu selu celu silu
gelu mish hardswish hardsigmoid softplus softsign sigmoid logsigmoid tanh hardshrink softshrink tanhshrink dropout
dropout2d alpha_dropout feature_alpha_dropout exp log log1p sqrt rsqrt square reciprocal abs neg sign erf to float
double half bfloat16 type_as"""
_SEVERAL = """add sub mul div truediv pow gt ge lt le eq ne subtract multiply divide true_divide addcmul addcdiv
lerp where maximum minimum"""
_SHAPE = """view reshape flatten unflatten squeeze unsqueeze permute transpose movedim swapaxes expand expand_as repeat
repeat_interleave view_as reshape_as chunk split tensor_split unbind select narrow index_select flip roll contiguous
clone detach channel_shuffle pixel_shuffle pixel_unshuffle size dim numel stride is_contiguous is_floating_point
__getitem__ __len__ __iter__"""

_IN_PLACE = {*spellings(f"{_POINTWISE} {_SEVERAL}", "{}_", "__i{}__")}
_PASSED_ON = {*spellings(_SHAPE), *spellings("max_pool2d adaptive_max_pool2d")}
_OF_MANY: dict[_Function, _Function] = {
    **dict.fromkeys(spellings(_SEVERAL, "{}", "{}_", "__{}__", "__r{}__", "__i{}__"), _union),
    **dict.fromkeys(spellings("cat concat"), lambda tensors, dim=0: torch.cat([_extent(x) for x in tensors], dim)),
    torch.stack: lambda tensors, dim=0: torch.stack([_extent(x) for x in tensors], dim),
}
_OF_ONE: dict[_Function, _Function] = {
    **dict.fromkeys(spellings(_POINTWISE, "{}", "{}_"), _itself),
    **dict.fromkeys(spellings("mean sum amax amin logsumexp"), _reduced),
    **dict.fromkeys(spellings("softmax log_softmax"), lambda input, dim, *_, **__: _union_over(input, dim)),
    F.conv2d: _conv2d,
    F.linear: lambda input, weight, bias=None: input.amax(-1, keepdim=True).repeat_interleave(len(weight), -1),
    F.avg_pool2d: _avg_pool2d,
    F.adaptive_avg_pool2d: F.adaptive_max_pool2d,
    F.pad: _pad,
    **dict.fromkeys((F.batch_norm, F.instance_norm), _statistics),
    F.group_norm: _group_norm,
    F.layer_norm: lambda input, shape, *_, **__: _union_over(input, list(range(-len(shape), 0))),
    F.local_response_norm: _local_response_norm,
}


class Extent(Tensor):
    """Hold extents (4, ...) in place of a batch of four images; operations on it return extents."""

    @classmethod
    def __torch_function__(
        cls, func: _Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _PASSED_ON or getattr(func, "__name__", "") == "__get__":
            return super().__torch_function__(func, types, args, kwargs)
        operands = (*args, *kwargs.values())
        first, *others = (isinstance(operand, cls) for operand in operands)
        in_place = func in _IN_PLACE or kwargs.get("inplace", False)
        reach = _OF_MANY.get(func) or (_OF_ONE.get(func) if first and not any(others) else None)
        # An in-place operation cannot write extents to a plain tensor.
        if reach is None or (in_place and not first) or kwargs.get("out") is not None:
            raise NotApplicable(
                f"the receptive field of {resolve_name(func) or func.__name__} is unknown; use a network of "
                "convolutions, poolings, normalisations, pointwise and shape operations"
            )
        with torch._C.DisableTorchFunctionSubclass():
            seen = reach(*args, **kwargs)
            if in_place:
                return operands[0].copy_(seen)
            return (seen.clone() if seen is operands[0] else seen).as_subclass(cls)
