"""What holds for the claims of every paper: names, verdicts, errors, the script, the README, the paper's values."""

import atexit
import importlib
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from claims_script import Change, Missing, Tables, failing, load_claims, write_tables
from entry_point import ROOT

from evident.errors import UserError
from evident.report.claims.verdicts import Claim, claims_table, measured_at, paper_values, write_claims
from evident.report.table_files import file_name

RESULTS = ROOT / "results"
PAPERS = sorted(file.parent.name for file in (ROOT / "experiments").glob("*/claims.py"))
SCRIPTS = {paper: load_claims(paper) for paper in PAPERS}
KNOWN: dict[str, Any] = {paper: importlib.import_module(f"{paper}_tables") for paper in PAPERS}
COMMITTED = [
    paper for paper in PAPERS if all((RESULTS / experiment).exists() for experiment in SCRIPTS[paper].EXPERIMENTS)
]
CHANGES = [(paper, change) for paper in PAPERS for change in KNOWN[paper].CHANGES]
MISSING = [(paper, missing) for paper in PAPERS for missing in KNOWN[paper].MISSING]
READ = [(paper, *place) for paper in PAPERS for place in KNOWN[paper].tables() if place not in KNOWN[paper].UNREAD]


@cache
def known(paper: str) -> Tables:
    """Return the tables on which every claim of a paper holds; tests change copies."""
    return KNOWN[paper].tables()


@cache
def written(paper: str) -> Path:
    """Return a folder with the known tables, from which tests link those that they do not change."""
    folder = Path(mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return write_tables(known(paper), folder, KNOWN[paper].SEEDS)


def judge(paper: str, tables: Tables, results: Path) -> list[Claim]:
    changed = {place: frame for place, frame in tables.items() if frame is not known(paper).get(place)}
    write_tables(changed, results, KNOWN[paper].SEEDS)
    for experiment, table in tables.keys() - changed.keys():
        for name in (file_name(table), "provenance.json"):
            link = results / experiment / name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(written(paper) / experiment / name)
    return SCRIPTS[paper].claims(results)


def copy_of(paper: str, folder: Path) -> Path:
    """Copy the script and its README into a project whose results are in `folder`/results."""
    source, ignore = ROOT / "experiments" / paper, shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(source, folder / "experiments" / paper, ignore=ignore))


def command_for(experiment: str) -> str:
    return "task=benchmark" if experiment == "speed" else f"experiment={experiment}"


@pytest.mark.parametrize("paper", PAPERS)
def test_every_claim_is_judged_and_holds_on_the_known_tables(paper: str, tmp_path: Path) -> None:
    claims = judge(paper, known(paper), tmp_path)
    assert [claim.name for claim in claims] == KNOWN[paper].NAMES
    for claim in claims:
        assert claim.verdict == ("post hoc" if claim.name in KNOWN[paper].POST_HOC else "holds"), claim


@pytest.mark.parametrize("paper", PAPERS)
def test_claims_refer_to_existing_experiments(paper: str, tmp_path: Path) -> None:
    tables = known(paper)
    experiments = {claim.experiment for claim in judge(paper, tables, tmp_path)}
    assert experiments == {experiment for experiment, _ in tables}
    assert experiments >= set(SCRIPTS[paper].EXPERIMENTS)
    for experiment in experiments - {"speed"}:
        assert (ROOT / "conf" / "experiment" / f"{experiment}.yaml").is_file()


@pytest.mark.parametrize(("paper", "change"), CHANGES, ids=str)
def test_change_of_one_value_fails_exactly_its_claims(paper: str, change: Change, tmp_path: Path) -> None:
    assert failing(judge(paper, change.of(known(paper)), tmp_path)) == change.fails


@pytest.mark.parametrize("paper", PAPERS)
def test_order_of_rows_and_pairs_does_not_matter(paper: str, tmp_path: Path) -> None:
    one, other = (
        judge(paper, KNOWN[paper].tables(reverse=reverse), tmp_path / str(reverse)) for reverse in (False, True)
    )
    assert one == other


@pytest.mark.parametrize(("paper", "experiment", "table"), READ)
def test_missing_table_raises_with_the_command_that_makes_it(
    paper: str, experiment: str, table: str, tmp_path: Path
) -> None:
    tables = dict(known(paper))
    del tables[experiment, table]
    message = f"{tmp_path}/{experiment}/{file_name(table)} is missing; run python run.py {command_for(experiment)}"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        judge(paper, tables, tmp_path)


@pytest.mark.parametrize(("paper", "missing"), MISSING, ids=str)
def test_missing_rows_raise_with_their_names(paper: str, missing: Missing, tmp_path: Path) -> None:
    file = f"{tmp_path}/{missing.experiment}/{file_name(missing.table)}"
    message = f"{file} has no row with {missing.row}; run python run.py {command_for(missing.experiment)}"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        judge(paper, missing.of(known(paper)), tmp_path)


@pytest.mark.parametrize("paper", PAPERS)
def test_script_writes_the_table_into_the_readme_beside_it(paper: str, tmp_path: Path) -> None:
    here, results = copy_of(paper, tmp_path), tmp_path / "results"
    before = (here / "README.md").read_text()
    command = [sys.executable, str(here / "claims.py")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert re.fullmatch(rf"{re.escape(str(results))}/.*\.csv(\.gz)? is missing; run python run.py experiment=\S+", line)
    assert (here / "README.md").read_text() == before
    claims = judge(paper, known(paper), results)
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    table = claims_table(claims, paper_values(here / "paper_values.yaml"))
    text = f"{table}\n{measured_at([results / name for name in SCRIPTS[paper].EXPERIMENTS])}\n"
    assert ended.stdout == f"{text}\n"
    assert f"<!-- claims -->\n\n{text}\n<!-- end -->" in (here / "README.md").read_text()


@pytest.mark.parametrize("paper", PAPERS)
def test_values_of_the_paper_belong_to_existing_claims(paper: str, tmp_path: Path) -> None:
    """The values in the file, and the example in its comment."""
    file = ROOT / "experiments" / paper / "paper_values.yaml"
    [example] = re.findall(r"^#   (.*)$", file.read_text(), flags=re.M)
    (tmp_path / "example.yaml").write_text(example.replace("...", "1"))
    for values in (paper_values(file), paper_values(tmp_path / "example.yaml")):
        assert values.keys() <= set(KNOWN[paper].NAMES)


@pytest.mark.parametrize("paper", COMMITTED)
def test_readme_shows_the_verdicts_on_the_committed_results(paper: str, tmp_path: Path) -> None:
    here, script = copy_of(paper, tmp_path), SCRIPTS[paper]
    write_claims(script.claims(RESULTS), here, measured_at([RESULTS / name for name in script.EXPERIMENTS]))
    assert (here / "README.md").read_text() == (ROOT / "experiments" / paper / "README.md").read_text()
