"""The first images with their heatmaps."""

from evident.cell_folder import EXAMPLES, CellFolder
from evident.recorders.contract import ExplainedBatch, FirstImages, Recorder, Setup, as_pixels


class Examples(Recorder):
    """Keep the first images, targets, heatmaps and, if known, masks and signed heatmaps; EXAMPLES."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._first = FirstImages(setup.examples)

    def record(self, explained: ExplainedBatch) -> None:
        if (wanted := self._first.missing) <= 0:
            return
        explanation = explained.explanation
        kept = {
            "images": as_pixels(explanation.images[:wanted]),
            "target": explanation.target[:wanted],
            "heatmaps": explanation.heatmap[:wanted].float(),
        }
        if explanation.mask is not None:
            kept["masks"] = explanation.mask[:wanted]
        if explanation.signed is not None:
            kept["signed"] = explanation.signed[:wanted].float()
        self._first.add(kept)

    def save(self, folder: CellFolder) -> None:
        folder.write(EXAMPLES, self._first.all())
