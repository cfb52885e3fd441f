r"""SIAM: scenicness as a sum of what is seen where (Marcos, Lobry and Tuia, ICCV workshops 2019, arXiv 1909.08442).

Between the backbone's features and the scores stands one map an attribute, which has a name:

    M_k (h, w)     attribute maps     ReLU of a 1x1 convolution of the features, zero on a border of some positions
    p_k            attributes         tanh(mean M_k), in [0, 1)
    s              a score            b + sum_k c_k        the average of people's votes, or the variance of them
    c_k            contributions      w_k sum_t a_kt max(<T_kt, M_k>, 0),  t = 1, 2

T_kt (H, W) are templates without negative values, clamped after every step of training; a_kt, +1/2 and -1/2 to begin
with, are their signs. So a score is linear in the maps, and the contribution of attribute k falls to places: its map
M_k w_k (a_k1 T_k1 + a_k2 T_k2) sums to c_k, those of all attributes to s - b. That is the whole explanation, and exact.

Neither maps nor templates are negative, so the maximum with zero changes no score. It is the authors' ReLU, and decides
in training alone: a template that has become zero wherever its attribute is seen gets no gradient, and stays.
"""

from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evident.data.scenes.splits import SCORES
from evident.errors import UserError
from evident.models.siam.backbones import Backbone


class SceneOutputs(NamedTuple):
    """What SIAM says of N images.

    attribute_maps (N, K, H, W) at the size of the templates, not negative; attributes (N, K) in [0, 1); contributions
    (N, K) to the average and variance_contributions (N, K) to the variance, in votes; average and variance (N,).
    """

    attribute_maps: Tensor
    attributes: Tensor
    contributions: Tensor
    variance_contributions: Tensor
    average: Tensor
    variance: Tensor


class AttributeLayer(nn.Module):
    """Attribute maps (N, K, h, w) of features (N, C, h, w): 1x1 convolution, ReLU, `border` positions set to zero.

    Raises `UserError` where the border leaves nothing of the maps.
    """

    def __init__(self, channels: int, attributes: int, border: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, attributes, 1)
        self.border = border

    def forward(self, features: Tensor) -> Tensor:
        height, width = features.shape[-2:]
        b = self.border
        if min(height, width) <= 2 * b:
            raise UserError(f"maps of {height}x{width} have nothing inside a border of {b}; use larger images")
        inside = features[..., b : height - b, b : width - b]
        return F.pad(self.convolution(inside).relu(), (b, b, b, b))


class ScoreHead(nn.Module):
    """One score of attribute maps (N, K, size, size): templates T, signs a, weights w and bias b of the head above."""

    def __init__(self, attributes: int, size: int, templates: int) -> None:
        super().__init__()
        self.templates = nn.Parameter(torch.full((attributes, templates, size, size), 0.01))
        self.signs = nn.Parameter(torch.tensor([0.5, -0.5])[:templates].repeat(attributes, 1))
        self.weights = nn.Parameter(torch.full((attributes,), 1 / attributes))
        self.bias = nn.Parameter(torch.zeros(1))

    def kernel(self) -> Tensor:
        """w_k sum_t a_kt T_kt (K, size, size): what a unit of each map contributes at each place."""
        return torch.einsum("k,kt,kthw->khw", self.weights, self.signs, self.templates)

    def forward(self, maps: Tensor) -> Tensor:
        """Contributions c (N, K)."""
        found = torch.einsum("nkhw,kthw->nkt", maps, self.templates).relu()
        return torch.einsum("nkt,kt,k->nk", found, self.signs, self.weights)


class SIAM(nn.Module):
    """Scores (N, 2), average and variance of the votes, of images (N, 3, H, W) in [0, 1].

    `backbone` gives the features, and normalises; `attributes` is K; `size` is the templates' side, to which maps of
    another size are averaged. `templates` 1 leaves each attribute the positive one. `sparsity` is the weight of the
    templates' mean in training (`evident.models.siam.training`). Raises `UserError` for another number of scores or
    templates.
    """

    regression = True  # for explainers: its outputs are no scores of classes

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
        super().__init__()
        if templates not in (1, 2):
            raise UserError(f"templates={templates} an attribute; use 2, one that raises and one that lowers, or 1")
        self.backbone = backbone
        self.attribute_layer = AttributeLayer(backbone.channels, attributes, border)
        self.scenicness = nn.ModuleDict({score: ScoreHead(attributes, size, templates) for score in scores(classes)})
        self.size, self.sparsity = size, sparsity

    def forward(self, images: Tensor) -> Tensor:
        maps = self._pooled(self.attribute_maps(images))
        return torch.stack([head(maps).sum(1) + head.bias for head in self._heads()], 1)

    def attribute_maps(self, images: Tensor) -> Tensor:
        """Attribute maps (N, K, h, w) at the size of the features, not negative."""
        return self.attribute_layer(self.backbone(images))

    def attributes(self, images: Tensor) -> Tensor:
        """How much of each attribute there is, (N, K) in [0, 1)."""
        return self.attribute_maps(images).mean((2, 3)).tanh()

    def outputs(self, images: Tensor) -> SceneOutputs:
        """The scores with all that they are made of."""
        return self.explained(images)[0]

    def contribution_map(self, images: Tensor) -> Tensor:
        """Where the scores come from, (N, 2, size, size): the sums over places are the scores without their bias."""
        return self.explained(images)[1]

    def explained(self, images: Tensor) -> tuple[SceneOutputs, Tensor]:
        """`outputs` and `contribution_map` in one forward pass."""
        maps = self.attribute_maps(images)
        pooled = self._pooled(maps)
        average, variance = (head(pooled) for head in self._heads())
        biases = self.bias()
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
        """Where each attribute contributes how much to the score, (N, K, size, size).

        Raises `UserError` for an unknown score.
        """
        if score not in SCORES:
            raise UserError(f"score={score!r} is unknown; use {' or '.join(SCORES)}")
        return self._pooled(self.attribute_maps(images)) * self._heads()[SCORES.index(score)].kernel()

    def bias(self) -> Tensor:
        """What the scores (2,) are where nothing is seen."""
        return torch.cat([head.bias for head in self._heads()])

    @torch.no_grad()
    def start_at(self, means: Tensor) -> None:
        """Begin with scores that are everywhere `means` (2,), those of the training labels."""
        for head, mean in zip(self._heads(), means, strict=True):
            head.bias.fill_(mean)

    def template_magnitude(self) -> Tensor:
        """The mean of |T| over all templates, which training keeps small."""
        return torch.stack([head.templates.abs().mean() for head in self._heads()]).mean()

    @torch.no_grad()
    def clamp_templates(self) -> None:
        """Set to zero what is negative in a template."""
        for head in self._heads():
            head.templates.clamp_(min=0)

    def _heads(self) -> list[ScoreHead]:
        return list(cast(Iterable[ScoreHead], self.scenicness.values()))

    def _pooled(self, maps: Tensor) -> Tensor:
        # Maps that fit already are passed by: a GPU has no deterministic gradient of the pooling.
        fit = maps.shape[-2:] == (self.size, self.size)
        return maps if fit else F.adaptive_avg_pool2d(maps, self.size)


def scores(classes: int) -> tuple[str, ...]:
    """The names of what a network of scenes predicts; raises `UserError` for another number of them."""
    if classes != len(SCORES):
        raise UserError(f"{classes} classes are no scenicness; networks of scenes predict {' and '.join(SCORES)}")
    return SCORES
