"""A second device that computes on the CPU: it finds tensors of two devices in one operation where there is no GPU.

A `Far` tensor says that it lies on the device `far` and holds its values on the CPU. Inside `second_device()` every
operation is checked as CUDA would: operands on two devices raise `MixedDevices`, except that a CPU tensor without
dimensions may join in, and that indices may lie on the CPU. Values are computed by the CPU's own kernels, so that
results must be those of the CPU to the last bit. Random numbers that are drawn on the device raise `DrawnOnDevice`, as
a seed gives other numbers there. Operations that CUDA has no deterministic algorithm for are counted in
`nondeterministic`.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

FAR = "far"
# They copy between devices.
_COPIES = {"aten::_to_copy", "aten::copy_", "aten::_copy_from", "aten::_copy_from_and_resize"}
# Indices on the CPU select from tensors on any device, and an index that is a mask does so too.
_INDEXED = {"aten::index", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_", "aten::_unsafe_index"}
# They raise on CUDA with torch.use_deterministic_algorithms(True); see its documentation.
_NONDETERMINISTIC = {
    "aten::_adaptive_avg_pool2d_backward",
    "aten::adaptive_max_pool2d_backward",
    "aten::avg_pool3d_backward",
    "aten::grid_sampler_2d_backward",
    "aten::histc",
    "aten::nll_loss2d_forward",
    "aten::put_",
    "aten::reflection_pad1d_backward",
    "aten::reflection_pad2d_backward",
    "aten::scatter_reduce_",
    "aten::upsample_linear1d_backward",
    "aten::upsample_bilinear2d_backward",
    "aten::upsample_bicubic2d_backward",
    "aten::_upsample_bilinear2d_aa_backward",
    "aten::_upsample_bicubic2d_aa_backward",
}


class MixedDevices(RuntimeError):
    """Raised for an operation on tensors of two devices."""


class DrawnOnDevice(RuntimeError):
    """Raised for random numbers that are drawn on the second device."""


class Far(Tensor):
    """A tensor on the device `far`; `held` are its values on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> "Far":
        far = Tensor._make_wrapper_subclass(
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=torch.device(FAR, 0),
        )
        far.held = values
        return far

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _SecondDevice().run(func, args, kwargs or {})


class _SecondDevice(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.nondeterministic: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.run(func, args, kwargs or {})

    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        name = func._schema.name
        given = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
        far = [value for value in given if isinstance(value, Far)]
        wanted = kwargs.get("device")
        if name in _COPIES:
            to_far = isinstance(args[0], Far) if wanted is None else torch.device(wanted).type == FAR
        else:
            to_far = bool(far) if wanted is None else torch.device(wanted).type == FAR
            operands = [args[0]] if name in _INDEXED else given
            if name == "aten::index_put_":
                operands = [args[0], args[2]]
            near = [value for value in operands if not isinstance(value, Far) and value.dim() > 0]
            if far and near:
                raise MixedDevices(f"{name} of tensors on {FAR} and on the CPU, of shapes {[*map(_shape, given)]}")
            if not far and wanted is None:
                return func(*args, **kwargs)
        if to_far and torch.Tag.nondeterministic_seeded in func.tags:
            raise DrawnOnDevice(
                f"{name} draws on {FAR}, where a seed gives other numbers; draw on the CPU and move them"
            )
        if to_far and name in _NONDETERMINISTIC:
            self.nondeterministic[name] += 1
        if wanted is not None and torch.device(wanted).type == FAR:
            kwargs = {**kwargs, "device": torch.device("cpu")}
        kwargs.pop("pin_memory", None) if far else None
        owners = {id(value.held): value for value in far}
        result = func(*tree_map(_values, args), **tree_map(_values, kwargs))

        def wrap(value: Any) -> Any:
            if not isinstance(value, Tensor) or not to_far:
                return value
            own = owners.get(id(value))
            if own is not None and own.shape == value.shape and own.stride() == value.stride():
                return own
            if own is not None:
                with torch._C._DisableTorchDispatch():
                    return func(own, *args[1:], **kwargs)  # shape and strides alone
            return Far(value)

        return tree_map(wrap, result)


def _values(value: Any) -> Any:
    return value.held if isinstance(value, Far) else value


def _shape(value: Tensor) -> str:
    return f"{tuple(value.shape)} on {value.device.type}"


@cache
def register() -> torch.library.Library:
    """Register the device, and what torch.tensor(..., device=FAR) calls below all modes."""
    backend_registration._setup_privateuseone_for_python_backend(FAR)
    kernels = torch.library.Library("aten", "IMPL")

    def empty(size: Any, stride: Any, dtype: Any = None, **_: Any) -> Far:
        return Far(torch.empty_strided(size, stride, dtype=dtype))

    def copy(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
        _values(target).copy_(_values(source))
        return target

    kernels.impl("empty_strided", empty, "PrivateUse1")
    kernels.impl("_copy_from", copy, "PrivateUse1")
    return kernels  # kept: it unregisters when it is deleted


@contextmanager
def second_device() -> Iterator[_SecondDevice]:
    """Check every operation in the body; `tensor.to("far")` and `module.to("far")` move to the second device."""
    register()
    with _SecondDevice() as device:
        yield device
