"""Reductions of an attribution (N, C, H, W) to a non-negative heatmap (N, H, W) of evidence.

The reduction depends on what the explainer's numbers are:

- contributions to the score (input x gradient, integrated gradients, occlusion, LIME, CAM): `positive_sum`;
- sensitivities, whose sign gives the direction in which a pixel changes the score: `absolute_maximum`;
- signals projected back to the image (guided backpropagation, deconvolution, guided Grad-CAM): `channel_norm`.

Maps that are already non-negative with one channel (Grad-CAM, RISE) are the same under all three.
"""

from collections.abc import Callable

from torch import Tensor

from evident.errors import UserError


def positive_sum(attribution: Tensor) -> Tensor:
    """Return max(sum_c a_c, 0), the contribution of the whole pixel where it is positive.

    The sum is computed first because the channels of a pixel are masked together: a grey image given as RGB has the
    heatmap of its single channel, and masking a pixel reduces the score by this sum.
    """
    return attribution.sum(1).clamp(min=0)


def absolute_maximum(attribution: Tensor) -> Tensor:
    """Return max_c |a_c|, the saliency map of Simonyan et al. (2014, section 3.1)."""
    return attribution.abs().amax(1)


def channel_norm(attribution: Tensor) -> Tensor:
    """Return sqrt(sum_c max(a_c, 0)^2), the L2 norm over channels of the positive part, as in VEBI."""
    return attribution.clamp(min=0).square().sum(1).sqrt()


def signed(attribution: Tensor, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the signed heatmap (N, H, W) of an explainer whose heatmap is `reduce`; positive raises the score.

    Contributions, which `positive_sum` reduces, keep their sign: sum_c a_c. Other attributions have no sign in this
    sense; for them the result is the heatmap itself.
    """
    return attribution.sum(1) if reduce is positive_sum else reduce(attribution)


def reduction(name: str) -> Callable[[Tensor], Tensor]:
    """Return the reduction of this name; raise `UserError` for an unknown name."""
    for function in (positive_sum, absolute_maximum, channel_norm):
        if function.__name__ == name:
            return function
    raise UserError(f"heatmap={name!r} is unknown; use positive_sum, absolute_maximum or channel_norm")
