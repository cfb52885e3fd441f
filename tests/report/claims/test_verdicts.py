"""The table of claims in a README; the rest of that file stays unchanged."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from evident.errors import UserError
from evident.report.claims.verdicts import Claim, claims_table, main, measured_at, paper_values, write_claims

FEW = Claim("a, few", "at most 5 % of all", "paper/digits", "12 of 1,000", "3 networks", "holds")
LATER = Claim("why", "asked afterwards", "paper/flowers", "0.4 against 0.1", "2 networks", "post hoc")
BETTER = Claim("c", "higher than any other", "paper/flowers", "0.4 against 0.5", "1 network", "refuted")
MEASURED = "Measured by hand."
BEFORE = "# A paper\n\n<!-- a comment -->\n\n| a | table |\n"
AFTER = "\n\nAnd more.\n<!-- end -->\nlast line, without an end"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A paper's folder, with no claims in its README and no values of the paper."""
    (tmp_path / "README.md").write_text(f"{BEFORE}<!-- claims -->\n<!-- end -->{AFTER}")
    (tmp_path / "paper_values.yaml").write_text("# no values yet\n{}\n")
    return tmp_path


def readme(folder: Path) -> str:
    return (folder / "README.md").read_text()


def rows(table: str) -> list[list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_claim_has_a_row_with_its_verdict() -> None:
    header, rule, few, better, later, *_ = rows(claims_table([FEW, BETTER, LATER], {}))
    assert header == ["claim", "experiment", "holds if", "measured", "sample", "verdict"]
    assert set(rule) == {"---"}
    assert few == ["a, few", "`paper/digits`", "at most 5 % of all", "12 of 1,000", "3 networks", "holds"]
    assert better == ["c", "`paper/flowers`", "higher than any other", "0.4 against 0.5", "1 network", "**refuted**"]
    assert later[-1] == "post hoc"


def test_claims_are_listed_by_verdict_with_what_would_decide_them() -> None:
    open_ = replace(FEW, name="d", verdict="undecided", decided_by="9 networks")
    listed = claims_table([open_, FEW, BETTER, LATER, replace(FEW, name="e")], {}).partition("\n\n")[0]
    assert listed.splitlines() == [
        "- *holds* (2): a, few; e",
        "- *refuted* (1): c",
        "- *undecided* (1): d (9 networks would decide)",
        "- *post hoc* (1): why",
    ]


def test_values_of_the_paper_get_a_column() -> None:
    header, rule, few, better, *_ = rows(claims_table([FEW, BETTER], {"c": "0.7 (page 8)"}))
    assert header == ["claim", "experiment", "holds if", "measured", "sample", "paper", "verdict"]
    assert len(rule) == len(header)
    assert few[-2:] == ["", "holds"]
    assert better[-2:] == ["0.7 (page 8)", "**refuted**"]


def test_value_for_unknown_claim_raises_and_lists_the_claims() -> None:
    message = r"paper_values.yaml has values for unknown claims: b, d; use a, few; c$"
    with pytest.raises(UserError, match=message):
        claims_table([FEW, BETTER], {"d": "1 (page 2)", "c": "0.7 (page 8)", "b": "1 (page 2)"})


def test_values_are_read_with_their_pages(tmp_path: Path) -> None:
    file = tmp_path / "paper_values.yaml"
    file.write_text("c: {value: 0.70, page: 8}\na, few: {value: 1 of 10, page: A3, note: none}\n")
    assert paper_values(file) == {"c": "0.7 (page 8)", "a, few": "1 of 10 (page A3)"}


@pytest.mark.parametrize("content", ["", "# only a comment\n", "{}\n"])
def test_empty_file_has_no_values(tmp_path: Path, content: str) -> None:
    file = tmp_path / "paper_values.yaml"
    file.write_text(content)
    assert paper_values(file) == {}


@pytest.mark.parametrize("entry", ["{value: 0.7}", "{page: 8}", "0.7", "[0.7, 8]", ""])
def test_value_without_value_or_page_raises(tmp_path: Path, entry: str) -> None:
    file = tmp_path / "paper_values.yaml"
    file.write_text(f"a, few: {{value: 1, page: 2}}\nc: {entry}\n")
    with pytest.raises(UserError, match=r"paper_values.yaml: c needs `value` and `page`"):
        paper_values(file)


def test_table_is_written_between_the_markers_only(folder: Path) -> None:
    text = write_claims([FEW, BETTER], folder, MEASURED)
    assert text == f"{claims_table([FEW, BETTER], {})}\n{MEASURED}\n"
    assert readme(folder) == f"{BEFORE}<!-- claims -->\n\n{text}\n<!-- end -->{AFTER}"
    assert {path.name for path in folder.iterdir()} == {"README.md", "paper_values.yaml"}


def test_values_of_the_paper_come_from_the_file_beside_the_readme(folder: Path) -> None:
    (folder / "paper_values.yaml").write_text("c: {value: 0.7, page: 8}\n")
    assert "| 0.7 (page 8) | **refuted** |" in write_claims([FEW, BETTER], folder, MEASURED)


def test_writing_twice_gives_the_same_file(folder: Path) -> None:
    write_claims([FEW, BETTER], folder, MEASURED)
    once = readme(folder)
    write_claims([FEW, BETTER], folder, MEASURED)
    assert readme(folder) == once


def test_new_claims_replace_the_table(folder: Path) -> None:
    write_claims([FEW, BETTER], folder, MEASURED)
    text = write_claims([replace(BETTER, verdict="holds")], folder, MEASURED)
    assert readme(folder) == f"{BEFORE}<!-- claims -->\n\n{text}\n<!-- end -->{AFTER}"
    assert "**refuted**" not in readme(folder)


@pytest.mark.parametrize("text", ["", "no markers", "<!-- claims -->\nno end", "<!-- end -->\n<!-- claims -->\n"])
def test_readme_without_both_markers_raises_and_stays_unchanged(folder: Path, text: str) -> None:
    (folder / "README.md").write_text(text)
    with pytest.raises(UserError, match=r"README.md has no place for the claims; add the lines <!-- claims --> and"):
        write_claims([FEW], folder, MEASURED)
    assert readme(folder) == text


def test_invalid_values_leave_the_readme_unchanged(folder: Path) -> None:
    before = readme(folder)
    (folder / "paper_values.yaml").write_text("d: {value: 0.7, page: 8}\n")
    with pytest.raises(UserError, match="unknown claims: d;"):
        write_claims([FEW], folder, MEASURED)
    assert readme(folder) == before


def experiment(
    folder: Path, images: int, seeds: list[int], scale: str = "quick", models: tuple[str, ...] = ("net",)
) -> Path:
    """Write results on `images` images of each seed; a second metric is undefined for one image."""
    folder.mkdir(parents=True)
    hashes = [{"hash": f"{model} {seed}"} for model in models for seed in seeds]
    made = {"scale": scale, "experiment": f"paper/{folder.name}", "models": hashes}
    (folder / "provenance.json").write_text(json.dumps(made))
    scored = {"n": [images * len(seeds), images * len(seeds) - 1], "n_undefined": [0, 1], "networks": len(seeds)}
    one = pd.DataFrame({"data": "digits", "metric": ["a", "b"], **scored, "seeds": " ".join(map(str, seeds))})
    table = pd.concat([one.assign(model=model) for model in models])
    table.to_csv(folder / "table.csv", index=False)
    return folder


def test_scale_networks_and_images_are_counted(tmp_path: Path) -> None:
    few = experiment(tmp_path / "few", 96, [0, 1, 2])
    assert measured_at([few]) == "Measured at scale quick: 3 networks per experiment, 96 images each."
    more = experiment(tmp_path / "more", 600, [0, 1, 2, 3, 4])
    assert measured_at([more, few]) == "Measured at scale quick: 3 or 5 networks per experiment, 96 or 600 images each."


def test_one_network_is_singular(tmp_path: Path) -> None:
    one = experiment(tmp_path / "one", 96, [7])
    assert measured_at([one]) == "Measured at scale quick: 1 network per experiment, 96 images each."


def test_networks_are_counted_over_seeds_and_architectures(tmp_path: Path) -> None:
    both = [
        experiment(tmp_path / "one", 96, [0]),
        experiment(tmp_path / "two", 16, [0], models=("squeezenet1_1", "mobilenet_v2")),
    ]
    assert measured_at(both) == "Measured at scale quick: 1 or 2 networks per experiment, 16 or 96 images each."


def test_seeds_of_a_published_network_are_blocks_of_images(tmp_path: Path) -> None:
    blocks = experiment(tmp_path / "imagenet", 16, [0, 1, 2], "day")
    table, made = pd.read_csv(blocks / "table.csv"), json.loads((blocks / "provenance.json").read_text())
    table.assign(networks=1).to_csv(blocks / "table.csv", index=False)
    (blocks / "provenance.json").write_text(json.dumps({**made, "models": [{"hash": "published"}]}))
    assert measured_at([blocks]) == "Measured at scale day: 1 network per experiment, 48 images each."


def test_networks_that_explain_several_data_sets_are_counted_once(tmp_path: Path) -> None:
    one = experiment(tmp_path / "one", 16, [0, 1])
    table = pd.read_csv(one / "table.csv")
    pd.concat([table, table.assign(data="grids")]).to_csv(one / "table.csv", index=False)
    assert measured_at([one]) == "Measured at scale quick: 2 networks per experiment, 16 images each."


def test_experiments_of_a_scale_with_more_images_are_named(tmp_path: Path) -> None:
    more = experiment(tmp_path / "imagenet", 48, [0], "day", models=("squeezenet1_1", "mobilenet_v2"))
    quick = experiment(tmp_path / "one", 96, [0])
    expected = (
        "Measured at scale quick: 1 network per experiment, 96 images each; "
        "`paper/imagenet` at scale day: 2 networks per experiment, 48 images each."
    )
    assert measured_at([more, quick]) == expected


@pytest.mark.parametrize("names", [("one", "two"), ("flowers", "paper/flowers")])
def test_results_of_several_scales_raise(tmp_path: Path, names: tuple[str, str]) -> None:
    scales = dict(zip(names, ("smoke", "paper"), strict=True))
    both = [experiment(tmp_path / name, 4, [0], scale) for name, scale in scales.items()]
    listed = ", ".join(f"'{tmp_path / name}': '{scale}'" for name, scale in scales.items())
    with pytest.raises(UserError, match=re.escape(f"results of several scales: {{{listed}}}")):
        measured_at(both)


@pytest.fixture
def project(tmp_path: Path, folder: Path) -> Path:
    """A project with the results of one experiment and the folder of one paper; returns the paper's script."""
    experiment(tmp_path / "results" / "paper" / "digits", 96, [0])
    here = tmp_path / "experiments" / "paper"
    here.mkdir(parents=True)
    for name in ("README.md", "paper_values.yaml"):
        (folder / name).rename(here / name)
    return here / "claims.py"


def test_main_judges_the_results_of_the_project_and_prints_the_table(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def claims(results: Path) -> list[Claim]:
        assert (results / "paper" / "digits" / "table.csv").exists()
        return [FEW]

    main(claims, ["paper/digits"], str(project), [])
    text = f"{claims_table([FEW], {})}\nMeasured at scale quick: 1 network per experiment, 96 images each.\n"
    assert text in readme(project.parent)
    assert capsys.readouterr().out == f"{text}\n"


def test_main_prints_verdicts_on_another_folder_and_leaves_the_readme(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment(tmp_path / "mine" / "paper" / "digits", 8, [0], "smoke")
    before, judged = readme(project.parent), []

    def claims(results: Path) -> list[Claim]:
        judged.append(results)
        return [FEW]

    main(claims, ["paper/digits"], str(project), [str(tmp_path / "mine")])
    assert judged == [tmp_path / "mine"]
    assert readme(project.parent) == before
    assert "Measured at scale smoke: 1 network per experiment, 8 images each." in capsys.readouterr().out


def test_main_explains_itself(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(lambda _: [FEW], ["paper/digits"], str(project), ["--help"])
    assert "Judge the claims of paper by tables of results." in capsys.readouterr().out


def test_main_exits_with_the_message_of_a_user_error(project: Path) -> None:
    def claims(results: Path) -> list[Claim]:
        raise UserError("a table is missing")

    before = readme(project.parent)
    with pytest.raises(SystemExit, match=r"^a table is missing$"):
        main(claims, ["paper/digits"], str(project), [])
    assert readme(project.parent) == before
