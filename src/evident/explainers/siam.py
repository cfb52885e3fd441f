r"""SIAM: a network that is its own explanation (Marcos, Lobry and Tuia, ICCV workshops 2019, arXiv 1909.08442).

Its score is b + sum_k c_k, where c_k is the sum over positions of M_k w_k (a_k1 T_k1 + a_k2 T_k2)
(`models.siam.network`). The explanation reads these terms: how much each attribute raises or lowers the score, and
where. Nothing is estimated.
"""

from typing import Any

import torch
from captum.attr import Attribution
from torch import Tensor

from evident.contracts import ForSomeNetworks, HasOwnMap, ShowsAttributes, StatesContributions
from evident.data.scenes.splits import SCORES
from evident.explainers.shared.contribution_map import own_map, require, score_index
from evident.explainers.shared.heatmap import positive_sum
from evident.explainers.shared.placement import Kind, Placement
from evident.models.siam import network as siam
from evident.models.untouched import untouched


class SIAM(Attribution, HasOwnMap, ForSomeNetworks, ShowsAttributes, StatesContributions):
    """Compute the signed contribution map (N, 1, H, W) of a `SIAM` network, in units of its score.

    The sum over pixels is the score without its bias. Raises `UserError` for any other network, and for a target
    outside its scores.
    """

    heatmap = staticmethod(positive_sum)

    def __init__(self, model: Any, placement: Kind = "measured") -> None:
        require(siam.SIAM, model, "siam")
        super().__init__(model)
        self.model = model
        self.placement = Placement(model, "backbone", placement)

    @classmethod
    def supports(cls, network: type) -> bool:
        return issubclass(network, siam.SIAM)

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        return self.placement.spread(self.own_map(inputs, target), inputs)

    def own_map(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        """Return the contribution map (N, 1, h, w) at the size of the templates."""
        return own_map(self.model, inputs, target)

    def attribute_maps(self, inputs: Tensor) -> Tensor:
        """Return the network's attribute maps (N, K, h, w), non-negative."""
        with untouched(self.model, inputs), torch.no_grad():
            return self.model.outputs(inputs.detach()).attribute_maps

    def place_maps(self, maps: Tensor, inputs: Tensor) -> Tensor:
        """Return maps (N, K, h, w) of the network placed in the images (N, K, H, W)."""
        return self.placement(maps, inputs)

    def contributions(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        """Return the contribution of each attribute to the score (N, K)."""
        index = score_index(target, inputs, len(SCORES))[:, None]
        with untouched(self.model, inputs), torch.no_grad():
            outputs = self.model.outputs(inputs.detach())
        return torch.where(index == SCORES.index("average"), outputs.contributions, outputs.variance_contributions)

    def contribution_maps(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        """Return the contribution map of each attribute (N, K, h, w), at the size of the templates."""
        index = score_index(target, inputs, len(SCORES))
        with untouched(self.model, inputs), torch.no_grad():
            maps = torch.stack([self.model.contribution_maps(inputs.detach(), score) for score in SCORES])
        return maps[index, torch.arange(len(index), device=index.device)]
