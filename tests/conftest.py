"""Settings of all tests: real data are found through EVIDENT_DATA, and every process uses one thread."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


def reason_to_skip_real_data() -> str | None:
    """Return why tests marked `real_data` cannot run, or None if the folder that EVIDENT_DATA names exists."""
    folder = os.environ.get("EVIDENT_DATA")
    if not folder:
        return "needs real data; set EVIDENT_DATA to the folder that holds it"
    if not Path(folder).is_dir():
        return f"needs real data; EVIDENT_DATA={folder} is not a folder"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The longest first, so that no process waits for one at the end.
    items.sort(key=lambda item: "slow" not in item.keywords)
    for item in items:
        if "kill" in item.keywords and "kill" not in (item.config.option.markexpr or ""):
            item.add_marker(pytest.mark.skip(reason="takes a quarter of an hour; run pytest -m kill"))
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a GPU that torch can use; torch.cuda finds none"))
    reason = reason_to_skip_real_data()
    if reason is not None:
        for item in items:
            if "real_data" in item.keywords:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Use one thread, because two test processes share two cores."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def every_algorithm() -> Iterator[None]:
    """Undo what a training leaves on for the whole process: it forbids algorithms that peers need, as captum's."""
    yield
    torch.use_deterministic_algorithms(False)
