"""The scripts that judge claims, as modules: experiments/ is no package."""

import importlib.util
from typing import Any

from entry_point import ROOT


def load_claims(paper: str) -> Any:
    """experiments/`paper`/claims.py."""
    spec = importlib.util.spec_from_file_location(f"{paper}_claims", ROOT / "experiments" / paper / "claims.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
