"""One finished run per paper, shared by all tests."""

from collections.abc import Callable
from functools import cache

import pytest
from entry_point import axes, made_once
from smoke_runs import RUNS, SETTINGS, Run, asked, finish, run_to_end


@pytest.fixture(scope="session")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Return a function that gives the run of a paper, finished on first use."""

    def finished(paper: str) -> Run:
        experiment, *overrides = RUNS[paper]
        store = made_once(tmp_path_factory, paper, lambda folder: run_to_end(experiment, *overrides, store=folder))
        return Run(experiment, asked(experiment, *overrides), store, store / "results" / experiment)

    return cache(finished)


@pytest.fixture(scope="session")
def settings_of(run_of: Callable[[str], Run], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Return a function that gives the run of a paper's settings, in the store of its other run."""
    return cache(
        lambda paper: finish(
            *(f"{paper}/settings", *axes(explainer=SETTINGS[paper])),
            **{"store": run_of(paper).store, "results": tmp_path_factory.mktemp("settings")},
        )
    )
