"""How much a heatmap changes where the image hardly does."""

import torch
from torch import Tensor

from evident.errors import UserError
from evident.explainers.shared.seeding import image_generator
from evident.metrics.contract import Explanation, explain, metric


@metric(direction="lower", needs=("explainer",))
def stability(explanation: Explanation, radius: float = 0.02, draws: int = 10, seed: int = 0) -> Tensor:
    """max_d ||h(x + d) - h(x)|| / ||h(x)|| (N,) over `draws` of noise d, uniform in [-radius, radius], from 0 on.

    h(x) is the heatmap of image x, in float64, h(x + d) what the explainer gives for the same class of the image with
    noise, clipped to [0, 1]; the noise belongs to the image and the seed. NaN for a heatmap of zeros. Raises
    `UserError` without an explainer, draws or a radius.
    Source: Yeh et al. 2019, arXiv 1901.09392, max-sensitivity, there without the division; as captum's
    `sensitivity_max` divides, heatmaps of any scale can be compared.
    """
    images = explanation.images
    if explanation.explainer is None:
        raise UserError("stability asks the explainer again; give it to the Explanation")
    if draws < 1 or radius <= 0:
        raise UserError(f"draws={draws}, radius={radius}: stability needs draws from 1 on and a radius above 0")
    heatmap = explanation.heatmap.detach().flatten(1).double()
    generators = [image_generator(image, seed) for image in images]
    change = torch.zeros_like(heatmap[:, 0])
    for _ in range(draws):
        noise = torch.stack([torch.rand(images.shape[1:], generator=own) for own in generators]).to(images)
        noisy = (images + radius * (2 * noise - 1)).clamp(0, 1)
        moved = explain(explanation.explainer, noisy, explanation.target, explanation.mask).detach()
        change = torch.maximum(change, (moved.flatten(1).double() - heatmap).norm(dim=1))
    size = heatmap.norm(dim=1)
    return (change / size).where(size > 0, torch.nan)
