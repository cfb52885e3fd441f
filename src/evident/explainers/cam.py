r"""CAM: class activation maps (Zhou et al., CVPR 2016, equations 1 and 2), of a network that averages its features.

With F_c (h, w) the last features and v_c the weights of the score s = b + sum_c v_c mean F_c,

    M = sum_c v_c F_c / (h w)

is where the score comes from, and sums to s - b. It is how SIAM's authors explain their baseline.
"""

from typing import Any

import torch
from captum.attr import Attribution
from torch import Tensor

from evident.explainers.shared.contribution_map import ask_for, own_map, spread
from evident.explainers.shared.heatmap import positive_sum
from evident.models.siam.baselines import SceneRegressor
from evident.models.untouched import untouched


class CAM(Attribution):
    """The class activation map (N, 1, H, W) of a `SceneRegressor`, in units of its score and of either sign.

    The sum over pixels is the score without its bias. Raises `UserError` for any other network, and for a target that
    is none of its scores.
    """

    heatmap = staticmethod(positive_sum)
    explains = SceneRegressor

    def __init__(self, model: Any) -> None:
        ask_for(self.explains, model, "cam")
        super().__init__(model)
        self.model = model
        if hasattr(model, "attribute_maps"):
            self.attribute_maps = self._attribute_maps

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        return spread(self.places(inputs, target), inputs)

    def places(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        """The class activation map (N, 1, h, w) at the size of the features."""
        return own_map(self.model, inputs, target)

    def _attribute_maps(self, inputs: Tensor) -> Tensor:
        """Where the network sees each attribute (N, K, h, w), not negative, though its score does not hang on that."""
        with untouched(self.model), torch.no_grad():
            return self.model.attribute_maps(inputs.detach())
