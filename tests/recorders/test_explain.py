"""The explanation recorded and the recorders: every image is explained, scored and counted, the first ones are kept."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pytest
import torch
from captum.attr import Attribution
from pytorch_lightning import LightningModule
from samples import no_splits, quiet_trainer
from scene_world import SIZE, Scenes, scene_network, scenes
from torch import Tensor, nn

from evident.cell_folder import COST, DIRECTIONS, EVIDENCE, EXAMPLES, SCORES, CellFolder
from evident.contracts import GivesEvidence, LearnsRelevance, Signed
from evident.data.images import ImageSet, loader
from evident.errors import UserError
from evident.explainers.cam import CAM
from evident.explainers.reference_rows import Oracle
from evident.explainers.shared.classes import class_of
from evident.explainers.shared.evidence import evidence
from evident.explainers.shared.targets import targets
from evident.explainers.siam import SIAM
from evident.metrics.contract import Curve, Explanation, heatmaps, metric
from evident.models.classifier import Classifier
from evident.models.mnist_net import MnistNet
from evident.models.siam import network as siam_network
from evident.models.siam.scene_network import SceneNetwork
from evident.models.siam.stage import SceneStage
from evident.models.training import Trained
from evident.recorders.contract import Setup
from evident.recorders.cost import Costs
from evident.recorders.evidence import EvidenceImages
from evident.recorders.examples import Examples
from evident.recorders.explain import Explain
from evident.recorders.scores import Scores as ScoresRecorder
from evident.relevance.relevance import Relevance
from evident.values import Evidence, PartChanges, Removals

RELEVANCE = Relevance({"relu": 2}, torch.eye(2).double(), torch.eye(2).double())


class Brightness(Attribution):
    """Run the network once and point at bright pixels."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)

    def attribute(self, inputs: Tensor, target: Tensor) -> Tensor:
        inputs = inputs.clone().requires_grad_()
        torch.autograd.grad(self.forward_func(inputs).gather(1, target[:, None]).sum(), inputs)
        return inputs.detach()

    @staticmethod
    def heatmap(attribution: Tensor) -> Tensor:
        return attribution.mean(1)


class Learned(Brightness, LearnsRelevance):
    """Know relevant features as well."""

    def relevance(self) -> Relevance:
        return RELEVANCE


class BrightEvidence(Brightness, GivesEvidence):
    """Give bright pixels as an image, and fail if `attribute` is called as well."""

    def evidence(self, inputs: Tensor, target: Tensor | int) -> Evidence:
        target = targets(target, len(inputs))
        return evidence(self.forward_func, inputs, target, super().attribute(inputs, target))

    def attribute(self, inputs: Tensor, target: Tensor) -> Tensor:
        raise AssertionError("the evidence was computed already")


@metric(direction="higher")
def brightest(explanation: Explanation) -> Tensor:
    return explanation.heatmap.amax((1, 2))


@metric(direction={"rise": "higher", "fall": "lower"})
def ramps(explanation: Explanation) -> dict[str, Curve]:
    at = torch.tensor([0.0, 1.0])
    values = torch.tensor([[0.0, 1.0]]).expand(len(explanation.images), 2)
    return {"rise_a": Curve(at, values), "fall_a": Curve(at, 1 - values)}


@metric(direction="higher", needs=("mask",))
def inside(explanation: Explanation) -> Tensor:
    return explanation.mask.float().mean((1, 2))


@metric(direction="higher", needs=("relevance",))
def relevant(explanation: Explanation) -> Tensor:
    assert explanation.relevance is RELEVANCE
    return explanation.target.double()


@metric(direction="neither", needs=("evidence",))
def marked(explanation: Explanation) -> Tensor:
    assert torch.equal(explanation.evidence.mask.mean(1), explanation.heatmap)
    return explanation.evidence.mask.mean((1, 2, 3))


@metric(direction="higher", needs=("explainer",))
def again(explanation: Explanation) -> Tensor:
    return explanation.explainer.heatmap(explanation.images).mean((1, 2))


