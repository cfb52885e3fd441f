"""Training batches of scenes: augmentation per image, random order without early repetition."""

import pytest
import torch
from scene_world import SIZE, Scenes, scenes
from torch import Tensor
from torchvision.transforms import v2

from evident.contracts import Uncropped
from evident.models.siam.batches import Augmented, augmented, random_batches, shifted


def test_augmented_image_has_the_requested_size_and_stays_in_range() -> None:
    torch.manual_seed(0)
    augment = augmented(96)
    for shape in ((3, 96, 96), (3, 107, 107), (3, 60, 200)):
        for image in torch.rand(5, *shape):
            seen = augment(image)
            assert seen.shape == (3, 96, 96)
            assert seen.min() >= 0
            assert seen.max() <= 1


def test_augmented_450_has_the_papers_settings() -> None:
    augment = augmented(450)
    assert isinstance(augment, v2.Compose)
    resize, rotate, crop, flip = augment.transforms
    assert resize.size == [500, 500]
    assert rotate.degrees == [-5, 5]
    assert tuple(crop.size) == (450, 450)
    assert flip.p == 0.5


def test_augmented_without_margin_rotation_and_flip_is_the_identity() -> None:
    image = torch.rand(3, 20, 20)
    torch.testing.assert_close(augmented(20, margin=1, degrees=0, flip=0)(image), image)
    torch.testing.assert_close(augmented(20, margin=1, degrees=0, flip=1)(image), image.flip(2))


def test_shifted_moves_by_whole_pixels_up_to_five() -> None:
    torch.manual_seed(0)
    image = torch.arange(96.0).expand(3, 96, 96)
    starts = set()
    for _ in range(200):
        seen = shifted(96)(image)
        assert seen.shape == (3, 96, 96)
        assert torch.equal(seen, seen.round())
        rising = seen[0, 0] if seen[0, 0, 50] > seen[0, 0, 40] else seen[0, 0].flip(0)
        starts.add(rising[20].item() - 20)
    assert starts == set(range(-5, 6))


def test_each_image_of_a_batch_is_augmented_differently() -> None:
    torch.manual_seed(0)
    votes, _ = scenes(1, seed=0)
    batch = Augmented(votes, augmented(SIZE)).__getitems__([0] * 8)
    assert len({tuple(image.flatten().tolist()) for image in batch["image"]}) == 8
    assert batch["average"].tolist() == votes.labels["average"].tolist() * 8


def test_uncropped_images_are_augmented_if_available() -> None:
    class Photos(Scenes, Uncropped):
        def uncropped(self) -> "Photos":
            return Photos(torch.zeros(len(self), 3, 40, 40, dtype=torch.uint8), self.labels)

    seen: list[Tensor] = []
    votes, _ = scenes(2, seed=0)

    def look(image: Tensor) -> Tensor:
        seen.append(image)
        return image

    Augmented(Photos(votes.images, votes.labels), look).__getitems__([0, 1])
    assert [image.shape for image in seen] == [(3, 40, 40)] * 2


@pytest.mark.parametrize(("batch_size", "steps"), [(4, 5), (3, 2), (10, 7)])
def test_epoch_has_the_given_steps_and_repeats_no_image_before_all_are_drawn(batch_size: int, steps: int) -> None:
    votes, _ = scenes(20, seed=0)
    index = torch.cat([batch["index"] for batch in random_batches(votes, batch_size, steps, seed=0)])
    assert len(index) == batch_size * steps
    for start in range(0, len(index), 20):
        part = index[start : start + 20]
        assert len(part.unique()) == len(part)


def test_order_depends_on_the_seed_only() -> None:
    votes, _ = scenes(20, seed=0)

    def order(seed: int) -> list[int]:
        torch.rand(3)
        return torch.cat([batch["index"] for batch in random_batches(votes, 5, 4, seed)]).tolist()

    assert order(0) == order(0)
    assert order(0) != order(1)


def test_each_epoch_has_another_order() -> None:
    votes, _ = scenes(20, seed=0)
    batches = random_batches(votes, 5, 4, seed=0)
    first, second = (torch.cat([batch["index"] for batch in batches]).tolist() for _ in range(2))
    assert first != second
