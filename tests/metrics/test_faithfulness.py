"""Deletion and insertion, of pixels and of regions: known areas on a model of brightness, plain loops on a network."""

from itertools import permutations

import pytest
import torch
from samples import Brightness, smooth_noise
from torch import Tensor, nn

from evident.contracts import Regressor
from evident.errors import UserError
from evident.metrics.contract import Curve, Explanation, area
from evident.metrics.cost import Cost
from evident.metrics.faithfulness import deletion_insertion, relevance_gain
from evident.metrics.regions import Regions, region_labels
from evident.models.normalise import Normalise
from evident.models.reference_images import reference_images


def small_network() -> nn.Module:
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 5, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(20, 4),
    ]
    return nn.Sequential(Normalise(mean=(0.2, 0.5, 0.7)), *layers)


GREYS = torch.tensor([[0.8, 0.4], [0.2, 0.0]])


def curves(heatmap: Tensor, target: int = 0, image: Tensor = GREYS, **settings) -> tuple[Curve, Curve]:
    images = image.expand(len(heatmap), 3, -1, -1)
    explanation = Explanation(images, torch.full((len(heatmap),), target), heatmap, model=Brightness())
    result = deletion_insertion(explanation, **settings)
    return result["deletion_mean_colour"], result["insertion_mean_colour"]


def test_curves_of_a_summing_model_are_the_sums_of_the_shown_pixels():
    deletion, insertion = curves(GREYS[None], steps=4)
    squares = torch.tensor([0, 1, 4, 9, 16], dtype=torch.float64) / 16  # 0, 0, 1, 2 and 4 of four pixels
    for curve, expected in (
        (deletion, [0.35, 0.35, 0.15, 0.05, 0]),
        (insertion, [0, 0, 0.2, 0.3, 0.35]),
    ):
        torch.testing.assert_close(curve.at, squares)
        torch.testing.assert_close(curve.values, torch.tensor([expected]).double() / 0.35, rtol=1e-6, atol=1e-7)
    assert area(deletion).item() == pytest.approx((0.35 * 1 + 0.25 * 3 + 0.1 * 5 + 0.025 * 7) / 16 / 0.35)
    assert area(insertion).item() == pytest.approx((0 * 1 + 0.1 * 3 + 0.25 * 5 + 0.325 * 7) / 16 / 0.35)


def test_score_is_the_probability_of_the_target_relative_to_that_of_the_image():
    deletion, _ = curves(GREYS[None], target=1, steps=4)
    torch.testing.assert_close(0.65 * deletion.values, 1 - 0.35 * curves(GREYS[None], steps=4)[0].values)


def test_true_order_of_pixels_is_the_best_and_its_inverse_the_worst_order():
    orders = torch.tensor(list(permutations(range(4)))).view(24, 2, 2).float()
    deletion, insertion = (area(curve) for curve in curves(torch.cat([orders, GREYS[None], -GREYS[None]]), steps=4))
    for scores, best, worst in ((deletion, torch.amin, torch.amax), (insertion, torch.amax, torch.amin)):
        assert scores[24] == best(scores, 0)
        assert scores[25] == worst(scores, 0)


def test_constant_map_ranks_pixels_in_random_order():
    # Bright above, dark below: the area is half the score in random order, and much less or more in raster order.
    image = torch.zeros(32, 32)
    image[:16] = 1
    for constant in (torch.zeros(1, 32, 32), torch.ones(1, 32, 32)):
        deletion, insertion = curves(constant, image=image, steps=16)
        assert area(deletion).item() == pytest.approx(0.5, abs=0.04)
        assert area(insertion).item() == pytest.approx(0.5, abs=0.04)


def test_order_of_ties_depends_on_the_seed_only():
    constant, image = torch.zeros(2, 8, 8), torch.linspace(0, 1, 64).view(8, 8)
    first, again, other = (curves(constant, image=image, steps=8, seed=seed)[0].values for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first, other)


def test_curves_of_random_orders_are_linear_on_average():
    image = torch.rand(24, 24, generator=torch.Generator().manual_seed(0))
    heatmap = torch.rand(50, 24, 24, generator=torch.Generator().manual_seed(1))
    deletion, insertion = curves(heatmap, image=image, steps=4)
    torch.testing.assert_close(insertion.values.mean(0), insertion.at, rtol=0, atol=1e-2)
    torch.testing.assert_close(deletion.values.mean(0), 1 - deletion.at, rtol=0, atol=1e-2)


def example(images: int = 3) -> Explanation:
    generator = torch.Generator().manual_seed(7)
    pixels = torch.rand(images, 3, 6, 5, generator=generator)
    # Multiples of a half, so many pixels tie.
    heatmap = torch.randint(0, 5, (images, 6, 5), generator=generator) / 2
    return Explanation(pixels, torch.arange(images) % 4, heatmap, model=small_network())