@metric(direction="higher", needs=("mask", "other"))
def beside(explanation: Explanation) -> Tensor:
    return explanation.other.double().mean((1, 2))


@metric(direction="neither", needs=("signed",))
def lowest(explanation: Explanation) -> Tensor:
    return explanation.signed.amin((1, 2))


@metric(direction="neither", needs=("contributions",))
def stated(explanation: Explanation) -> Tensor:
    return explanation.contributions.sum(1)


@metric(direction="neither", needs=("attribute_maps",))
def mapped(explanation: Explanation) -> Tensor:
    return explanation.attribute_maps.sum((1, 2, 3))


@metric(direction="neither", needs=("truth",))
def known(explanation: Explanation) -> Tensor:
    truth = explanation.truth
    assert (truth.attribute_masks.dtype, truth.contribution_map.shape[1:]) == (torch.bool, (SIZE, SIZE))
    return truth.contributions[:, 1]


@metric(direction="neither", needs=("removals",))
def removed(explanation: Explanation) -> Tensor:
    assert explanation.removals.row.tolist() == list(range(len(explanation.images)))
    return explanation.removals.change


@metric(direction="neither", needs=("parts",))
def drawn_anew(explanation: Explanation) -> Tensor:
    assert explanation.parts.row.tolist() == list(range(len(explanation.images)))
    return explanation.parts.images.mean((1, 2, 3))


def images(masks: bool = False) -> ImageSet:
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (7, 1, 28, 28), dtype=torch.uint8)
    marked = torch.rand(7, 28, 28) > 0.5 if masks else None
    return ImageSet(pixels, torch.arange(7), [f"digit{index}" for index in range(7)], marked)


def digits() -> Tensor:
    """Return the pixels of `images`."""
    return images().__getitems__([*range(7)])["image"]


@dataclass
class Recorded:
    """What the recorders wrote, and the explainer and network that they saw."""

    explainer: Any
    scores: pd.DataFrame
    directions: dict[str, str]
    examples: dict[str, Tensor]
    evidence: dict[str, Tensor]
    cost: dict[str, float]


def record(
    explainer: Any,
    module: LightningModule,
    split: Any,
    metrics: dict,
    batch_size: int = 3,
    examples: int = 4,
    **settings: Any,
) -> Recorded:
    """Explain all images as a cell does, with the recorders that apply to the explainer."""
    trained = Trained("", explainer.forward_func, {}, [])
    setup = Setup(explainer, trained, split, no_splits, {}, metrics, examples)
    kinds = [kind for kind in (ScoresRecorder, Examples, Costs, EvidenceImages) if kind.applies(type(explainer))]
    recorders = [kind(setup) for kind in kinds]
    callback = Explain(explainer, recorders, **settings)
    trainer = quiet_trainer(callbacks=[callback], inference_mode=False)
    trainer.test(module, loader(split, batch_size), verbose=False)
    with TemporaryDirectory() as folder:
        kept = CellFolder(Path(folder))
        for recorder in recorders:
            recorder.save(kept)
        scores = kept.get(SCORES)
        return Recorded(
            explainer,
            pd.DataFrame() if scores is None else scores,
            kept.get(DIRECTIONS) or {},
            kept.read(EXAMPLES),
            kept.get(EVIDENCE) or {},
            kept.read(COST),
        )


def explain(metrics: dict, masks: bool = False, kind: type[Brightness] = Brightness, **settings: Any) -> Recorded:
    torch.manual_seed(1)
    explainer = kind(MnistNet(10))
    return record(explainer, Classifier(explainer.forward_func, 10), images(masks), metrics, **settings)


def voted(true: bool = False) -> Scenes:
    """Return seven scenes with votes and, if `true`, with a random truth."""
    split, _ = scenes(7, seed=0)
    draw = torch.Generator().manual_seed(1)
    truth = {
        "attribute_masks": torch.rand(7, 3, SIZE, SIZE, generator=draw) > 0.5,
        "contributions": torch.randn(7, 3, generator=draw),
        "contribution_map": torch.randn(7, SIZE, SIZE, generator=draw),
        "typical": torch.randn(3, generator=draw).expand(7, -1),
    }
    return Scenes(split.images, {**split.labels, **(truth if true else {})})


