"""Which networks captum's module-hook methods explain as published, and an error for all others.

Some methods of captum hook the modules of a network and replace their gradients. What the hooks miss keeps its plain
gradient, and the result is silently that of another method. Measured with captum 0.9, against our own methods and
against the sum that DeepLift must have:

- functions, modules of other classes, and all calls but one of a reused module are missed;
- of two hooked modules that follow each other, such as ReLU and max-pooling, DeepLift ignores the rule of one, because
  both hook the same tensor;
- DeepLift counts only one of the overlapping windows of a max-pooling.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import captum.attr
import torch
import torch.nn.functional as F
from captum.attr import Attribution
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from evident.errors import NotApplicable
from evident.models import functions
from evident.models.calls import is_activation, is_weighted, nonlinearity
from evident.models.functions import image_operands
from evident.models.untouched import untouched

_Call = Callable[..., Any]
_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_SOFTMAX = frozenset((F.softmax, F.log_softmax, torch.softmax, torch.log_softmax, Tensor.softmax, Tensor.log_softmax))
_NOT_POINTWISE = functions.MAXIMA | functions.NORMALISATIONS | _SOFTMAX
_PRODUCTS = functions.PRODUCTS | functions.QUOTIENTS | functions.MATRIX_PRODUCTS


def _sides(size: int | tuple[int, ...]) -> tuple[int, ...]:
    return (size,) if isinstance(size, int) else size


def _is_nonlinear(func: _Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    one = func in functions.POINTWISE | _NOT_POINTWISE or nonlinearity(func, args, kwargs) is not None
    return one or (func in _PRODUCTS and len(image_operands(args)) == 2)


def _is_layer(func: _Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return is_weighted(func) or func in functions.AVERAGES or _is_nonlinear(func, args, kwargs)


class _Hooks(NamedTuple):
    """Hold which calls a method must see, the classes of modules that it hooks, and our method that sees calls."""

    must_see: Callable[[_Call, tuple[Any, ...], dict[str, Any]], bool]
    classes: tuple[type[nn.Module], ...]
    ours: str
    multiplies: bool = False  # by dy / dx, for which every call must be seen
    every: bool = False  # every module without children needs a rule


_DEEP_LIFT = _Hooks(
    _is_nonlinear,
    (nn.ReLU, nn.ELU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softmax, *_POOLS),
    "evident.explainers.deep_lift.DeepLift",
    multiplies=True,
)
_LAYERS = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, *_POOLS)
_HOOKS: dict[type[Attribution], _Hooks] = {
    captum.attr.DeepLift: _DEEP_LIFT,
    captum.attr.GuidedBackprop: _Hooks(is_activation, (nn.ReLU,), "evident.explainers.guided.GuidedBackprop"),
    captum.attr.Deconvolution: _Hooks(is_activation, (nn.ReLU,), "evident.explainers.guided.Deconvolution"),
    captum.attr.GuidedGradCam: _Hooks(
        is_activation, (nn.ReLU,), "evident.explainers.grad_cam.GradCAM with guided: true"
    ),
    captum.attr.LRP: _Hooks(
        _is_layer, (nn.ReLU, nn.Tanh, nn.Dropout, *_LAYERS), "evident.explainers.lrp.LRP", every=True
    ),
}


def ask_for_hooked_modules(method: type[Attribution], model: nn.Module, images: Tensor) -> None:
    """Raise `UserError` if `method` hooks modules and would miss a call of `model` on `images` (N, 3, H, W).

    Other methods are not checked. The check costs one forward pass of one image.
    """
    hooks = next((hooks for hooked, hooks in _HOOKS.items() if issubclass(method, hooked)), None)
    if hooks is None:
        return
    with untouched(model), _Watch(model, hooks) as watch:
        model(images[:1].detach().clone().requires_grad_())
    missed = watch.missed or (_without_rule(model, hooks.classes) if hooks.every else None)
    if missed is not None:
        raise NotApplicable(
            f"captum's {method.__name__} hooks modules and misses {missed}: its result on {type(model).__name__} would "
            f"be wrong; use {hooks.ours}, which sees calls"
        )


def _without_rule(model: nn.Module, classes: tuple[type[nn.Module], ...]) -> str | None:
    """Return the first module without children that has another class, or None."""
    for name, module in model.named_modules():
        if not any(module.children()) and type(module) not in classes:
            return f"{name} ({type(module).__name__})"
    return None


class _Watch(TorchFunctionMode):
    """Find the first call that the hooks of a method miss: `missed`, a description, or None.

    Use it within `untouched(model)`, which removes its hooks.
    """

    def __init__(self, model: nn.Module, hooks: _Hooks) -> None:
        super().__init__()
        self._hooks = hooks
        self._path: list[tuple[str, nn.Module]] = []
        self._seen = set[str]()
        self._outputs: list[Any] = []
        self.missed: str | None = None
        for name, module in model.named_modules():
            module.register_forward_pre_hook(self._entered(name), prepend=True)
            module.register_forward_hook(self._left, always_call=True)

    def _entered(self, name: str) -> Callable[..., None]:
        return lambda module, *_: self._path.append((name, module))

    def _left(self, *_: Any) -> None:
        self._path.pop()

    def __torch_function__(
        self, func: _Call, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        concerns = self._path and self.missed is None and image_operands([args, list(kwargs.values())])
        if not concerns or not self._hooks.must_see(func, args, kwargs):
            return func(*args, **kwargs)
        self.missed = self._why(func, *self._path[-1], image_operands([args, list(kwargs.values())]))
        output = func(*args, **kwargs)
        self._outputs.append(output)
        return output

    def _why(self, func: _Call, name: str, module: nn.Module, operands: list[Tensor]) -> str | None:
        if type(module) not in self._hooks.classes:
            return f"{func.__name__} in {name or 'the forward pass'} ({type(module).__name__})"
        if name in self._seen:
            return f"the second call of {name} ({type(module).__name__})"
        self._seen.add(name)
        if not self._hooks.multiplies:
            return None
        if any(operand is output for operand in operands for output in self._outputs):
            return f"{name} ({type(module).__name__}), which follows another hooked module"
        if isinstance(module, _POOLS) and max(_sides(module.kernel_size)) > min(_sides(module.stride)):
            return f"the overlapping windows of {name} ({type(module).__name__})"
        return None
