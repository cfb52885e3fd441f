"""Explainers, metrics and recorders keep to the device of their images: `second_device_cases.py` in another process."""

import re
import subprocess
import sys

import pytest
import torch
from entry_point import ROOT

CASES = len([*(ROOT / "conf" / "explainer").glob("*.yaml"), *(ROOT / "conf" / "metric").glob("*.yaml")])


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there: run pytest -m gpu")
def test_explainers_metrics_and_recorders_keep_to_the_device_of_their_images() -> None:
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/second_device_cases.py"]
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    assert int(re.findall(r"(\d+) passed", ended.stdout)[-1]) >= CASES
