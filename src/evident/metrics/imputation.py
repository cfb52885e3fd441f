"""Linear imputation: each removed pixel becomes the weighted mean of its neighbours.

For each removed pixel i, over its neighbours j within the image,

    sum_j w_ij (x_i - x_j) = 0,    w_ij = 2 for the four direct neighbours, 1 for the four diagonal ones.

The unknowns of these linear equations are the removed pixels; all others are given. So an imputed region is as smooth
as its border allows. The matrix is symmetric, and positive definite if one pixel at least is given. We solve for all
images and colours at once, by conjugate gradients with two preconditioners that are added up:

- the diagonal of the matrix, for errors that change from pixel to pixel;
- the same equations for solutions that are constant on blocks of pixels, solved exactly, for errors that are smooth.

So the number of steps, 10 to 40, depends little on the size and the shape of the removed regions.
Source: Rong et al. 2022, arXiv 2202.00449 (ROAD); they use a direct solver, one image after the other.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, one_hot, pad

from evident.errors import UserError

SIDE = 8  # of a block, in pixels; more where the image would have more than
BLOCKS = 16  # blocks along its longer side
CHECKED = 8  # steps between two looks at whether all images have converged; each waits for the device

Linear = Callable[[Tensor], Tensor]


def linear_imputation(images: Tensor, removed: Tensor, tolerance: float = 1e-5, most: int = 200) -> Tensor:
    """Return images (N, C, H, W) whose `removed` pixels (N, H, W) are the weighted means of their neighbours.

    Each colour of each image takes steps of conjugate gradients, `most` at most, until the root mean square over its
    removed pixels of their difference from the weighted mean of their neighbours is `tolerance` or less. Then it does
    not change any more, so no result depends on the other images of the batch. With the default tolerance, no pixel of
    images in [0, 1] is more than about 1e-3 from the exact solution for 112 x 112 pixels, and 4e-3 for 224 x 224.
    Raises `UserError` for an image without any given pixel.
    """
    if removed.flatten(1).all(1).any():
        raise UserError("all pixels of an image are removed, so nothing is known of it; keep one at least")
    missing = _flat(removed[:, None].to(images))
    weights = _neighbours(_flat(torch.ones_like(images[:1, :1])), images.shape[-1])
    given = _flat(images) * (1 - missing)

    def system(x: Tensor) -> Tensor:
        return (weights * x).sub_(_neighbours(x, images.shape[-1])).mul_(missing)

    on_blocks = _solver_on_blocks(system, missing, images.shape[-2], images.shape[-1])

    def precondition(residual: Tensor) -> Tensor:
        return on_blocks(residual).addcdiv_(residual, weights.clamp(min=1))  # 0 for some of the padding

    x = torch.zeros_like(given)
    residual = missing * _neighbours(given, images.shape[-1])
    direction = preconditioned = precondition(residual)
    product = _dot(residual, preconditioned)
    goal = (12 * tolerance) ** 2 * missing.sum(2, keepdim=True)  # 12 is the sum of the weights
    for step in range(most):
        active = _dot(residual, residual) > goal
        if step % CHECKED == 0 and not active.any():
            break
        change = system(direction)
        length = (product / _dot(direction, change)).where(active, 0)
        x.addcmul_(direction, length)
        residual = torch.addcmul(residual, change, length, value=-1)
        preconditioned = precondition(residual)
        previous, product = product, _dot(residual, preconditioned)
        direction = torch.addcmul(preconditioned, direction, (product / previous).where(active, 0))
    return _unflat(given + x, *images.shape[-2:]).contiguous()


def _flat(images: Tensor) -> Tensor:
    """Return images (N, C, H, W) as (N, C, (H + 2) (W + 1)), with zeros above, below and at the end of each row.

    So the neighbours of a pixel are at fixed distances, and those outside the image are zeros.
    """
    return pad(images, (0, 1, 1, 1)).flatten(2)


def _unflat(x: Tensor, height: int, width: int) -> Tensor:
    return x.unflatten(2, (height + 2, width + 1))[..., 1:-1, :-1]


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum(2, keepdim=True)


def _neighbours(x: Tensor, width: int) -> Tensor:
    """Return the weighted sum over the neighbours of each pixel of flat images."""
    # The outer product of (1, 2, 1) with itself has these weights, and 4 for the pixel itself.
    row, across = width + 1, 2 * x
    across[..., 1:] += x[..., :-1]
    across[..., :-1] += x[..., 1:]
    both = 2 * across
    both[..., row:] += across[..., :-row]
    both[..., :-row] += across[..., row:]
    return both.sub_(x, alpha=4)


def _solver_on_blocks(system: Linear, missing: Tensor, height: int, width: int) -> Linear:
    """Return the function r -> P (P' A P)^-1 P' r of flat images, with A the `system`.

    P makes an image (N, C, H, W) of one number per block of pixels, 0 where no pixel is `missing`.
    """
    side = max(SIDE, -(-max(height, width) // BLOCKS))
    down, across = -(-height // side), -(-width // side)

    def sums(x: Tensor) -> Tensor:  # P'
        whole = pad(_unflat(x, height, width), (0, across * side - width, 0, down * side - height))
        return avg_pool2d(whole, side, divisor_override=1).flatten(2)

    def spread(blocks: Tensor) -> Tensor:  # P
        whole = blocks.unflatten(2, (down, across)).repeat_interleave(side, 2).repeat_interleave(side, 3)
        return _flat(whole[..., :height, :width]) * missing

    block = torch.arange(down * across, device=missing.device)
    row, column = block // across, block % across
    # A block depends on adjacent blocks only. Of blocks that are three apart, one at most is adjacent to any block, so
    # nine images show the whole matrix P' A P.
    kind = row % 3 * 3 + column % 3
    answers = sums(system(spread(one_hot(kind, 9).T.to(missing).expand(len(missing), -1, -1))))
    adjacent = ((row[:, None] - row).abs() <= 1) & ((column[:, None] - column).abs() <= 1)
    matrix = answers[:, kind] * adjacent
    empty = matrix.diagonal(dim1=1, dim2=2) == 0
    # Without the check for errors, which waits for the device.
    factor, _ = torch.linalg.cholesky_ex(matrix + torch.diag_embed(empty.to(matrix)))
    inverse = torch.cholesky_inverse(factor)
    return lambda residual: spread(sums(residual) @ inverse)
