"""What torch's functions compute, as sets of functions: for rules that must know every call of a forward pass.

A torch function has several spellings (`torch.add`, `x.add`, `x.add_`, `x + y`, `x += y`); a set holds all of them.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Function = Callable[..., Any]


def spellings(names: str, *forms: str) -> frozenset[Function]:
    """Return every torch function and tensor method with one of these names, spelled in one of `forms`."""
    spelled = [form.format(name) for name in names.split() for form in forms or ("{}",)]
    return frozenset(
        getattr(module, name) for module in (torch, Tensor, F) for name in spelled if hasattr(module, name)
    )


_OPERATORS = ("{}", "{}_", "__{}__", "__r{}__", "__i{}__")

# Each value of the output is a value of the input, or zero.
RESHAPING = spellings(
    """view reshape flatten unflatten squeeze unsqueeze permute transpose movedim swapaxes swapdims expand expand_as
    broadcast_to repeat repeat_interleave tile view_as reshape_as chunk split tensor_split unbind select narrow
    index_select flip roll contiguous clone channel_shuffle pixel_shuffle pixel_unshuffle unfold cat concat concatenate
    stack to float double half bfloat16 type_as pad __getitem__ __setitem__ __iter__ requires_grad_"""
)
# Sums over positions or channels with non-negative weights that do not depend on the input.
AVERAGES = spellings(
    """mean sum avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d interpolate
    upsample"""
)
SUMS = spellings("add", *_OPERATORS)
DIFFERENCES = spellings("sub subtract neg negative rsub", *_OPERATORS)
PRODUCTS = spellings("mul multiply", *_OPERATORS)
QUOTIENTS = spellings("div divide true_divide truediv", "{}", "{}_", "__{}__", "__i{}__")
MATRIX_PRODUCTS = spellings("matmul __matmul__ __rmatmul__ mm bmm einsum")
CONVOLUTIONS = frozenset((F.conv1d, F.conv2d, F.conv3d))
TRANSPOSED_CONVOLUTIONS = frozenset((F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d))
MAXIMA = spellings("max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d amax")
# Functions of a single number, beside the nonlinearities of `evident.models.calls`.
POINTWISE = spellings(
    "exp expm1 log log1p sqrt rsqrt square reciprocal abs erf sin cos pow clamp clip clamp_min clamp_max",
    *_OPERATORS,
) | {Tensor.__rdiv__}
NORMALISATIONS = frozenset((F.instance_norm, F.group_norm, F.layer_norm, F.local_response_norm))
_DROPOUTS = frozenset((F.dropout, F.dropout1d, F.dropout2d, F.dropout3d))


def _dropout_trains(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> bool:
    return training


def _batch_norm_trains(
    input: Tensor, mean: Any, var: Any, weight: Any = None, bias: Any = None, training: bool = False, *_: Any, **__: Any
) -> bool:
    return training


def is_inactive_dropout(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether the call is a dropout that passes everything on, as in eval mode."""
    return func in _DROPOUTS and not _dropout_trains(*args, **kwargs)


def is_active_dropout(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether the call is a dropout that draws random numbers."""
    return func in _DROPOUTS and _dropout_trains(*args, **kwargs)


def reads_last_axis(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether the call reads channels from the last axis: a fully connected layer, or a normalisation over it.

    A layer normalisation over three axes is one of maps (K, h, w).
    """
    if func is F.layer_norm:
        return len(args[1] if len(args) > 1 else kwargs["normalized_shape"]) == 1
    return func is F.linear


def is_fixed_batch_norm(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether the call is a batch normalisation by constants, not by the statistics of its batch."""
    return func is F.batch_norm and not _batch_norm_trains(*args, **kwargs)


def depends_on_image(value: Any) -> bool:
    """Return whether `value` is a tensor that autograd follows; with frozen parameters, only such of the image are."""
    return isinstance(value, Tensor) and value.requires_grad


def image_operands(values: Any) -> list[Tensor]:
    """Return the tensors that depend on the image among arguments of a call, also those in lists."""
    if isinstance(values, list | tuple):
        return [operand for value in values for operand in image_operands(value)]
    return [values] if depends_on_image(values) else []


def carries_signal(output: Any) -> bool:
    """Return whether a call's output has values to pass back a signal from; indices, comparisons and sizes do not."""
    parts = output if isinstance(output, list | tuple) else [output]
    return any(isinstance(part, Tensor) and part.is_floating_point() for part in parts)
