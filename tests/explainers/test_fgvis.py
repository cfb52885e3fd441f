"""FGVis: networks with known evidence, the goal, the search redone by hand, and the gradient filters."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from samples import kaiming, smooth_noise
from torch import Tensor, nn

from evident.contracts import Regressor
from evident.errors import UserError
from evident.explainers.fgvis import FGVis
from evident.explainers.shared.mask_search import SEARCHES
from evident.models.flower_net import FlowerNet
from evident.models.normalise import Normalise

GAMES = ("preservation", "generation", "deletion", "repression")
KEEPING = GAMES[:2]
every_game = pytest.mark.parametrize("game", GAMES)
every_filter = pytest.mark.parametrize("filter", ["published", "one_sided", "none"])


class Weighted(nn.Module):
    """Give the first of two classes the sum of the normalised pixels, weighted by `weight` (3, 8, 8), as its score."""

    def __init__(self, weight: Tensor, bias: float = -3.0) -> None:
        super().__init__()
        self.normalise, self.linear = Normalise(), nn.Linear(weight.numel(), 2)
        with torch.no_grad():
            self.linear.weight.copy_(torch.stack([weight.flatten(), torch.zeros(weight.numel())]))
            self.linear.bias.copy_(torch.tensor([bias, 0.0]))

    def forward(self, images: Tensor) -> Tensor:
        # The identity, as a nonlinearity for the filter.
        return self.linear(F.leaky_relu(self.normalise(images).flatten(1), 1.0))


def pixels(*region: slice | int) -> Tensor:
    """Return weights (3, 8, 8): one in the region, zero elsewhere."""
    weight = torch.zeros(3, 8, 8)
    weight[region] = 1.0
    return weight


PATCH = pixels(slice(None), slice(2, 4), slice(5, 7))
RED = pixels(0, slice(2, 4), slice(5, 7))
# Two everywhere after normalisation.
WHITE = torch.ones(1, 3, 8, 8)


def flower_net(dtype: torch.dtype = torch.float32) -> FlowerNet:
    """Return a FlowerNet whose scores differ strongly, and whose neurons are active for a grey image too."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = kaiming(FlowerNet(classes=4))
        for layer in network.features:
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.normal_(layer.bias, std=0.3)
    with torch.no_grad():
        network.classifier[-1].weight.mul_(4)
    return network.to(dtype).eval()


# Networks with known evidence -------------------------------------------------------------------------------


@every_game
@pytest.mark.parametrize(
    ("weight", "bias"), [(PATCH, -3.0), (PATCH, -9.0), (RED, -3.0)], ids=["patch, p close to 1", "patch", "red"]
)
def test_mask_is_the_smallest_one_on_the_pixels_and_channels_of_the_score(
    game: Any, weight: Tensor, bias: float
) -> None:
    """Check the sum of the mask; in the first case p is so close to 1 that the gradient of log p underflows."""
    model = Weighted(weight, bias)
    found = FGVis(model, game, steps=120).evidence(WHITE, 0)
    carries = weight > 0
    assert (found.mask[0][~carries] == 0).all()
    of_image = torch.sigmoid(2 * weight.sum() + bias)
    goal = torch.logit(of_image * (0.9 if game in KEEPING else 0.1))
    kept = (goal - bias) / (2 * weight.sum())
    expected = kept if game in KEEPING else 1 - kept
    torch.testing.assert_close(found.mask[0][carries], expected.clamp(0, 1).expand(carries.sum()), rtol=0.02, atol=0)
    if game in KEEPING:
        assert found.explanation_score >= 0.9 * found.score - 1e-5
    else:
        assert found.complement_score <= 0.1 * found.score + 1e-5


