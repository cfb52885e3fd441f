"""Loggers: mean scores are logged, loggers are closed even if the cell fails, and a broken logger is only a warning."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import wandb
from torch import Tensor

from evident.cli import composed
from evident.loggers import log_scores, loggers_of
from evident.request import Request


def request(store: Path, *overrides: str) -> Request:
    return Request(composed("scale=smoke", *overrides, f"paths.store={store}"))


def scores() -> pd.DataFrame:
    frame = pd.DataFrame({"metric": ["gini", "gini", "iou_area"], "value": [0.2, 0.4, 0.9], "image": list("abc")})
    return frame.assign(axis="", at=float("nan"))


def examples() -> dict[str, Tensor]:
    return {
        "images": torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
        "target": torch.zeros(2),
        "heatmaps": torch.rand(2, 8, 8),
    }


def test_wandb_run_is_closed_if_the_cell_fails_and_the_next_cell_has_its_own(tmp_path: Path) -> None:
    def fail() -> None:
        with loggers_of(request(tmp_path, "logger=wandb")) as loggers:
            log_scores(loggers, scores(), examples())
            assert wandb.run is not None
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    assert wandb.run is None
    with loggers_of(request(tmp_path, "logger=wandb", "seed=1")) as loggers:
        log_scores(loggers, scores(), {})
    assert wandb.run is None
    assert len(list((tmp_path / "logs" / "wandb").glob("offline-run-*"))) == 2


def test_failing_logger_causes_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object, **__: object) -> None:
        raise ConnectionError("the server is gone")

    with loggers_of(request(tmp_path, "logger=csv")) as loggers:
        monkeypatch.setattr(loggers[0], "log_metrics", down)
        monkeypatch.setattr(loggers[0], "finalize", down)
        log_scores(loggers, scores(), {})
    for work in ("log the scores", "be closed"):
        assert f"CSVLogger could not {work}, and the cell goes on without it: the server is gone" in caplog.text


@pytest.mark.parametrize("name", ["csv", "wandb"])
def test_logger_that_cannot_start_costs_a_warning_and_not_the_cell(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    with loggers_of(request(tmp_path, f"logger={name}")) as loggers:
        log_scores(loggers, scores(), {})
    assert loggers == []
    [record] = caplog.records
    assert record.message.startswith(f"logger={name} could not be started, and the cell goes on without it: ")
    assert "\n" not in record.message


def test_first_run_of_wandb_prints_nothing(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; import sys; from test_loggers import *\n"
        "with loggers_of(request(Path(sys.argv[1]), 'logger=wandb')) as loggers:\n"
        "    log_scores(loggers, scores(), {})\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    ended = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")


def test_wandb_run_is_kept_offline_if_the_server_cannot_be_reached(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(**_: object) -> bool:
        raise wandb.errors.CommError("no server")

    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(wandb, "login", unreachable)
    with loggers_of(request(tmp_path, "logger=wandb")) as loggers:
        log_scores(loggers, scores(), {})
    assert "logged offline" in caplog.text
    assert len(list((tmp_path / "logs" / "wandb").glob("offline-run-*"))) == 1


def test_csv_holds_mean_scores(tmp_path: Path) -> None:
    with loggers_of(request(tmp_path, "logger=csv")) as loggers:
        log_scores(loggers, scores(), {})
    [file] = tmp_path.glob("logs/an8flower/*/metrics.csv")
    [row] = pd.read_csv(file).to_dict("records")
    assert row["gini"] == pytest.approx(0.3)
    assert row["iou_area"] == pytest.approx(0.9)


def test_logger_none_writes_nothing(tmp_path: Path) -> None:
    with loggers_of(request(tmp_path, "logger=none")) as loggers:
        assert loggers == []
    assert not list(tmp_path.iterdir())
