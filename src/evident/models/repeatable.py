"""Networks whose scores change from call to call, and the dropout that is the cause."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from evident.errors import warn_once
from evident.models.functions import is_active_dropout
from evident.models.untouched import untouched


@torch.no_grad()
def warn_of_other_scores(network: nn.Module, images: Tensor) -> None:
    """Warn if `network`, in eval mode, gives the same images (N, 3, H, W) other scores in a second call.

    The warning names the module whose dropout stays on, if there is one.
    """
    with untouched(network):
        if torch.allclose(network(images), network(images), rtol=1e-4, atol=1e-6, equal_nan=True):
            return
        with _Dropouts(network) as dropouts:
            network(images)
    cause = f"dropout stays on in {', '.join(dropouts.found)}" if dropouts.found else "it draws random numbers"
    warn_once(
        f"{type(network).__name__} gives the same image other scores in every call, and so every explanation differs: "
        f"{cause}; a dropout must be off in eval mode, such as nn.Dropout, or F.dropout with training=self.training"
    )


def _attends_at_random(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether a call of attention drops some of it."""
    if func is F.scaled_dot_product_attention:
        return (args[4] if len(args) > 4 else kwargs.get("dropout_p", 0.0)) > 0
    return func is F.multi_head_attention_forward and bool(kwargs.get("training", True))


class _Dropouts(TorchFunctionMode):
    """Name the modules that call an active dropout. Use it within `untouched(network)`, which removes its hooks."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.found: dict[str, None] = {}
        self._path: list[str] = []
        for name, module in network.named_modules():
            module.register_forward_pre_hook(self._entered(name or type(network).__name__), prepend=True)
            module.register_forward_hook(lambda *_: self._path.pop() and None, always_call=True)

    def _entered(self, name: str) -> Callable[..., None]:
        return lambda *_: self._path.append(name)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if _attends_at_random(func, args, kwargs) or is_active_dropout(func, args, kwargs):
            self.found[self._path[-1]] = None
        return func(*args, **kwargs)
