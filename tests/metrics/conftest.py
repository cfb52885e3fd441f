"""Fixtures of the tests of metrics."""

import warnings
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def quantus() -> ModuleType:
    """Return Quantus, whose import gives warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import quantus
    return quantus
