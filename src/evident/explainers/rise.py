r"""RISE: how probable is the class where a pixel is seen, averaged over random masks.

V. Petsiuk, A. Das, K. Saenko: *RISE: randomized input sampling for explanation of black-box models*, BMVC
2018. With f the softmax probability of the class and M_i one of n random masks, equation 6:

    S(pixel) = 1 / (n E[M]) sum_i f(I * M_i) M_i(pixel)

A mask (section 3.2) is a grid of `cells` x `cells` ones (probability `keep`) and zeros, up-sampled
bilinearly to one cell more than the image, and cropped to it at a random place within the first cell. What
is masked away becomes the network's mean colour, which is the zero of the authors' normalised images. The
masks belong to the seed: each image sees the same ones.

The number that a regression predicts has no zero as a probability has. There f is the number less its mean over the
masks, so that what raises it is positive, and what lowers it negative.
"""

import torch
import torch.nn.functional as F
from captum.attr import Attribution
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.shared.heatmap import positive_sum
from evident.explainers.shared.targets import probability, target_scores, targets
from evident.models.reference_images import Reference, reference_images
from evident.models.regression import is_regression
from evident.models.untouched import untouched


class RISE(Attribution):
    """The probability of the class given that a pixel is seen (N, 1, H, W), up to sampling noise in [0, 1].

    Of a regression, by how much its score is higher where the pixel is seen, in its units and of either sign.

    `batch_size` masked images are evaluated at once. Raises `UserError` unless 0 < keep < 1 and there is a
    mask.
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
    ) -> None:
        if not 0 < keep < 1 or masks < 1 or cells < 1:
            raise UserError(f"masks={masks}, cells={cells}, keep={keep}: RISE needs masks, cells >= 1, 0 < keep < 1")
        super().__init__(model)
        self.model, self.masks, self.cells, self.keep = model, masks, cells, keep
        self.seed, self.batch_size, self.reference = seed, batch_size, reference

    def draw(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Grids (masks, 1, cells, cells) of zeros and ones, and the corners (masks, 2) of their crops."""
        generator = torch.Generator().manual_seed(self.seed)
        grids = torch.rand(self.masks, 1, self.cells, self.cells, generator=generator) < self.keep
        cell = torch.tensor([-(-height // self.cells), -(-width // self.cells)])
        corners = (torch.rand(self.masks, 2, generator=generator) * cell).long()
        return grids.float(), corners

    def grow(self, grids: Tensor, corners: Tensor, height: int, width: int) -> Tensor:
        """Masks (B, 1, H, W) in [0, 1] from B grids and corners."""
        large = [(self.cells + 1) * -(-side // self.cells) for side in (height, width)]
        smooth = F.interpolate(grids, large, mode="bilinear", align_corners=False)
        rows = corners[:, 0, None] + torch.arange(height, device=corners.device)
        columns = corners[:, 1, None] + torch.arange(width, device=corners.device)
        which = torch.arange(len(grids), device=corners.device)[:, None, None]
        return smooth[which, 0, rows[:, :, None], columns[:, None, :]][:, None]

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        height, width = inputs.shape[-2:]
        drawn = zip(*(part.split(self.batch_size) for part in self.draw(height, width)), strict=True)
        with untouched(self.model), torch.no_grad():
            classes = targets(target, len(inputs)).tolist()
            saliency = torch.zeros_like(inputs[:, :1])
            total, seen = saliency.new_zeros(len(inputs), 1, 1, 1), torch.zeros_like(saliency[:1])
            unseen = reference_images(inputs, self.model, self.reference)
            for grids, corners in drawn:
                masks = self.grow(grids.to(inputs), corners.to(inputs.device), height, width)
                seen += masks.sum(0)
                # A full batch of masks for each image: the forward pass is what costs.
                for n in range(len(inputs)):
                    outputs = self.model(torch.lerp(unseen[n], inputs[n], masks))
                    score = target_scores(probability(self.model, outputs), classes[n])
                    saliency[n] += torch.einsum("m,mchw->chw", score, masks)
                    total[n] += score.sum()
            if is_regression(self.model):
                saliency -= total / self.masks * seen
        return saliency / (self.masks * self.keep)
