"""Layers as calls of a forward pass: find, name and replace their outputs.

Functional, reused and in-place layers are visible only where they are *called*, not as modules. Every torch function
that is called from Python passes through a `TorchFunctionMode`; `LayerCalls` knows which calls are layers, and names
each by the module that calls it and its kind:

    features.8/relu     the rectifier called by the module features.8
    layer3.1/relu#2     the second call in that block, whose module `relu` is used twice

Calls that do not pass through Python (in a scripted or compiled network) are not seen.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from evident.models.functions import reads_last_axis


class Rectifier(NamedTuple):
    """Hold one call of min(max(x, 0), ceiling): ReLU has no ceiling, ReLU6 has 6."""

    x: Tensor
    ceiling: float | None = None
    in_place: bool = False


# Readers: arguments of a torch call -> the corresponding `Rectifier`, or None if the call is something else.


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
    # With a ceiling, a clamp is not an activation but limits a range, such as that of pixels.
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


def rectifier(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Rectifier | None:
    """Return the call `func(*args, **kwargs)` as a `Rectifier`, or None if it is not one."""
    return _READERS[func](*args, **kwargs) if func in _READERS else None


def _named(*functions: Callable[..., Any]) -> dict[Callable[..., Any], str]:
    return {function: function.__name__.rstrip("_") for function in functions}


_WEIGHTED: dict[Callable[..., Any], str] = {
    **_named(F.conv1d, F.conv2d, F.conv3d, F.conv_transpose2d, F.linear, F.bilinear),
}
# Nonlinearities of single neurons, except rectifiers, which `rectifier` recognises.
_NONLINEARITIES: dict[Callable[..., Any], str] = {
    **_named(F.leaky_relu, F.leaky_relu_, F.rrelu, F.rrelu_, F.prelu, torch.rrelu, torch.rrelu_, torch.prelu),
    **_named(F.elu, F.elu_, F.selu, F.selu_, F.celu, F.celu_, torch.selu, torch.selu_, torch.celu, torch.celu_),
    **_named(F.silu, F.gelu, F.mish, F.hardswish, F.hardsigmoid, F.softplus, F.softsign, F.logsigmoid, F.glu),
    **_named(F.hardtanh, F.hardtanh_, F.threshold, torch.threshold, torch.threshold_),
    **_named(F.hardshrink, F.softshrink, F.tanhshrink),
    **_named(F.sigmoid, torch.sigmoid, torch.sigmoid_, Tensor.sigmoid, Tensor.sigmoid_),
    **_named(F.tanh, torch.tanh, torch.tanh_, Tensor.tanh, Tensor.tanh_),
}
# Those that act as a rectifier does: positive inputs pass, negative ones are damped.
_ACTIVATIONS = frozenset(
    ["relu", "leaky_relu", "rrelu", "prelu", "elu", "selu", "celu", "silu", "gelu", "mish", "hardswish", "softplus"]
)
_KINDS: dict[Callable[..., Any], str] = {
    **_WEIGHTED,
    **_named(F.batch_norm, F.instance_norm, F.group_norm, F.local_response_norm),
    **dict.fromkeys((F.max_pool2d, torch.max_pool2d), "max_pool2d"),
    F.adaptive_max_pool2d: "adaptive_max_pool2d",
    **_named(F.avg_pool2d, F.adaptive_avg_pool2d),
    **_NONLINEARITIES,
}


def is_weighted(func: Callable[..., Any]) -> bool:
    """Return whether a call of `func` is a convolution or a fully connected layer."""
    return func in _WEIGHTED


def nonlinearity(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """Return the kind of nonlinearity that the call `func(*args, **kwargs)` is, or None."""
    return "relu" if rectifier(func, args, kwargs) is not None else _NONLINEARITIES.get(func)


def is_activation(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether the call is a rectifier, or a nonlinearity that acts as one (leaky, smooth or shifted)."""
    return nonlinearity(func, args, kwargs) in _ACTIVATIONS


def _kind(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    return "relu" if rectifier(func, args, kwargs) is not None else _KINDS.get(func)


class LayerCall(NamedTuple):
    """Hold the call of one layer: its name in the forward pass, its kind (relu, conv2d, ...) and its output."""

    name: str
    kind: str
    output: Tensor


class LayerCalls(TorchFunctionMode):
    """Replace the output of each layer by `visit(LayerCall)`: `with LayerCalls(model, visit): model(images)`.

    Layers are convolutions, rectifiers and other nonlinearities, normalisation, pooling and fully connected layers
    whose outputs are (N, K, h, w) or (N, K). An in-place layer may overwrite an earlier output: a `visit` that keeps an
    output must return a copy. The replacement has no effect if the network ignores the return value of an in-place
    layer. Use one `with` block per forward pass.
    `unread` names the modules with layers on tokens or with channels last, whose outputs may be visited wrongly or not.
    """

    def __init__(self, model: nn.Module, visit: Callable[[LayerCall], Tensor]) -> None:
        super().__init__()
        self._model, self._visit = model, visit
        self.unread: list[str] = []
        self._path: list[str] = []
        self._count: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._hooks = ExitStack()
        for name, module in self._model.named_modules():
            # Prepended: if another pre-hook failed first, `_left` would pop a name that was never pushed.
            self._hooks.callback(module.register_forward_pre_hook(self._entered(name), prepend=True).remove)
            self._hooks.callback(module.register_forward_hook(self._left, always_call=True).remove)
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._hooks.close()

    def _entered(self, name: str) -> Callable[..., None]:
        return lambda *_: self._path.append(name)

    def _left(self, *_: Any) -> None:
        self._path.pop()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        kind = _kind(func, args, kwargs) if self._path else None
        output = func(*args, **kwargs)
        if reads_last_axis(func, args, kwargs) and output.dim() > 2 and self._path:
            self.unread.append(self._path[-1])
        if kind is None or not isinstance(output, Tensor) or output.dim() not in (2, 4):
            return output
        name = self._name(kind)
        self._count[name] += 1
        number = self._count[name]
        return self._visit(LayerCall(name if number == 1 else f"{name}#{number}", kind, output))

    def _name(self, kind: str) -> str:
        # A module named like its kind (`layer3.1.relu`) need not be named twice.
        parent, _, own = self._path[-1].rpartition(".")
        place = parent if own == kind else self._path[-1]
        return f"{place}/{kind}" if place else kind
