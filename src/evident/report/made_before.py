"""Whether a report is there already, as the same cells, settings and code wrote it."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import distributions
from pathlib import Path

from omegaconf import DictConfig

from evident import store
from evident.report.experiment import Experiment
from evident.report.figures.files import write_whole
from evident.report.gallery.page import without_links
from evident.report.kept_scores import LeftOut, file_of

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class MadeBefore:
    """Remember in the store what the report of an experiment was made of, and what its files were.

    It was made of its cells and of what is left out, of the command, and of the project's code, configs and packages.
    """

    config: DictConfig
    experiment: Experiment
    left_out: LeftOut

    @property
    def is_there(self) -> bool:
        """Whether the same would be written again.

        Not known, so false, where folders of configs, and so code, are the user's own, and where the store gets a
        gallery as well.
        """
        if self.config.hydra.searchpath or self.config.gallery == "local" or not self._file.is_file():
            return False
        return self._file.read_text() == self._memory

    def remember(self) -> None:
        """Remember the report that has just been written."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._file, self._memory)

    def text(self) -> str:
        """Return the table to read of the report that is there, as text for a terminal."""
        return without_links((self.folder / "table.md").read_text())

    @property
    def folder(self) -> Path:
        """The folder of the report."""
        return Path(self.config.paths.results) / self.config.experiment

    @property
    def _file(self) -> Path:
        place = store.digest({"report": str(self.folder.resolve())})
        return Path(self.config.paths.store) / "reports" / place

    @property
    def _memory(self) -> str:
        results = Path(self.config.paths.results)
        kept = file_of(results, self.config.experiment)
        return json.dumps([self._made_of, _content(results, [self.folder, kept])])

    @cached_property
    def _made_of(self) -> str:
        made_of = {
            "cells": [[cell.name, cell.folder.path.name, cell.folder.environment()] for cell in self.experiment.cells],
            "left out": dict(self.left_out),
            "command": self.experiment.command,
            "code": _content(ROOT, [ROOT / "src", ROOT / "conf"]),
            "packages": sorted(f"{found.metadata['Name']} {found.version}" for found in distributions()),
        }
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


def _content(root: Path, places: Iterable[Path]) -> str:
    """Return a hash of the names and contents of all files in `places`, which are files or folders within `root`.

    Without what Python compiles, and other processes may be compiling.
    """
    found = hashlib.sha256()
    for place in places:
        for path in sorted([place, *place.rglob("*")]):
            if "__pycache__" not in path.parts and path.is_file():
                found.update(f"{path.relative_to(root)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()
