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
            # Of a sparse mask, eight bits would keep nothing.
            share = {"mask_share": evidence.mask[:wanted].mean((1, 2, 3))}
            pixels = {name: as_pixels(value) if value.dim() == 4 else value for name, value in fields.items()}
            self._first.add(pixels | share)

    def save(self, folder: CellFolder) -> None:
        folder.write(EVIDENCE, self._first.all())
