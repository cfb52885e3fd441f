r"""CAM: class activation maps of a network that averages its features (Zhou et al., CVPR 2016, equations 1 and 2).

With F_c (h, w) the last features and v_c the weights of the score s = b + sum_c v_c mean F_c, the map

    M = sum_c v_c F_c / (h w)

shows where the score comes from, and sums to s - b. The authors of SIAM explain their baseline network by CAM.
"""

from typing import Any

import torch
from captum.attr import Attribution
from torch import Tensor

from evident.contracts import ForSomeNetworks, HasAttributeMaps, HasOwnMap, ShowsAttributes
from evident.explainers.shared.contribution_map import own_map, require
from evident.explainers.shared.heatmap import positive_sum
from evident.explainers.shared.placement import Kind, Placement
from evident.models.siam.baselines import SceneRegressor
from evident.models.untouched import untouched


class CAM(Attribution, HasOwnMap, ForSomeNetworks, ShowsAttributes):
    """Compute the signed class activation map (N, 1, H, W) of a `SceneRegressor`, in units of its score.

    The sum over pixels is the score without its bias. Raises `UserError` for any other network, and for a target
    outside its scores.
    """

    heatmap = staticmethod(positive_sum)

    def __init__(self, model: Any, placement: Kind = "measured") -> None:
        require(SceneRegressor, model, "cam")
        super().__init__(model)
        self.model: Any = model
        self.placement = Placement(model, "backbone", placement)

    @classmethod
    def supports(cls, network: type) -> bool:
        return issubclass(network, SceneRegressor)

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        return self.placement.spread(self.own_map(inputs, target), inputs)

    def own_map(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        """Return the class activation map (N, 1, h, w) at the size of the features."""
        return own_map(self.model, inputs, target)

    def attribute_maps(self, inputs: Tensor) -> Tensor | None:
        """Return the network's attribute maps (N, K, h, w), which its score does not depend on, or None."""
        with untouched(self.model, inputs), torch.no_grad():
            return self.model.attribute_maps(inputs.detach()) if isinstance(self.model, HasAttributeMaps) else None

    def place_maps(self, maps: Tensor, inputs: Tensor) -> Tensor:
        """Return maps (N, K, h, w) of the network placed in the images (N, K, H, W)."""
        return self.placement(maps, inputs)
