r"""SIAM's explanation is the network itself (Marcos, Lobry and Tuia, ICCV workshops 2019, arXiv 1909.08442).

Its score is b + sum_k c_k, and c_k the sum over places of M_k w_k (a_k1 T_k1 + a_k2 T_k2) (`models.siam.network`).
So what raises the score and what lowers it, where, and of which attribute, is read off; nothing is estimated.
"""

from typing import Any

import torch
from captum.attr import Attribution
from torch import Tensor

from evident.data.scenes.splits import SCORES
from evident.explainers.shared.contribution_map import ask_for, asked_for, own_map, spread
from evident.explainers.shared.heatmap import positive_sum
from evident.models.siam import network as siam
from evident.models.untouched import untouched


class SIAM(Attribution):
    """The contribution map (N, 1, H, W) of a `SIAM` network, in units of its score and of either sign.

    The sum over pixels is the score without its bias. Raises `UserError` for any other network, and for a target that
    is none of its scores.
    """

    heatmap = staticmethod(positive_sum)
    explains = siam.SIAM

    def __init__(self, model: Any) -> None:
        ask_for(self.explains, model, "siam")
        super().__init__(model)
        self.model = model

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        return spread(self.places(inputs, target), inputs)

    def places(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        """The contribution map (N, 1, h, w) at the size of the templates."""
        return own_map(self.model, inputs, target)

    def attribute_maps(self, inputs: Tensor) -> Tensor:
        """Where each attribute is seen (N, K, h, w), not negative."""
        with untouched(self.model), torch.no_grad():
            return self.model.outputs(inputs.detach()).attribute_maps

    def contributions(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        """What each attribute contributes to the score (N, K)."""
        own = asked_for(target, inputs, len(SCORES))[:, None]
        with untouched(self.model), torch.no_grad():
            outputs = self.model.outputs(inputs.detach())
        return torch.where(own == SCORES.index("average"), outputs.contributions, outputs.variance_contributions)

    def contribution_maps(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        """Where each attribute contributes how much to the score (N, K, h, w), at the size of the templates."""
        own = asked_for(target, inputs, len(SCORES))
        with untouched(self.model), torch.no_grad():
            maps = torch.stack([self.model.contribution_maps(inputs.detach(), score) for score in SCORES])
        return maps[own, torch.arange(len(own), device=own.device)]
