"""Cost of an explanation: time, passes through the network and memory."""

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.autograd.graph import register_multi_grad_hook

from evident.allocator import release_free_memory
from evident.contracts import HasBackbone

_PROCESS = Path("/proc/self")


class Cost:
    """Measure time, memory and passes through a network inside a `with` block.

    `seconds` is wall time; work on the GPU is waited for. `forward_passes` counts the images that passed the network (a
    batch of 8 counts 8), `backward_passes` those whose gradient passed back through its output. `peak_memory` is in
    bytes above the start: memory allocated on the network's GPU, or resident in the process; NaN where the system
    records no peak. The system records a single peak, so blocks must not be nested.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.seconds = self.peak_memory = math.nan
        self.forward_passes = self.backward_passes = 0

    def __enter__(self) -> Self:
        self.forward_passes = self.backward_passes = 0
        self._hooks = ExitStack()
        # Maps of a network with a backbone can be computed without its scores, but never without its features.
        watched = self.model.feature_extractor() if isinstance(self.model, HasBackbone) else self.model
        self._hooks.callback(watched.register_forward_hook(self._count, with_kwargs=True).remove)
        self._device = _device(self.model)
        self._memory = _reset_peak(self._device)
        self._start = perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hooks.close()
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self.seconds = perf_counter() - self._start
        self.peak_memory = _peak(self._device) - self._memory

    def _count(self, _: nn.Module, inputs: tuple[Any, ...], settings: dict[str, Any], output: Any) -> None:
        images = len(next(_tensors((inputs, settings))))
        self.forward_passes += images
        tracked = [tensor for tensor in _tensors(output) if tensor.requires_grad]

        def count_backward(_: Tensor) -> None:
            self.backward_passes += images

        if tracked:
            # "any" fires once per backward pass, also for a network with several outputs.
            self._hooks.callback(register_multi_grad_hook(tracked, count_backward, mode="any").remove)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        return iter([value])
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, tuple | list):
        value = ()
    return chain.from_iterable(map(_tensors, value))


def _device(model: nn.Module) -> torch.device:
    first = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if first is None else first.device


def _reset_peak(device: torch.device) -> float:
    """Reset the recorded peak and return the bytes in use; NaN where the system records no peak."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    elif device.type == "cpu":
        if not (mark := _PROCESS / "clear_refs").exists():
            return math.nan
        # Freed memory may still be resident: allocating from it would not raise the peak.
        release_free_memory()
        try:
            # 5 resets the high-water mark of resident memory: proc(5), clear_refs.
            mark.write_text("5")
        except OSError:
            return math.nan
    return _peak(device)


def _peak(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    if device.type == "cpu":
        try:
            for line in (_PROCESS / "status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return 1024.0 * int(line.split()[1])
        except OSError:
            pass
    return math.nan