def test_lagrangian_cannot_shrink_evidence_of_equal_weights() -> None:
    """Keep the reason why it is not the default: kappa is at most the largest entry of the direction."""
    masks = [FGVis(Weighted(PATCH), steps=120, search=search).attribute(WHITE, 0)[0] for search in SEARCHES]
    sizes = dict(zip(SEARCHES, (mask[PATCH > 0].mean() for mask in masks), strict=True))
    assert sizes["lagrangian"] == 1
    assert sizes["budget"] < 0.25


@pytest.mark.parametrize("game", KEEPING)
def test_pixels_against_the_class_are_not_kept(game: Any) -> None:
    against = pixels(slice(None), 0, 0)
    found = FGVis(Weighted(PATCH - against), game, steps=80).evidence(WHITE, 0)
    assert (found.mask[0][against > 0] == 0).all()
    assert found.explanation_score > found.score * 0.9


def test_strongest_pixels_are_kept_first() -> None:
    weight = torch.zeros(3, 8, 8)
    weight[:, 1, 1], weight[:, 6, 6] = 2.0, 0.2
    mask = FGVis(Weighted(weight, bias=-6.0), steps=80).attribute(WHITE, 0)[0]
    assert (mask[:, 1, 1] > 0.5).all()
    assert (mask[:, 6, 6] == 0).all()


def test_image_of_the_mean_colour_has_no_evidence() -> None:
    found = FGVis(Weighted(PATCH), steps=60).evidence(torch.full((1, 3, 8, 8), 0.5), 0)
    assert (found.mask == 0).all()
    torch.testing.assert_close(found.explanation_score, found.score)


# The goal -------------------------------------------------------------------------------------------------------


@every_game
@every_filter
def test_goal_is_reached_and_the_mask_is_sparse(game: Any, filter: Any) -> None:
    model, images = flower_net(), smooth_noise(2)
    found = FGVis(model, game, filter, steps=80, step_size=0.3, destroy=0.5).evidence(images, model(images).argmax(1))
    if game in KEEPING:
        assert (found.explanation_score >= 0.9 * found.score - 1e-5).all()
    else:
        assert (found.complement_score <= 0.5 * found.score + 1e-5).all()
    assert (found.mask.mean((1, 2, 3)) < 0.8).all()


@pytest.mark.parametrize(("game", "shares"), [("preservation", (0.5, 0.99)), ("deletion", (0.3, 0.03))])
def test_higher_goal_needs_a_larger_mask(game: Any, shares: tuple[float, float]) -> None:
    share = "keep" if game in KEEPING else "destroy"
    settings: list[dict[str, Any]] = [{share: value} for value in shares]
    sizes = [FGVis(Weighted(RED), game, steps=60, **each).attribute(WHITE, 0).mean() for each in settings]
    assert sizes[0] < sizes[1]


def test_more_steps_never_give_a_larger_mask() -> None:
    model, images = flower_net(), smooth_noise(4)
    sizes = [FGVis(model, steps=steps).attribute(images, 3).mean((1, 2, 3)) for steps in (10, 60)]
    assert (sizes[1] <= sizes[0]).all()
    assert (sizes[1] < sizes[0]).any()


# The search, by hand --------------------------------------------------------------------------------------------


