"""The memory allocator of the C library (glibc): keep large blocks for the next step of a loop.

By default every large tensor is mapped when it is made and unmapped when it is freed, and the system clears its pages
each time. In loops over batches this costs more than a third of a forward pass.
"""

import ctypes
import os
import sys
from collections.abc import Callable

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_LARGE = 2**31 - 1
_PAD = 64 * 2**20  # bytes that the heap grows by at least


def keep_large_blocks() -> None:
    """Serve large blocks from the heap and do not return freed ones to the system.

    Does nothing on other systems and C libraries, and if the environment tunes the allocator already (`MALLOC_...` or
    `GLIBC_TUNABLES`).
    """
    tuned = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    mallopt = _function("mallopt")
    if mallopt is not None and not tuned:
        for parameter, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _LARGE), (_TOP_PAD, _PAD)):
            mallopt(parameter, value)


def release_free_memory() -> None:
    """Return all freed memory to the system, so that resident memory is memory in use."""
    if (malloc_trim := _function("malloc_trim")) is not None:
        malloc_trim(0)


def _function(name: str) -> Callable[..., int] | None:
    """Return the C library's function of this name; None where it has none."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
