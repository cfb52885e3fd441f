"""Occlusion: the drop of the score when a window of the image is hidden.

M. D. Zeiler, R. Fergus: *Visualizing and understanding convolutional networks*, ECCV 2014, section 4.2. A
square slides over the image and replaces all channels by the network's mean colour. The value of a pixel is the
mean drop of the class score over the windows that cover it. (The paper uses the probability. We use the score, like
every other baseline here, because a saturated probability hides the drop.) Captum computes the windows.
"""

import torch
from captum.attr import Attribution
from captum.attr import Occlusion as CaptumOcclusion
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.shared.heatmap import positive_sum
from evident.explainers.shared.targets import targets, within_classes
from evident.models.reference_images import Reference, reference_images
from evident.models.untouched import untouched


class Occlusion(Attribution):
    """Compute the mean drop of the class score (N, 1, H, W) over the windows that hide each pixel.

    `window` and `stride` are shares of the shorter side; `batch_size` occluded images are evaluated at a time.
    Raises `UserError` unless 0 < stride <= window <= 1.
    """

    heatmap = staticmethod(positive_sum)

    def __init__(
        self,
        model: nn.Module,
        window: float = 1 / 7,
        stride: float = 1 / 14,
        batch_size: int = 64,
        reference: Reference = "mean_colour",
    ) -> None:
        if not 0 < stride <= window <= 1:
            raise UserError(f"window={window}, stride={stride}: occlusion needs 0 < stride <= window <= 1")
        super().__init__(model)
        self.model, self.window, self.stride = model, window, stride
        self.batch_size, self.reference = batch_size, reference

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        window, stride = (max(1, round(share * min(inputs.shape[-2:]))) for share in (self.window, self.stride))
        index = targets(target, len(inputs)).to(inputs.device)
        with untouched(self.model, inputs), torch.no_grad(), within_classes(self.model, index):
            classes = index.split(self.batch_size)
            drops = [
                CaptumOcclusion(self.model).attribute(
                    images,
                    sliding_window_shapes=(3, window, window),
                    strides=(3, stride, stride),
                    baselines=reference_images(images, self.model, self.reference),
                    target=classes_of_images,
                    perturbations_per_eval=max(1, self.batch_size // len(images)),
                )
                for images, classes_of_images in zip(inputs.detach().split(self.batch_size), classes, strict=True)
            ]
        # The window covers all channels, so they have equal values.
        return torch.cat(drops)[:, :1]
