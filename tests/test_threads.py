"""Every library computes on the number of threads that is asked for."""

from collections.abc import Iterator

import pytest
import scipy.linalg  # noqa: F401 its linear algebra is a library of its own, of which the limits are told too
import torch
from threadpoolctl import threadpool_info

from evident.threads import use_threads


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    use_threads(before)


@pytest.mark.parametrize("count", [1, 2])
def test_all_libraries_use_as_many_threads(count: int) -> None:
    use_threads(3 - count)
    use_threads(count)
    assert torch.get_num_threads() == count
    known = {library["internal_api"]: library["num_threads"] for library in threadpool_info()}
    assert known.keys() >= {"openblas", "openmp"}
    assert set(known.values()) == {count}
