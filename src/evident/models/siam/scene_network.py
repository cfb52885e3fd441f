"""Base class of SIAM and its baselines: networks that predict average and variance of votes."""

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from evident.contracts import HasBackbone, Regressor, SumsContributions
from evident.data.scenes.splits import SCORES
from evident.errors import UserError
from evident.models.siam.backbones import Backbone


class SceneNetwork(nn.Module, Regressor, SumsContributions, HasBackbone):
    """Predict average and variance of people's votes (N, 2) from images (N, 3, H, W) in [0, 1].

    `backbone` normalises the images and computes the features. Raises `UserError` unless `classes`, the number of
    scores, is 2.
    """

    def __init__(self, backbone: Backbone, classes: int = len(SCORES)) -> None:
        super().__init__()
        if classes != len(SCORES):
            raise UserError(
                f"classes={classes} does not fit {type(self).__name__}, which predicts {' and '.join(SCORES)}; "
                f"use classes={len(SCORES)}"
            )
        self.backbone = backbone

    def regression_names(self) -> Sequence[str]:
        return SCORES

    def feature_extractor(self) -> nn.Module:
        return self.backbone

    @abstractmethod
    def start_at(self, means: Tensor) -> None:
        """Set the biases to `means` (2,), the mean scores of the training labels."""