def by_hand(model: nn.Module, image: Tensor, target: int, game: str, steps: int) -> tuple[Tensor, int]:
    """Return the mask of evidence of one image (1, 3, H, W) without the filter, and the number of missed goals.

    The gradient is that of the probability, the mask is the paper's m, and the search is `SEARCH`, step by step.
    """
    keeps = game in KEEPING
    grey = torch.full_like(image, 0.5)

    def evaluate(m: Tensor) -> tuple[float, Tensor]:
        m = m.clone().requires_grad_()
        probability = F.softmax(model(m * image + (1 - m) * grey), 1)[0, target]
        (gradient,) = torch.autograd.grad(-probability if keeps else probability, m)
        return probability.item(), gradient / gradient.abs().max().clamp(min=1e-300)

    whole = evaluate(torch.ones_like(image))[0]
    m = torch.ones_like(image) if game in ("preservation", "deletion") else torch.zeros_like(image)
    best, size, nearest, reached, missed = m, 2.0, -2.0, False, 0
    kappa = 0.1
    for _ in range(steps):
        probability, slope = evaluate(m)
        margin = probability / whole - 0.9 if keeps else 0.1 - probability / whole
        shown = (m if keeps else 1 - m).mean().item()
        if margin >= 0 and shown < size:
            best, size = m, shown
        elif margin < 0 and not reached and margin > nearest:
            best, nearest = m, margin
        reached, missed = reached or margin >= 0, missed + (margin < 0)
        near = max(-1.0, min(1.0, 10 * margin))
        kappa = max(0.001, min(1.0, kappa * math.exp(0.1 * near)))
        weight = min(1.0, kappa * math.exp(2 * near))
        slope = slope + weight if keeps else slope - weight
        m = (m - (0.1 if reached else 0.3) * slope).clamp(0, 1)
    if keeps and evaluate(torch.zeros_like(image))[0] >= 0.9 * whole:
        best = torch.zeros_like(image)  # the mean colour itself reaches the goal
    return (best if keeps else 1 - best), missed


@every_game
def test_unfiltered_search_equals_the_search_by_hand(game: Any) -> None:
    model = flower_net(torch.float64).requires_grad_(False)
    images, classes = smooth_noise(3, 16, dtype=torch.float64), [1, 3, 3]
    redone = [by_hand(model, images[n : n + 1], c, game, 25) for n, c in enumerate(classes)]
    explainer = FGVis(model, game, filter="none", steps=25, search="lagrangian")
    mask = explainer.attribute(images, torch.tensor(classes))
    torch.testing.assert_close(mask, torch.cat([found for found, _ in redone]), rtol=1e-8, atol=1e-8)
    assert sum(missed for _, missed in redone) > 0
    assert 0 < mask[1].mean() < 1


@pytest.mark.parametrize("search", SEARCHES)
def test_every_search_reaches_the_goal_with_a_small_mask(search: str) -> None:
    model, images = flower_net(), smooth_noise(3)
    found = FGVis(model, filter="none", steps=60, search=search).evidence(images, 3)
    assert (found.explanation_score >= 0.9 * found.score - 1e-5).all()
    assert (found.mask.mean((1, 2, 3)) < 0.5).all()


def test_noise_of_the_recipe_depends_on_the_image_only() -> None:
    model, images = flower_net(torch.float64), smooth_noise(3, 16, dtype=torch.float64)
    explainer = FGVis(model, steps=10, search="recipe")
    whole = explainer.attribute(images, 3)
    assert torch.equal(explainer.attribute(images, 3), whole)
    torch.testing.assert_close(explainer.attribute(images[1:2], 3), whole[1:2], rtol=1e-9, atol=1e-9)


@every_game
def test_margin_is_how_far_the_score_is_beyond_the_goal(game: Any) -> None:
    model, images, classes = flower_net(), smooth_noise(3), torch.tensor([3, 1, 0])
    explainer = FGVis(model, game, steps=20, batch_size=2)
    found = explainer.evidence(images, classes)
    margin, direction = explainer.margins(images, classes, found.mask)
    share = (found.explanation_score if game in KEEPING else found.complement_score) / found.score
    torch.testing.assert_close(margin, share - 0.9 if game in KEEPING else 0.1 - share, rtol=1e-4, atol=1e-5)
    assert direction.shape == images.shape
    assert (direction.abs().amax((1, 2, 3)) <= 1).all()


# Alone, in a batch, in parts ------------------------------------------------------------------------------------


