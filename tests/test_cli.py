"""Bad input gets one clear line: what was given and what exists."""

from pathlib import Path

import pytest
from entry_point import run


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("explainer=grad_cat", "explainer=grad_cat is unknown; use activations cam centre"),
        ("experiment=flowers", "experiment=flowers is unknown; use an8flower"),
        ("scale=huge", "scale=huge is unknown; use paper quick smoke"),
        ("sede=1", "sede is no key of the config; there are data"),
        ("explained.imags=3", "explained.imags is no key of the config; there are batch_size"),
        ("explainer.bild.layer=x", "explainer.bild is no key of the config; there are build name"),
        ("metric=[iou]", "metric=iou is unknown; use one of conf/metric/*.yaml"),
        ("seed=first", "seed=first is no whole number from 0 on"),
        ("seed=-1", "seed=-1 is no whole number from 0 on"),
        ("threads=0", "threads=0 is no whole number from 1 on"),
        ("explained.images=0", "explained.images=0 is no whole number from 1 on"),
        ("explained.split=train", "explained.split=train is unknown; use test or val"),
        ("task=explain", "image is not given; add image=..."),
        ("task=report", "without scores"),
    ],
)
def test_one_line_says_what_was_given_and_what_exists(tmp_path: Path, given: str, told: str) -> None:
    ended = run(given, "logger=none", "hydra.sweeper.params.explainer=random", store=tmp_path)
    assert ended.returncode == 1
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
    if given != "task=report":
        assert len(ended.stderr.strip().splitlines()) == 1
