"""Tables as files."""

import gzip
import time
from pathlib import Path

import pandas as pd
import pytest

from evident.report.table_files import encode, file_name

ROWS = pd.DataFrame({"explainer": ["rise", "cam"], "mean": [1 / 3, 2.0]})
TEXT = b"explainer,mean\nrise,0.333333\ncam,2\n"


def test_table_is_text_and_large_ones_are_compressed() -> None:
    assert (file_name("table"), encode("table", ROWS)) == ("table.csv", TEXT)
    for name in ("significance", "curves"):
        assert file_name(name) == f"{name}.csv.gz"
        assert gzip.decompress(encode(name, ROWS)) == TEXT


def test_equal_rows_are_equal_bytes_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    before = encode("curves", ROWS)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    assert encode("curves", ROWS) == before


def test_pandas_reads_a_compressed_table(tmp_path: Path) -> None:
    (tmp_path / file_name("curves")).write_bytes(encode("curves", ROWS))
    read = pd.read_csv(tmp_path / "curves.csv.gz")
    assert read.to_dict("list") == {"explainer": ["rise", "cam"], "mean": [0.333333, 2]}
