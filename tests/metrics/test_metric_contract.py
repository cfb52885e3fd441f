"""Contract of all metrics in conf/metric (a new YAML file is tested without further code) and of the glossary."""

import re
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from captum.attr import Attribution
from committed_numbers import by_formula, check, summary
from entry_point import ROOT
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn

from evident import contracts
from evident.contracts import GivesEvidence, NeedsMask, Optimises, SumsContributions
from evident.errors import UserError
from evident.explainers.shared.evidence import evidence
from evident.explainers.shared.targets import targets
from evident.metrics.contract import (
    Axis,
    Curve,
    Direction,
    Explanation,
    Field,
    applies,
    area,
    attributions,
    direction_of,
    heatmaps,
    image_scores,
    metric,
    missing_fields,
    needs_of,
)
from evident.models.flower_net import FlowerNet
from evident.relevance.relevance import Relevance
from evident.values import Evidence, PartChanges, Removals, Truth

FILES = sorted((ROOT / "conf" / "metric").glob("*.yaml"))
NAMES = [file.stem for file in FILES]
every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
SCALES = {
    name: OmegaConf.to_container(OmegaConf.load(ROOT / "conf" / "scale" / f"{name}.yaml").scale)
    for name in ("smoke", "quick")
}
ATTRIBUTES = 5


def configured(file: Path, scale: str = "smoke") -> partial:
    """Return the metric of a YAML file, at a scale."""
    config = OmegaConf.create({"scale": SCALES[scale], "metric": OmegaConf.load(file)})
    return instantiate(config.metric[file.stem])


