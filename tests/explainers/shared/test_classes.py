"""Which class is explained."""

import pytest
import torch
from torch import Tensor

from evident.errors import UserError
from evident.explainers.shared.classes import KINDS, class_of

SCORES = torch.tensor([[0.1, 3.0, 2.0, -1.0], [5.0, 0.0, 1.0, 2.0]])


def images(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 2, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("kind", "classes"), [("predicted", [1, 0]), ("second", [2, 3]), ("least_likely", [3, 1])])
def test_the_scores_name_the_class(kind: str, classes: list[int]) -> None:
    assert class_of(kind, SCORES, torch.zeros(2).long(), images()).tolist() == classes


def test_a_random_class_is_any_but_the_label_and_the_predicted() -> None:
    scores = SCORES[:1].expand(300, 4)
    drawn = class_of("random", scores, torch.full((300,), 2), images(300))
    counts = drawn.bincount(minlength=4)
    assert counts[[1, 2]].tolist() == [0, 0]
    assert counts[0] + counts[3] == 300
    assert 110 < counts[0] < 190


def test_a_lot_belongs_to_image_and_seed() -> None:
    scores, labels, pictures = torch.rand(20, 9), torch.zeros(20).long(), images(20)
    whole = class_of("random", scores, labels, pictures, seed=1)
    alone = [class_of("random", scores[n : n + 1], labels[:1], pictures[n : n + 1], 1) for n in range(20)]
    assert torch.equal(torch.cat(alone), whole)
    assert not torch.equal(class_of("random", scores, labels, pictures, seed=2), whole)


def test_every_kind_is_a_class_of_the_network() -> None:
    for kind in KINDS:
        chosen = class_of(kind, SCORES, torch.zeros(2).long(), images())
        assert chosen.dtype == torch.int64
        assert chosen.shape == (2,)


def test_what_is_unknown_or_not_there_is_named() -> None:
    with pytest.raises(UserError, match="class 'third' is unknown; use predicted, second, least_likely, random"):
        class_of("third", SCORES, torch.zeros(2).long(), images())
    with pytest.raises(UserError, match="2 classes leave no random one"):
        class_of("random", SCORES[:, :2], torch.zeros(2).long(), images())
    with pytest.raises(UserError, match="1 classes leave no second one"):
        class_of("second", SCORES[:, :1], torch.zeros(2).long(), images())
