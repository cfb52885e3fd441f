"""Error messages of the command line: one line that says what was given and what would do."""

from pathlib import Path

import pytest
from entry_point import axes, run


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("explainer=grad_cat", "explainer=grad_cat is unknown; use activations cam centre"),
        ("experiment=flowers", "experiment=flowers is unknown; use an8flower"),
        ("scale=huge", "scale=huge is unknown; use paper quick smoke"),
        ("debug=verbose", "debug=verbose is unknown; use default"),
        ("experiment=vebi/minst", "experiment=vebi/minst is unknown; use vebi/an8flower_double_12c"),
        ("explainer=lime/squars", "explainer=lime/squars is unknown; use lime/squares"),
        ("explainer=glob(nothing*)", "a glob of the sweep matches no file"),
        ("sede=1", "sede is not a key of the config; use one of data"),
        ("explained.imags=3", "explained.imags is not a key of the config; use one of batch_size"),
        ("explainer.bild.layer=x", "explainer.bild is not a key of the config; use one of build name"),
        ("metric=[iou]", "metric=iou is unknown; use one of conf/metric/*.yaml"),
        ("seed=first", "seed=first is not a whole number of 0 or more"),
        ("seed=-1", "seed=-1 is not a whole number of 0 or more"),
        ("threads=0", "threads=0 is not a whole number of 1 or more"),
        ("explained.images=0", "explained.images=0 is not a whole number of 1 or more"),
        ("explained.split=train", "explained.split=train is unknown; use test or val"),
        ("task=explain", "image is not given; add image=..."),
        ("task=report", "these cells are missing or failed; run python run.py for them:"),
    ],
)
def test_bad_input_ends_with_one_line(tmp_path: Path, given: str, message: str) -> None:
    # Without groups that do not matter here; the input comes last and wins.
    rest = ("metric=[]", "recorder=[]", "section=[]", "logger=none", *axes(explainer="random", seed="0"))
    ended = run(*rest, given, store=tmp_path)
    assert ended.returncode == 1
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    cells_without_scores = 1 if given == "task=report" else 0
    assert len(ended.stderr.strip().splitlines()) == 1 + cells_without_scores
