"""What every recorder relies on: which explainers it applies to, and the first images of all batches."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
import torch
from captum.attr import Attribution
from samples import no_splits
from torch import Tensor, nn

from evident.cell_folder import CellFolder
from evident.contracts import GivesEvidence, Signed
from evident.metrics.contract import Explanation
from evident.models.training import Trained
from evident.recorders.contract import ExplainedBatch, FirstImages, Recorder, Setup, as_pixels


def batches(sizes: list[int]) -> list[dict[str, Tensor]]:
    """Return batches of these sizes; image i of all has the value i."""
    index = torch.arange(sum(sizes)).split(sizes)
    return [{"images": rows.float()[:, None].expand(-1, 2), "target": rows} for rows in index]


def collect(count: int, *given: Mapping[str, Tensor]) -> FirstImages:
    first = FirstImages(count)
    for batch in given:
        first.add(batch)
    return first


# The first images


@pytest.mark.parametrize("sizes", [[6], [2, 4], [1, 1, 1, 1, 1, 1], [3, 3], [4, 2]])
@pytest.mark.parametrize("count", [1, 3, 4, 6])
def test_first_images_do_not_depend_on_batches(count: int, sizes: list[int]) -> None:
    kept = collect(count, *batches(sizes)).all()
    assert kept["target"].tolist() == list(range(count))
    assert kept["images"].tolist() == [[value, value] for value in range(count)]


def test_images_that_are_missing_are_counted() -> None:
    first = FirstImages(4)
    missing = [first.missing]
    for batch in batches([3, 3]):
        first.add(batch)
        missing.append(first.missing)
    assert missing == [4, 1, 0]


def test_fewer_images_than_wanted_are_all_kept() -> None:
    first = collect(5, *batches([2, 1]))
    assert first.missing == 2
    assert first.all()["target"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("count", [0, 2])
def test_without_images_nothing_is_kept(count: int) -> None:
    assert collect(count).all() == {}
    assert collect(0, *batches([2])).all() == {}


def test_images_in_zero_to_one_become_uint8() -> None:
    pixels = as_pixels(torch.tensor([0.0, 0.5, 0.499, 1.0, 254.6 / 255]))
    assert pixels.dtype == torch.uint8
    assert pixels.tolist() == [0, 128, 127, 255, 255]


# Explainers that a recorder applies to


class OfAll(Recorder):
    """Apply to every explainer."""


class OfSome(Recorder):
    """Apply to explainers that give evidence or signs."""

    products = (GivesEvidence, Signed)


class Plain(Attribution):
    """Explain without further capabilities."""


class WithSigns(Attribution, Signed):
    """Say for which direction a heatmap speaks."""


def test_recorder_without_products_applies_to_every_explainer() -> None:
    assert all(OfAll.applies(explainer) for explainer in (Plain, WithSigns, partial(WithSigns, None)))


def test_recorder_applies_to_explainers_with_one_of_its_products() -> None:
    assert OfSome.applies(WithSigns)
    assert not OfSome.applies(Plain)


def test_recorder_with_products_does_not_apply_to_a_function_that_builds_explainers() -> None:
    assert not OfSome.applies(partial(WithSigns, None))


def test_recorder_keeps_nothing_unless_it_says_so(tmp_path: Path) -> None:
    network = nn.Identity()
    explainer, images = Plain(network), torch.zeros(1, 3, 2, 2)
    setup = Setup(explainer, Trained("", network, {}, []), [], no_splits, {}, {}, 0)
    recorder = OfAll(setup)
    assert recorder.setup is setup
    recorder.record(ExplainedBatch({}, Explanation(images, torch.tensor([0]), images[:, 0]), {}))
    recorder.save(CellFolder(tmp_path))
    assert list(tmp_path.iterdir()) == []
