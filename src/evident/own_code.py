"""Code of the user, which a config names: its sources are part of the identity of what it makes.

An edited metric, or a helper that it imports, would else give yesterday's table. Code in `site-packages` and in
Python's library has versions, and Evident's own code has format numbers, so their sources do not count.
"""

import ast
import functools
import hashlib
import importlib.util
import sysconfig
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

# Folders whose code does not count.
ELSEWHERE = (Path(__file__).parent, *{Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")})


def own_sources(settings: Any) -> dict[str, str]:
    """Return a digest, 16 hexadecimal digits, for each module of the user that `settings` depends on, by its name.

    These are the modules of all `_target_` in the nested `settings`, and what they import.
    """
    found: dict[str, str] = {}
    for target in sorted(set(_targets(settings))):
        found |= _sources_of(target)
    return dict(sorted(found.items()))


def _targets(settings: Any) -> Iterator[str]:
    if isinstance(settings, dict):
        yield from (value for key, value in settings.items() if key == "_target_" and isinstance(value, str))
        settings = list(settings.values())
    if isinstance(settings, list):
        for value in settings:
            yield from _targets(value)


@functools.cache
def _sources_of(target: str) -> dict[str, str]:
    found: dict[str, str] = {}
    waiting = list(_with_parents(target))
    while waiting:
        name = waiting.pop()
        file = None if name in found else _file_of(name)
        if file is not None:
            source = file.read_bytes()
            found[name] = hashlib.sha256(source).hexdigest()[:16]
            waiting += _imported(source, name if file.name == "__init__.py" else name.rpartition(".")[0])
    return found


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


@functools.cache
def _spec_of(name: str) -> ModuleSpec | None:
    """Find a module without running any code, as importing its package would."""
    package = name.rpartition(".")[0]
    if not package:
        try:
            return importlib.util.find_spec(name)
        except ValueError:  # of __main__, in a notebook
            return None
    above = _spec_of(package)
    folders = None if above is None else above.submodule_search_locations
    return None if folders is None else PathFinder.find_spec(name, folders)


def _file_of(name: str) -> Path | None:
    """Return the source file of a module of the user, or None for anything else."""
    spec = _spec_of(name)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    file = Path(spec.origin)
    return None if any(file.is_relative_to(folder) for folder in ELSEWHERE) else file


def _imported(source: bytes, package: str) -> list[str]:
    """Return the names of all modules that a source may import."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            relative = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(relative, package) if node.level else relative
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return [part for name in names for part in _with_parents(name)]
