"""Agreement of the project's own files, and the structure of the package."""

import ast
import json
import re
import runpy
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from entry_point import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCE = ROOT / "src" / "evident"
MODULES = sorted(SOURCE.rglob("*.py"))

# Modules and packages of src/evident, from the front to the ground: each imports only from those after it.
LAYERS = (
    *("cli", "all_experiments", "recompute", "sweep", "kept_experiment", "explain_image", "cell", "loggers", "request"),
    *("report", "recorders", "cell_folder", "benchmark", "metrics", "explainers", "relevance", "models", "data"),
    *(
        "contracts",
        "values",
        "store",
        "own_code",
        "progress",
        "errors",
        "allocator",
        "threads",
        "groups_once",
        "quoting",
    ),
)

# Files that may look up attributes by name, and why. Explainers, networks and data sets are never probed.
ATTRIBUTE_LOOKUPS = {
    "allocator.py": "`mallopt` and `malloc_trim` exist in glibc only",
    "explainers/shared/excitation_rules.py": "an autograd node of ours remembers the slope of a batch normalisation",
    "metrics/contract.py": "a metric names the fields of `Explanation` that it needs",
    "models/functions.py": "torch's functions and tensor methods are listed by name",
    "models/untouched.py": "the hooks of a module are attributes that torch names",
    "relevance/receptive_fields.py": "torch's functions and tensor methods are listed by name",
}

# Modules that serve every paper and mention none.
GENERAL = ("cell.py", "sweep.py", "request.py", "cell_folder.py", "recorders", "report/build.py", "report/tables")

# Data sets of photographs or digits by other people; all others are rendered.
THIRD_PARTY_DATA = ("imagenet", "imagenette", "mnist", "sun_photos", "scenicness_photos", "scenicness_predicted")


def relative(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def requirements() -> dict[str, str]:
    listed = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
    parts = [re.split(r"(?=[<>=!])", entry.replace(" ", ""), maxsplit=1) for entry in listed]
    return {name: "".join(version) for name, *version in parts}


def pinned_versions() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().split()
    pinned = {name: version for name, version in (line.split("==") for line in lines)}
    assert len(pinned) == len(lines)
    return pinned


def test_environment_yml_lists_the_packages_of_pyproject() -> None:
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
    assert {name.lower() for name in requirements()} <= set(pinned_versions())


def test_known_bad_versions_are_excluded() -> None:
    pinned = pinned_versions()
    assert pinned["pytorch-lightning"] not in ("2.6.2", "2.6.3")  # compromised releases, GHSA-w37p-236h-pfx3
    assert tuple(map(int, pinned["matplotlib"].split(".")[:2])) < (3, 13)  # seaborn 0.13 passes a removed argument


def lint_commands() -> list[str]:
    """Return the commands of `make lint`, with the tools of .venv."""
    lines = (ROOT / "Makefile").read_text().partition("\nlint: env\n")[2].splitlines()
    recipe = [line for line in lines if line.startswith("\t")]
    assert recipe == lines[: len(recipe)]
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe]


def test_pre_commit_runs_what_make_lint_runs() -> None:
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repo["repo"] == "local"
    assert [hook["entry"] for hook in repo["hooks"]] == lint_commands()
    assert all(hook["language"] == "system" and not hook["pass_filenames"] for hook in repo["hooks"])


def test_workflow_calls_the_ci_script_with_the_oldest_python() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    checkout, python, check = workflow["jobs"]["check"]["steps"]
    assert checkout["uses"].startswith("actions/checkout@")
    assert python["uses"].startswith("actions/setup-python@")
    assert f">={python['with']['python-version']}" == PROJECT["requires-python"]
    assert check == {"run": "bash .ci/run"}


def test_ci_script_runs_lint_and_tests() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert {"make lint", "make test"} <= set(lines)


@pytest.mark.parametrize(
    ("folder", "skipped"), [(None, True), ("", True), ("absent", True), ("a_file", True), ("present", False)]
)
def test_real_data_tests_are_skipped_if_the_folder_does_not_exist(
    folder: str | None, skipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "present").mkdir()
    (tmp_path / "a_file").touch()
    monkeypatch.delenv("EVIDENT_DATA", raising=False)
    if folder is not None:
        monkeypatch.setenv("EVIDENT_DATA", str(tmp_path / folder) if folder else "")
    reason_to_skip = runpy.run_path(str(ROOT / "tests" / "conftest.py"))["reason_to_skip_real_data"]
    assert (reason_to_skip() is not None) == skipped


