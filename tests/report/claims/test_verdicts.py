"""Claims and their verdicts: a table in the README of the paper's experiments, and nothing else of that file."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from evident.errors import UserError
from evident.report.claims.verdicts import Claim, claims_table, measured_at, paper_values, write_claims

FEW = Claim("a, few", "at most 5 % of all", "paper/digits", "12 of 1,000", holds=True)
ASKED = Claim("why", "asked afterwards", "paper/flowers", "0.4 against 0.1", holds=None)
BETTER = Claim("c", "higher than any other", "paper/flowers", "0.4 against 0.5", holds=False)
MEASURED = "Measured by hand."
BEFORE = "# A paper\n\n<!-- a comment -->\n\n| a | table |\n"
AFTER = "\n\nAnd more.\n<!-- end -->\nlast line, without an end"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A paper's folder, of whose claims nothing is known yet."""
    (tmp_path / "README.md").write_text(f"{BEFORE}<!-- claims -->\n<!-- end -->{AFTER}")
    (tmp_path / "paper_values.yaml").write_text("# nobody has read it yet\n{}\n")
    return tmp_path


def readme(folder: Path) -> str:
    return (folder / "README.md").read_text()


def rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_every_claim_is_a_row_with_its_verdict() -> None:
    header, rule, few, better, asked = rows(claims_table([FEW, BETTER, ASKED], {}))
    assert header == ["claim", "experiment", "holds if", "measured", "verdict"]
    assert set(rule) == {"---"}
    assert few == ["a, few", "`paper/digits`", "at most 5 % of all", "12 of 1,000", "holds"]
    assert better == ["c", "`paper/flowers`", "higher than any other", "0.4 against 0.5", "**fails**"]
    assert asked[-1] == "post hoc"


def test_the_papers_own_values_stand_beside_ours_where_there_are_any() -> None:
    header, rule, few, better = rows(claims_table([FEW, BETTER], {"c": "0.7 (page 8)"}))
    assert header == ["claim", "experiment", "holds if", "measured", "paper", "verdict"]
    assert len(rule) == len(header)
    assert few[-2:] == ["", "holds"]
    assert better[-2:] == ["0.7 (page 8)", "**fails**"]


def test_a_value_of_no_claim_is_refused_with_the_claims_there_are() -> None:
    message = r"paper_values.yaml names b, d, which is no claim; use a, few; c$"
    with pytest.raises(UserError, match=message):
        claims_table([FEW, BETTER], {"d": "1 (page 2)", "c": "0.7 (page 8)", "b": "1 (page 2)"})


def test_a_value_is_read_with_its_page(tmp_path: Path) -> None:
    file = tmp_path / "paper_values.yaml"
    file.write_text("c: {value: 0.70, page: 8}\na, few: {value: 1 of 10, page: A3, read by: somebody}\n")
    assert paper_values(file) == {"c": "0.7 (page 8)", "a, few": "1 of 10 (page A3)"}


@pytest.mark.parametrize("content", ["", "# only a comment\n", "{}\n"])
def test_no_values_are_no_column(tmp_path: Path, content: str) -> None:
    file = tmp_path / "paper_values.yaml"
    file.write_text(content)
    assert paper_values(file) == {}


@pytest.mark.parametrize("entry", ["{value: 0.7}", "{page: 8}", "0.7", "[0.7, 8]", ""])
def test_a_value_that_nobody_can_look_up_is_refused(tmp_path: Path, entry: str) -> None:
    file = tmp_path / "paper_values.yaml"
    file.write_text(f"a, few: {{value: 1, page: 2}}\nc: {entry}\n")
    with pytest.raises(UserError, match=r"paper_values.yaml: c needs `value` and `page`"):
        paper_values(file)


def test_the_table_goes_between_the_markers_and_all_else_stays(folder: Path) -> None:
    text = write_claims([FEW, BETTER], folder, MEASURED)
    assert text == f"{claims_table([FEW, BETTER], {})}\n{MEASURED}\n"
    assert readme(folder) == f"{BEFORE}<!-- claims -->\n\n{text}\n<!-- end -->{AFTER}"
    assert {path.name for path in folder.iterdir()} == {"README.md", "paper_values.yaml"}


