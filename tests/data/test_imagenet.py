"""ImageNet: labels, pixels as in torchvision, masks from boxes, and errors."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torchvision import transforms
from torchvision.models import get_model_weights

from evident.data.files import ImageFiles
from evident.data.imagenet import class_names, imagenet, source_of
from evident.data.images import ImageSplits, loader
from evident.errors import UserError
from evident.metrics.contract import Explanation
from evident.metrics.localization import mass_accuracy, pointing_game
from evident.models.normalise import Normalise

SYNSETS = [f"n{number:08d}" for number in range(1000)]
Box = tuple[float, float, float, float]


def write_synsets(root: Path, synsets: list[str] = SYNSETS) -> None:
    (root / "imagenet").mkdir(parents=True, exist_ok=True)
    (root / "imagenet" / "synsets.txt").write_text("".join(f"{synset}\tthing {synset}\n" for synset in synsets))


def write_image(root: Path, number: int, synset: str, picture: Image.Image, suffix: str = "png") -> Path:
    """Save an image under an ImageNet name; PNG preserves its pixels."""
    path = root / "imagenet" / "val" / synset / f"ILSVRC2012_val_{number:08d}.{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


def write_boxes(root: Path, boxes: dict[Path, list[Box]]) -> None:
    with open(root / "imagenet" / "boxes.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "synset", "xmin", "ymin", "xmax", "ymax"])
        rows.writerows(
            [path.name, path.parent.name, *box] for path, boxes_of_image in boxes.items() for box in boxes_of_image
        )


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def read(root: Path, val: int = 0, resize: int = 256, size: int = 224) -> ImageSplits:
    return imagenet(val, resize, size, root=root, store=root)


def masks(splits: ImageSplits) -> Tensor:
    [batch] = loader(splits.test, len(splits.test))
    return batch["mask"]


def test_labels_are_positions_among_all_classes_if_only_some_folders_exist(tmp_path: Path) -> None:
    write_synsets(tmp_path)
    for number, label in enumerate((999, 3, 500), start=1):
        write_image(tmp_path, number, SYNSETS[label], noise(8, 8))
    splits = read(tmp_path)
    assert splits.test.labels.tolist() == [999, 3, 500]
    assert splits.test.names == tuple(f"ILSVRC2012_val_0000000{number}" for number in (1, 2, 3))
    assert splits.class_names()[3] == "tiger shark"


def test_classes_are_in_the_order_of_synsets_txt(tmp_path: Path) -> None:
    write_synsets(tmp_path, SYNSETS[::-1])
    write_image(tmp_path, 1, SYNSETS[0], noise(8, 8))
    assert read(tmp_path).test.labels.tolist() == [999]


def test_classes_are_in_the_order_of_all_folders_without_synsets_txt(tmp_path: Path) -> None:
    for synset in SYNSETS:
        (tmp_path / "imagenet" / "val" / synset).mkdir(parents=True)
    write_image(tmp_path, 1, SYNSETS[123], noise(8, 8))
    assert read(tmp_path).test.labels.tolist() == [123]
    (tmp_path / "imagenet" / "val" / SYNSETS[7]).rmdir()
    with pytest.raises(
        UserError, match=r"imagenet: .*synsets.txt is missing, and .* has 999 of 1000 .* write all synsets"
    ):
        read(tmp_path)


def test_last_images_are_held_out_and_also_used_as_training_set(tmp_path: Path) -> None:
    write_synsets(tmp_path)
    for number in range(1, 6):
        write_image(tmp_path, number, SYNSETS[-number], noise(8, 8))
    splits = read(tmp_path, val=2)
    assert [int(name[-1]) for name in splits.test.names] == [1, 2, 3]
    assert [int(name[-1]) for name in splits.val.names] == [4, 5]
    assert splits.train is splits.val
    assert len(read(tmp_path, val=0).test) == 5
    for val in (-1, 5):
        with pytest.raises(UserError, match=f"val={val} of 5 images cannot be held out; use 0 to 4"):
            read(tmp_path, val=val)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("shape", [(256, 341), (500, 375), (224, 224), (90, 300), (301, 256)])
def test_images_equal_torchvision_transforms_bit_for_bit(tmp_path: Path, mode: str, shape: tuple[int, int]) -> None:
    write_synsets(tmp_path)
    path = write_image(tmp_path, 1, SYNSETS[5], noise(*shape).convert(mode), "JPEG")
    with Image.open(path) as opened:
        assert opened.mode == mode
        picture = opened.convert("RGB")
    expected = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.PILToTensor()])
    test = read(tmp_path).test
    assert torch.equal(test.images[torch.tensor([0])][0], expected(picture))
    # The same holds for the normalised input of the network.
    preset = get_model_weights("squeezenet1_1")["IMAGENET1K_V1"].transforms()
    normalise = Normalise(tuple(preset.mean), tuple(preset.std))
    torch.testing.assert_close(normalise(test[0]["image"][None])[0], preset(picture), rtol=0, atol=1e-6)


def test_images_are_decoded_on_access(tmp_path: Path) -> None:
    write_synsets(tmp_path)
    paths = [write_image(tmp_path, number, SYNSETS[0], noise(8, 8, number)) for number in (1, 2, 3)]
    paths[2].write_bytes(b"no picture")
    test = read(tmp_path).test
    assert test.images.shape == (3, 3, 224, 224)
    few = test.block(2)
    assert isinstance(few.images, ImageFiles)
    assert len(few) == len(few.images.paths) == 2
    [batch] = loader(test.block(2), 2)
    assert batch["image"].shape == (2, 3, 224, 224)
    assert not torch.equal(batch["image"][0], batch["image"][1])
    with pytest.raises(UserError, match=r"ILSVRC2012_val_00000003.png cannot be read .* give an undamaged picture"):
        test.__getitems__([2])


def test_truncated_image_is_an_error_that_names_it(tmp_path: Path) -> None:
    write_synsets(tmp_path)
    path = write_image(tmp_path, 1, SYNSETS[0], noise(300, 300), "JPEG")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=f"{path} cannot be read"):
        read(tmp_path).test.__getitems__([0])


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        ((256, 341), (40, 60, 200, 250)),  # already 256 pixels high: cropped only
        ((341, 256), (60, 40, 250, 200)),
        ((500, 375), (111, 83, 333, 301)),  # reduced
        ((375, 500), (29, 0, 350, 500)),  # the full height
        ((1280, 1024), (301, 205, 903, 407)),
        ((100, 150), (23, 41, 77, 109)),  # enlarged
        ((224, 224), (0, 100, 224, 101)),  # one row of pixels
        ((257, 999), (13, 400, 200, 600)),
    ],
)
def test_mask_of_a_box_equals_the_transformed_drawing_of_the_box(
    tmp_path: Path, shape: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    width, height = shape
    left, top, right, bottom = box
    # Columns are drawn in red and rows in green: in one channel a corner would be blurred along both axes.
    picture = Image.new("RGB", shape)
    red, green, blue = picture.split()
    ImageDraw.Draw(red).rectangle((left, 0, right - 1, height), fill=255)
    ImageDraw.Draw(green).rectangle((0, top, width, bottom - 1), fill=255)
    write_synsets(tmp_path)
    path = write_image(tmp_path, 1, SYNSETS[0], Image.merge("RGB", (red, green, blue)))
    write_boxes(tmp_path, {path: [box]})
    test = read(tmp_path).test
    drawn = test.images[torch.tensor([0])][0, :2]
    mask = test.masks[torch.tensor([0])][0]
    # Pixels that are half covered depend on rounding and are not compared.
    decided = ((drawn.float() - 127.5).abs() > 2).all(0)
    assert decided.float().mean() > 0.98
    assert torch.equal(mask[decided], (drawn > 127).all(0)[decided])
    assert mask.any()


def test_mask_is_the_union_of_the_boxes_and_each_gives_single_boxes(tmp_path: Path) -> None:
    write_synsets(tmp_path)
    path = write_image(tmp_path, 1, SYNSETS[0], noise(256, 256))
    write_boxes(tmp_path, {path: [(16, 16, 116, 66), (66, 36, 166, 116)]})
    test = read(tmp_path).test
    first, second = test.masks.each(0)
    expected = torch.zeros(2, 224, 224, dtype=torch.bool)
    expected[0, 0:50, 0:100] = expected[1, 20:100, 50:150] = True
    assert torch.equal(torch.stack([first, second]), expected)
    assert torch.equal(masks(read(tmp_path))[0], first | second)
    assert test.block(1).masks.boxes[0].tolist() == [[16, 16, 116, 66], [66, 36, 166, 116]]


def test_mask_is_empty_and_scores_are_nan_without_a_box_in_the_crop(tmp_path: Path) -> None:
    write_synsets(tmp_path)
    paths = [write_image(tmp_path, number, SYNSETS[number], noise(600, 256)) for number in (1, 2, 3, 4)]
    of_another_image = paths[2].with_name("ILSVRC2012_val_00000099.png")
    of_another_class = paths[3].parent.with_name(SYNSETS[9]) / paths[3].name
    boxes: dict[Path, list[tuple[float, float, float, float]]] = {
        paths[0]: [(250, 50, 350, 150)],
        paths[1]: [(0, 50, 150, 150)],
    }
    write_boxes(tmp_path, {**boxes, of_another_image: [(250, 50, 350, 150)], of_another_class: [(250, 50, 350, 150)]})
    [batch] = loader(read(tmp_path).test, 4)
    assert batch["mask"].flatten(1).any(1).tolist() == [True, False, False, False]
    explanation = Explanation(batch["image"], batch["label"], torch.rand(4, 224, 224), batch["mask"])
    for metric in (pointing_game, mass_accuracy):
        assert metric(explanation).isnan().tolist() == [False, True, True, True]


def test_images_have_no_masks_without_boxes_csv(tmp_path: Path) -> None:
    write_synsets(tmp_path)
    write_image(tmp_path, 1, SYNSETS[0], noise(8, 8))
    splits = read(tmp_path)
    assert splits.test.masks is None
    assert "mask" not in splits.test[0]


def test_boxes_csv_without_a_corner_is_an_error_that_lists_the_columns(tmp_path: Path) -> None:
    write_synsets(tmp_path)
    write_image(tmp_path, 1, SYNSETS[0], noise(8, 8))
    (tmp_path / "imagenet" / "boxes.csv").write_text("image,synset,xmin\na,b,1\n")
    with pytest.raises(UserError, match=r"has no column ymin, xmax, ymax; its first line has image, synset, xmin"):
        read(tmp_path)


def test_images_of_boxes_csv_need_no_extension(tmp_path: Path) -> None:
    write_synsets(tmp_path)
    path = write_image(tmp_path, 1, SYNSETS[0], noise(256, 256))
    write_boxes(tmp_path, {path.with_suffix(""): [(16, 16, 116, 66)]})
    assert masks(read(tmp_path)).any()


def test_unknown_synset_folder_and_incomplete_synsets_txt_are_errors(tmp_path: Path) -> None:
    write_synsets(tmp_path)
    write_image(tmp_path, 1, "cats", noise(8, 8))
    with pytest.raises(UserError, match=r"imagenet: .*val/cats is not a synset of .*synsets.txt"):
        read(tmp_path)
    write_synsets(tmp_path, SYNSETS[1:])
    with pytest.raises(UserError, match=r"synsets.txt lists 999 synsets; list all 1000"):
        read(tmp_path)


def test_missing_images_are_an_error_that_names_the_folder_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        read(tmp_path)
    for part in ("imagenet", str(tmp_path / "imagenet" / "val"), "without an account", "EVIDENT_DATA"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)
    assert source_of(tmp_path) == "missing"


def test_different_files_have_different_sources(tmp_path: Path) -> None:
    sources = set()
    for name, count in (("a", 1), ("b", 2)):
        write_synsets(tmp_path / name)
        for number in range(count):
            write_image(tmp_path / name, number, SYNSETS[0], noise(8, 8))
        sources.add(source_of(tmp_path / name))
    assert len(sources) == 2
    assert "missing" not in sources


def test_class_names_are_unique() -> None:
    assert len(set(class_names())) == 1000


@pytest.mark.real_data
def test_real_images_are_complete(tmp_path: Path) -> None:
    root = Path(os.environ["EVIDENT_DATA"])
    splits = imagenet(100, 256, 224, root=root, store=tmp_path)
    assert (len(splits.test), len(splits.val)) == (500, 100)
    assert set(splits.test.names).isdisjoint(splits.val.names)
    labels = torch.cat([splits.test.labels, splits.val.labels])
    assert len(labels.unique()) == 456
    assert labels.max() == 998
    boxes = [*splits.test.masks.boxes, *splits.val.masks.boxes]
    assert sum(len(boxes_of_image) for boxes_of_image in boxes) == 915
    assert all(len(boxes_of_image) for boxes_of_image in boxes)


@pytest.mark.real_data
def test_class_names_agree_with_the_real_synsets_txt() -> None:
    lines = (Path(os.environ["EVIDENT_DATA"]) / "imagenet" / "synsets.txt").read_text().splitlines()
    listed = [line.split("\t")[1].split(",")[0] for line in lines]
    # The list uses these two names twice: crane for a bird and a machine, maillot for a dancer's and a swimmer's.
    differing = [number for number, pair in enumerate(zip(listed, class_names(), strict=True)) if len(set(pair)) > 1]
    assert differing == [134, 639]
