r"""FGVis: the smallest evidence, pixel by pixel and channel by channel, that keeps or destroys a class's score.

J. Wagner, J. Köhler, T. Gindele, L. Hetzel, J. Wiedemer, S. Behnke: *Interpretable and fine-grained visual explanations
for convolutional neural networks*, CVPR 2019, arXiv 1908.02686 (PAPERS 2.1). With x the image, r the network's mean
colour, m in [0, 1]^{3 x H x W}, e = m x + (1 - m) r what the network sees, and p its softmax probability of the class:

    game           m starts at   minimises                    explanation
    preservation   1             -log p(e) + lambda |m|_1      m x + (1 - m) r
    generation     0             the same                      the same
    deletion       1              log p(e) + lambda |1 - m|_1  (1 - m) x + m r
    repression     0             the same                      the same

by gradient descent on m, projected to [0, 1]. Of the score's gradient alone, never of lambda's term, `GradientFilter`
takes away what would put evidence into e that x does not have.

The step is divided by the largest entry of the score's gradient g of that image, lambda is not:

    m <- clip(m - eta (g / max|g| + lambda)),    deletion and repression: - lambda

So -log p and -p would be one and the same phi: their gradients differ by a factor. How lambda, eta and the end are
found, each image by itself, is ours, as the authors' rule is not on file. A mask reaches the goal where
p(e) >= keep p(x), or p(e) <= destroy p(x) where the score is to be destroyed. Once there, the search never leaves the
masks that do:

    not yet there             lambda <- 0.9 lambda                    the score counts more
    there                     lambda <- 1.1 lambda, eta <- 1.1 eta     the mask counts more; eta not above its start
    the step would leave      lambda <- 0.8 lambda, eta <- eta / 2     and is taken back

It ends where |m|_1 (|1 - m|_1) has not shrunk by 1 % in `patience` steps, or after `steps`. So every explanation that
reaches the goal at all is a sparse one that does, and images of one batch have their own lambda, eta and end.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from captum.attr import Attribution
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.evidence import Evidence, evidence
from evident.explainers.gradient_filter import Bounds, GradientFilter, activation_bounds
from evident.explainers.scores import target_scores, targets
from evident.models.reference import reference_images
from evident.models.untouched import untouched

Game = Literal["preservation", "generation", "deletion", "repression"]


class FGVis(Attribution):
    """The mask of evidence (N, 3, H, W) in [0, 1] that a game finds: m, or 1 - m where the score is destroyed.

    `keep` and `destroy` are the shares of the image's score that the goal asks for; `step_size` is where eta and
    `sparsity` where lambda starts; `batch_size` images are optimised at once. `defended=False` leaves out the filter.
    Raises `UserError` for an unknown game, for a share or number out of its range, and for a network whose calls change
    from pass to pass, as `GradientFilter` does.
    """

    def __init__(
        self,
        model: nn.Module,
        game: Game = "preservation",
        defended: bool = True,
        steps: int = 500,
        keep: float = 0.9,
        destroy: float = 0.1,
        step_size: float = 0.3,
        sparsity: float = 0.1,
        patience: int = 40,
        batch_size: int = 16,
    ) -> None:
        if game not in get_args(Game):
            raise UserError(f"game={game!r} is unknown; use {', '.join(get_args(Game))}")
        if not (0 < keep <= 1 and 0 < destroy < 1):
            raise UserError(
                f"keep={keep}, destroy={destroy} are no shares of a score; use 0 < keep <= 1 and 0 < destroy < 1"
            )
        for name, value in {"steps": steps, "step_size": step_size, "sparsity": sparsity, "patience": patience}.items():
            if value <= 0:
                raise UserError(f"{name}={value} finds no mask; use a number above zero")
        super().__init__(model)
        self.model, self.game, self.defended, self.steps = model, game, defended, steps
        self.keep, self.destroy, self.step_size, self.sparsity = keep, destroy, step_size, sparsity
        self.patience, self.batch_size = patience, batch_size

    @staticmethod
    def heatmap(attribution: Tensor) -> Tensor:
        """The mean (N, H, W) of the mask over its channels."""
        return attribution.mean(1)

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        with untouched(self.model):
            images, classes = inputs.detach().clone(), targets(target, len(inputs)).to(inputs.device)
            parts = zip(images.split(self.batch_size), classes.split(self.batch_size), strict=True)
            return torch.cat([self._play(*part) for part in parts])

    def evidence(self, inputs: Tensor, target: Tensor | int) -> Evidence:
        """The mask, the explanation as an image and what it leaves, with the network's scores of them."""
        classes = targets(target, len(inputs)).to(inputs.device)
        mask = self.attribute(inputs, classes)
        with untouched(self.model):
            images = inputs.detach()
            parts = zip(*(whole.split(self.batch_size) for whole in (images, classes, mask)), strict=True)
            found = [evidence(self.model, *part) for part in parts]
        return Evidence(*map(torch.cat, zip(*found, strict=True)))

    def _play(self, images: Tensor, target: Tensor) -> Tensor:
        """The masks of evidence of one batch."""
        keeps, full = self.game in ("preservation", "generation"), self.game in ("preservation", "deletion")
        with torch.no_grad():
            goal = target_scores(self.model(images).softmax(1), target) * (self.keep if keeps else self.destroy)
        found = torch.empty_like(images)
        running = _Running.start(images, target, goal, self.sparsity, self.step_size)
        bounds = self._bounds(images)
        tried = torch.ones_like(images) if full else torch.zeros_like(images)
        for _ in range(self.steps):
            probability, gradient = self._gradient(running, tried, bounds, keeps)
            there = probability >= running.goal if keeps else probability <= running.goal
            running.accept(tried, gradient, there, keeps, self.step_size)
            if (ended := running.stalled >= self.patience).any():
                found[running.row[ended]] = running.mask[ended]
                running = running.of(~ended)
                if not len(running.row):
                    break
                bounds = self._bounds(running.images)
            slope = running.gradient + _each(running.sparsity if keeps else -running.sparsity)
            tried = (running.mask - _each(running.step_size) * slope).clamp(0, 1)
        found[running.row] = running.mask
        return found if keeps else 1 - found

    def _bounds(self, images: Tensor) -> Bounds | None:
        return activation_bounds(self.model, images) if self.defended else None

    def _gradient(self, of: "_Running", mask: Tensor, bounds: Bounds | None, keeps: bool) -> tuple[Tensor, Tensor]:
        """p(e) (N,) and g / max|g| (N, 3, H, W) at `mask`."""
        mask = mask.requires_grad_()
        reference = reference_images(of.images, self.model, "mean_colour")
        with nullcontext() if bounds is None else GradientFilter(bounds):
            outputs = self.model(torch.lerp(reference, of.images, mask))
        log_probability = target_scores(outputs.log_softmax(1), of.target)
        (gradient,) = torch.autograd.grad((-log_probability if keeps else log_probability).sum(), mask)
        largest = gradient.abs().amax((1, 2, 3), keepdim=True)
        return log_probability.detach().exp(), gradient / largest.clamp(min=torch.finfo(gradient.dtype).tiny)


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


