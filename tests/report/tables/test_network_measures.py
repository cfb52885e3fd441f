"""Measures of networks for counted images, beside scikit-learn, scipy and the measures of training."""

import numpy as np
import pytest
import torch
from report_samples import only, predictions
from scipy.stats import kendalltau
from sklearn.metrics import average_precision_score, mean_absolute_error, r2_score, root_mean_squared_error

from evident.models.siam.measures import attribute_precision, scenicness_measures
from evident.report.tables.network_measures import average_precision, measures, score_measures
from evident.report.tables.statistics import RESAMPLES, draws

OF_SCORES = ["rmse", "mae", "r2", "tau"]
each_seed = pytest.mark.parametrize("seed", range(3))


# Scores


def test_images_counted_once_have_the_measures_of_training() -> None:
    predicted = predictions(0)
    for column, prefix in enumerate(("", "variance_")):
        ours = score_measures(predicted["scores"][:, column], predicted["votes"][:, column], torch.ones(1, 40))
        theirs = scenicness_measures(predicted["scores"], predicted["votes"])
        assert list(ours) == OF_SCORES
        for name, [value] in ours.items():
            assert value.dtype == torch.float64
            assert value.item() == pytest.approx(theirs[f"{prefix}{name}"], rel=1e-12)


@each_seed
def test_image_counted_twice_equals_two_images(seed: int) -> None:
    s, y = (predictions(seed)[name][:, 0].round().double() for name in ("scores", "votes"))
    counts = torch.randint(0, 4, (5, 40), generator=torch.Generator().manual_seed(seed))
    ours = score_measures(s, y, counts)
    for draw in range(5):
        predicted, labels = (values.repeat_interleave(counts[draw]).numpy() for values in (s, y))
        theirs = {
            "rmse": root_mean_squared_error(labels, predicted),
            "mae": mean_absolute_error(labels, predicted),
            "r2": r2_score(labels, predicted),
            "tau": kendalltau(predicted, labels).statistic,
        }
        assert {name: values[draw].item() for name, values in ours.items()} == pytest.approx(theirs, rel=1e-12)


def test_labels_themselves_are_perfect_and_their_mean_has_r2_zero() -> None:
    y = torch.tensor([3.0, 5.0, 7.0])
    perfect = score_measures(y, y, torch.tensor([[1, 1, 1], [2, 0, 1]]))
    expected = {"rmse": [0, 0], "mae": [0, 0], "r2": [1, 1], "tau": [1, 1]}
    assert {name: values.tolist() for name, values in perfect.items()} == expected
    # Counted 3 5 7 and 3 3 7 7: the mean of both is 5, and the second is further from it.
    mean = score_measures(torch.full((3,), 5.0), y, torch.tensor([[1, 1, 1], [2, 0, 2]]))
    assert mean["r2"].tolist() == [0, 0]
    assert mean["mae"].tolist() == pytest.approx([4 / 3, 2])
    assert mean["tau"].isnan().all()


def test_r2_and_tau_are_undefined_if_all_drawn_labels_are_equal() -> None:
    result = score_measures(
        torch.tensor([1.0, 2.0, 3.0]), torch.tensor([5.0, 5.0, 6.0]), torch.tensor([[2, 1, 0], [1, 1, 1]])
    )
    for name in ("r2", "tau"):
        assert result[name].isnan().tolist() == [True, False]
    assert result["mae"].tolist() == pytest.approx([(2 * 4 + 3) / 3, (4 + 3 + 3) / 3])


# Average precision


