"""The class that is explained: predicted, second, nearest, least likely or random."""

import pytest
import torch
from samples import uniform_noise

from evident.errors import UserError
from evident.explainers.shared.classes import KINDS, class_of

SCORES = torch.tensor([[0.1, 3.0, 2.0, -1.0], [5.0, 0.0, 1.0, 2.0]])


@pytest.mark.parametrize(("kind", "classes"), [("predicted", [1, 0]), ("second", [2, 3]), ("least_likely", [3, 1])])
def test_class_follows_from_the_scores(kind: str, classes: list[int]) -> None:
    assert class_of(kind, SCORES, torch.zeros(2).long(), uniform_noise(2, 2, seed=0)).tolist() == classes


def test_nearest_class_is_the_most_likely_one_but_label_and_predicted() -> None:
    images = uniform_noise(2, 2, seed=0)
    for labels, nearest in (([1, 0], [2, 3]), ([2, 3], [0, 2]), ([3, 1], [2, 3])):
        assert class_of("nearest", SCORES, torch.tensor(labels), images).tolist() == nearest


def test_random_class_is_neither_label_nor_predicted() -> None:
    scores = SCORES[:1].expand(300, 4)
    drawn = class_of("random", scores, torch.full((300,), 2), uniform_noise(300, 2, seed=0))
    counts = drawn.bincount(minlength=4)
    assert counts[[1, 2]].tolist() == [0, 0]
    assert counts[0] + counts[3] == 300
    assert 110 < counts[0] < 190


def test_random_class_depends_on_image_and_seed_only() -> None:
    scores, labels, images = torch.rand(20, 9), torch.zeros(20).long(), uniform_noise(20, 2, seed=0)
    whole = class_of("random", scores, labels, images, seed=1)
    alone = [class_of("random", scores[n : n + 1], labels[:1], images[n : n + 1], 1) for n in range(20)]
    assert torch.equal(torch.cat(alone), whole)
    assert not torch.equal(class_of("random", scores, labels, images, seed=2), whole)


def test_every_kind_returns_one_class_index_per_image() -> None:
    for kind in KINDS:
        chosen = class_of(kind, SCORES, torch.zeros(2).long(), uniform_noise(2, 2, seed=0))
        assert chosen.dtype == torch.int64
        assert chosen.shape == (2,)


def test_unknown_kind_raises() -> None:
    with pytest.raises(
        UserError, match="class 'third' is unknown; use predicted, second, nearest, least_likely, random"
    ):
        class_of("third", SCORES, torch.zeros(2).long(), uniform_noise(2, 2, seed=0))


def test_too_few_classes_raise() -> None:
    with pytest.raises(UserError, match="2 classes are too few for a random class"):
        class_of("random", SCORES[:, :2], torch.zeros(2).long(), uniform_noise(2, 2, seed=0))
    with pytest.raises(UserError, match="2 classes are too few for a nearest class"):
        class_of("nearest", SCORES[:, :2], torch.zeros(2).long(), uniform_noise(2, 2, seed=0))
    with pytest.raises(UserError, match="1 classes are too few for a second class"):
        class_of("second", SCORES[:, :1], torch.zeros(2).long(), uniform_noise(2, 2, seed=0))
