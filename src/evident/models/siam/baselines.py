"""The networks that SIAM is compared with: the same backbone without the bottleneck of attributes (PAPERS 3.1).

    SceneRegressor             features, global average, linear -> average and variance
    UnconstrainedAttributes    the same, and attribute maps beside it, which the scores do not pass through

With F (C, h, w) the features and v (C) the weights of a score, s = b + v . mean F, so that its class activation map
(Zhou et al., CVPR 2016), sum_c v_c F_c / (h w), sums to s - b over places, as SIAM's contribution map does.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evident.models.siam.backbones import Backbone
from evident.models.siam.network import AttributeLayer, scores


class SceneRegressor(nn.Module):
    """Scores (N, 2), average and variance of the votes, of images (N, 3, H, W) in [0, 1]: a black box.

    Raises `UserError` for another number of scores.
    """

    regression = True  # for explainers: its outputs are no scores of classes

    def __init__(self, backbone: Backbone, classes: int = 2) -> None:
        super().__init__()
        self.backbone = backbone
        self.scenicness = nn.Linear(backbone.channels, len(scores(classes)))

    def forward(self, images: Tensor) -> Tensor:
        return self.scenicness(self.backbone(images).mean((2, 3)))

    def contribution_map(self, images: Tensor) -> Tensor:
        """The class activation maps (N, 2, h, w): the sums over places are the scores without their bias."""
        features = self.backbone(images)
        return F.conv2d(features, self.scenicness.weight[..., None, None]) / features[0, 0].numel()

    def bias(self) -> Tensor:
        """What the scores (2,) are where nothing is seen."""
        return self.scenicness.bias

    @torch.no_grad()
    def start_at(self, means: Tensor) -> None:
        """Begin with scores about `means` (2,), those of the training labels."""
        self.scenicness.bias.copy_(means)


class UnconstrainedAttributes(SceneRegressor):
    """A `SceneRegressor` that learns SIAM's attributes (N, K) from the same features, and scores without them."""

    def __init__(self, backbone: Backbone, attributes: int, border: int, classes: int = 2) -> None:
        super().__init__(backbone, classes)
        self.attribute_layer = AttributeLayer(backbone.channels, attributes, border)

    def attribute_maps(self, images: Tensor) -> Tensor:
        """Attribute maps (N, K, h, w), not negative."""
        return self.attribute_layer(self.backbone(images))

    def attributes(self, images: Tensor) -> Tensor:
        """How much of each attribute there is, (N, K) in [0, 1)."""
        return self.attribute_maps(images).mean((2, 3)).tanh()