@every_game
@every_filter
def test_batch_size_does_not_change_results_in_float64(game: Any, filter: Any) -> None:
    """Use float64: in float32 a long search amplifies the last bits, which differ between batch sizes."""
    model, images, classes = (
        flower_net(torch.float64),
        smooth_noise(3, 16, dtype=torch.float64),
        torch.tensor([3, 1, 3]),
    )
    settings: dict[str, Any] = {"game": game, "filter": filter, "steps": 8}
    whole = FGVis(model, **settings).attribute(images, classes)
    for batch_size in (1, 2):
        parts = FGVis(model, batch_size=batch_size, **settings).attribute(images, classes)
        torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-9)


def test_batch_size_changes_neither_mask_size_nor_goal_in_float32() -> None:
    model, images = flower_net(), smooth_noise()
    settings: dict[str, Any] = {"game": "deletion", "filter": "none", "steps": 60}
    whole, alone = (FGVis(model, batch_size=size, **settings).evidence(images, 3) for size in (3, 1))
    torch.testing.assert_close(alone.mask.mean((1, 2, 3)), whole.mask.mean((1, 2, 3)), rtol=0.1, atol=0)
    assert (torch.stack([whole.complement_score, alone.complement_score]) <= 0.1 * whole.score + 1e-5).all()


def test_image_without_evidence_does_not_change_the_others() -> None:
    model = Weighted(PATCH.double()).double()
    grey, images = torch.full((1, 3, 8, 8), 0.5).double(), smooth_noise(2, dtype=torch.float64)[:, :, :8, :8]
    explainer = FGVis(model, steps=60)
    mixed = explainer.attribute(torch.cat([images[:1], grey, images[1:]]), 0)
    torch.testing.assert_close(mixed[[0, 2]], explainer.attribute(images, 0))
    assert (mixed[1] == 0).all()


# The gradient filters ----------------------------------------------------------------------------------------------


class Off(Weighted):
    """A `Weighted` network whose units are all off at the mean colour, and on for white pixels."""

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(F.relu(self.normalise(images).flatten(1) - 1))


@pytest.mark.parametrize(("game", "silent"), [("generation", False), ("preservation", True)])
def test_start_without_a_gradient_is_named(game: Any, silent: bool, caplog: pytest.LogCaptureFixture) -> None:
    mask = FGVis(Off(PATCH), game=game, filter="none", steps=5).evidence(WHITE, 0).mask
    assert bool(mask.any()) == silent
    lines = [record.getMessage() for record in caplog.records if record.name == "evident"]
    start = "fgvis: the score has no gradient where game=generation starts, so 1 of 1 masks stay empty"
    assert [line.partition(";")[0] for line in lines] == ([] if silent else [start])


