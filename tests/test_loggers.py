"""Loggers are closed whatever happens to the cell."""

from pathlib import Path

import pandas as pd
import pytest
import torch
import wandb
from entry_point import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from evident import cell, cli
from evident.loggers import log_scores


def config(store: Path, *overrides: str) -> DictConfig:
    cli.prepare()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", [f"paths.store={store}", "scale=smoke", *overrides])


def scores() -> pd.DataFrame:
    frame = pd.DataFrame({"metric": ["gini", "gini", "iou_area"], "value": [0.2, 0.4, 0.9], "image": list("abc")})
    return frame.assign(at=float("nan"))


def test_a_failing_cell_closes_its_run_and_the_next_gets_its_own(tmp_path: Path) -> None:
    settings = config(tmp_path, "logger=wandb")
    examples = {
        "images": torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
        "target": torch.zeros(2),
        "heatmaps": torch.rand(2, 8, 8),
    }

    def fail() -> None:
        with cell.loggers_of(settings, "first") as loggers:
            log_scores(loggers, scores(), examples)
            assert wandb.run is not None
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    assert wandb.run is None
    with cell.loggers_of(settings, "second") as loggers:
        log_scores(loggers, scores(), {})
    assert wandb.run is None
    assert len(list((tmp_path / "logs" / "wandb").glob("offline-run-*"))) == 2


def test_a_logger_that_fails_costs_a_warning_and_not_the_scores(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object, **__: object) -> None:
        raise ConnectionError("the server is gone")

    with cell.loggers_of(config(tmp_path, "logger=csv"), "cell") as loggers:
        monkeypatch.setattr(loggers[0], "log_metrics", down)
        monkeypatch.setattr(loggers[0], "finalize", down)
        log_scores(loggers, scores(), {})
    assert "CSVLogger could not log the scores: the server is gone" in caplog.text
    assert "CSVLogger could not be closed: the server is gone" in caplog.text


def test_without_a_server_the_run_is_kept_offline(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(**_: object) -> bool:
        raise wandb.errors.CommError("no server")

    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(wandb, "login", unreachable)
    with cell.loggers_of(config(tmp_path, "logger=wandb"), "cell") as loggers:
        log_scores(loggers, scores(), {})
    assert "kept offline" in caplog.text
    assert len(list((tmp_path / "logs" / "wandb").glob("offline-run-*"))) == 1


def test_csv_holds_the_mean_scores(tmp_path: Path) -> None:
    with cell.loggers_of(config(tmp_path, "logger=csv"), "cell") as loggers:
        log_scores(loggers, scores(), {})
    [file] = tmp_path.glob("logs/an8flower/*/metrics.csv")
    [row] = pd.read_csv(file).to_dict("records")
    assert row["gini"] == pytest.approx(0.3)
    assert row["iou_area"] == pytest.approx(0.9)


def test_none_means_none(tmp_path: Path) -> None:
    with cell.loggers_of(config(tmp_path, "logger=none"), "cell") as loggers:
        assert loggers == []
    assert not list(tmp_path.iterdir())
