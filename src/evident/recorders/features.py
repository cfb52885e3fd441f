"""The features that an explainer learned to be relevant, what each shows, and what they mean."""

import torch

from evident.cell_folder import FEATURE_MAPS, FEATURES, INTERPRETATION, CellFolder
from evident.contracts import Interprets, LearnsRelevance, ShowsFeatures
from evident.recorders.contract import ExplainedBatch, FirstImages, Recorder, Setup, as_pixels


class Features(Recorder):
    """Keep the relevant features of every class, FEATURES, and the maps of single features, FEATURE_MAPS."""

    products = (LearnsRelevance, ShowsFeatures)

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._first = FirstImages(setup.examples)

    def record(self, explained: ExplainedBatch) -> None:
        explainer, explanation = self.setup.explainer, explained.explanation
        if isinstance(explainer, ShowsFeatures) and (wanted := self._first.missing) > 0:
            with torch.enable_grad():
                shown = explainer.feature_maps(explanation.images[:wanted], explanation.target[:wanted])
            self._first.add(shown._asdict())

    def save(self, folder: CellFolder) -> None:
        if isinstance(self.setup.explainer, LearnsRelevance):
            folder.write(FEATURES, self.setup.explainer.relevance().table(self.setup.network.classes))
        if isinstance(self.setup.explainer, ShowsFeatures):
            folder.write(FEATURE_MAPS, self._first.all())


class Interpretations(Recorder):
    """Average the `images` strongest training images of each relevant feature, cropped to `size`; INTERPRETATION."""

    products = (Interprets,)
    of_pictures = False

    def __init__(self, setup: Setup, images: int, size: int) -> None:
        super().__init__(setup)
        self.images, self.size = images, size

    def save(self, folder: CellFolder) -> None:
        explainer = self.setup.explainer
        if isinstance(explainer, Interprets):
            found = explainer.interpret(self.setup.splits().split("train"), self.images, self.size)
            fields = found._asdict().items()
            folder.write(INTERPRETATION, {name: as_pixels(v) if v.dim() > 2 else v for name, v in fields})