class Adversarial(nn.Module):
    """Give class 0 a constant score, and class 1 a score of red and of green edges between neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise, self.convolution = Normalise(), nn.Conv2d(3, 2, (1, 2), stride=(1, 2))
        with torch.no_grad():
            self.convolution.weight.zero_()
            self.convolution.weight[0, 0] = 1.0
            self.convolution.weight[1, 1, 0] = torch.tensor([4.0, -4.0])
            self.convolution.bias.fill_(0.05)  # active without an edge
        self.score = nn.Linear(2, 2)
        with torch.no_grad():
            self.score.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
            self.score.bias.copy_(torch.tensor([3.0, 0.0]))

    def forward(self, images: Tensor) -> Tensor:
        return self.score(self.convolution(self.normalise(images)).relu().mean((2, 3)))


def even(red: float) -> Tensor:
    """Return an image without edges."""
    image = torch.full((1, 3, 8, 8), 0.9)
    image[:, 0] = red
    return image


both_filters = pytest.mark.parametrize("kind", ["published", "one_sided"])


@both_filters
@pytest.mark.parametrize("game", ["deletion", "repression"])
def test_filter_prevents_an_absent_class_from_taking_the_score(game: Any, kind: Any) -> None:
    bare, filtered = (FGVis(Adversarial(), game, used, steps=60).evidence(even(red=0.5), 0) for used in ("none", kind))
    assert bare.score == filtered.score > 0.9
    assert bare.complement_score <= 0.1 * bare.score
    assert filtered.complement_score > 0.5 * filtered.score


@both_filters
@pytest.mark.parametrize("game", KEEPING)
def test_filter_prevents_evidence_from_edges_that_are_not_there(game: Any, kind: Any) -> None:
    bare, filtered = (FGVis(Adversarial(), game, used, steps=60).evidence(even(red=0.95), 1) for used in ("none", kind))
    for found in (bare, filtered):
        assert found.explanation_score >= 0.9 * found.score - 1e-5
    red, green, blue = bare.mask.mean((0, 2, 3))
    assert red == blue == 0 < green
    red, green, blue = filtered.mask.mean((0, 2, 3))
    assert red > 0.5 > 5 * green
    assert blue == 0


@both_filters
@pytest.mark.parametrize("game", KEEPING)
def test_filter_prevents_an_absent_class_from_becoming_the_best(game: Any, kind: Any) -> None:
    bare, filtered = (
        FGVis(Adversarial(), game, used, goal="best", steps=60).evidence(even(red=0.5), 1) for used in ("none", kind)
    )
    best = 1 - bare.score
    assert best > 0.9
    assert bare.explanation_score >= 0.9 * best
    assert filtered.explanation_score < 0.5


@every_game
def test_both_goals_agree_for_the_best_class(game: Any) -> None:
    own, best = (FGVis(Weighted(RED), game, goal=goal, steps=30).attribute(WHITE, 0) for goal in ("own", "best"))
    assert torch.equal(own, best)


# Fields and errors ------------------------------------------------------------------------


@every_game
def test_evidence_is_consistent(game: Any) -> None:
    model, images, classes = flower_net(), smooth_noise(5), torch.tensor([0, 1, 2, 3, 0])
    explainer = FGVis(model, game, steps=10, batch_size=5)
    found = FGVis(model, game, steps=10, batch_size=5).evidence(images, classes)
    assert torch.equal(found.mask, explainer.attribute(images, classes))
    assert ((found.mask >= 0) & (found.mask <= 1)).all()
    torch.testing.assert_close(found.explanation, found.mask * images + (1 - found.mask) * 0.5)
    torch.testing.assert_close(found.complement, (1 - found.mask) * images + found.mask * 0.5)
    model.eval()
    for scores, shown in (
        (found.score, images),
        (found.explanation_score, found.explanation),
        (found.complement_score, found.complement),
    ):
        expected = model(shown).softmax(1)[range(5), classes].detach()
        torch.testing.assert_close(scores, expected)


def test_batch_size_does_not_change_the_evidence() -> None:
    model, images, classes = (
        flower_net(torch.float64),
        smooth_noise(5, dtype=torch.float64),
        torch.tensor([0, 1, 2, 3, 0]),
    )
    parts, whole = (FGVis(model, steps=10, batch_size=size).evidence(images, classes) for size in (2, 5))
    for part, expected in zip(parts, whole, strict=True):
        torch.testing.assert_close(part, expected)


def test_heatmap_is_the_mean_over_channels() -> None:
    mask = torch.rand(2, 3, 4, 5)
    torch.testing.assert_close(FGVis.heatmap(mask), (mask[:, 0] + mask[:, 1] + mask[:, 2]) / 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"game": "conservation"},
            "game='conservation' is unknown; use preservation, generation, deletion, repression",
        ),
        ({"goal": "any"}, "goal='any' is unknown; use own, best"),
        ({"keep": 0.0}, "keep=0.0"),
        ({"keep": 1.1}, "0 < keep <= 1"),
        ({"destroy": 1.0}, "destroy=1.0"),
        ({"destroy": 0.0}, "destroy=0.0"),
        ({"steps": 0}, "steps=0 is not positive"),
        ({"step_size": -1.0}, "step_size=-1.0 is not positive"),
        ({"sharpen": -0.1}, "sharpen=-0.1 is negative"),
        ({"filter": "two_sided"}, "filter='two_sided' is unknown; use published, one_sided, none"),
        ({"search": "random"}, "search='random' is unknown; use budget, lagrangian"),
    ],
)
def test_setting_out_of_range_raises(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        FGVis(Weighted(PATCH), **settings)


@pytest.mark.parametrize("target", [2, -1, torch.tensor([0, 5])])
def test_target_outside_the_classes_raises(target: Tensor | int) -> None:
    with pytest.raises(UserError, match=r"outside the network's classes; use 0 to 1|is no class index"):
        FGVis(Weighted(PATCH)).attribute(WHITE.expand(2, -1, -1, -1), target)


class Brightness(nn.Module, Regressor):
    """Predict 5 plus the weighted deviation of the first channel from the mean colour, and the negative of it."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.register_buffer("weights", weights)

    def forward(self, images: Tensor) -> Tensor:
        score = 5 + torch.einsum("nhw,hw->n", self.normalise(images)[:, 0], self.weights)
        return torch.stack([score, -score], 1)

    def regression_names(self) -> tuple[str, ...]:
        return ("brightness", "darkness")


