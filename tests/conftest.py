"""Shared by all tests: real data by EVIDENT_DATA, one thread a process."""

import os

import pytest
import torch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "EVIDENT_DATA" not in os.environ:
        absent = pytest.mark.skip(reason="needs real data; set EVIDENT_DATA to the folder that holds it")
        for item in items:
            if "real_data" in item.keywords:
                item.add_marker(absent)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Two test processes share two cores."""
    torch.set_num_threads(1)
