"""Explainers by the names that readers see; CSV files keep the names of the configs."""

from collections.abc import Mapping
from types import MappingProxyType

UNTITLED: Mapping[str, str] = MappingProxyType({})


def title_of(explainer: object, titles: Mapping[str, str] = UNTITLED) -> str:
    """Return the name of an explainer in tables and figures: its title, or its name in words."""
    name = str(explainer)
    return titles.get(name, name.replace("_", " "))
