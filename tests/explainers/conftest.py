"""Fixed random numbers for all tests of explainers."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def fixed_seed() -> Iterator[None]:
    """Seed torch's global generator, from which untrained networks draw their weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