@dataclass
class _Running:
    """The images of a batch that are still optimised, one a row, with lambda, eta and the last mask accepted."""

    images: Tensor
    target: Tensor
    goal: Tensor
    row: Tensor
    mask: Tensor
    gradient: Tensor
    sparsity: Tensor
    step_size: Tensor
    reached: Tensor
    smallest: Tensor
    stalled: Tensor

    @classmethod
    def start(cls, images: Tensor, target: Tensor, goal: Tensor, sparsity: float, step_size: float) -> "_Running":
        nothing, zero = torch.zeros_like(images), torch.zeros_like(goal)
        row = torch.arange(len(images), device=images.device)
        begin = (zero + sparsity, zero + step_size, zero.bool(), zero + torch.inf, row * 0)
        return cls(images, target, goal, row, nothing, nothing, *begin)

    def of(self, rows: Tensor) -> "_Running":
        return _Running(*(value[rows] for value in vars(self).values()))

    def accept(self, tried: Tensor, gradient: Tensor, there: Tensor, keeps: bool, largest_step: float) -> None:
        """Go on from the masks tried, except those that leave the goal again; adapt lambda and eta."""
        back = self.reached & ~there
        self.mask = torch.where(_each(back), self.mask, tried.detach())
        self.gradient = torch.where(_each(back), self.gradient, gradient)
        self.sparsity = self.sparsity * torch.where(there, 1.1, torch.where(back, 0.8, 0.9))
        self.step_size = (self.step_size * torch.where(there, 1.1, torch.where(back, 0.5, 1.0))).clamp(max=largest_step)
        self.reached = self.reached | there
        size = (self.mask if keeps else 1 - self.mask).mean((1, 2, 3))
        shrunk = size < 0.99 * self.smallest
        self.stalled = torch.where(self.reached & ~shrunk, self.stalled + 1, 0)
        self.smallest = torch.where(self.reached & shrunk, size, self.smallest)
