"""The entries of the glossary, to which tables link."""

import functools
import re
from pathlib import Path

PAGE = "docs/glossary.md"
ROOT = Path(__file__).parents[4]


def address(experiment: str) -> str:
    """Return the glossary's address in a file of results/`experiment`, whose name may have several parts."""
    return "../" * (experiment.count("/") + 2) + PAGE


@functools.cache
def entries() -> frozenset[str]:
    """Return the names of all scores that the glossary explains; none if the project's documentation is not there."""
    page = ROOT / PAGE
    return frozenset(re.findall(r'<a id="([^"]+)"></a>', page.read_text())) if page.is_file() else frozenset()
