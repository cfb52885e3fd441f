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

So -log p and -p would be one and the same phi: their gradients differ by a factor. Computed is the gradient of the
log-odds log p / (1 - p), another factor, as theirs round to nothing where the network is sure. How lambda, eta and the
end are found, each image by itself, is ours, as the authors' rule is not on file. A mask reaches the goal where
p(e) >= keep p(x), or p(e) <= destroy p(x) where the score is to be destroyed. Once there, the search never leaves the
masks that do:

    not yet there             lambda <- 0.9 lambda                    the score counts more
    there                     lambda <- 1.1 lambda, eta <- 1.1 eta     the mask counts more; eta not above its start
    the step would leave      lambda <- 0.8 lambda, eta <- eta / 2     and is taken back

p(x) is the class's own, or, with `goal="best"`, that of the image's best class: evidence for a class that is not in the
image, of which next to nothing is enough for its own score, has to look as convincing as what is there.

The number s that a regression predicts is no probability. There p(e) = (s(e) - s(r)) / (s(x) - s(r)), how much of what
tells x from the mean colour e still has: p(x) is 1 again, and the evidence speaks for a score above s(r), or against
one, as x does.

It ends where |m|_1 (|1 - m|_1) has not shrunk by 1 % in `patience` steps, or after `steps`. So every explanation that
reaches the goal at all is a sparse one that does, and images of one batch have their own lambda, eta and end. They do
not know of each other; but convolutions of another batch size differ in their last bits, on which a rectifier that is
close to its threshold may turn. In float32 a long search makes another mask of that, of the same size and score.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from captum.attr import Attribution
from torch import Tensor, nn

from evident.errors import UserError
from evident.explainers.shared.evidence import Evidence, evidence
from evident.explainers.shared.gradient_filter import Bounds, GradientFilter, activation_bounds
from evident.explainers.shared.targets import ask_for_classes, probability, target_scores, targets
from evident.models.reference_images import reference_images
from evident.models.regression import is_regression
from evident.models.untouched import untouched

Game = Literal["preservation", "generation", "deletion", "repression"]
Goal = Literal["own", "best"]


