"""A context manager that leaves a model unchanged after an explanation."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from evident.errors import UserError

# The attributes of a module that hold its hooks: dictionaries, and the flags that torch keeps for them.
_HOOKS = [name for name in vars(nn.Module()) if "hook" in name and name.startswith("_")]


def _hooks(module: nn.Module) -> dict[str, Any]:
    """Return a copy of the hooks of `module`."""
    state = vars(module)
    return {name: dict.copy(state[name]) if isinstance(state[name], dict) else state[name] for name in _HOOKS}


def _put_hooks_back(module: nn.Module, hooks: dict[str, Any]) -> None:
    for name, value in hooks.items():
        if isinstance(value, dict):
            # In place: the handles that users hold refer to this dictionary.
            current = vars(module)[name]
            current.clear()
            current.update(value)
        else:
            vars(module)[name] = value


def check_images(images: Tensor, model: nn.Module | None = None) -> None:
    """Raise `UserError` unless images hold floating-point numbers, of the type of the weights of `model`.

    Bytes would pass as images 255 times as bright.
    """
    if not images.is_floating_point():
        raise UserError(f"images of {images.dtype} cannot be explained; give floats in [0, 1], such as images / 255")
    types = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()} if model else set()
    if types and images.dtype not in types:
        raise UserError(
            f"the images are {images.dtype}, the weights of {type(model).__name__} {min(types, key=str)}; convert one "
            "of them, by images.to(...) or network.float()"
        )


@contextmanager
def untouched(model: nn.Module, images: Tensor | None = None) -> Iterator[None]:
    """Evaluate and differentiate `model` in the body; the model is unchanged afterwards, also after an exception.

    In the body the model is in eval mode (the explanation of an image does not depend on its batch), its parameters
    require no gradient (only images and layers are differentiated), and gradients are enabled, even inside the caller's
    `torch.no_grad` or `torch.inference_mode`. Modes, hooks and `requires_grad` are restored at the end, and attributes
    that the body added to modules are removed: methods that hook modules keep their notes there. Raises `UserError` if
    the images are bytes, or of another number type than the weights.
    """
    if images is not None:
        check_images(images, model)
    modules = [(module, module.training, _hooks(module), set(vars(module))) for module in model.modules()]
    parameters = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.eval()
        model.requires_grad_(False)
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for module, training, hooks, attributes in modules:
            module.training = training
            _put_hooks_back(module, hooks)
            for added in set(vars(module)) - attributes:
                del vars(module)[added]
        for parameter, requires_grad in parameters:
            parameter.requires_grad_(requires_grad)
