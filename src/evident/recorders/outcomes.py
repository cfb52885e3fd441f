"""What the network says of every image: the predicted and the explained class."""

import pandas as pd
import torch

from evident.cell_folder import OUTCOMES, CellFolder
from evident.data.images import NO_LABEL
from evident.explainers.shared.targets import ask_for_classes
from evident.recorders.contract import ExplainedBatch, Recorder, Setup


class Outcomes(Recorder):
    """Keep prediction, probability, label and explained class of every image; OUTCOMES.

    Raises `UserError` for a regression, which has no classes.
    """

    of_pictures = False

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        ask_for_classes(setup.network.network, "the recorder outcomes")
        self._rows: list[pd.DataFrame] = []

    def record(self, explained: ExplainedBatch) -> None:
        explanation, classes, names = explained.explanation, self.setup.network.classes, self.setup.images.names
        with torch.no_grad():
            shares = self.setup.network.network(explanation.images).softmax(1)
        probability, predicted = shares.max(1)
        own = shares.gather(1, explanation.target[:, None])[:, 0]
        labels = explained.batch["label"].tolist()
        columns = {
            "image": [names[index] for index in explained.batch["index"].tolist()],
            "label": ["" if label == NO_LABEL else classes[label] for label in labels],
            "predicted": [classes[index] for index in predicted.tolist()],
            "probability": probability.tolist(),
            "target": [classes[index] for index in explanation.target.tolist()],
            "target_probability": own.tolist(),
        }
        self._rows.append(pd.DataFrame(columns))

    def save(self, folder: CellFolder) -> None:
        folder.write(OUTCOMES, pd.concat(self._rows, ignore_index=True))
