r"""Score-CAM: maps of a layer, weighted by the scores of the image regions that they show.

H. Wang et al.: *Score-CAM: score-weighted visual explanations for convolutional neural networks*, CVPR workshops 2020,
arXiv 1910.01279. With x the image, r its reference, A^k (h x w) the k-th map of the layer, H^k the map placed in the
image and scaled to [0, 1] by its own minimum and maximum, and S the score of the class, definitions 2 and 3 and
algorithm 1 are:

    S_k = S(H^k x + (1 - H^k) r) - S(r)        the increase by what the map shows
    w_k = exp(S_k) / sum_l exp(S_l)
    L = max(sum_k w_k A^k, 0)

r is the network's mean colour, which is zero in the authors' normalised images. Constant maps show nothing, cannot be
scaled, and take no part. S is the score before the softmax. `Placement` places H^k and L in the image.
"""

import torch
from captum.attr import Attribution
from torch import Tensor, nn

from evident.explainers.shared.feature_maps import run_to_layer
from evident.explainers.shared.heatmap import positive_sum
from evident.explainers.shared.placement import Kind, Placement
from evident.explainers.shared.targets import target_scores, targets
from evident.models.reference_images import Reference, reference_images
from evident.models.untouched import untouched


class ScoreCAM(Attribution):
    """Compute Score-CAM of the module `layer` (N, 1, H, W), with one forward pass per map of the layer.

    `batch_size` masked images are evaluated at a time. Raises `UserError` for an unknown layer or placement.
    """

    heatmap = staticmethod(positive_sum)

    def __init__(
        self,
        model: nn.Module,
        layer: str,
        placement: Kind = "measured",
        reference: Reference = "mean_colour",
        batch_size: int = 64,
    ) -> None:
        super().__init__(model)
        self.model, self.layer, self.placement = model, layer, Placement(model, layer, placement)
        self.reference, self.batch_size = reference, batch_size

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        with untouched(self.model, inputs), torch.no_grad():
            images, classes = inputs.detach(), targets(target, len(inputs)).to(inputs.device)
            maps = run_to_layer(self.model, self.layer, images.clone()).maps.to(images.dtype)  # of bfloat16's passes
            unseen = reference_images(images, self.model, self.reference)
            increases = torch.stack([self._scores(*one) for one in zip(images, unseen, maps, classes, strict=True)])
            shown = maps.amax((2, 3)) > maps.amin((2, 3))
            weights = increases.masked_fill(~shown, -torch.inf).softmax(1).nan_to_num()
            cam = torch.einsum("nk,nkhw->nhw", weights, maps)[:, None]
        return self.placement(cam.clamp(min=0), inputs)

    def _scores(self, image: Tensor, unseen: Tensor, maps: Tensor, target: Tensor) -> Tensor:
        """Return S (K,) of one image (3, H, W) masked by each of its maps (K, h, w); S(r) cancels in the softmax."""
        scores = []
        for part in maps[:, None].split(self.batch_size):
            masks = self.placement(part, image[None])
            low, high = masks.amin((2, 3), keepdim=True), masks.amax((2, 3), keepdim=True)
            masks = (masks - low) / torch.where(high > low, high - low, 1)
            scores.append(target_scores(self.model(torch.lerp(unseen, image, masks)), target.expand(len(masks))))
        return torch.cat(scores)
