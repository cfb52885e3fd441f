"""From an attribution (N, C, H, W) to a heatmap (N, H, W) of evidence, none of it below zero.

Which of the three an explainer takes follows from what its numbers are:

- contributions to the score (input x gradient, integrated gradients, occlusion, LIME, CAMs): `positive_sum`;
- sensitivities, whose sign says which way to push a pixel, not what it is evidence for: `absolute_maximum`;
- signals projected back to the image (guided backpropagation, deconvolution): `channel_norm`.
"""

from collections.abc import Callable

from torch import Tensor

from evident.errors import UserError


def positive_sum(attribution: Tensor) -> Tensor:
    """max(sum_c a_c, 0): the pixel's whole contribution, where it speaks for the class.

    The sum comes first, as the channels of a pixel come and go together: a grey picture given as RGB has
    the heatmap of its one channel, and what a masked pixel takes from the score is this sum.
    """
    return attribution.sum(1).clamp(min=0)


def absolute_maximum(attribution: Tensor) -> Tensor:
    """max_c |a_c|: the saliency map of Simonyan et al. (2014, section 3.1)."""
    return attribution.abs().amax(1)


def channel_norm(attribution: Tensor) -> Tensor:
    """sqrt(sum_c max(a_c, 0)^2): negatives clipped, then the L2 norm over channels, as in VEBI."""
    return attribution.clamp(min=0).square().sum(1).sqrt()


def signed(attribution: Tensor, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """What an attribution says for the score and against it (N, H, W), of an explainer whose heatmap is `reduce`.

    Contributions, which `positive_sum` reads, keep their sign: sum_c a_c. All other numbers have none to say it with,
    and are the heatmap itself.
    """
    return attribution.sum(1) if reduce is positive_sum else reduce(attribution)


def reduction(name: str) -> Callable[[Tensor], Tensor]:
    """The reduction of this name; raises `UserError` for another."""
    for function in (positive_sum, absolute_maximum, channel_norm):
        if function.__name__ == name:
            return function
    raise UserError(f"heatmap={name!r} is unknown; use positive_sum, absolute_maximum or channel_norm")