@pytest.mark.parametrize("reference", ["mean_colour", "blur"])
def test_curves_start_and_end_at_image_and_reference(reference):
    explanation = example()
    result = deletion_insertion(explanation, reference, steps=3)
    without = reference_images(explanation.images, explanation.model, reference)

    def score(images):
        with torch.no_grad():
            return explanation.model(images).double().softmax(1)[torch.arange(3), explanation.target]

    for images, first, last in ((explanation.images, 0, -1), (without, -1, 0)):
        probability = score(images) / score(explanation.images)
        for name, end in (("deletion", first), ("insertion", last)):
            values = result[f"{name}_{reference}"].values[:, end]
            torch.testing.assert_close(values, probability, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("reference", ["mean_colour", "blur"])
@pytest.mark.parametrize("steps", [1, 4, 30, 50])
def test_curves_equal_their_formula_by_plain_loops(reference, steps):
    explanation = example(2)
    model, pixels = explanation.model, 30
    without = reference_images(explanation.images, model, reference)
    shuffled = torch.randperm(pixels, generator=torch.Generator().manual_seed(0)).tolist()
    result = deletion_insertion(explanation, reference, steps)
    for n in range(2):
        heatmap = explanation.heatmap[n].flatten().tolist()
        order = sorted(shuffled, key=lambda pixel: -heatmap[pixel])
        images = {"deletion": [], "insertion": []}
        for k in range(steps + 1):
            deleted, inserted = explanation.images[n].clone(), without[n].clone()
            for pixel in order[: int(k**2 * pixels / steps**2 + 0.5)]:
                y, x = divmod(pixel, 5)
                deleted[:, y, x] = without[n, :, y, x]
                inserted[:, y, x] = explanation.images[n, :, y, x]
            images["deletion"].append(deleted)
            images["insertion"].append(inserted)
        for name, shown in images.items():
            with torch.no_grad():
                probability, whole = (
                    model(of).double().softmax(1)[:, explanation.target[n]]
                    for of in (torch.stack(shown), explanation.images[[n]])
                )
            values = result[f"{name}_{reference}"].values[n]
            torch.testing.assert_close(values, probability / whole, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("batch_size", [1, 7, 24, 1000])
def test_both_curves_are_computed_in_full_batches_without_repeats(batch_size):
    explanation, sizes = example(), []
    handle = explanation.model.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    chunked = deletion_insertion(explanation, steps=4, batch_size=batch_size)
    handle.remove()
    assert sum(sizes) == 2 * 4 * 3
    assert all(size == batch_size for size in sizes[:-1])
    assert sizes[-1] <= batch_size
    whole = deletion_insertion(explanation, steps=4)
    for name, curve in whole.items():
        torch.testing.assert_close(chunked[name].values, curve.values, rtol=1e-5, atol=1e-7)


def test_no_gradient_is_kept():
    explanation = example()
    with Cost(explanation.model) as cost:
        result = deletion_insertion(explanation, steps=2)
    assert not any(curve.values.requires_grad for curve in result.values())
    assert (cost.forward_passes, cost.backward_passes) == (12, 0)


def test_non_finite_heatmap_is_nan_for_its_image_only():
    explanation = example()
    expected = deletion_insertion(explanation, steps=4)
    explanation.heatmap[1, 2, 2] = torch.nan
    for name, curve in deletion_insertion(explanation, steps=4).items():
        assert curve.values[1].isnan().all()
        torch.testing.assert_close(curve.values[[0, 2]], expected[name].values[[0, 2]])


def test_missing_or_invalid_arguments_are_named():
    explanation = example()
    with pytest.raises(UserError, match="reference='noise' is unknown"):
        deletion_insertion(explanation, reference="noise")
    with pytest.raises(UserError, match="steps=0"):
        deletion_insertion(explanation, steps=0)
    with pytest.raises(UserError, match="needs the model"):
        deletion_insertion(Explanation(explanation.images, explanation.target, explanation.heatmap))


def test_heatmaps_that_are_through_within_one_percent_of_the_pixels_differ():
    """With 32 equal steps, whatever is through after the first one has the same area."""
    image = torch.zeros(100, 100)
    image[0, :20] = 1
    good, better = torch.zeros(2, 100, 100)
    better[0, :20] = 1  # the 20 bright pixels first
    good[0], good[1] = 0.5, 1  # 100 dark ones before them
    deletion, _ = curves(torch.stack([good, better]), image=image, steps=20, least=0)
    assert area(deletion)[1] < area(deletion)[0] < 0.02


def test_curves_of_a_regression_follow_the_output_itself():
    class Sum(nn.Module, Regressor):
        def __init__(self) -> None:
            super().__init__()
            self.normalise = Normalise(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))

        def forward(self, images: Tensor) -> Tensor:
            return self.normalise(images).double().mean((1, 2, 3))[:, None] - 1

        def regression_names(self) -> tuple[str, ...]:
            return ("sum",)

    explanation = Explanation(GREYS.expand(1, 3, -1, -1), torch.zeros(1, dtype=torch.long), GREYS[None], model=Sum())
    deletion = deletion_insertion(explanation, steps=4)["deletion_mean_colour"]
    expected = torch.tensor([[0.35, 0.35, 0.15, 0.05, 0]]).double() - 1
    torch.testing.assert_close(deletion.values, expected, rtol=1e-6, atol=1e-7)


def test_image_whose_class_the_network_does_not_see_has_no_score():
    image = torch.full((8, 8), 0.05)
    deletion, insertion = curves(torch.rand(1, 8, 8), image=image, steps=4)
    assert deletion.values.isnan().all()
    assert insertion.values.isnan().all()
    deletion, _ = curves(torch.rand(1, 8, 8), image=image, steps=4, least=0.04)
    assert deletion.values[0, 0] == 1


# Regions


def bright_corner() -> Tensor:
    """Return an image (1, 8, 8) that is white in its first square of four pixels and black elsewhere."""
    image = torch.zeros(1, 8, 8)
    image[:, :2, :2] = 1
    return image


def deletion_of_squares(heatmap: Tensor, side: int = 2, steps: int = 8) -> Curve:
    explanation = Explanation(
        bright_corner()[:, None].expand(len(heatmap), 3, -1, -1),
        torch.zeros(len(heatmap)).long(),
        heatmap,
        model=Brightness(),
    )
    result = deletion_insertion(explanation, regions="squares", side=side, steps=steps, least=0)
    return result["deletion_squares_mean_colour"]


def test_square_is_replaced_as_a_whole_as_soon_as_its_middle_is_reached() -> None:
    deletion = deletion_of_squares(bright_corner())
    # 0, 1, 4, 9, ... of 64 pixels; the middle of the first square is at two pixels.
    assert deletion.values.tolist() == [[1, 1, 0, 0, 0, 0, 0, 0, 0]]


def test_scattered_pixels_are_worth_no_more_than_a_constant_map() -> None:
    scattered = torch.zeros(1, 8, 8)
    scattered[:, ::2, ::2] = 1  # one pixel of each square, bright or not
    constant = torch.ones(1, 8, 8)
    assert torch.equal(deletion_of_squares(scattered).values, deletion_of_squares(constant).values)


def test_squares_of_one_pixel_are_pixels() -> None:
    explanation = example()
    squares = deletion_insertion(explanation, steps=5, regions="squares", side=1)
    pixels = deletion_insertion(explanation, steps=5)
    for name in ("deletion", "insertion"):
        assert torch.equal(squares[f"{name}_squares_mean_colour"].values, pixels[f"{name}_mean_colour"].values)


@pytest.mark.parametrize(("regions", "size"), [("squares", 4), ("squares", 5), ("super_pixels", 9)])
@pytest.mark.parametrize("steps", [3, 12])
def test_curves_of_regions_equal_their_formula_by_plain_loops(regions: Regions, size: int, steps: int) -> None:
    generator = torch.Generator().manual_seed(3)
    images, heatmap = smooth_noise(3, (14, 18)), torch.rand(3, 14, 18, generator=generator)
    target, model = torch.arange(3), small_network()
    explanation = Explanation(images, target, heatmap, model=model)
    result = deletion_insertion(explanation, steps=steps, regions=regions, side=size, segments=size)
    labels = region_labels(images, regions, size, size).view(3, 14, 18)
    without = reference_images(images, model, "mean_colour")
    for n in range(3):
        of_region = {int(label): labels[n] == label for label in labels[n].unique()}
        order = sorted(of_region, key=lambda label: -heatmap[n][of_region[label]].double().mean().item())
        assert len(of_region) > 4
        shown: dict[str, list[Tensor]] = {"deletion": [], "insertion": []}
        for k in range(steps + 1):
            share, before, chosen = int(k**2 * 14 * 18 / steps**2 + 0.5), 0, torch.zeros(14, 18, dtype=torch.bool)
            for label in order:
                size_of_region = int(of_region[label].sum())
                if before + size_of_region / 2 <= share:
                    chosen |= of_region[label]
                before += size_of_region
            shown["deletion"].append(torch.where(chosen, without[n], images[n]))
            shown["insertion"].append(torch.where(chosen, images[n], without[n]))
        for name, pictures in shown.items():
            with torch.no_grad():
                probability, whole = (
                    model(of).double().softmax(1)[:, target[n]] for of in (torch.stack(pictures), images[[n]])
                )
            values = result[f"{name}_{regions}_mean_colour"].values[n]
            torch.testing.assert_close(values, probability / whole, rtol=1e-5, atol=1e-7)


def test_order_of_tied_super_pixels_does_not_depend_on_other_images() -> None:
    images = torch.cat([smooth_noise(1, 32, cells=3), smooth_noise(1, 32, cells=16)])
    labels = region_labels(images, "super_pixels", 8, 30)
    assert labels[0].max() != labels[1].max()
    target, model = torch.zeros(2).long(), small_network()
    together, *alone = (
        deletion_insertion(
            Explanation(images[part], target[part], torch.ones(2, 32, 32)[part] / 3, model=model),
            steps=6,
            regions="super_pixels",
            segments=30,
        )["deletion_super_pixels_mean_colour"].values
        for part in (slice(2), slice(1), slice(1, 2))
    )
    torch.testing.assert_close(torch.cat(alone), together, rtol=1e-5, atol=1e-7)
    assert len(together[0].unique()) > 5


# Relevance gain


@pytest.mark.parametrize("reference", ["mean_colour", "blur"])
def test_gain_is_the_area_without_the_least_relevant_pixels_minus_that_without_the_most_relevant(reference) -> None:
    explanation, steps = example(), 7
    model, target = explanation.model, explanation.target
    assert model is not None
    curve = relevance_gain(explanation, reference, steps)[f"relevance_gain_{reference}"]
    without = reference_images(explanation.images, model, reference)
    shuffled = torch.randperm(30, generator=torch.Generator().manual_seed(0)).tolist()
    at = [k**2 / steps**2 for k in range(steps + 1)]
    for n in range(3):
        heatmap = explanation.heatmap[n].flatten().tolist()
        order = sorted(shuffled, key=lambda pixel: -heatmap[pixel])

        def relative(removed: list[int], n: int = n) -> float:
            image = explanation.images[n].flatten(1).clone()
            image[:, removed] = without[n].flatten(1)[:, removed]
            with torch.no_grad():
                outputs = model(torch.stack([image.view(3, 6, 5), explanation.images[n]])).double()
            changed, whole = outputs.softmax(1)[:, target[n]].tolist()
            return changed / whole

        counts = [int(share * 30 + 0.5) for share in at]
        # Positions of the least relevant first are 1 - f, from the whole image to the reference.
        least_first = [relative(order[count:]) for count in counts[::-1]]
        most_first = [relative(order[:count]) for count in counts]
        area_least = torch.trapezoid(torch.tensor(least_first), torch.tensor([1 - share for share in at[::-1]]))
        area_most = torch.trapezoid(torch.tensor(most_first), torch.tensor(at))
        assert area(curve)[n].item() == pytest.approx((area_least - area_most).item(), abs=1e-5)


def test_gain_is_positive_for_the_true_order_and_negative_for_its_inverse() -> None:
    image = torch.linspace(0, 1, 256).view(16, 16)
    random = torch.rand(200, 16, 16, generator=torch.Generator().manual_seed(0))
    heatmap = torch.cat([image[None], -image[None], random])
    images = image.expand(202, 3, -1, -1)
    explanation = Explanation(images, torch.zeros(202).long(), heatmap, model=Brightness())
    gain = area(relevance_gain(explanation, steps=32)["relevance_gain_mean_colour"])
    # Insertion 2 f - f^2 and deletion 1 - 2 f + f^2 of a linear image have the areas 2/3 and 1/3.
    assert gain[0].item() == pytest.approx(1 / 3, abs=0.01)
    assert gain[1].item() == pytest.approx(-1 / 3, abs=0.01)
    assert gain[2:].mean().item() == pytest.approx(0, abs=0.01)


def test_one_set_of_forward_passes_gives_all_three_curves() -> None:
    explanation = example()
    assert explanation.model is not None
    with Cost(explanation.model) as cost:
        three = deletion_insertion(explanation, steps=4, gain=True)
    assert cost.forward_passes == 2 * 4 * 3
    assert list(three) == ["deletion_mean_colour", "insertion_mean_colour", "relevance_gain_mean_colour"]
    two, one = deletion_insertion(explanation, steps=4), relevance_gain(explanation, steps=4)
    for name, curve in {**two, **one}.items():
        assert torch.equal(three[name].values, curve.values)
    difference = area(two["insertion_mean_colour"]) - area(two["deletion_mean_colour"])
    torch.testing.assert_close(area(one["relevance_gain_mean_colour"]), difference)
    squares = deletion_insertion(explanation, steps=4, gain=True, regions="squares", side=2)
    assert list(squares)[-1] == "relevance_gain_squares_mean_colour"
