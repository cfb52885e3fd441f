"""The comparison of devices itself: what it passes, and what it finds."""

import pytest
import torch
from devices import assert_agree, on
from torch import nn


@pytest.mark.parametrize(("precision", "passes", "fails"), [("32-true", 5e-4, 2e-3), ("bf16-mixed", 0.02, 0.1)])
def test_values_agree_up_to_the_tolerance_of_the_precision(precision: str, passes: float, fails: float) -> None:
    values = torch.linspace(0, 3, 100)
    assert_agree({"map": values + 3 * passes}, {"map": values}, precision)
    with pytest.raises(AssertionError, match=r"map: 100.0% of the values differ"):
        assert_agree({"map": values + 3 * fails}, {"map": values}, precision)


def test_one_value_of_a_hundred_may_differ_and_two_may_not() -> None:
    values = torch.ones(100)
    for count in (1, 2):
        changed = values.clone()
        changed[:count] = 5
        if count == 1:
            assert_agree({"": changed}, {"": values})
        else:
            with pytest.raises(AssertionError, match=r"values: 2.0% of the values differ"):
                assert_agree({"": changed}, {"": values})


def test_score_of_one_image_may_not_differ() -> None:
    with pytest.raises(AssertionError, match=r"33.3%"):
        assert_agree({"": torch.tensor([1.0, 2, 3.1])}, {"": torch.tensor([1.0, 2, 3])})


def test_nan_must_be_in_the_same_places() -> None:
    nan = torch.nan
    assert_agree({"": torch.tensor([1, nan])}, {"": torch.tensor([1, nan])})
    with pytest.raises(AssertionError, match=r"NaN in other places"):
        assert_agree({"": torch.tensor([nan, 1])}, {"": torch.tensor([1, nan])})


def test_shapes_and_names_must_be_the_same() -> None:
    with pytest.raises(AssertionError, match=r"is \(2,\), not \(3,\)"):
        assert_agree({"": torch.ones(2)}, {"": torch.ones(3)})
    with pytest.raises(AssertionError):
        assert_agree({"one": torch.ones(2)}, {"two": torch.ones(2)})


def test_copy_on_a_device_leaves_the_network_as_it_is() -> None:
    network = nn.Linear(3, 2)
    before = network.weight.detach().clone()
    assert torch.equal(on("cpu", network).weight, before)
    assert not torch.equal(on("cpu", network, noise=0.1).weight, before)
    assert torch.equal(network.weight, before)