class Explainer(Attribution, GivesEvidence, Optimises):
    """Compute a smooth mask in (0, 1) from input x gradient, so rounding errors change it only slightly."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.model = model

    def attribute(self, inputs: Tensor, target: Tensor | int) -> Tensor:
        images = inputs.clone().requires_grad_()
        contributions = inputs * torch.autograd.grad(self.model(images)[range(len(images)), target].sum(), images)[0]
        return torch.sigmoid(contributions / contributions.std((1, 2, 3), keepdim=True))

    def evidence(self, inputs: Tensor, target: Tensor | int) -> Evidence:
        return evidence(self.model, inputs, targets(target, len(inputs)), self.attribute(inputs, target))

    def margins(self, inputs: Tensor, target: Tensor | int, mask: Tensor) -> tuple[Tensor, Tensor]:
        return mask.mean((1, 2, 3)) - 0.5, 0.5 - mask

    @staticmethod
    def heatmap(attribution: Tensor) -> Tensor:
        return attribution.sum(1)


class Network(FlowerNet, SumsContributions):
    """State contributions and a bias, as networks whose scores are sums do; here they are those of the first layer."""

    def contribution_map(self, images: Tensor) -> Tensor:
        return self.features[:3](self.normalise(images))[:, :6]

    def output_bias(self) -> Tensor:
        last = self.classifier[-1]
        assert isinstance(last, nn.Linear)
        return last.bias


def explanation(
    images: int = 3, height: int = 16, width: int = 20, change: Callable[[Network], Network] = nn.Module.eval
) -> Explanation:
    """Return a random explanation in which every field is set, by a network that `change` has changed.

    The pixels have the type of its weights.
    """
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = change(Network(6))
    pixels = torch.rand(images, 3, height, width, generator=generator)
    explainer, pixels = Explainer(model), (pixels * 255).round().to(next(model.parameters()).dtype) / 255
    target, halves = torch.arange(images) % 6, torch.arange(width) < width // 2
    mask = torch.rand(images, height, width, generator=generator) < 0.3
    heatmap = torch.randn(images, height, width, generator=generator)
    true, removals = scenes(images, height, width, generator)
    others = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        others.append(change(Network(6)))
    training = torch.rand(8, 3, height, width, generator=generator.clone_state())  # draws below stay as they were
    return Explanation(
        images=pixels,
        target=target,
        heatmap=heatmap,
        mask=mask & halves,
        model=model,
        relevance=relevance(generator),
        explainer=explainer,
        evidence=explainer.evidence(pixels, target),
        other=mask & ~halves,
        tile=(halves == (torch.arange(images) % 2 == 0)[:, None])[:, None].expand(-1, height, -1),
        signed=torch.randn(images, height, width, generator=generator),
        truth=true,
        contributions=torch.randn(images, ATTRIBUTES, generator=generator),
        attribute_maps=torch.rand(images, ATTRIBUTES, 4, 5, generator=generator),
        removals=removals,
        parts=part_changes(images, height, width),
        rebuild=Explainer,
        twin=others[0],
        shuffled=others[1],
        training_images=lambda: training,
    )


def scenes(images: int, height: int, width: int, generator: torch.Generator) -> tuple[Truth, Removals]:
    """Return the truth of scenes that show four of five attributes each, so curves over attributes have gaps."""
    visible = torch.arange(ATTRIBUTES) != torch.arange(images)[:, None] % ATTRIBUTES
    masks = torch.rand(images, ATTRIBUTES, height, width, generator=generator) < 0.2
    contributions = torch.randn(images, ATTRIBUTES, generator=generator) * visible
    contribution_map = torch.randn(images, height, width, generator=generator)
    row, attribute = visible.nonzero(as_tuple=True)
    without = torch.rand(len(row), 3, height, width, generator=generator)
    removals = Removals(row, attribute, without, torch.randn(len(row), generator=generator))
    typical = torch.randn(ATTRIBUTES, generator=generator).expand(images, -1)
    return Truth(masks & visible[..., None, None], contributions, contribution_map, typical), removals


def part_changes(images: int, height: int, width: int, draws: int = 2) -> PartChanges:
    """Return scenes with five parts, of which each shows four, and a sixth part that has no pixels."""
    generator = torch.Generator().manual_seed(1)
    number = torch.randint(4, (images, height, width), generator=generator) + 1 + torch.arange(images)[:, None, None]
    masks = number[:, None] % 5 == torch.arange(6)[:, None, None]
    shown = masks.flatten(2).any(2) | (torch.arange(6) == 5)
    row, part = (places.repeat(draws) for places in shown.nonzero(as_tuple=True))
    return PartChanges(row, part, torch.rand(len(row), 3, height, width, generator=generator), masks)


def relevance(generator: torch.Generator) -> Relevance:
    """Return a few relevant features for each of six classes, of a convolution and of a fully connected layer."""
    features = torch.rand(16 + 96, 6, generator=generator, dtype=torch.float64)
    layers = {"features.2/relu": 16, "classifier.3/relu": 96}
    return Relevance(layers, (features - 0.95).relu(), features)


def tensors(whole: Explanation) -> list[Tensor]:
    held = [getattr(whole, field.name) for field in fields(whole)]
    flat = [each for value in held for each in (value if isinstance(value, tuple) else (value,))]
    return [each for each in flat if isinstance(each, Tensor)]


def changed(whole: Explanation, change: Callable[[Tensor], Tensor]) -> Explanation:
    """Apply `change` to every tensor of an explanation."""

    def of(value: Any) -> Any:
        if isinstance(value, tuple):
            return type(value)(*map(change, value))
        return change(value) if isinstance(value, Tensor) else value

    return Explanation(**{field.name: of(getattr(whole, field.name)) for field in fields(whole)})


def part(whole: Explanation, images: slice) -> Explanation:
    """Return the explanation of some images."""
    assert whole.removals is not None
    assert whole.parts is not None
    kept, (row, *rows), changes = torch.arange(len(whole.images))[images], whole.removals, whole.parts
    position, own = (row[:, None] == kept).nonzero(as_tuple=True)
    removals = Removals(own, *(each[position] for each in rows))
    place, row = (changes.row[:, None] == kept).nonzero(as_tuple=True)
    parts = PartChanges(row, changes.part[place], changes.images[place], changes.masks[images])
    bare = replace(whole, removals=None, parts=None)
    return replace(changed(bare, lambda rows: rows[images]), removals=removals, parts=parts)


def in_double_precision(whole: Explanation) -> Explanation:
    """Return the explanation with networks in double precision.

    In single precision, differences of scores are mostly the rounding errors of sums in another order.
    """
    for network in (whole.model, whole.twin, whole.shuffled):
        network.double()
    return replace(whole, images=whole.images.double())


def values(result: Tensor | Curve | Mapping[str, Tensor | Curve]) -> dict[str, Tensor]:
    """Return curves and scores by name."""
    named = result if isinstance(result, Mapping) else {"": result}
    curves = {f"{name} curve": r.values for name, r in named.items() if isinstance(r, Curve)}
    return {**curves, **scores(result)}


def scores(result: Tensor | Curve | Mapping[str, Tensor | Curve]) -> dict[str, Tensor]:
    named = result if isinstance(result, Mapping) else {"": result}
    return {name: image_scores(r) for name, r in named.items()}


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    # A float32 network may sum in another order for another batch size.
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-7, equal_nan=True)


def state(model: nn.Module) -> list[object]:
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()]
    modes = [m.training for m in model.modules()]
    weights = [t.clone() for t in model.state_dict().values()]
    return [hooks, modes, [(p.requires_grad, p.grad is None) for p in model.parameters()], weights]


def numbers_of(name: str) -> dict[str, list[float]]:
    """Return numbers of the scores and curves of an explanation, by a float64 network with weights from a formula."""
    whole = explanation(change=by_formula)
    assert isinstance(whole.model, Network)
    assert isinstance(whole.explainer, Explainer)
    predicted = whole.model(whole.images).argmax(1)
    whole = replace(whole, target=predicted, evidence=whole.explainer.evidence(whole.images, predicted))
    score = configured(ROOT / "conf" / "metric" / f"{name}.yaml")
    return {key: summary(value) for key, value in values(score(whole)).items()}


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_the_committed_ones(name: str) -> None:
    check("metrics", name, numbers_of(name))


def test_all_metrics_of_the_papers_are_configured():
    assert {file.stem for file in FILES} >= {
        *("iou_area", "iou_best", "pointing_game", "mass_accuracy", "rank_accuracy", "average_precision"),
        *("perturbation_mean_colour", "perturbation_blur", "gini", "entropy", "ablation"),
        *("explanation_score", "colour", "sparsity", "stability", "defence", "discrimination", "class_overlap"),
        *("contribution_map", "attribute_contributions", "stated_contributions", "attribute_maps", "removal"),
        "split_error",
    }


@every_file
def test_file_starts_with_a_comment_and_defines_its_metric(file):
    comment, *_ = file.read_text().splitlines()
    assert comment.startswith("# ")
    assert list(OmegaConf.load(file)) == [file.stem]


@every_file
def test_direction_and_needs_are_declared(file):
    score = configured(file)
    for need in needs_of(score):
        assert need in get_args(Field) or need.__module__ == contracts.__name__
    for name in scores(score(explanation())):
        assert direction_of(score, name) in get_args(Direction)


@every_file
def test_metric_uses_only_what_it_needs(file):
    whole, score = explanation(), configured(file)
    needed = {need: getattr(whole, need) for need in needs_of(score) if isinstance(need, str)}
    lean = Explanation(whole.images, whole.target, whole.heatmap, **needed)
    assert applies(score, lean)
    assert_same(values(score(lean)), values(score(whole)))


@every_file
@pytest.mark.parametrize("shape", [(16, 16), (17, 24)])
def test_each_image_has_one_finite_score(file, shape):
    for score in scores(configured(file)(explanation(3, *shape))).values():
        assert score.shape == (3,)
        assert score.dtype in (torch.float32, torch.float64)
        assert score.isfinite().all()
        assert not score.requires_grad


@every_file
def test_positions_of_curves_increase_and_lie_in_zero_to_one_where_the_score_is_the_area(file):
    result = configured(file)(explanation())
    for curve in result.values() if isinstance(result, Mapping) else [result]:
        if isinstance(curve, Curve):
            assert curve.values.shape == (3, len(curve.at))
            assert (curve.at.diff() > 0).all()
            assert curve.at.min() >= 0
            assert curve.score is not None or curve.at.max() <= 1
            assert curve.axis in get_args(Axis)
            assert (curve.axis in ("features", "attributes", "depths")) == (curve.score is not None)


@every_file
def test_score_of_an_image_does_not_depend_on_its_batch(file):
    whole, score = in_double_precision(explanation()), configured(file)
    together = values(score(whole))
    for n in range(3):
        alone = values(score(part(whole, slice(n, n + 1))))
        assert_same(alone, {name: rows[n : n + 1] for name, rows in together.items()})


@pytest.mark.parametrize("batch_size", [1, 7])
@pytest.mark.parametrize(
    "file",
    [file for file in FILES if "batch_size" in signature(configured(file)).parameters],
    ids=lambda file: file.stem,
)
def test_batch_size_changes_no_result(file, batch_size):
    score, given = configured(file), in_double_precision(explanation())
    assert_same(values(score(given, batch_size=batch_size)), values(score(given)))


@every_file
def test_scoring_twice_gives_equal_bytes_and_changes_no_input(file):
    whole, score = explanation(), configured(file)
    copy, before, random_state = changed(whole, Tensor.clone), state(whole.model), torch.get_rng_state()
    first, second = ({name: rows.numpy().tobytes() for name, rows in values(score(whole)).items()} for _ in range(2))
    assert first == second
    assert all(map(torch.equal, tensors(whole), tensors(copy)))
    assert torch.equal(torch.get_rng_state(), random_state)
    *settings, weights = state(whole.model)
    assert settings == before[:-1]
    assert all(map(torch.equal, weights, before[-1]))


@every_file
def test_no_grad_and_frozen_weights_change_no_result(file):
    whole, score = explanation(), configured(file)
    expected = values(score(whole))
    with torch.no_grad():
        assert_same(values(score(whole)), expected)
    whole.model.requires_grad_(False)
    assert_same(values(score(whole)), expected)
    assert not any(weights.requires_grad for weights in whole.model.parameters())


@every_file
def test_explanation_that_requires_a_gradient_has_the_same_scores(file):
    whole, score = explanation(), configured(file)
    expected = values(score(whole))
    for tensor in (whole.heatmap, whole.signed, whole.contributions, whole.attribute_maps):
        tensor.requires_grad_()
    assert_same(values(score(whole)), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@every_file
def test_gpu_scores_equal_cpu_scores(file):
    whole, score = explanation(), configured(file)
    expected = values(score(whole))
    whole.model.cuda()
    whole.twin.cuda()
    found = values(score(changed(whole, Tensor.cuda)))
    for name, rows in found.items():
        assert rows.is_cuda
        torch.testing.assert_close(rows.cpu(), expected[name], rtol=1e-3, atol=1e-4, equal_nan=True)


# Glossary


def glossary() -> dict[str, tuple[str, str, str]]:
    """Return metric, direction and axis of every score, as stated in docs/glossary.md."""
    return {score: (metric, better, axis) for score, metric, _, _, better, axis, *_ in glossary_rows()}


def glossary_rows() -> list[list[str]]:
    """Return the cells of the tables of metrics in docs/glossary.md, a row for each score."""
    section = (ROOT / "docs" / "glossary.md").read_text().split("\n## Metrics\n")[1].split("\n## ")[0]
    lines = [re.sub(r'<a id="[^"]+"></a>', "", line) for line in section.splitlines() if line[:3] in ("| `", "| <")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


@every_file
def test_glossary_states_every_score_with_its_direction_and_axis(file):
    score = configured(file)
    result = score(explanation())
    named = result if isinstance(result, Mapping) else {file.stem: result}
    expected = {
        name: (file.stem, direction_of(score, name), value.axis if isinstance(value, Curve) else "")
        for name, value in named.items()
    }
    assert {name: row for name, row in glossary().items() if row[0] == file.stem} == expected


def test_glossary_states_one_cost_for_all_scores_of_a_metric():
    stated = {(metric, cost) for _, metric, _, _, _, _, cost, _ in glossary_rows()}
    assert len(stated) == len({metric for metric, _ in stated})
    assert all(cost for _, cost in stated)


@pytest.mark.parametrize("name", sorted({row[1] for row in glossary_rows()}))
def test_glossary_states_the_passes_and_explanations_of_a_metric(name, monkeypatch):
    """Count the images of a batch that pass a network, where the stated cost is a number, and those explained anew."""
    whole, counted = explanation(3, 24, 24), {"passes": 0, "explained": 0}
    attribute = Explainer.attribute

    def count(network: nn.Module, images: tuple[Tensor, ...], outputs: Tensor) -> None:
        counted["passes"] += len(images[0])

    def explained(self: Explainer, inputs: Tensor, target: Tensor | int) -> Tensor:
        counted["explained"] += len(inputs)
        return attribute(self, inputs, target)

    for network in (whole.model, whole.twin, whole.shuffled):
        network.register_forward_hook(count)
    monkeypatch.setattr(Explainer, "attribute", explained)
    configured(ROOT / "conf" / "metric" / f"{name}.yaml", "quick")(whole)
    [cost] = {row[6] for row in glossary_rows() if row[1] == name}
    if cost.isdigit():
        assert counted["passes"] / 3 == int(cost)
    if found := re.search(r"(\d+) explanations?", cost):
        assert counted["explained"] / 3 <= int(found[1])  # class_overlap knows the explanation of the target
        assert counted["explained"] / 3 > int(found[1]) - 1
    else:
        assert counted["explained"] == 0


def test_glossary_states_no_metric_that_is_not_configured():
    assert {metric for metric, _, _ in glossary().values()} == {file.stem for file in FILES}


# Curves


def curve(at: list[float], rows: list[list[float]]) -> Curve:
    return Curve(torch.tensor(at), torch.tensor(rows))


def test_area_is_the_trapezoidal_rule_if_the_ends_are_positions():
    uneven = curve([0, 0.1, 0.5, 1], [[1, 3, 2, 0], [0, 0.1, 0.5, 1]])
    expected = torch.trapezoid(uneven.values.double(), uneven.at.double())
    torch.testing.assert_close(area(uneven), expected)


def test_area_is_the_mean_if_positions_are_the_middles_of_bins():
    assert area(curve([0.125, 0.375, 0.625, 0.875], [[4, 0, 1, 3]])).tolist() == [2]


@pytest.mark.parametrize("constant", [0.0, 1.0, 1 / 3])
def test_area_under_a_constant_is_exactly_this_constant(constant):
    at = torch.rand(101, generator=torch.Generator().manual_seed(0)).sort().values
    value = torch.tensor(constant, dtype=torch.float64)
    assert torch.equal(area(Curve(at, value.expand(2, 101))), value.expand(2))


def test_score_of_a_curve_replaces_its_area():
    at, values = torch.arange(8).double(), torch.rand(3, 8)
    assert torch.equal(image_scores(Curve(at, values, values[:, -1])), values[:, -1])


def test_area_is_nan_if_a_value_is_nan():
    assert area(curve([0, 0.5, 1], [[1, torch.nan, 1], [1, 1, 1]])).isnan().tolist() == [True, False]


# Declarations


@metric(direction={"deletion": "lower", "insertion": "higher"}, needs=("model",))
def paired(explanation: Explanation) -> dict[str, Tensor]:
    return {}


@metric(direction="lower")
def single(explanation: Explanation) -> Tensor:
    return explanation.heatmap.sum((1, 2))


def test_direction_holds_for_names_with_a_suffix():
    assert direction_of(paired, "deletion_blur") == "lower"
    assert direction_of(paired, "insertion") == "higher"
    assert direction_of(single, "anything") == "lower"


def test_partial_has_the_declarations_of_its_function():
    assert direction_of(partial(paired), "insertion_blur") == "higher"
    assert needs_of(partial(paired)) == needs_of(paired) == ("model",)
    assert needs_of(single) == ()


@pytest.mark.parametrize("name", ["deletions", "blur_deletion", "area"])
def test_name_without_a_direction_is_an_error_that_lists_declared_names(name):
    with pytest.raises(UserError, match=f"'{name}'.*deletion, insertion"):
        direction_of(paired, name)


@metric(direction="higher", needs=("mask", "evidence", GivesEvidence))
def of_evidence(explanation: Explanation) -> Tensor:
    return explanation.evidence.score


def test_metric_applies_if_no_needed_field_is_missing_and_the_explainer_has_the_protocol():
    whole = explanation()
    assert applies(of_evidence, whole)
    assert applies(partial(of_evidence), whole)
    assert missing_fields(of_evidence, whole) == set()
    lean = replace(whole, mask=None, evidence=None)
    assert not applies(of_evidence, lean)
    assert missing_fields(of_evidence, lean) == {"mask", "evidence"}
    for other in (Masked(whole.model), None):
        assert not applies(of_evidence, replace(whole, explainer=other))
        assert missing_fields(of_evidence, replace(whole, explainer=other)) == set()
    assert applies(single, Explanation(whole.images, whole.target, whole.heatmap))


@metric(direction="higher", needs=("model", SumsContributions))
def of_sums(explanation: Explanation) -> Tensor:
    return explanation.heatmap.sum((1, 2))


def test_metric_for_networks_of_a_kind_applies_to_them_only():
    whole = explanation()
    assert applies(of_sums, whole)
    assert applies(of_sums, replace(whole, explainer=None))
    other = replace(whole, model=FlowerNet(6))
    assert not applies(of_sums, other)
    assert missing_fields(of_sums, other) == set()


# Attributions


class Masked(Attribution, NeedsMask):
    """Return the mask as the attribution."""

    def attribute_mask(self, inputs: Tensor, target: Tensor | int, mask: Tensor) -> Tensor:
        return mask[:, None].float()

    @staticmethod
    def heatmap(attribution: Tensor) -> Tensor:
        return 2 * attribution[:, 0]


def test_attributions_pass_the_mask_to_explainers_that_need_it_only():
    whole = explanation()
    explainer = Masked(whole.model)
    assert torch.equal(attributions(explainer, whole.images, whole.target, whole.mask), whole.mask[:, None].float())
    assert torch.equal(heatmaps(explainer, whole.images, whole.target, whole.mask), 2 * whole.mask.float())
    expected = whole.explainer.attribute(whole.images, whole.target)
    assert torch.equal(attributions(whole.explainer, whole.images, whole.target, whole.mask), expected)


def test_attributions_have_gradients_inside_no_grad():
    whole = explanation()
    expected = whole.explainer.attribute(whole.images, whole.target)
    with torch.no_grad():
        assert torch.equal(attributions(whole.explainer, whole.images, whole.target, None), expected)


def test_missing_mask_is_an_error_for_explainers_that_need_it():
    whole = explanation()
    with pytest.raises(UserError, match="Masked needs masks"):
        attributions(Masked(whole.model), whole.images, whole.target, None)