@pytest.mark.parametrize("game", ["preservation", "deletion"])
@pytest.mark.parametrize("target", [0, 1])
def test_evidence_of_a_regression_is_the_difference_from_the_mean_colour(game: Any, target: int) -> None:
    weights = torch.zeros(8, 8)
    weights[:2, :2] = 1
    model, images = Brightness(weights), torch.ones(1, 3, 8, 8)
    explainer = FGVis(model, game=game, filter="none", steps=80)
    mask = explainer.attribute(images, target)
    assert mask[0, 0, :2, :2].mean() > (0.8 if game == "preservation" else 0.5)
    assert mask[0, 0].sum().item() == pytest.approx(mask[0, 0, :2, :2].sum().item(), abs=1e-3)
    # The scores are 5 + 8 and -5 - 8: bright pixels raise the first one and lower the second one.
    assert explainer.signs(images, target).flatten().tolist() == [1 if target == 0 else -1]
    evidence = explainer.evidence(images, target)
    score = (evidence.explanation_score if game == "preservation" else evidence.complement_score).item()
    share = (abs(score) - 5) / 8
    assert share >= 0.9 - 1e-5 if game == "preservation" else share <= 0.1 + 1e-5


def test_best_class_of_a_regression_raises() -> None:
    with pytest.raises(UserError, match="goal=best needs class probabilities"):
        FGVis(Brightness(torch.ones(8, 8)), goal="best")


def test_wrong_number_of_targets_raises() -> None:
    with pytest.raises(UserError, match="give one class for each, or one"):
        FGVis(Weighted(PATCH)).evidence(WHITE, torch.tensor([0, 1]))


@pytest.mark.parametrize("filter", ["published", "one_sided"])
def test_filter_that_has_nothing_to_filter_raises(filter: Any) -> None:
    model, images = nn.Sequential(Normalise(), nn.Flatten(), nn.Linear(192, 2), nn.ReLU()), torch.rand(1, 3, 8, 8)
    with pytest.raises(UserError, match=r"no effect on Sequential, .* use filter=none"):
        FGVis(model, filter=filter).attribute(images, 0)
    assert FGVis(model, filter="none", steps=3).attribute(images, 0).shape == images.shape


def test_network_that_makes_other_calls_raises_if_filtered() -> None:
    class Fickle(Weighted):
        passes = 0

        def forward(self, images: Tensor) -> Tensor:
            self.passes += 1
            return super().forward(images.relu() if self.passes % 2 else images)

    with pytest.raises(UserError, match="same calls in every pass, or filter=none"):
        FGVis(Fickle(PATCH)).attribute(WHITE, 0)
    assert FGVis(Fickle(PATCH), filter="none", steps=3).attribute(WHITE, 0).shape == WHITE.shape
