"""Baselines of SIAM: the same backbone without the attribute bottleneck (Marcos et al. 2019).

    SceneRegressor             features, global average, linear -> average and variance
    UnconstrainedAttributes    the same, plus attribute maps that do not enter the scores

With features F (C, h, w) and the weights v (C) of a score, s = b + v . mean F. The class activation map (Zhou et al.,
CVPR 2016), sum_c v_c F_c / (h w), therefore sums to s - b over positions, as SIAM's contribution map does.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evident.contracts import HasAttributeMaps
from evident.data.scenes.splits import SCORES
from evident.models.siam.backbones import Backbone
from evident.models.siam.network import AttributeLayer
from evident.models.siam.scene_network import SceneNetwork


class SceneRegressor(SceneNetwork):
    """Predict average and variance of the votes (N, 2) from images (N, 3, H, W) in [0, 1], without attributes.

    Raises `UserError` unless `classes`, the number of scores, is 2.
    """

    def __init__(self, backbone: Backbone, classes: int = len(SCORES)) -> None:
        super().__init__(backbone, classes)
        self.scenicness = nn.Linear(backbone.channels, len(SCORES))

    def forward(self, images: Tensor) -> Tensor:
        return self.scenicness(self.backbone(images).mean((2, 3)))

    def contribution_map(self, images: Tensor) -> Tensor:
        """Return class activation maps (N, 2, h, w), whose sums over positions are the scores without their bias."""
        features = self.backbone(images)
        return F.conv2d(features, self.scenicness.weight[..., None, None]) / features[0, 0].numel()

    def output_bias(self) -> Tensor:
        """Return the biases (2,) of the scores."""
        return self.scenicness.bias

    @torch.no_grad()
    def start_at(self, means: Tensor) -> None:
        self.scenicness.bias.copy_(means)


class UnconstrainedAttributes(SceneRegressor, HasAttributeMaps):
    """Predict scores like a `SceneRegressor` and, from the same features, SIAM's attributes (N, K)."""

    def __init__(self, backbone: Backbone, attributes: int, border: int, classes: int = len(SCORES)) -> None:
        super().__init__(backbone, classes)
        self.attribute_layer = AttributeLayer(backbone.channels, attributes, border)

    def attribute_maps(self, images: Tensor) -> Tensor:
        """Return non-negative attribute maps (N, K, h, w)."""
        return self.attribute_layer(self.backbone(images))

    def attributes(self, images: Tensor) -> Tensor:
        """Return how much of each attribute is present (N, K), in [0, 1)."""
        return self.attribute_maps(images).mean((2, 3)).tanh()
