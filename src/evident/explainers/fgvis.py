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

`GradientFilter` filters the gradient of the score, but not that of the lambda term, so that the optimisation cannot
create evidence in e that x does not have. `filter` is `published`, `one_sided` (ours, not the paper's) or `none`.

All games are one problem for the evidence s, which is m, or 1 - m in the games that destroy the score:

    minimise mean(s)    subject to p(e) >= keep p(x), or p(e) <= destroy p(x)

s starts at one in preservation and repression, and at zero in generation and deletion. How the authors choose lambda
and the step size is not known to us, so the search is our choice (`mask_search`): it takes the gradient g of the score
divided by its largest entry, g / max|g|, and returns the smallest s that reached the goal, or, if none did, the one
nearest to the goal. After this division -log p and -p have the same direction, because their gradients differ by a
factor only. We differentiate the log-odds log p / (1 - p): same direction, but no underflow when p is close to 1.

p(x) is the probability of the explained class or, with `goal="best"`, of the image's best class. The latter is for
classes that are not in the image. Their own probability is so low that almost no evidence is needed to reach it; with
`goal="best"` the evidence has to be as convincing as that of the best class.

The output s of a regression is not a probability. It uses p(e) = (s(e) - s(r)) / (s(x) - s(r)), the share of the
difference between x and the mean colour that e retains. Then p(x) is 1, and the evidence moves the score from s(r)
towards s(x), upwards or downwards.

Images of one batch do not influence each other. But the last bits of convolutions depend on the batch size, and a
rectifier close to its threshold may switch because of them. In float32, a long search then ends at another mask of
about the same size and score.
"""

import logging
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Literal, NamedTuple, get_args

import torch
from captum.attr import Attribution
from torch import Tensor, nn

from evident.contracts import GivesEvidence, Optimises, Regressor, Signed
from evident.errors import UserError
from evident.explainers.shared.evidence import evidence
from evident.explainers.shared.gradient_filter import Bounds, GradientFilter, activation_bounds
from evident.explainers.shared.mask_search import SEARCHES, Evaluated, per_image
from evident.explainers.shared.seeding import image_generator
from evident.explainers.shared.targets import ask_for_classes, probability, target_scores, targets
from evident.models.reference_images import reference_images
from evident.models.untouched import untouched
from evident.values import Evidence

log = logging.getLogger("evident")
Game = Literal["preservation", "generation", "deletion", "repression"]
Filter = Literal["published", "one_sided", "none"]
Goal = Literal["own", "best"]
KEEPING, FULL = ("preservation", "generation"), ("preservation", "repression")
NOISE = 0.0225  # of the search `recipe`: 0.1 after ImageNet's normalisation, in pixels


class _Problem(NamedTuple):
    """Hold a batch to optimise: images and reference (N, 3, H, W), target, p(x) and sign (N,), and the bounds."""

    images: Tensor
    reference: Tensor
    target: Tensor
    whole: Tensor
    empty: Tensor
    bounds: Bounds | None
    noise: list[torch.Generator]


class FGVis(Attribution, GivesEvidence, Optimises, Signed):
    """Compute the mask of evidence (N, 3, H, W) in [0, 1] of a game: m, or 1 - m in games that destroy the score.

    `filter` is the gradient filter: "published", "one_sided" (ours, not the paper's) or "none". `keep` and `destroy`
    are the shares of the score that define the goal; `goal` chooses the score of the class itself ("own") or of the
    best class ("best"). `search` is one of `mask_search`, with `steps` gradients, steps of `step_size`, and `sharpen`
    above 0 for masks of fewer but larger entries; `batch_size` images are optimised together. Raises `UserError` for an
    unknown game, filter, search or goal, a share or number out of its range, the best class of a regression, a network
    without a nonlinearity to filter, and, like `GradientFilter`, a network that makes other calls from pass to pass.
    """

    def __init__(
        self,
        model: nn.Module,
        game: Game = "preservation",
        filter: Filter = "published",
        steps: int = 500,
        keep: float = 0.9,
        destroy: float = 0.1,
        goal: Goal = "own",
        search: str = "budget",
        step_size: float = 0.1,
        sharpen: float = 0.0,
        batch_size: int = 16,
    ) -> None:
        known = {"game": get_args(Game), "filter": get_args(Filter), "goal": get_args(Goal), "search": tuple(SEARCHES)}
        for (name, values), given in zip(known.items(), (game, filter, goal, search), strict=True):
            if given not in values:
                raise UserError(f"{name}={given!r} is unknown; use {', '.join(values)}")
        if not (0 < keep <= 1 and 0 < destroy < 1):
            raise UserError(
                f"keep={keep}, destroy={destroy} are not shares of a score; use 0 < keep <= 1 and 0 < destroy < 1"
            )
        for name, value in {"steps": steps, "step_size": step_size}.items():
            if value <= 0:
                raise UserError(f"{name}={value} is not positive; use a number above zero")
        if sharpen < 0:
            raise UserError(f"sharpen={sharpen} is negative; use zero or a positive number")
        if goal == "best":
            ask_for_classes(model, "goal=best")
        super().__init__(model)
        self.model, self.game, self.filter, self.steps = model, game, filter, steps
        self.keep, self.destroy, self.goal = keep, destroy, goal
        self.search, self.step_size, self.sharpen, self.batch_size = search, step_size, sharpen, batch_size

    @staticmethod
    def heatmap(attribution: Tensor) -> Tensor:
        """Return the mean (N, H, W) of the mask over its channels."""
        return attribution.mean(1)

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        with untouched(self.model, inputs):
            return torch.cat([self._optimise(problem) for problem in self._problems(inputs, target)])

    def evidence(self, inputs: Tensor, target: Tensor | int) -> Evidence:
        """Return the mask, the explanation and the complement as images, and their scores."""
        classes = targets(target, len(inputs)).to(inputs.device)
        mask = self.attribute(inputs, classes)
        with untouched(self.model):
            images = inputs.detach()
            parts = zip(*(whole.split(self.batch_size) for whole in (images, classes, mask)), strict=True)
            results = [evidence(self.model, *part) for part in parts]
        return Evidence(*map(torch.cat, zip(*results, strict=True)))

    def margins(self, inputs: Tensor, target: Tensor | int, mask: Tensor) -> Evaluated:
        with untouched(self.model):
            parts = zip(self._problems(inputs, target), mask.split(self.batch_size), strict=True)
            found = [self._evaluate(*part) for part in parts]
        return Evaluated(*map(torch.cat, zip(*found, strict=True)))

    def signs(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        """Return 1 (N, 1, 1) for evidence of a higher score, or, for a regression, -1 for evidence of a lower score."""
        one = inputs.new_ones(len(inputs))
        if isinstance(self.model, Regressor):
            with untouched(self.model):
                parts = self._problems(inputs, target)
                one = torch.cat([torch.where(part.whole >= part.empty, 1.0, -1.0).to(one) for part in parts])
        return one[:, None, None]

    def _problems(self, inputs: Tensor, target: Tensor | int) -> Iterator[_Problem]:
        """Return the batches to optimise."""
        classes = targets(target, len(inputs)).to(inputs.device)
        for images, wanted in zip(
            inputs.detach().clone().split(self.batch_size), classes.split(self.batch_size), strict=True
        ):
            reference = reference_images(images, self.model, "mean_colour")
            with torch.no_grad():
                scores = probability(self.model, self.model(images))
                whole = target_scores(scores, wanted) if self.goal == "own" else scores.amax(1)
                empty = torch.zeros_like(whole)
                if isinstance(self.model, Regressor):
                    empty = target_scores(self.model(reference), wanted)
            bounds = None if self.filter == "none" else activation_bounds(self.model, images)
            noise = [image_generator(image, 0) for image in images]
            yield _Problem(images, reference, wanted, whole, empty, bounds, noise)

    def _optimise(self, problem: _Problem) -> Tensor:
        """Return the masks of evidence of one batch."""
        nothing = torch.zeros_like(problem.images)
        start = torch.ones_like(nothing) if self.game in FULL else nothing
        search = SEARCHES[self.search]
        settings = (self.steps, self.step_size, self.sharpen)
        found = search(lambda mask, noisy: self._evaluate(problem, mask, noisy), start, *settings)
        unmasked = self._evaluate(problem, nothing)
        reached = unmasked.margin >= 0
        stuck = ~reached & (unmasked.direction == 0).flatten(1).all(1) & (self.game not in FULL)
        if stuck.any():
            log.warning(
                "fgvis: the score has no gradient where game=%s starts, so %d of %d masks stay empty; preservation and "
                "repression start from a full mask",
                *(self.game, int(stuck.sum()), len(stuck)),
            )
        # No search ends at exactly zero where the mean colour itself reaches the goal.
        return torch.where(per_image(reached), nothing, found)

    def _evaluate(self, problem: _Problem, mask: Tensor, noisy: bool = False) -> Evaluated:
        """Return the margin and the direction g / max|g| at a mask of evidence (N, 3, H, W).

        The margin is p(e) / p(x) - keep, or destroy - p(e) / p(x). For a regression, p(e) / p(x) is the retained share
        of the difference from the mean colour.
        """
        mask, keeps = mask.detach().requires_grad_(), self.game in KEEPING
        ends = (problem.reference, problem.images) if keeps else (problem.images, problem.reference)
        optimised = torch.lerp(*ends, mask)
        if noisy:
            draws = [torch.randn(image.shape, generator=of) for image, of in zip(mask, problem.noise, strict=True)]
            clean, optimised = optimised, optimised + NOISE * torch.stack(draws).to(optimised)
        with nullcontext() if self.filter == "none" else GradientFilter(problem.bounds or [], self.filter):
            outputs = self.model(optimised)
        objective = self._objective(problem, outputs)
        (gradient,) = torch.autograd.grad((-objective if keeps else objective).sum(), mask)
        largest = gradient.abs().amax((1, 2, 3), keepdim=True)
        direction = gradient / largest.clamp(min=torch.finfo(gradient.dtype).tiny)
        if noisy:
            with torch.no_grad():
                outputs = self.model(clean)
        scores = target_scores(probability(self.model, outputs.detach()), problem.target)
        span = problem.whole - problem.empty
        share = (scores - problem.empty) / span
        margin = share - self.keep if keeps else self.destroy - share
        # Without any difference to keep or to destroy, every mask reaches the goal.
        return Evaluated(torch.where(span == 0, 0, margin), direction)

    def _objective(self, problem: _Problem, outputs: Tensor) -> Tensor:
        """Return the log-odds (N,) of the class, or the distance of a regression's output from the mean colour's."""
        score = target_scores(outputs, problem.target)
        if isinstance(self.model, Regressor):
            return score * (problem.whole - problem.empty).sign()
        # The log of the probability of all other classes together, up to the normalisation of the softmax.
        return score - outputs.scatter(1, problem.target[:, None], -torch.inf).logsumexp(1)
