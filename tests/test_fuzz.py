"""Generated inputs of the user: file names, pictures, tables, overrides and targets give the right value or one line.

`pytest -m fuzz` tries 10,000 cases; every other run tries a few of them.
"""

import csv
import io
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from entry_point import ROOT
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from evident.cli import is_of_hydra, one_line, prepare
from evident.data.boxes import read_boxes
from evident.data.class_names import index_of
from evident.data.folder import folder, pictures
from evident.data.pictures import TURNS, read_picture, upright_size
from evident.errors import UserError
from evident.explainers.guided import input_gradient
from evident.explainers.shared.targets import targets
from evident.quoting import quoted
from evident.report.gallery.page import gallery
from evident.request import Request

pytestmark = pytest.mark.fuzz

# Cases of each test with `-m fuzz`: 10,000 together.
SHARES = {"names": 2000, "pictures": 3000, "damaged": 1500, "tables": 2000, "targets": 1000, "overrides": 500}
# Names that Linux allows: any signs but / and the null byte, up to 255 bytes.
NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda name: not name.startswith(".") and len(name.encode()) < 240
)


@pytest.fixture
def fuzz(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Return a function that tries `check` on generated cases, and records how many there were and how many errors."""
    thorough = "fuzz" in (request.config.option.markexpr or "")

    def tried(kind: str, check: Callable[..., None], *cases: Any, may_refuse: bool = False) -> None:
        counts = {"cases": 0, "refused": 0}

        @settings(
            max_examples=SHARES[kind] if thorough else 20,
            deadline=None,
            derandomize=not thorough,
            database=None,
            phases=[Phase.generate],  # shrinking a case takes minutes
            suppress_health_check=list(HealthCheck),
        )
        @given(st.tuples(*cases))
        def one(case: tuple[Any, ...]) -> None:
            counts["cases"] += 1
            message = "one line"
            try:
                check(*case)
            except UserError as error:
                counts["refused"] += 1
                message = str(error)
            assert may_refuse or message == "one line", message
            assert "\n" not in message
            assert 0 < len(message) < 2000

        one()
        for key, count in counts.items():
            record_property(f"{kind} {key}", count)

    return tried


def test_file_names(fuzz: Callable[..., None], tmp_path: Path) -> None:
    picture = Image.new("RGB", (4, 4), "red")
    places = iter(range(10**6))

    def check(name: str, own: str) -> None:
        root = tmp_path / str(next(places))
        file = root / own / f"{name}.png"
        try:
            file.parent.mkdir(parents=True)
            picture.save(file)
        except OSError:
            return  # the file system does not allow the name
        [argument] = quoted([f"image={file}"])
        [override] = OverridesParser.create().parse_overrides([argument])
        assert override.value() == str(file).replace("${", "\\${")
        if own in ("masks", "train", "val", "test"):
            return
        [found] = pictures(root)
        assert (found.file, found.name, found.folder) == (file, f"{own}/{name}.png", own)
        splits = folder(root, None, [], 4, 4, 0, 0, root=root, store=root)
        assert splits.class_names() == (own,)
        assert list(splits.split("test").names) == [f"{own}/{name}.png"]
        page = gallery("own", f"# {own}\n\n| a |\n|---|\n| {own.replace('|', '/')} |\n", {}, {})
        ours = {"h1", "p", "td", "tr", "th", "table", "thead", "tbody", "b", "i", "html", "body", "head", "title"}
        assert own in ours or f"<{own}>" not in page

    fuzz("names", check, NAMES, NAMES)


MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "F")
# What Pillow converts to these modes.
THROUGH = {**dict.fromkeys(("LAB", "HSV", "YCbCr", "CMYK"), "RGB"), **dict.fromkeys(("I;16", "F"), "I")}
FORMATS = ("png", "jpeg", "tiff", "gif", "bmp", "webp", "ppm", "jpeg2000")


def test_pictures(fuzz: Callable[..., None], tmp_path: Path) -> None:
    file = tmp_path / "picture"

    def check(mode: str, kind: str, width: int, height: int, turn: int, shade: int) -> None:
        plain = Image.new("L", (width, height), shade)
        picture = plain.convert(THROUGH.get(mode, "L")).convert(mode)
        exif = Image.Exif()
        exif[0x0112] = turn
        content = io.BytesIO()
        try:
            picture.save(content, kind, exif=exif)
        except (OSError, ValueError, KeyError):
            return  # the format does not hold this mode
        file.write_bytes(content.getvalue())
        found = read_picture(file)
        assert found.mode == "RGB"
        assert found.size == upright_size(file)
        turned = kind in ("png", "jpeg", "tiff", "webp") and turn in (5, 6, 7, 8)
        assert found.size == ((height, width) if turned else (width, height))
        if mode in ("L", "P", "RGB", "RGBA", "LA"):  # whose values are those of the grey picture
            values = np.asarray(found).astype(int)
            assert np.abs(values - shade).max() <= 4, (mode, kind)

    sides = st.integers(1, 40)
    turns = st.sampled_from([0, *range(1, 10), 255])
    fuzz("pictures", check, st.sampled_from(MODES), st.sampled_from(FORMATS), sides, sides, turns, st.integers(0, 255))
    assert set(TURNS) == {2, 3, 4, 5, 6, 7, 8}


def test_damaged_pictures(fuzz: Callable[..., None], tmp_path: Path) -> None:
    file = tmp_path / "picture"
    draws = np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8)
    whole = {}
    for kind in FORMATS:
        content = io.BytesIO()
        Image.fromarray(draws).save(content, kind)
        whole[kind] = content.getvalue()

    def check(kind: str, cut: float, places: list[float], values: bytes) -> None:
        content = bytearray(whole[kind])
        for place, value in zip(places, values, strict=False):
            content[int(place * (len(content) - 1))] = value
        file.write_bytes(content[: round(cut * len(content))])
        found = read_picture(file)
        assert found.mode == "RGB"

    shares = st.floats(0, 1)
    cuts = st.one_of(st.just(1.0), shares)
    fuzz(
        "damaged",
        check,
        st.sampled_from(FORMATS),
        cuts,
        st.lists(shares, max_size=8),
        st.binary(max_size=8),
        may_refuse=True,
    )


def test_tables(fuzz: Callable[..., None], tmp_path: Path) -> None:
    file = tmp_path / "boxes.csv"
    columns = ["image", "xmin", "ymin", "xmax", "ymax", "note"]
    texts = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=12)
    names = texts.map(str.strip).filter(bool)
    numbers = st.floats(0, 1e4).map(lambda value: round(value, 3))
    rows = st.lists(st.tuples(names, *[numbers] * 4, texts), min_size=1, max_size=6)

    def check(
        content: list[tuple[Any, ...]], order: list[int], mark: str, quoting: Any, end: str, encoding: str, spaces: str
    ) -> None:
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=mark, quoting=quoting, lineterminator=end)
        writer.writerow([f"{spaces}{columns[place]}" for place in order])
        for row in content:
            writer.writerow([row[place] if isinstance(row[place], str) else f"{spaces}{row[place]}" for place in order])
        file.write_bytes(text.getvalue().encode(encoding))
        images = list(dict.fromkeys(row[0] for row in content))
        found = read_boxes(file, [[name] for name in images])
        for name, boxes in zip(images, found, strict=True):
            expected = [list(row[1:5]) for row in content if row[0] == name]
            assert boxes.double().tolist() == pytest.approx(np.array(expected), rel=1e-6)

    fuzz(
        "tables",
        check,
        rows,
        st.permutations(range(len(columns))),
        st.sampled_from([",", ";", "\t"]),
        st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        st.sampled_from(["\n", "\r\n"]),
        st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
        st.sampled_from(["", " "]),
    )


def test_targets(fuzz: Callable[..., None], tmp_path: Path) -> None:
    classes = ("tench", "great white shark", "Ünï (2)", "3", "true")
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, len(classes)))
    images = torch.rand(2, 3, 2, 2)

    def check(given: Any) -> None:
        index = index_of(given, classes, tmp_path)
        assert index is None or index in range(len(classes))
        if isinstance(given, int) and not isinstance(given, bool):
            assert index == (given if 0 <= given < len(classes) else None)
        if isinstance(given, str):
            assert given not in classes or index == classes.index(given)
            return
        if isinstance(given, float | bool) or (isinstance(given, int) and given < 0):
            with pytest.raises(UserError, match="is no class index"):
                targets(cast(Any, given), 2)
        within = isinstance(given, int) and not isinstance(given, bool) and 0 <= given < len(classes)
        if within:
            expected = network[1].weight[given].view(3, 2, 2)
            torch.testing.assert_close(input_gradient(network, images, given, relu=None)[0], expected)
        else:
            with pytest.raises(UserError):
                input_gradient(network, images, given, relu=None)

    numbers = st.one_of(st.integers(-3, 8), st.integers(-(2**62), 2**62), st.floats(), st.booleans())
    words = st.one_of(st.sampled_from(classes), st.text(max_size=8), st.integers(0, 9).map(str))
    fuzz("targets", check, st.one_of(numbers, words))


KEYS = (
    *("seed", "threads", "explained.images", "explained.batch_size", "explained.split", "explained.target"),
    *("network_seed", "model.layer", "data.size", "model", "data", "explainer", "metric", "logger", "scale"),
    *("trainer.accelerator", "nothing"),
)
ODD = ("null", "true", "[]", "[1,2]", "{a:1}", "glob(*)", "resnet18", "mnist", "test", "${seed}", "${no}", "")


def test_overrides(fuzz: Callable[..., None]) -> None:
    def check(key: str, sign: str, value: str) -> None:
        try:
            given = quoted([f"{sign}{key}={value}"])
            config = compose("config", ["experiment=an8flower", "explainer=gradient", *given])
            request = Request(config)
            assert request.config.explained.images >= 1
            assert request.config.threads >= 1
        except Exception as error:
            if isinstance(error, UserError) or not is_of_hydra(error):
                raise
            line = one_line(error)
            assert line
            assert "\n" not in line

    values = st.one_of(
        st.integers(-2, 300).map(str),
        st.floats().map(str),
        st.sampled_from(ODD),
        st.text(string.printable, max_size=10),
        st.text(max_size=6),
    )
    prepare()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        fuzz("overrides", check, st.sampled_from(KEYS), st.sampled_from(["", "+", "++", "~"]), values, may_refuse=True)