def pixels_of(split: Scenes) -> Tensor:
    return split.images.float() / 255


def network(kind: str) -> SceneNetwork:
    """Return a network with random parameters."""
    return scene_network(kind, seed=1, noise=0.3).eval()


def explain_scenes(
    metrics: dict, kind: type[Attribution] = CAM, split: Scenes | None = None, **settings: Any
) -> Recorded:
    explainer: Any = kind(network("siam" if kind is SIAM else "regressor"))
    return record(explainer, SceneStage(explainer.forward_func), split or voted(), metrics, **settings)


@metric(direction="higher", needs=("rebuild", "twin"))
def difference_of_twin(explanation: Explanation) -> Tensor:
    """Explain the twin by a rebuilt explainer, and return the mean change of the heatmap."""
    assert explanation.rebuild is not None
    assert explanation.twin is not None
    theirs = heatmaps(explanation.rebuild(explanation.twin), explanation.images, explanation.target, None)
    return (theirs + 1 - explanation.heatmap).mean((1, 2))


def test_metric_sees_a_twin_network_and_can_rebuild_the_explainer() -> None:
    recorded = explain({"twin": difference_of_twin}, further={"twin": MnistNet(10), "rebuild": Brightness})
    assert recorded.scores["value"].tolist() == pytest.approx([1.0] * 7)


def test_scores_have_a_row_per_image_metric_and_curve_point() -> None:
    recorded = explain({"brightest": brightest, "ramps": ramps})
    scores = recorded.scores
    assert scores["metric"].value_counts().to_dict() == {"brightest": 7, "rise_a": 21, "fall_a": 21}
    areas = scores[scores["at"].isna() & (scores["metric"] == "rise_a")]
    assert areas["value"].tolist() == pytest.approx([0.5] * 7)
    assert areas["image"].tolist() == list(images().names)
    assert areas["target"].tolist() == list(range(7))
    assert recorded.directions == {"brightest": "higher", "rise_a": "higher", "fall_a": "lower"}


def test_scores_do_not_depend_on_batch_size() -> None:
    one, all_at_once = (explain({"brightest": brightest}, batch_size=size).scores for size in (1, 7))
    assert one.equals(all_at_once)


def test_first_images_are_kept_and_cost_is_counted() -> None:
    recorded = explain({}, masks=True)
    kept = recorded.examples
    assert {key: tuple(value.shape) for key, value in kept.items()} == {
        "images": (4, 3, 28, 28),
        "target": (4,),
        "heatmaps": (4, 28, 28),
        "masks": (4, 28, 28),
    }
    assert torch.equal(kept["images"][:, :1], images().images[:4])
    cost = recorded.cost
    assert (cost["images"], cost["forward_passes"], cost["backward_passes"]) == (7, 7, 7)
    assert cost["seconds"] > 0


def test_target_predicted_is_the_class_of_the_highest_score() -> None:
    recorded = explain({"brightest": brightest}, target="predicted")
    predicted = recorded.explainer.forward_func(digits()).argmax(1)
    assert recorded.scores["target"].tolist() == predicted.tolist()


@pytest.mark.parametrize("target", ["second", "nearest", "least_likely", "random"])
def test_other_targets_do_not_depend_on_batch_size(target: str) -> None:
    recorded = explain({"brightest": brightest}, target=target, seed=5)
    expected = class_of(target, recorded.explainer.forward_func(digits()), images().labels, digits(), 5)
    assert recorded.scores["target"].tolist() == expected.tolist()
    whole = explain({"brightest": brightest}, target=target, seed=5, batch_size=7)
    assert whole.scores.equals(recorded.scores)


def test_evidence_is_computed_once_and_its_passes_are_counted() -> None:
    recorded = explain({"marked": marked, "brightest": brightest}, kind=BrightEvidence)
    scores = recorded.scores
    assert scores["metric"].value_counts().to_dict() == {"marked": 7, "brightest": 7}
    assert recorded.directions["marked"] == "neither"
    cost = recorded.cost
    # Once to explain; image, explanation and complement for their scores.
    assert (cost["images"], cost["forward_passes"], cost["backward_passes"]) == (7, 4 * 7, 7)