class FGVis(Attribution):
    """The mask of evidence (N, 3, H, W) in [0, 1] that a game finds: m, or 1 - m where the score is destroyed.

    `keep` and `destroy` are the shares that the goal asks for, of the class's own score or of the best one's (`goal`);
    `step_size` is where eta and `sparsity` where lambda starts; `batch_size` images are optimised at once.
    `defended=False` leaves out the filter. Raises `UserError` for an unknown game or goal, for a share or number out of
    its range, for the best class of a regression, which has none, and for a network whose calls change from pass to
    pass, as `GradientFilter` does.
    """

    def __init__(
        self,
        model: nn.Module,
        game: Game = "preservation",
        defended: bool = True,
        steps: int = 500,
        keep: float = 0.9,
        destroy: float = 0.1,
        goal: Goal = "own",
        step_size: float = 0.3,
        sparsity: float = 0.1,
        patience: int = 40,
        batch_size: int = 16,
    ) -> None:
        if game not in get_args(Game):
            raise UserError(f"game={game!r} is unknown; use {', '.join(get_args(Game))}")
        if goal not in get_args(Goal):
            raise UserError(f"goal={goal!r} is unknown; use {', '.join(get_args(Goal))}")
        if not (0 < keep <= 1 and 0 < destroy < 1):
            raise UserError(
                f"keep={keep}, destroy={destroy} are no shares of a score; use 0 < keep <= 1 and 0 < destroy < 1"
            )
        for name, value in {"steps": steps, "step_size": step_size, "sparsity": sparsity, "patience": patience}.items():
            if value <= 0:
                raise UserError(f"{name}={value} finds no mask; use a number above zero")
        if goal == "best":
            ask_for_classes(model, "goal=best")
        super().__init__(model)
        self.model, self.game, self.defended, self.steps = model, game, defended, steps
        self.keep, self.destroy, self.goal, self.step_size, self.sparsity = keep, destroy, goal, step_size, sparsity
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
        share = self.keep if keeps else self.destroy
        sign = self.signs(images, target).flatten()
        with torch.no_grad():
            scores = probability(self.model, self.model(images))
            score = target_scores(scores, target) if self.goal == "own" else scores.amax(1)
            goal = score * share
            if is_regression(self.model):
                neutral = self._neutral(images, target)
                goal = sign * torch.lerp(neutral, score, share)
        found = torch.empty_like(images)
        running = _Running.start(images, target, sign, goal, self.sparsity, self.step_size)
        bounds = self._bounds(images)
        tried = torch.ones_like(images) if full else torch.zeros_like(images)
        for _ in range(self.steps):
            score, gradient = self._gradient(running, tried, bounds, keeps)
            there = score >= running.goal if keeps else score <= running.goal
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

    def signs(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        """Whether the evidence (N, 1, 1) speaks for a higher score, 1, or of a regression also for a lower one, -1."""
        one = inputs.new_ones(len(inputs))
        if is_regression(self.model):
            with untouched(self.model), torch.no_grad():
                higher = target_scores(self.model(inputs.detach()), target) >= self._neutral(inputs.detach(), target)
            one = torch.where(higher, one, -one)
        return one[:, None, None]

    def _neutral(self, images: Tensor, target: Tensor | int) -> Tensor:
        """The score (N,) of the mean colour."""
        return target_scores(self.model(reference_images(images, self.model, "mean_colour")), target)

    def _bounds(self, images: Tensor) -> Bounds | None:
        return activation_bounds(self.model, images) if self.defended else None

    def _gradient(self, of: "_Running", mask: Tensor, bounds: Bounds | None, keeps: bool) -> tuple[Tensor, Tensor]:
        """p(e) (N,), or of a regression s(e) times the sign of its evidence, and g / max|g| (N, 3, H, W), at `mask`."""
        mask = mask.requires_grad_()
        reference = reference_images(of.images, self.model, "mean_colour")
        with nullcontext() if bounds is None else GradientFilter(bounds):
            outputs = self.model(torch.lerp(reference, of.images, mask))
        score = of.sign * target_scores(outputs, of.target)
        followed = score if is_regression(self.model) else score - _others(outputs, of.target)
        (gradient,) = torch.autograd.grad((-followed if keeps else followed).sum(), mask)
        largest = gradient.abs().amax((1, 2, 3), keepdim=True)
        if not is_regression(self.model):
            score = target_scores(outputs.softmax(1), of.target)
        return score.detach(), gradient / largest.clamp(min=torch.finfo(gradient.dtype).tiny)


def _others(outputs: Tensor, target: Tensor) -> Tensor:
    """The logarithm (N,) of what all other classes have of the softmax, up to the constant that all share."""
    return outputs.scatter(1, target[:, None], -torch.inf).logsumexp(1)


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _chosen(there: Tensor, back: Tensor, if_there: Tensor, if_back: Tensor, otherwise: Tensor) -> Tensor:
    return torch.where(there, if_there, torch.where(back, if_back, otherwise))


@dataclass
class _Running:
    """The images of a batch that are still optimised, one a row, with lambda, eta and the last mask accepted."""

    images: Tensor
    target: Tensor
    sign: Tensor
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
    def start(
        cls, images: Tensor, target: Tensor, sign: Tensor, goal: Tensor, sparsity: float, step_size: float
    ) -> "_Running":
        nothing, zero = torch.zeros_like(images), torch.zeros_like(goal)
        row = torch.arange(len(images), device=images.device)
        begin = (zero + sparsity, zero + step_size, zero.bool(), zero + torch.inf, row * 0)
        return cls(images, target, sign, goal, row, nothing, nothing, *begin)

    def of(self, rows: Tensor) -> "_Running":
        return _Running(*(value[rows] for value in vars(self).values()))

    def accept(self, tried: Tensor, gradient: Tensor, there: Tensor, keeps: bool, largest_step: float) -> None:
        """Go on from the masks tried, except those that leave the goal again; adapt lambda and eta."""
        back = self.reached & ~there
        self.mask = torch.where(_each(back), self.mask, tried.detach())
        self.gradient = torch.where(_each(back), self.gradient, gradient)
        self.sparsity = _chosen(there, back, 1.1 * self.sparsity, 0.8 * self.sparsity, 0.9 * self.sparsity)
        step_size = _chosen(there, back, 1.1 * self.step_size, 0.5 * self.step_size, self.step_size)
        self.step_size = step_size.clamp(max=largest_step)
        self.reached = self.reached | there
        size = (self.mask if keeps else 1 - self.mask).mean((1, 2, 3))
        shrunk = size < 0.99 * self.smallest
        self.stalled = torch.where(self.reached & ~shrunk, self.stalled + 1, 0)
        self.smallest = torch.where(self.reached & shrunk, size, self.smallest)
