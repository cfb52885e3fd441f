r"""SIAM: a scenicness score as a sum over named attributes and positions.

Marcos, Lobry and Tuia, ICCV workshops 2019, arXiv 1909.08442. Between the features of the backbone and the scores lies
one map per named attribute k:

    M_k (h, w)     attribute maps     ReLU of a 1x1 convolution of the features, zero on a border of some positions
    p_k            attributes         tanh(mean M_k), in [0, 1)
    s              a score            b + sum_k c_k, the average or the variance of people's votes
    c_k            contributions      w_k sum_t a_kt max(<T_kt, M_k>, 0),  t = 1, 2

T_kt (H, W) are templates without negative values, clamped after every training step. a_kt are their signs, initially
+1/2 and -1/2. A score is therefore linear in the maps, and the contribution of attribute k splits over positions: its
map M_k w_k (a_k1 T_k1 + a_k2 T_k2) sums to c_k, and the maps of all attributes sum to s - b. This is the complete and
exact explanation.

Maps and templates are non-negative, so the maximum with zero never changes a score. It is the authors' ReLU, and only
matters in training: a template that is zero wherever its attribute is seen gets no gradient and stays zero there.
"""

from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evident.contracts import HasAttributeMaps
from evident.data.scenes.splits import SCORES
from evident.errors import UserError
from evident.models.siam.backbones import Backbone
from evident.models.siam.scene_network import SceneNetwork


class SceneOutputs(NamedTuple):
    """Hold the outputs of SIAM for N images.

    attribute_maps (N, K, H, W), non-negative, at the size of the templates; attributes (N, K) in [0, 1); contributions
    (N, K) to the average and variance_contributions (N, K) to the variance, in votes; average and variance (N,).
    """

    attribute_maps: Tensor
    attributes: Tensor
    contributions: Tensor
    variance_contributions: Tensor
    average: Tensor
    variance: Tensor


class AttributeLayer(nn.Module):
    """Compute attribute maps (N, K, h, w) from features (N, C, h, w): 1x1 convolution, ReLU, zeros on the border.

    The border is `border` positions wide. Raises `UserError` if nothing lies inside it.
    """

    def __init__(self, channels: int, attributes: int, border: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, attributes, 1)
        self.border = border

    def forward(self, features: Tensor) -> Tensor:
        height, width = features.shape[-2:]
        b = self.border
        if min(height, width) <= 2 * b:
            raise UserError(f"feature maps of {height}x{width} lie within a border of {b} positions; use larger images")
        inside = features[..., b : height - b, b : width - b]
        return F.pad(self.convolution(inside).relu(), (b, b, b, b))


