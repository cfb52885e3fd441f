"""The gallery: every kept image under every method, as a page that opens from the disk."""

import logging
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from evident.cell_folder import EXAMPLES
from evident.errors import UserError
from evident.report.experiment import Cell, Experiment
from evident.report.figures.files import write_folder
from evident.report.gallery.manifest import manifest
from evident.report.gallery.viewer import viewer
from evident.report.sections.contract import Part, Section

log = logging.getLogger("evident")


class Gallery(Section):
    """Write `gallery/` of the data sets whose pictures may be published, by the patterns `published` of their names.

    With `gallery=local` in the config a gallery of all data sets is written to the store as well. `longest` is the
    longest side of a tile in pixels; `networks` are the first seeds of each model that are shown, null for all.
    """

    def __init__(self, published: Sequence[str], longest: int, networks: int | None = None) -> None:
        self.published, self.longest, self.networks = list(published), longest, networks

    def report(self, experiment: Experiment) -> Part:
        where = experiment.config.gallery
        if where not in ("results", "local"):
            raise UserError(f"gallery={where} is unknown; use results, or local for one in the store as well")
        shown = self._shown(experiment)
        if not shown:
            return Part()
        if where == "local":
            folder = Path(experiment.config.paths.store) / "gallery" / experiment.config.experiment
            write_folder(viewer(*manifest(experiment, shown, self.longest)), folder)
            log.info("gallery: %s", folder / "index.html")
        public = [cell for cell in shown if self._is_published(cell)]
        kept = sorted({cell.labels["data"] for cell in shown if not self._is_published(cell)})
        if where == "results" and kept:
            log.info(
                "gallery of %s: not written, because its pictures may not be published; gallery=local writes it to %s",
                ", ".join(kept),
                experiment.config.paths.store,
            )
        return Part(folders={"gallery": viewer(*manifest(experiment, public, self.longest))} if public else {})

    def _shown(self, experiment: Experiment) -> list[Cell]:
        chosen = []
        for network in experiment.networks():
            seeds = sorted({cell.config.seed for cell in network.cells})[: self.networks]
            chosen += [cell for cell in network.cells if cell.config.seed in seeds and cell.folder.has(EXAMPLES)]
        return chosen

    def _is_published(self, cell: Cell) -> bool:
        return any(fnmatchcase(cell.labels["data"], pattern) for pattern in self.published)
