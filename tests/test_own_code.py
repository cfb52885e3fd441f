"""Code of the user in identities: the modules that a config names, what they import, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from evident import own_code, store
from evident.own_code import own_sources

FILES = {
    "mine/__init__.py": "",
    "mine/metric.py": "import torch\nfrom mine import helper\nfrom .deep import inner as own\nimport evident.store\n",
    "mine/helper.py": "import numpy.linalg\n\ndef late():\n    import loose\n",
    "mine/deep/__init__.py": "from .inner import value\n",
    "mine/deep/inner.py": "from .. import metric\nvalue = 1\n",
    "mine/unrelated.py": "",
    "loose.py": "",
}
SETTINGS = {"metric": {"own": {"_target_": "mine.metric.score", "_partial_": True}}, "explainer": {"steps": 3}}


@pytest.fixture(autouse=True)
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    forget()
    return tmp_path


def forget() -> None:
    own_code._sources_of.cache_clear()
    own_code._spec_of.cache_clear()


def test_sources_are_those_of_the_named_module_and_of_all_that_it_imports() -> None:
    expected = {"mine", "mine.metric", "mine.helper", "mine.deep", "mine.deep.inner", "loose"}
    assert set(own_sources(SETTINGS)) == expected


@pytest.mark.parametrize("name", ["mine/metric.py", "mine/helper.py", "mine/deep/inner.py", "loose.py"])
def test_identity_changes_with_the_code_of_the_user(code: Path, name: str) -> None:
    before = store.digest(SETTINGS)
    (code / name).write_text(FILES[name] + "# edited\n")
    forget()
    assert store.digest(SETTINGS) != before


def test_identity_does_not_change_with_code_that_is_not_used(code: Path) -> None:
    before = store.digest(SETTINGS)
    (code / "mine" / "unrelated.py").write_text("edited = 1\n")
    forget()
    assert store.digest(SETTINGS) == before


def test_code_with_versions_does_not_count() -> None:
    for target in (
        "evident.metrics.sparsity.gini",
        "torch.nn.Linear",
        "pathlib.Path",
        "not_there.at_all",
        "builtins.int",
    ):
        assert own_sources([{"_target_": target}]) == {}


def test_code_of_the_user_is_not_run_to_find_it(code: Path) -> None:
    (code / "mine" / "helper.py").write_text("raise RuntimeError('was run')\n")
    command = "from evident.own_code import own_sources; print(len(own_sources({'_target_': 'mine.metric.score'})))"
    found = subprocess.run([sys.executable, "-c", command], cwd=code, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "5"  # `helper` imports nothing now
