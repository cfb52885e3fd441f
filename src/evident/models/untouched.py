"""A model comes back from an explanation as it went in, whatever the explainer did to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

# The hook dictionaries of every module, and the flags that torch keeps beside them.
_HOOKS = [name for name in vars(nn.Module()) if "hook" in name and name.startswith("_")]


def _hooks(module: nn.Module) -> dict[str, Any]:
    """Its hooks (copied)."""
    state = vars(module)
    return {name: dict.copy(state[name]) if isinstance(state[name], dict) else state[name] for name in _HOOKS}


def _put_hooks_back(module: nn.Module, hooks: dict[str, Any]) -> None:
    for name, value in hooks.items():
        if isinstance(value, dict):
            # In place: the handles that users hold point to this very dictionary.
            current = vars(module)[name]
            current.clear()
            current.update(value)
        else:
            vars(module)[name] = value


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Evaluate and differentiate `model` in the body, and find it unchanged, also after an exception.

    In the body the model is in eval mode (a batch is explained as its images are), its parameters ask for
    no gradient (only images and layers are differentiated), and gradients are on, even where the caller is
    inside `torch.no_grad` or `torch.inference_mode`. Modes, hooks and `requires_grad` are put back at its
    end.
    """
    modules = [(module, module.training, _hooks(module)) for module in model.modules()]
    parameters = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.eval()
        model.requires_grad_(False)
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for module, training, hooks in modules:
            module.training = training
            _put_hooks_back(module, hooks)
        for parameter, requires_grad in parameters:
            parameter.requires_grad_(requires_grad)
