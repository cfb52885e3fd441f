"""The number of threads of a process, for all libraries that compute."""

import torch
from threadpoolctl import threadpool_limits


def use_threads(count: int) -> None:
    """Let torch and the linear algebra of NumPy and SciPy compute on `count` threads.

    torch's own setting leaves NumPy's as many threads as there are cores: its results would depend on the machine, and
    processes that compute at the same time would slow each other down.
    """
    torch.set_num_threads(count)
    threadpool_limits(count)
