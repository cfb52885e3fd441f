r"""RISE: the mean class probability over random masks that keep a pixel.

V. Petsiuk, A. Das, K. Saenko: *RISE: randomized input sampling for explanation of black-box models*, BMVC
2018. With f the softmax probability of the class and M_i one of n random masks, equation 6:

    S(pixel) = 1 / (n E[M]) sum_i f(I * M_i) M_i(pixel)

A mask (section 3.2) is a grid of `cells` x `cells` ones (probability `keep`) and zeros, up-sampled
bilinearly to one cell more than the image, and cropped to the image's size at a random offset within the first cell.
Masked pixels take the network's mean colour, which is zero in the authors' normalised images. The masks depend on
the seed only: all images share them.

Unlike a probability, the output of a regression has no natural zero. There, f is the output minus its mean over the
masks, so pixels that raise it are positive and pixels that lower it are negative.

`centred` (ours) removes the constant that every pixel gets. With means over the n masks f' = mean f_i and
M' = mean M_i, equation 6 is

    S = f' M' / E[M] + mean (f_i - f') M_i / E[M]

The first term does not depend on what the network does with the pixel. It is f' plus the noise f' (M' / E[M] - 1), as
each pixel is visible more or less often than expected. Subtracting f' alone would leave this noise. We keep the second
term, a covariance, and divide it by the variance of the same masks:

    C(pixel) = sum_i (f_i - f') (M_i - M') / sum_i (M_i - M')^2

This is the slope of the regression of f on the mask of the pixel: what f gains when the pixel is visible. If f is
linear in the mask of one pixel, C is exact there for any masks. The variance in the denominator is p (1 - p) sum_k
w_k^2 for bilinear weights w_k: 4/9 p (1 - p) on average, and more at the border of the image. p (1 - p) would be right
only for masks of zeros and ones.
"""

import torch
import torch.nn.functional as F
from captum.attr import Attribution
from torch import Tensor, nn

from evident.contracts import Regressor
from evident.errors import UserError
from evident.explainers.shared.heatmap import positive_sum
from evident.explainers.shared.targets import probability, target_scores, targets
from evident.models.reference_images import Reference, reference_images
from evident.models.untouched import untouched


class RISE(Attribution):
    """Compute the class probability given that a pixel is visible (N, 1, H, W), in [0, 1] up to sampling noise.

    For a regression: the signed difference of the score, in its units, when the pixel is visible. With `centred`: the
    slope C, signed, in units of f. `batch_size` masked images are evaluated at a time. Raises `UserError` unless
    0 < keep < 1, masks >= 1 and cells >= 1.
    """

    heatmap = staticmethod(positive_sum)

    def __init__(
        self,
        model: nn.Module,
        masks: int = 4000,
        cells: int = 7,
        keep: float = 0.5,
        seed: int = 0,
        batch_size: int = 64,
        reference: Reference = "mean_colour",
        centred: bool = False,
    ) -> None:
        if not 0 < keep < 1 or masks < 1 or cells < 1:
            raise UserError(f"masks={masks}, cells={cells}, keep={keep}: RISE needs masks, cells >= 1, 0 < keep < 1")
        super().__init__(model)
        self.model, self.masks, self.cells, self.keep = model, masks, cells, keep
        self.seed, self.batch_size, self.reference = seed, batch_size, reference
        self.centred = centred

    def draw(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Draw grids (masks, 1, cells, cells) of zeros and ones, and the corners (masks, 2) of their crops."""
        generator = torch.Generator().manual_seed(self.seed)
        grids = torch.rand(self.masks, 1, self.cells, self.cells, generator=generator) < self.keep
        cell = torch.tensor([-(-height // self.cells), -(-width // self.cells)])
        corners = (torch.rand(self.masks, 2, generator=generator) * cell).long()
        return grids.float(), corners

    def full_size(self, grids: Tensor, corners: Tensor, height: int, width: int) -> Tensor:
        """Return masks (B, 1, H, W) in [0, 1] from B grids and corners."""
        large = [(self.cells + 1) * -(-side // self.cells) for side in (height, width)]
        smooth = F.interpolate(grids, large, mode="bilinear", align_corners=False)
        rows = corners[:, 0, None] + torch.arange(height, device=corners.device)
        columns = corners[:, 1, None] + torch.arange(width, device=corners.device)
        which = torch.arange(len(grids), device=corners.device)[:, None, None]
        return smooth[which, 0, rows[:, :, None], columns[:, None, :]][:, None]

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        height, width = inputs.shape[-2:]
        drawn = zip(*(part.split(self.batch_size) for part in self.draw(height, width)), strict=True)
        with untouched(self.model, inputs), torch.no_grad():
            classes = targets(target, len(inputs)).tolist()
            saliency = torch.zeros_like(inputs[:, :1])
            total, visible = saliency.new_zeros(len(inputs), 1, 1, 1), torch.zeros_like(saliency[:1])
            squares = torch.zeros_like(visible)
            unseen = reference_images(inputs, self.model, self.reference)
            for grids, corners in drawn:
                masks = self.full_size(grids.to(inputs), corners.to(inputs.device), height, width)
                visible += masks.sum(0)
                if self.centred:
                    squares += masks.square().sum(0)
                # Each image is evaluated with a full batch of masks, as the forward passes dominate the cost.
                for n in range(len(inputs)):
                    outputs = self.model(torch.lerp(unseen[n], inputs[n], masks))
                    score = target_scores(probability(self.model, outputs), classes[n])
                    saliency[n] += torch.einsum("m,mchw->chw", score, masks)
                    total[n] += score.sum()
            if self.centred or isinstance(self.model, Regressor):
                saliency -= total / self.masks * visible
        if not self.centred:
            return saliency / (self.masks * self.keep)
        variation = squares - visible.square() / self.masks
        # Where the masks do not vary, as with a single mask, there is no slope.
        return torch.where(variation > 1e-6 * squares, saliency / variation, 0)