def test_citation_is_valid_and_names_the_current_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # required by CFF 1.2.0
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= set(reference)
        assert all({"given-names", "family-names"} <= set(author) for author in reference["authors"])
    identifiers = [identifier["value"] for entry in citation["references"] for identifier in entry["identifiers"]]
    assert identifiers == ["arXiv:1712.06302", "arXiv:1908.02686", "arXiv:1909.08442"]


def test_changelog_has_an_unreleased_section_and_the_current_version() -> None:
    sections = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert sections[:2] == ["Unreleased", PROJECT["version"]]


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_to_files_and_headings(page: str) -> None:
    for link in re.findall(r"\]\((?!https:)(.+?)\)", (ROOT / page).read_text()):
        file, _, heading = link.partition("#")
        headings = re.findall(r"^#+ (.+)$", (ROOT / file).read_text(), flags=re.MULTILINE)
        assert not heading or heading in [text.lower().replace(" ", "-") for text in headings], link


def test_notice_names_every_result_with_third_party_pictures() -> None:
    listed = set(re.findall(r"^  (results/\S+)$", (ROOT / "NOTICE").read_text(), flags=re.MULTILINE))
    shown = set()
    for file in (ROOT / "results").rglob("provenance.json"):
        data = {model["data"] for model in json.loads(file.read_text())["models"]}
        if data & set(THIRD_PARTY_DATA):
            shown.add(file.parent.relative_to(ROOT).as_posix())
    assert listed == shown


@pytest.mark.parametrize("path", sorted((ROOT / "conf").rglob("*.yaml")), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_config_starts_with_a_description(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("# @package")]
    assert lines[0].startswith("# ")
    assert lines[0].endswith((".", ")"))


def imported_layers(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and top-level module of every import from the package; imports for the type checker do not count."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(node)
        for guard in ast.walk(tree)
        if isinstance(guard, ast.If) and ast.unparse(guard.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for statement in guard.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom) or id(node) in for_types:
            continue
        prefix = ""
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}:{node.lineno}: relative import; name the module in full"
            prefix = f"{node.module}."
        names = [prefix + alias.name for alias in node.names]
        yield from ((node.lineno, name.split(".")[1]) for name in names if name.startswith("evident."))


def layer_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def test_layers_list_every_top_level_module() -> None:
    assert len(set(LAYERS)) == len(LAYERS)
    assert set(LAYERS) == {layer_of(path) for path in MODULES} - {"__init__"}


def test_imports_point_down_only() -> None:
    upward = [
        f"{relative(path)}:{line} imports {layer}"
        for path in MODULES
        if path.name != "__init__.py" or path.parent != SOURCE
        for line, layer in imported_layers(path)
        if LAYERS.index(layer) < LAYERS.index(layer_of(path))
    ]
    assert not upward


def test_no_module_is_longer_than_250_lines() -> None:
    too_long = {relative(path): count for path in MODULES if (count := len(path.read_text().splitlines())) > 250}
    assert not too_long


def attribute_lookups(path: Path) -> list[int]:
    """Return the lines that look up an attribute by name, or handle the error of a missing one."""
    lines = []
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case (
                ast.Name(id="hasattr" | "getattr" | "vars" | "AttributeError")
                | ast.Attribute(attr="attrgetter")
                | ast.alias(name="attrgetter")
            ):
                lines.append(node.lineno)
    return lines


def test_attributes_are_looked_up_by_name_only_where_allowed() -> None:
    found = {relative(path): lines for path in MODULES if (lines := attribute_lookups(path))}
    assert {path: lines for path, lines in found.items() if path not in ATTRIBUTE_LOOKUPS} == {}
    assert set(ATTRIBUTE_LOOKUPS) <= set(found)  # no entry is left over


def test_general_modules_mention_no_paper() -> None:
    files = [path for path in MODULES if relative(path).startswith(GENERAL)]
    assert len(files) >= len(GENERAL)
    mentions = [
        f"{relative(path)}:{number}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if re.search("vebi|fgvis|siam", line, flags=re.IGNORECASE)
    ]
    assert not mentions
