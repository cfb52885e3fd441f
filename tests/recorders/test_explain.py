"""The explanation callback: every test image explained, scored, counted; the first ones kept."""

import pytest
import torch
from captum.attr import Attribution
from pytorch_lightning import LightningModule, Trainer
from scene_world import COLOURS, SIZE, Scenes, TinyBackbone, scenes
from torch import Tensor, nn

from evident.data.images import ImageSet, loader
from evident.data.scenes.splits import Removals
from evident.errors import UserError
from evident.explainers.cam import CAM
from evident.explainers.reference_rows import Oracle
from evident.explainers.shared.classes import class_of
from evident.explainers.shared.evidence import Evidence, evidence
from evident.explainers.siam import SIAM
from evident.metrics.contract import Curve, Explanation, metric
from evident.models.classifier import Classifier
from evident.models.mnist_net import MnistNet
from evident.models.siam import network as siam
from evident.models.siam.baselines import SceneRegressor
from evident.models.siam.stage import SceneStage
from evident.recorders.explain import Explain
from evident.relevance.relevance import Relevance

RELEVANCE = Relevance({"relu": 2}, torch.eye(2).double(), torch.eye(2).double())


class Brightness(Attribution):
    """An explainer that runs the network once and points at bright pixels; it may know relevant features."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)

    def attribute(self, inputs: Tensor, target: Tensor) -> Tensor:
        inputs = inputs.clone().requires_grad_()
        torch.autograd.grad(self.forward_func(inputs).gather(1, target[:, None]).sum(), inputs)
        return inputs.detach()

    @staticmethod
    def heatmap(attribution: Tensor) -> Tensor:
        return attribution.mean(1)


class BrightEvidence(Brightness):
    """The same, as an image, and never twice."""

    def evidence(self, inputs: Tensor, target: Tensor) -> Evidence:
        return evidence(self.forward_func, inputs, target, super().attribute(inputs, target))

    def attribute(self, inputs: Tensor, target: Tensor) -> Tensor:
        raise AssertionError("evidence was asked for already")


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


def images(masks: bool = False) -> ImageSet:
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (7, 1, 28, 28), dtype=torch.uint8)
    marked = torch.rand(7, 28, 28) > 0.5 if masks else None
    return ImageSet(pixels, torch.arange(7), [f"digit{index}" for index in range(7)], marked)


def run(callback: Explain, module: LightningModule, split: ImageSet | Scenes, batch_size: int = 3) -> None:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = Trainer(accelerator="cpu", logger=False, callbacks=[callback], inference_mode=False, **quiet)
    trainer.test(module, loader(split, batch_size), verbose=False)


def explain(
    metrics: dict,
    batch_size: int = 3,
    masks: bool = False,
    learns: bool = False,
    kind: type[Brightness] = Brightness,
    **settings: object,
) -> Explain:
    torch.manual_seed(1)
    explainer = kind(MnistNet(10))
    if learns:
        explainer.relevance = RELEVANCE
    callback = Explain(explainer, metrics, **{"target": "label", "examples": 4, **settings})
    run(callback, Classifier(explainer.forward_func, 10), images(masks), batch_size)
    return callback


def voted(true: bool = False) -> Scenes:
    """Seven scenes with votes and, where it is `true`, with what everything in them is worth, by lot."""
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


def scene_network(kind: str) -> nn.Module:
    torch.manual_seed(1)
    made = siam.SIAM(TinyBackbone(), len(COLOURS), 8, 1) if kind == "siam" else SceneRegressor(TinyBackbone())
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return made.eval()


def explain_scenes(
    metrics: dict, kind: type[Attribution] = CAM, split: Scenes | None = None, **settings: object
) -> Explain:
    explainer = kind(scene_network("siam" if kind is SIAM else "regressor"))
    callback = Explain(explainer, metrics, **{"target": "label", "examples": 4, **settings})
    run(callback, SceneStage(explainer.forward_func), split or voted())
    return callback


def test_every_image_has_a_row_a_metric_and_a_point_of_a_curve() -> None:
    callback = explain({"brightest": brightest, "ramps": ramps})
    scores = callback.scores(images().names)
    assert scores["metric"].value_counts().to_dict() == {"brightest": 7, "rise_a": 21, "fall_a": 21}
    areas = scores[scores["at"].isna() & (scores["metric"] == "rise_a")]
    assert areas["value"].tolist() == pytest.approx([0.5] * 7)
    assert areas["image"].tolist() == list(images().names)
    assert areas["target"].tolist() == list(range(7))
    assert callback.directions == {"brightest": "higher", "rise_a": "higher", "fall_a": "lower"}


def test_the_batch_size_changes_nothing() -> None:
    one, all_at_once = (explain({"brightest": brightest}, size).scores(images().names) for size in (1, 7))
    assert one.equals(all_at_once)


def test_the_first_images_are_kept_and_the_cost_is_counted() -> None:
    callback = explain({}, masks=True)
    kept = callback.kept()
    assert {key: tuple(value.shape) for key, value in kept.items()} == {
        "images": (4, 3, 28, 28),
        "target": (4,),
        "heatmaps": (4, 28, 28),
        "masks": (4, 28, 28),
    }
    assert torch.equal(kept["images"][:, :1], images().images[:4])
    cost = callback.cost()
    assert (cost["images"], cost["forward_passes"], cost["backward_passes"]) == (7, 7, 7)
    assert cost["seconds"] > 0


def test_the_predicted_class_can_be_explained() -> None:
    callback = explain({"brightest": brightest}, target="predicted")
    network = callback.explainer.forward_func
    predicted = network(images().images.expand(-1, 3, -1, -1) / 255).argmax(1)
    assert callback.scores(images().names)["target"].tolist() == predicted.tolist()


@pytest.mark.parametrize("target", ["second", "least_likely", "random"])
def test_other_classes_can_be_explained_in_any_batch(target: str) -> None:
    callback = explain({"brightest": brightest}, target=target, seed=5)
    pictures = images().images.expand(-1, 3, -1, -1) / 255
    expected = class_of(target, callback.explainer.forward_func(pictures), images().labels, pictures, 5)
    assert callback.scores(images().names)["target"].tolist() == expected.tolist()
    whole = explain({"brightest": brightest}, target=target, seed=5, batch_size=7)
    assert whole.scores(images().names).equals(callback.scores(images().names))


def test_evidence_is_asked_for_once_and_counted() -> None:
    callback = explain({"marked": marked, "brightest": brightest}, kind=BrightEvidence)
    scores = callback.scores(images().names)
    assert scores["metric"].value_counts().to_dict() == {"marked": 7, "brightest": 7}
    assert callback.directions["marked"] == "neither"
    cost = callback.cost()
    # Once to explain; image, explanation and complement for their scores.
    assert (cost["images"], cost["forward_passes"], cost["backward_passes"]) == (7, 4 * 7, 7)


def test_evidence_is_kept_as_pictures_with_their_scores() -> None:
    callback = explain({}, kind=BrightEvidence)
    kept = callback.kept()
    expected = evidence(callback.explainer.forward_func, kept["images"] / 255, kept["target"], kept["images"] / 255)
    for key, value in zip(("evidence_masks", "explanations", "complements"), expected[:3], strict=True):
        assert kept[key].dtype == torch.uint8
        assert torch.equal(kept[key], (value * 255).round().byte())
    for key, value in zip(("scores", "explanation_scores", "complement_scores"), expected[3:], strict=True):
        torch.testing.assert_close(kept[key], value)
    assert "explanations" not in explain({}).kept()


def test_a_metric_of_evidence_applies_to_explainers_that_give_it_alone() -> None:
    callback = explain({"marked": marked, "again": again})
    assert set(callback.scores(images().names)["metric"]) == {"again"}


def test_a_metric_of_two_classes_needs_images_of_two() -> None:
    with pytest.raises(UserError, match="metric beside needs images of two classes, and this data set has none"):
        explain({"beside": beside}, masks=True)


def test_a_metric_without_its_masks_is_an_error_not_a_zero() -> None:
    with pytest.raises(UserError, match="metric inside needs masks"):
        explain({"inside": inside})
    assert len(explain({"inside": inside}, masks=True).scores(images().names)) == 7


def test_a_metric_of_relevant_features_applies_to_explainers_that_learn_them_alone() -> None:
    metrics = {"brightest": brightest, "relevant": relevant}
    callback = explain(metrics, learns=True)
    assert callback.scores(images().names)["metric"].value_counts().to_dict() == {"brightest": 7, "relevant": 7}
    callback = explain(metrics)
    assert callback.scores(images().names)["metric"].value_counts().to_dict() == {"brightest": 7}
    assert callback.directions == {"brightest": "higher"}


def test_without_any_metric_that_applies_there_are_no_scores() -> None:
    with pytest.raises(UserError, match=r"metric=\['relevant'\] scores nothing of Brightness"):
        explain({"relevant": relevant}).scores(images().names)


def test_an_unknown_target_is_named() -> None:
    with pytest.raises(
        UserError, match=r"explained.target='first' is unknown; use label, predicted, second, least_likely, random"
    ):
        explain({}, target="first")


def test_of_a_regression_the_first_score_is_explained() -> None:
    callback = explain_scenes({"brightest": brightest})
    expected = CAM(scene_network("regressor")).attribute(pixels_of(voted()), 0)[:, 0].clamp(min=0)
    scores = callback.scores(voted().names)
    assert scores["target"].tolist() == [0] * 7
    assert scores["value"].tolist() == pytest.approx(expected.amax((1, 2)).tolist(), rel=1e-5)
    torch.testing.assert_close(callback.kept()["heatmaps"], expected[:4])


def test_of_a_regression_metrics_and_examples_have_the_explanation_with_its_sign() -> None:
    callback = explain_scenes({"lowest": lowest})
    expected = CAM(scene_network("regressor")).attribute(pixels_of(voted()), 0)[:, 0]
    assert expected.min() < 0
    values = callback.scores(voted().names)["value"]
    assert values.tolist() == pytest.approx(expected.amin((1, 2)).tolist(), rel=1e-5)
    torch.testing.assert_close(callback.kept()["signed"], expected[:4])


def test_classes_have_no_sign() -> None:
    callback = explain({"lowest": lowest, "brightest": brightest})
    assert set(callback.scores(images().names)["metric"]) == {"brightest"}
    assert "signed" not in callback.kept()


def test_evidence_for_a_lower_score_is_below_zero() -> None:
    class Divided(Brightness):
        """Says which images its evidence speaks against: those with a dark corner."""

        @staticmethod
        def signs(inputs: Tensor, target: Tensor) -> Tensor:
            return torch.where(inputs[:, 0, 0, 0] > 0.46, 1.0, -1.0)[:, None, None]

    kept = explain_scenes({}, Divided, examples=7).kept()
    signs = Divided.signs(pixels_of(voted()), kept["target"])
    assert set(signs.flatten().tolist()) == {1.0, -1.0}
    torch.testing.assert_close(kept["signed"], signs * kept["heatmaps"])


def test_what_an_explainer_says_of_attributes_reaches_the_metrics_that_need_it() -> None:
    scores = explain_scenes({"stated": stated, "mapped": mapped}, SIAM).scores(voted().names)
    values = scores.pivot(index="image", columns="metric", values="value")
    with torch.no_grad():
        said = scene_network("siam").outputs(pixels_of(voted()))
    assert values["stated"].tolist() == pytest.approx(said.contributions.sum(1).tolist(), rel=1e-4)
    assert values["mapped"].tolist() == pytest.approx(said.attribute_maps.sum((1, 2, 3)).tolist(), rel=1e-4)


def test_a_metric_of_attributes_applies_to_explainers_that_speak_of_them_alone() -> None:
    metrics = {"stated": stated, "mapped": mapped, "brightest": brightest}
    assert set(explain_scenes(metrics, CAM).scores(voted().names)["metric"]) == {"brightest"}
    assert set(explain_scenes(metrics, SIAM).scores(voted().names)["metric"]) == set(metrics)


def test_the_truth_reaches_a_metric_that_needs_it() -> None:
    split = voted(true=True)
    values = explain_scenes({"known": known}, split=split).scores(split.names)["value"]
    assert values.tolist() == pytest.approx(split.labels["contributions"][:, 1].tolist())


def test_an_oracle_is_told_what_every_place_is_worth() -> None:
    split = voted(true=True)
    kept = explain_scenes({"brightest": brightest}, Oracle, split).kept()
    worth = split.labels["contribution_map"][:4]
    assert torch.equal(kept["signed"], worth)
    assert torch.equal(kept["heatmaps"], worth.clamp(min=0))


def test_scenes_without_an_attribute_are_painted_for_a_metric_that_needs_them_alone() -> None:
    asked = []

    def without(index: Tensor) -> Removals:
        asked.append(index.tolist())
        rows = torch.arange(len(index))
        return Removals(rows, index % 3, torch.zeros(len(index), 3, SIZE, SIZE), 10.0 * index)

    explain_scenes({"brightest": brightest}, removals=without)
    assert asked == []
    scores = explain_scenes({"brightest": brightest, "removed": removed}, removals=without).scores(voted().names)
    assert asked == [[0, 1, 2], [3, 4, 5], [6]]
    assert scores.loc[scores["metric"] == "removed", "value"].tolist() == [0, 10, 20, 30, 40, 50, 60]


@pytest.mark.parametrize(
    ("name", "score", "lacks"),
    [("known", known, "scenes of known truth"), ("removed", removed, "scenes without their attributes")],
)
def test_a_metric_of_what_nobody_knows_is_an_error_in_one_line(name: str, score: object, lacks: str) -> None:
    with pytest.raises(UserError) as error:
        explain_scenes({name: score})
    assert str(error.value) == f"metric {name} needs {lacks}, and this data set has none; leave it out of metric"


@pytest.mark.parametrize("target", ["predicted", "second", "least_likely", "random"])
def test_a_regression_has_no_class_to_choose(target: str) -> None:
    told = rf"explained.target={target} is of the probabilities of classes; SceneRegressor has none: leave it out"
    with pytest.raises(UserError, match=told):
        explain_scenes({"brightest": brightest}, target=target)