def test_evidence_is_kept_as_uint8_images_with_scores() -> None:
    recorded = explain({}, kind=BrightEvidence)
    kept = recorded.examples
    expected = evidence(recorded.explainer.forward_func, kept["images"] / 255, kept["target"], kept["images"] / 255)
    assert recorded.evidence.keys() == {*Evidence._fields, "mask_share"}
    torch.testing.assert_close(recorded.evidence["mask_share"], expected.mask.mean((1, 2, 3)))
    for name, value in expected._asdict().items():
        if value.dim() == 4:
            assert recorded.evidence[name].dtype == torch.uint8
            assert torch.equal(recorded.evidence[name], (value * 255).round().byte())
        else:
            torch.testing.assert_close(recorded.evidence[name], value)
    assert not explain({}).evidence


def test_evidence_metric_applies_only_to_explainers_that_give_evidence() -> None:
    recorded = explain({"marked": marked, "again": again})
    assert set(recorded.scores["metric"]) == {"again"}


def test_metric_of_two_classes_needs_images_of_two_classes() -> None:
    with pytest.raises(UserError, match="metric beside needs images of two classes, which this data set does not have"):
        explain({"beside": beside}, masks=True)


def test_mask_metric_without_masks_is_an_error() -> None:
    with pytest.raises(UserError, match="metric inside needs masks"):
        explain({"inside": inside})
    assert len(explain({"inside": inside}, masks=True).scores) == 7


def test_relevance_metric_applies_only_to_explainers_that_learn_relevance() -> None:
    metrics = {"brightest": brightest, "relevant": relevant}
    recorded = explain(metrics, kind=Learned)
    assert recorded.scores["metric"].value_counts().to_dict() == {"brightest": 7, "relevant": 7}
    recorded = explain(metrics)
    assert recorded.scores["metric"].value_counts().to_dict() == {"brightest": 7}
    assert recorded.directions == {"brightest": "higher"}


def test_error_if_no_metric_applies() -> None:
    with pytest.raises(UserError, match=r"none of the metrics relevant applies to Brightness"):
        explain({"relevant": relevant})


def test_unknown_target_is_an_error() -> None:
    with pytest.raises(
        UserError,
        match=r"explained.target='first' is unknown; use label, predicted, second, nearest, least_likely, random",
    ):
        explain({}, target="first")


def test_first_output_of_a_regression_is_explained() -> None:
    recorded = explain_scenes({"brightest": brightest})
    expected = CAM(network("regressor")).attribute(pixels_of(voted()), 0)[:, 0].clamp(min=0)
    scores = recorded.scores
    assert scores["target"].tolist() == [0] * 7
    assert scores["value"].tolist() == pytest.approx(expected.amax((1, 2)).tolist(), rel=1e-5)
    torch.testing.assert_close(recorded.examples["heatmaps"], expected[:4])


def test_regression_has_signed_heatmaps() -> None:
    recorded = explain_scenes({"lowest": lowest})
    expected = CAM(network("regressor")).attribute(pixels_of(voted()), 0)[:, 0]
    assert expected.min() < 0
    values = recorded.scores["value"]
    assert values.tolist() == pytest.approx(expected.amin((1, 2)).tolist(), rel=1e-5)
    torch.testing.assert_close(recorded.examples["signed"], expected[:4])


def test_classification_has_no_signed_heatmaps() -> None:
    recorded = explain({"lowest": lowest, "brightest": brightest})
    assert set(recorded.scores["metric"]) == {"brightest"}
    assert "signed" not in recorded.examples


def test_heatmap_of_a_lower_score_is_negative() -> None:
    class Divided(Brightness, Signed):
        """Speak against the score for images with a dark corner."""

        @staticmethod
        def signs(inputs: Tensor, target: Tensor | int) -> Tensor:
            return torch.where(inputs[:, 0, 0, 0] > 0.46, 1.0, -1.0)[:, None, None]

    kept = explain_scenes({}, Divided, examples=7).examples
    signs = Divided.signs(pixels_of(voted()), kept["target"])
    assert set(signs.flatten().tolist()) == {1.0, -1.0}
    torch.testing.assert_close(kept["signed"], signs * kept["heatmaps"])