def test_the_papers_values_come_from_the_file_beside_the_readme(folder: Path) -> None:
    (folder / "paper_values.yaml").write_text("c: {value: 0.7, page: 8}\n")
    assert "| 0.7 (page 8) | **fails** |" in write_claims([FEW, BETTER], folder, MEASURED)


def test_twice_gives_the_same_file(folder: Path) -> None:
    write_claims([FEW, BETTER], folder, MEASURED)
    once = readme(folder)
    write_claims([FEW, BETTER], folder, MEASURED)
    assert readme(folder) == once


def test_other_claims_replace_the_table(folder: Path) -> None:
    write_claims([FEW, BETTER], folder, MEASURED)
    text = write_claims([replace(BETTER, holds=True)], folder, MEASURED)
    assert readme(folder) == f"{BEFORE}<!-- claims -->\n\n{text}\n<!-- end -->{AFTER}"
    assert "fails" not in readme(folder)


@pytest.mark.parametrize("text", ["", "no markers", "<!-- claims -->\nno end", "<!-- end -->\n<!-- claims -->\n"])
def test_a_readme_without_both_markers_is_refused_and_stays_as_it_is(folder: Path, text: str) -> None:
    (folder / "README.md").write_text(text)
    with pytest.raises(UserError, match=r"README.md has no place for the claims; put the lines <!-- claims --> and"):
        write_claims([FEW], folder, MEASURED)
    assert readme(folder) == text


def test_values_that_are_refused_leave_the_readme_as_it_is(folder: Path) -> None:
    before = readme(folder)
    (folder / "paper_values.yaml").write_text("d: {value: 0.7, page: 8}\n")
    with pytest.raises(UserError, match="names d, which is no claim"):
        write_claims([FEW], folder, MEASURED)
    assert readme(folder) == before


def experiment(
    folder: Path, images: int, seeds: list[int], scale: str = "quick", models: tuple[str, ...] = ("net",)
) -> Path:
    """Results of an explainer on so many images of each seed; another metric leaves one image undefined."""
    folder.mkdir(parents=True)
    (folder / "provenance.json").write_text(json.dumps({"scale": scale, "seeds": seeds}))
    counts = [images * len(seeds), images * len(seeds) - 1]
    one = pd.DataFrame({"metric": ["a", "b"], "n": counts, "seeds": " ".join(map(str, seeds))})
    table = pd.concat([one.assign(model=model) for model in models])
    table.to_csv(folder / "table.csv", index=False)
    return folder


def test_one_sentence_says_on_what_it_was_measured(tmp_path: Path) -> None:
    few = experiment(tmp_path / "few", 96, [0, 1, 2])
    assert measured_at([few]) == "Measured at scale quick: 3 networks a data set, 96 images each."
    more = experiment(tmp_path / "more", 600, [0, 1, 2, 3, 4])
    assert measured_at([more, few]) == "Measured at scale quick: 3 or 5 networks a data set, 96 or 600 images each."


def test_a_single_seed_counts_as_one(tmp_path: Path) -> None:
    one = experiment(tmp_path / "one", 96, [7])
    assert measured_at([one]) == "Measured at scale quick: 1 network a data set, 96 images each."


def test_networks_of_several_architectures_are_counted(tmp_path: Path) -> None:
    both = [
        experiment(tmp_path / "one", 96, [0]),
        experiment(tmp_path / "two", 16, [0], models=("squeezenet1_1", "mobilenet_v2")),
    ]
    assert measured_at(both) == "Measured at scale quick: 1 or 2 networks a data set, 16 or 96 images each."


@pytest.mark.parametrize("names", [("one", "two"), ("flowers", "paper/flowers")])
def test_verdicts_of_several_scales_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    scales = dict(zip(names, ("smoke", "paper"), strict=True))
    both = [experiment(tmp_path / name, 4, [0], scale) for name, scale in scales.items()]
    told = ", ".join(f"'{tmp_path / name}': '{scale}'" for name, scale in scales.items())
    with pytest.raises(UserError, match=re.escape(f"results of several scales: {{{told}}}")):
        measured_at(both)