@each_seed
@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_average_precision_equals_scikit_learn_for_repeated_and_for_weighted_images(seed: int, decimals: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    present = torch.rand(30, generator=generator) < 0.4
    predicted = (present + torch.randn(30, generator=generator)).round(decimals=decimals)
    counts = torch.cat([torch.ones(1, 30), torch.randint(0, 4, (5, 30), generator=generator)])
    ours = average_precision(predicted, present, counts)
    assert ours.dtype == torch.float64
    for value, repeats in zip(ours.tolist(), counts.long(), strict=True):
        repeated = (values.repeat_interleave(repeats).numpy() for values in (present, predicted))
        assert value == pytest.approx(average_precision_score(*repeated), rel=1e-12)
        weighted = average_precision_score(present.numpy(), predicted.numpy(), sample_weight=repeats.numpy())
        assert value == pytest.approx(weighted, rel=1e-12)


def test_average_precision_is_one_for_a_perfect_order_and_the_share_present_for_equal_predictions() -> None:
    present = torch.tensor([True, False, True, False])
    counts = torch.tensor([[1, 1, 1, 1], [3, 1, 0, 5]])
    assert average_precision(present.float(), present, counts).tolist() == [1, 1]
    assert average_precision(torch.zeros(4), present, counts).tolist() == [0.5, 3 / 9]


def test_average_precision_is_undefined_if_no_image_that_is_present_is_drawn() -> None:
    present = torch.tensor([True, False, False])
    counts = torch.tensor([[0, 2, 1], [0, 0, 0], [1, 1, 1]])
    assert average_precision(torch.tensor([0.3, 0.1, 0.2]), present, counts).isnan().tolist() == [True, True, False]
    assert average_precision(torch.rand(3), torch.zeros(3, dtype=torch.bool), counts).isnan().all()


# All measures of one network


def test_first_value_of_every_measure_is_that_of_all_images() -> None:
    predicted = predictions(1)
    found = measures(predicted)
    expected = scenicness_measures(predicted["scores"], predicted["votes"])
    expected["attribute_precision"] = attribute_precision(predicted["attributes"], predicted["labels"]).nanmean().item()
    assert set(found) == set(expected)
    for name, values in found.items():
        assert values.shape == (1 + RESAMPLES,)
        assert values[0].item() == pytest.approx(expected[name])


@pytest.mark.parametrize("draw", [0, 1, RESAMPLES - 1])
def test_further_values_are_those_of_bootstrap_draws(draw: int) -> None:
    predicted = predictions(1)
    counts = torch.from_numpy(draws(40)[draw]).long()
    again = {name: rows.repeat_interleave(counts, 0) for name, rows in predicted.items()}
    expected = scenicness_measures(again["scores"], again["votes"])
    of_scores = measures(only(predicted, "scores", "votes"))
    assert {name: values[1 + draw].item() for name, values in of_scores.items()} == pytest.approx(expected)


@pytest.mark.parametrize("draw", [0, RESAMPLES - 1])
def test_scenes_with_and_without_an_attribute_are_drawn_separately(draw: int) -> None:
    predicted = only(predictions(1), "attributes", "labels")
    each = []
    for k in range(3):
        present = predicted["labels"][:, k] > 0.5
        counts = torch.zeros(40).long()
        for part in (present, ~present):
            counts[part] = torch.from_numpy(draws(int(part.sum()))[draw]).long()
        assert counts[present].sum() == present.sum()
        each.append(
            average_precision_score(
                present.repeat_interleave(counts), predicted["attributes"][:, k].repeat_interleave(counts)
            )
        )
    assert measures(predicted)["attribute_precision"][1 + draw].item() == pytest.approx(np.mean(each))


def test_only_scene_with_an_attribute_is_in_every_draw() -> None:
    labels = torch.zeros(30, 1)
    labels[4] = 1
    found = measures({"attributes": torch.arange(30.0)[:, None], "labels": labels})["attribute_precision"]
    assert found.isfinite().all()


def test_network_has_the_measures_of_what_it_predicts() -> None:
    predicted = predictions(0)
    assert list(measures(only(predicted, "attributes", "labels"))) == ["attribute_precision"]
    of_scores = measures(only(predicted, "scores", "votes"))
    assert list(of_scores) == [*OF_SCORES, *(f"variance_{name}" for name in OF_SCORES)]
    assert measures({}) == {}


def test_scenes_with_votes_and_scenes_with_attributes_may_differ_in_number() -> None:
    predicted = {**only(predictions(0, 30), "scores", "votes"), **only(predictions(0, 50), "attributes", "labels")}
    assert {len(values) for values in measures(predicted).values()} == {1 + RESAMPLES}


def test_undefined_removals_are_left_out_of_their_mean() -> None:
    values = torch.tensor([1.0, torch.nan, 0.0, 0.5])
    found = measures({"removal": values})["removal"]
    counts = draws(4)
    assert found[0].item() == pytest.approx(0.5)
    assert found[1].item() == pytest.approx((counts[0, 0] + 0.5 * counts[0, 3]) / (counts[0, [0, 2, 3]].sum()))
