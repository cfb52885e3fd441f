"""Explanations that are images."""

from evident.cell_folder import EVIDENCE, CellFolder
from evident.contracts import GivesEvidence
from evident.recorders.contract import ExplainedBatch, FirstImages, Recorder, Setup, as_pixels


class EvidenceImages(Recorder):
    """Keep mask, explanation and complement of the first images, and the network's scores of each; EVIDENCE."""

    products = (GivesEvidence,)

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._first = FirstImages(setup.examples)

    def record(self, explained: ExplainedBatch) -> None:
        evidence = explained.explanation.evidence
        if evidence is not None and (wanted := self._first.missing) > 0:
            fields = {name: value[:wanted] for name, value in evidence._asdict().items()}
            self._first.add({name: as_pixels(value) if value.dim() == 4 else value for name, value in fields.items()})

    def save(self, folder: CellFolder) -> None:
        folder.write(EVIDENCE, self._first.all())
