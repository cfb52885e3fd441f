"""One finished run per paper, shared by all tests of a process."""

from collections.abc import Callable
from functools import cache

import pytest
from smoke_runs import RUNS, SETTINGS, Run, finish


@pytest.fixture(scope="session")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Return a function that gives the run of a paper, finished on first use."""
    return cache(lambda paper: finish(*RUNS[paper], store=tmp_path_factory.mktemp(paper)))


@pytest.fixture(scope="session")
def settings_of(run_of: Callable[[str], Run], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Return a function that gives the run of a paper's settings, in the store of its other run."""
    return cache(
        lambda paper: finish(*SETTINGS[paper], store=run_of(paper).store, results=tmp_path_factory.mktemp("settings"))
    )