class ScoreHead(nn.Module):
    """Compute the contributions to one score from attribute maps (N, K, size, size).

    Holds templates T, signs a, weights w and bias b of the formula above.
    """

    def __init__(self, attributes: int, size: int, templates: int) -> None:
        super().__init__()
        self.templates = nn.Parameter(torch.full((attributes, templates, size, size), 0.01))
        self.signs = nn.Parameter(torch.tensor([0.5, -0.5])[:templates].repeat(attributes, 1))
        self.weights = nn.Parameter(torch.full((attributes,), 1 / attributes))
        self.bias = nn.Parameter(torch.zeros(1))

    def kernel(self) -> Tensor:
        """Return w_k sum_t a_kt T_kt (K, size, size): the contribution of each map per unit, at each position."""
        return torch.einsum("k,kt,kthw->khw", self.weights, self.signs, self.templates)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the contributions c (N, K)."""
        found = torch.einsum("nkhw,kthw->nkt", maps, self.templates).relu()
        return torch.einsum("nkt,kt,k->nk", found, self.signs, self.weights)


class SIAM(SceneNetwork, HasAttributeMaps):
    """Predict average and variance of the votes (N, 2) from images (N, 3, H, W) in [0, 1], as sums over attributes.

    `backbone` normalises the images and computes the features; `attributes` is K. `size` is the side of the templates;
    maps of another size are averaged to it. `templates=1` keeps only the positive template of each attribute.
    `sparsity` is the weight of the mean template in the training loss (`evident.models.siam.stage`). Raises
    `UserError` unless `classes` is 2 and `templates` is 1 or 2.
    """

    def __init__(
        self,
        backbone: Backbone,
        attributes: int,
        size: int,
        border: int,
        templates: int = 2,
        sparsity: float = 0.001,
        classes: int = len(SCORES),
    ) -> None:
        super().__init__(backbone, classes)
        if templates not in (1, 2):
            raise UserError(
                f"templates={templates} per attribute; use 2 (one raises the score, one lowers it) or 1 (raises it)"
            )
        self.attribute_layer = AttributeLayer(backbone.channels, attributes, border)
        self.scenicness = nn.ModuleDict({score: ScoreHead(attributes, size, templates) for score in SCORES})
        self.size, self.sparsity = size, sparsity

    def forward(self, images: Tensor) -> Tensor:
        maps = self._pooled(self.attribute_maps(images))
        return torch.stack([head(maps).sum(1) + head.bias for head in self._heads()], 1)

    def attribute_maps(self, images: Tensor) -> Tensor:
        """Return non-negative attribute maps (N, K, h, w) at the size of the features."""
        return self.attribute_layer(self.backbone(images))

    def attributes(self, images: Tensor) -> Tensor:
        """Return how much of each attribute is present (N, K), in [0, 1)."""
        return self.attribute_maps(images).mean((2, 3)).tanh()

    def outputs(self, images: Tensor) -> SceneOutputs:
        """Return the scores, contributions and attributes."""
        return self.outputs_and_map(images)[0]

    def contribution_map(self, images: Tensor) -> Tensor:
        """Return maps (N, 2, size, size) whose sums over positions are the scores without their bias."""
        return self.outputs_and_map(images)[1]

    def outputs_and_map(self, images: Tensor) -> tuple[SceneOutputs, Tensor]:
        """Return `outputs` and `contribution_map`, computed in one forward pass."""
        maps = self.attribute_maps(images)
        pooled = self._pooled(maps)
        average, variance = (head(pooled) for head in self._heads())
        biases = self.output_bias()
        outputs = SceneOutputs(
            attribute_maps=pooled,
            attributes=maps.mean((2, 3)).tanh(),
            contributions=average,
            variance_contributions=variance,
            average=average.sum(1) + biases[0],
            variance=variance.sum(1) + biases[1],
        )
        kernels = torch.stack([head.kernel() for head in self._heads()])
        return outputs, torch.einsum("nkhw,okhw->nohw", pooled, kernels)

    def contribution_maps(self, images: Tensor, score: str = "average") -> Tensor:
        """Return the contribution of each attribute at each position to one score (N, K, size, size).

        `score` is average or variance; raises `UserError` for any other.
        """
        if score not in SCORES:
            raise UserError(f"score={score!r} is unknown; use {' or '.join(SCORES)}")
        return self._pooled(self.attribute_maps(images)) * self._heads()[SCORES.index(score)].kernel()

    def output_bias(self) -> Tensor:
        """Return the biases (2,): the scores of an image without any attribute."""
        return torch.cat([head.bias for head in self._heads()])

    @torch.no_grad()
    def start_at(self, means: Tensor) -> None:
        for head, mean in zip(self._heads(), means, strict=True):
            head.bias.fill_(mean)

    def template_magnitude(self) -> Tensor:
        """Return the mean of |T| over all templates, the sparsity loss."""
        return torch.stack([head.templates.abs().mean() for head in self._heads()]).mean()

    @torch.no_grad()
    def clamp_templates(self) -> None:
        """Set negative values of the templates to zero."""
        for head in self._heads():
            head.templates.clamp_(min=0)

    def _heads(self) -> list[ScoreHead]:
        return list(cast(Iterable[ScoreHead], self.scenicness.values()))

    def _pooled(self, maps: Tensor) -> Tensor:
        # Skip the pooling if the size fits: its gradient is not deterministic on a GPU.
        fit = maps.shape[-2:] == (self.size, self.size)
        return maps if fit else F.adaptive_avg_pool2d(maps, self.size)
