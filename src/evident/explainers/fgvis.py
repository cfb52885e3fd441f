r"""FGVis: the smallest evidence, by pixel and colour channel, that preserves or destroys the score of a class.

J. Wagner, J. Köhler, T. Gindele, L. Hetzel, J. Wiedemer, S. Behnke: *Interpretable and fine-grained visual explanations
for convolutional neural networks*, CVPR 2019, arXiv 1908.02686. With x the image, r the network's mean
colour, m in [0, 1]^{3 x H x W} the mask, e = m x + (1 - m) r the input of the network, and p its softmax probability of
the class, the games are:

    game           m starts at   minimises                    explanation
    preservation   1             -log p(e) + lambda |m|_1      m x + (1 - m) r
    generation     0             the same                      the same
    deletion       1              log p(e) + lambda |1 - m|_1  (1 - m) x + m r
    repression     0             the same                      the same

The minimisation is gradient descent on m, projected to [0, 1]. `GradientFilter` filters the gradient of the score, but
not that of the lambda term, so that the optimisation cannot create evidence in e that x does not have.

The gradient g of the score is divided by its largest entry in the image; lambda is not:

    m <- clip(m - eta (g / max|g| + lambda)),    deletion and repression: - lambda

After this division -log p and -p give the same step, because their gradients differ by a factor only. We differentiate
the log-odds log p / (1 - p): same direction, but no underflow when p is close to 1. The schedule of lambda and eta and
the stopping rule, separate for each image, are our choice, because we do not have the authors' rule. A mask reaches the
goal when p(e) >= keep p(x), or p(e) <= destroy p(x) in the games that destroy the score. Once a mask has reached the
goal, the search accepts only masks that do:

    goal not reached yet      lambda <- 0.9 lambda                    the score weighs more
    goal reached              lambda <- 1.1 lambda, eta <- 1.1 eta     the mask weighs more; eta never exceeds its start
    step would leave the goal lambda <- 0.8 lambda, eta <- eta / 2     the step is undone

p(x) is the probability of the explained class or, with `goal="best"`, of the image's best class. The latter is for
classes that are not in the image. Their own probability is so low that almost no evidence is needed to reach it; with
`goal="best"` the evidence has to be as convincing as that of the best class.

The output s of a regression is not a probability. It uses p(e) = (s(e) - s(r)) / (s(x) - s(r)), the share of the
difference between x and the mean colour that e retains. Then p(x) is 1, and the evidence moves the score from s(r)
towards s(x), upwards or downwards.

The search stops when |m|_1 (|1 - m|_1) has not decreased by 1 % in `patience` steps, or after `steps`. Every
explanation that reaches the goal is therefore sparse. Images of one batch have their own lambda, eta and stopping step
and do not influence each other. But the last bits of convolutions depend on the batch size, and a rectifier close to
its threshold may switch because of them. In float32, a long search then ends at another mask of the same size and
score.
"""

from contextlib import nullcontext
from typing import Literal, NamedTuple, get_args

import torch
from captum.attr import Attribution
from torch import Tensor, nn

from evident.contracts import GivesEvidence, Regressor, Signed
from evident.errors import UserError
from evident.explainers.shared.evidence import evidence
from evident.explainers.shared.gradient_filter import Bounds, GradientFilter, activation_bounds
from evident.explainers.shared.targets import ask_for_classes, probability, target_scores, targets
from evident.models.reference_images import reference_images
from evident.models.untouched import untouched
from evident.values import Evidence

Game = Literal["preservation", "generation", "deletion", "repression"]
Goal = Literal["own", "best"]