def test_contributions_and_attribute_maps_reach_the_metrics() -> None:
    scores = explain_scenes({"stated": stated, "mapped": mapped}, SIAM).scores
    values = scores.pivot(index="image", columns="metric", values="value")
    siam = network("siam")
    assert isinstance(siam, siam_network.SIAM)
    with torch.no_grad():
        expected = siam.outputs(pixels_of(voted()))
    assert values["stated"].tolist() == pytest.approx(expected.contributions.sum(1).tolist(), rel=1e-4)
    assert values["mapped"].tolist() == pytest.approx(expected.attribute_maps.sum((1, 2, 3)).tolist(), rel=1e-4)


def test_attribute_metrics_apply_only_to_explainers_that_show_attributes() -> None:
    metrics = {"stated": stated, "mapped": mapped, "brightest": brightest}
    assert set(explain_scenes(metrics, CAM).scores["metric"]) == {"brightest"}
    assert set(explain_scenes(metrics, SIAM).scores["metric"]) == set(metrics)


def test_truth_reaches_the_metrics() -> None:
    split = voted(true=True)
    values = explain_scenes({"known": known}, split=split).scores["value"]
    assert values.tolist() == pytest.approx(split.labels["contributions"][:, 1].tolist())


def test_oracle_is_the_contribution_map_where_it_is_known() -> None:
    split = voted(true=True)
    kept = explain_scenes({"brightest": brightest}, Oracle, split).examples
    expected = split.labels["contribution_map"][:4]
    assert torch.equal(kept["signed"], expected)
    assert torch.equal(kept["heatmaps"], expected.clamp(min=0))


def test_removals_are_rendered_batch_by_batch() -> None:
    asked = []

    def without(index: Tensor) -> Removals:
        asked.append(index.tolist())
        rows = torch.arange(len(index))
        return Removals(rows, index % 3, torch.zeros(len(index), 3, SIZE, SIZE), 10.0 * index)

    scores = explain_scenes({"brightest": brightest, "removed": removed}, removals=without).scores
    assert asked == [[0, 1, 2], [3, 4, 5], [6]]
    assert scores.loc[scores["metric"] == "removed", "value"].tolist() == [0, 10, 20, 30, 40, 50, 60]


def test_changed_parts_are_rendered_batch_by_batch() -> None:
    asked = []

    def changed(index: Tensor) -> PartChanges:
        asked.append(index.tolist())
        rows = torch.arange(len(index))
        images = (index / 10)[:, None, None, None].expand(-1, 3, SIZE, SIZE)
        return PartChanges(rows, index % 3, images, torch.ones(len(index), 3, SIZE, SIZE, dtype=torch.bool))

    scores = explain_scenes({"drawn_anew": drawn_anew}, parts=changed).scores
    assert asked == [[0, 1, 2], [3, 4, 5], [6]]
    assert scores["value"].tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


@pytest.mark.parametrize(
    ("name", "score", "lacks"),
    [
        ("known", known, "scenes of known truth"),
        ("removed", removed, "scenes without their attributes"),
        ("drawn_anew", drawn_anew, "scenes whose parts can be rendered again"),
    ],
)
def test_metric_of_unknown_truth_is_an_error_in_one_line(name: str, score: object, lacks: str) -> None:
    with pytest.raises(UserError) as error:
        explain_scenes({name: score})
    assert str(error.value) == f"metric {name} needs {lacks}, which this data set does not have; leave it out of metric"


@pytest.mark.parametrize("target", ["predicted", "second", "nearest", "least_likely", "random"])
def test_regression_has_no_class_to_choose(target: str) -> None:
    expected = rf"explained.target={target} needs class probabilities, but SceneRegressor is a regression; leave it out"
    with pytest.raises(UserError, match=expected):
        explain_scenes({"brightest": brightest}, target=target)
