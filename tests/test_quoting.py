"""Paths on the command line: whatever a file is called, the config holds its name."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from evident.cli import ROOT
from evident.quoting import quoted

NAMES = [
    *("IMG(1).png", "a, b.jpg", "x=y.png", "c #1.webp", "it's.jpg", 'say "hi".jpg', "[x] {y}.png", "ünï ☂.jpg"),
    *(
        "back\\slash.png",
        "end\\",
        "'quoted'.png",
        "trailing '",
        "$HOME.png",
        "${data.name}.png",
        "null",
        "true",
        "1e3",
        " a",
    ),
]


def value_of(argument: str) -> object:
    [override] = OverridesParser.create().parse_overrides(quoted([argument]))
    return override.value()


@pytest.mark.parametrize("name", NAMES)
def test_config_holds_the_name_of_a_file_as_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", ["task=explain", *quoted([f"image={tmp_path / name}"])])
    assert config.image == str(tmp_path / name)


@given(st.text(st.characters(exclude_characters="\0/\n\r", exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_any_path_becomes_one_override(name: str) -> None:
    [argument] = quoted([f"data.root=/photos/{name}"])
    [override] = OverridesParser.create().parse_overrides([argument])
    assert override.key_or_group == "data.root"


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert value_of("data.root=~/my pictures") == "/home/me/my pictures"


def test_other_arguments_and_lists_stay_as_they_are() -> None:
    given = [
        "explainer=glob(g*)",
        "seed=0,1",
        "model.weights=a.pth,b.pth",
        "image='my file.jpg'",
        "--multirun",
        "image=",
    ]
    assert quoted(given) == given