class FGVis(Attribution, GivesEvidence, Signed):
    """Compute the mask of evidence (N, 3, H, W) in [0, 1] of a game: m, or 1 - m in games that destroy the score.

    `keep` and `destroy` are the shares of the score that define the goal; `goal` chooses the score of the class itself
    ("own") or of the best class ("best"). `step_size` and `sparsity` are the start values of eta and lambda;
    `batch_size` images are optimised together. `defended=False` omits the filter. Raises `UserError` for an unknown
    game or goal, a share or number out of its range, the best class of a regression, and, like `GradientFilter`, a
    network that makes other calls from pass to pass.
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
                f"keep={keep}, destroy={destroy} are not shares of a score; use 0 < keep <= 1 and 0 < destroy < 1"
            )
        for name, value in {"steps": steps, "step_size": step_size, "sparsity": sparsity, "patience": patience}.items():
            if value <= 0:
                raise UserError(f"{name}={value} is not positive; use a number above zero")
        if goal == "best":
            ask_for_classes(model, "goal=best")
        super().__init__(model)
        self.model, self.game, self.defended, self.steps = model, game, defended, steps
        self.keep, self.destroy, self.goal, self.step_size, self.sparsity = keep, destroy, goal, step_size, sparsity
        self.patience, self.batch_size = patience, batch_size

    @staticmethod
    def heatmap(attribution: Tensor) -> Tensor:
        """Return the mean (N, H, W) of the mask over its channels."""
        return attribution.mean(1)

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        with untouched(self.model):
            images, classes = inputs.detach().clone(), targets(target, len(inputs)).to(inputs.device)
            parts = zip(images.split(self.batch_size), classes.split(self.batch_size), strict=True)
            return torch.cat([self._optimise(*part) for part in parts])

    def evidence(self, inputs: Tensor, target: Tensor | int) -> Evidence:
        """Return the mask, the explanation and the complement as images, and their scores."""
        classes = targets(target, len(inputs)).to(inputs.device)
        mask = self.attribute(inputs, classes)
        with untouched(self.model):
            images = inputs.detach()
            parts = zip(*(whole.split(self.batch_size) for whole in (images, classes, mask)), strict=True)
            results = [evidence(self.model, *part) for part in parts]
        return Evidence(*map(torch.cat, zip(*results, strict=True)))

    def _optimise(self, images: Tensor, target: Tensor) -> Tensor:
        """Return the masks of evidence of one batch."""
        keeps, full = self.game in ("preservation", "generation"), self.game in ("preservation", "deletion")
        share = self.keep if keeps else self.destroy
        sign = self.signs(images, target).flatten()
        with torch.no_grad():
            scores = probability(self.model, self.model(images))
            score = target_scores(scores, target) if self.goal == "own" else scores.amax(1)
            goal = score * share
            if isinstance(self.model, Regressor):
                neutral = self._neutral(images, target)
                goal = sign * torch.lerp(neutral, score, share)
        found = torch.empty_like(images)
        running = _Running.start(images, target, sign, goal, self.sparsity, self.step_size)
        bounds = self._bounds(images)
        tried = torch.ones_like(images) if full else torch.zeros_like(images)
        for _ in range(self.steps):
            score, gradient = self._gradient(running, tried, bounds, keeps)
            at_goal = score >= running.goal if keeps else score <= running.goal
            running = running.after(tried, gradient, at_goal, keeps, self.step_size)
            if (ended := running.stalled >= self.patience).any():
                found[running.row[ended]] = running.mask[ended]
                running = running.rows(~ended)
                if not len(running.row):
                    break
                bounds = self._bounds(running.images)
            slope = running.gradient + _per_image(running.sparsity if keeps else -running.sparsity)
            tried = (running.mask - _per_image(running.step_size) * slope).clamp(0, 1)
        found[running.row] = running.mask
        return found if keeps else 1 - found

    def signs(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        """Return 1 (N, 1, 1) for evidence of a higher score, or, for a regression, -1 for evidence of a lower score."""
        one = inputs.new_ones(len(inputs))
        if isinstance(self.model, Regressor):
            with untouched(self.model), torch.no_grad():
                higher = target_scores(self.model(inputs.detach()), target) >= self._neutral(inputs.detach(), target)
            one = torch.where(higher, one, -one)
        return one[:, None, None]

    def _neutral(self, images: Tensor, target: Tensor | int) -> Tensor:
        """Return the score (N,) of the mean colour."""
        return target_scores(self.model(reference_images(images, self.model, "mean_colour")), target)

    def _bounds(self, images: Tensor) -> Bounds | None:
        return activation_bounds(self.model, images) if self.defended else None

    def _gradient(self, running: "_Running", mask: Tensor, bounds: Bounds | None, keeps: bool) -> tuple[Tensor, Tensor]:
        """Return p(e) (N,) and g / max|g| (N, 3, H, W) at `mask`; for a regression s(e) times its sign, not p(e)."""
        mask = mask.requires_grad_()
        reference = reference_images(running.images, self.model, "mean_colour")
        with nullcontext() if bounds is None else GradientFilter(bounds):
            outputs = self.model(torch.lerp(reference, running.images, mask))
        score = running.sign * target_scores(outputs, running.target)
        objective = score if isinstance(self.model, Regressor) else score - _other_classes(outputs, running.target)
        (gradient,) = torch.autograd.grad((-objective if keeps else objective).sum(), mask)
        largest = gradient.abs().amax((1, 2, 3), keepdim=True)
        if not isinstance(self.model, Regressor):
            score = target_scores(outputs.softmax(1), running.target)
        return score.detach(), gradient / largest.clamp(min=torch.finfo(gradient.dtype).tiny)


def _other_classes(outputs: Tensor, target: Tensor) -> Tensor:
    """Return the log of the probability (N,) of all other classes together, up to the normalisation of the softmax."""
    return outputs.scatter(1, target[:, None], -torch.inf).logsumexp(1)


def _per_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _schedule(at_goal: Tensor, undone: Tensor, if_at_goal: Tensor, if_undone: Tensor, otherwise: Tensor) -> Tensor:
    return torch.where(at_goal, if_at_goal, torch.where(undone, if_undone, otherwise))


class _Running(NamedTuple):
    """Hold the images of a batch that are still optimised, one per row, with lambda, eta and the last accepted mask."""

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

    def rows(self, rows: Tensor) -> "_Running":
        """Return these rows only."""
        return _Running(*(value[rows] for value in self))

    def after(self, tried: Tensor, gradient: Tensor, at_goal: Tensor, keeps: bool, largest_step: float) -> "_Running":
        """Return the next state: accept the masks tried, unless they leave the goal, and adapt lambda and eta."""
        undone = self.reached & ~at_goal
        mask = torch.where(_per_image(undone), self.mask, tried.detach())
        gradient = torch.where(_per_image(undone), self.gradient, gradient)
        sparsity = _schedule(at_goal, undone, 1.1 * self.sparsity, 0.8 * self.sparsity, 0.9 * self.sparsity)
        step_size = _schedule(at_goal, undone, 1.1 * self.step_size, 0.5 * self.step_size, self.step_size)
        reached = self.reached | at_goal
        size = (mask if keeps else 1 - mask).mean((1, 2, 3))
        shrunk = size < 0.99 * self.smallest
        state = {"mask": mask, "gradient": gradient, "sparsity": sparsity, "reached": reached}
        return self._replace(
            **state,
            step_size=step_size.clamp(max=largest_step),
            smallest=torch.where(reached & shrunk, size, self.smallest),
            stalled=torch.where(reached & ~shrunk, self.stalled + 1, 0),
        )
