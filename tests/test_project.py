"""The project's own papers agree with each other."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from entry_point import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements() -> dict[str, str]:
    listed = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
    return dict(re.fullmatch(r"([\w.-]+)(.*)", entry.replace(" ", "")).groups() for entry in listed)


def test_conda_users_get_the_same_packages() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, packages = environment["dependencies"]
    assert python == f"python{PROJECT['requires-python']}"
    assert pip == "pip"
    listed = [entry.replace(" ", "") for entry in packages["pip"]]
    assert listed == [
        "--constraint=constraints.txt",
        *sorted(f"{n}{v}" for n, v in requirements().items()),
        "--editable=.",
    ]


def test_every_requirement_has_one_exact_version() -> None:
    lines = (ROOT / "constraints.txt").read_text().split()
    pinned = dict(line.split("==") for line in lines)
    assert len(pinned) == len(lines)
    assert {name.lower() for name in requirements()} <= set(pinned)


def test_the_versions_fit_together() -> None:
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    assert pinned["pytorch-lightning"] not in ("2.6.2", "2.6.3")  # compromised releases, GHSA-w37p-236h-pfx3
    assert tuple(map(int, pinned["matplotlib"].split(".")[:2])) < (3, 13)


@pytest.mark.parametrize("path", sorted((ROOT / "conf").rglob("*.yaml")), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_config_says_what_it_is(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("# @package")]
    assert lines[0].startswith("# ")
    assert lines[0].endswith((".", ")"))
