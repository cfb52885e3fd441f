"""Error messages of the command line: one line that says what was given and what would do."""

import sys
from pathlib import Path

import pytest
from entry_point import axes, run
from hydra.errors import InstantiationException, MissingConfigException
from hydra.utils import instantiate
from joblib.externals.loky.process_executor import TerminatedWorkerError
from PIL import Image

from evident.cli import enter, one_line


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("explainer=grad_cat", "explainer=grad_cat is unknown, perhaps grad_cam; use activations attention_relevance"),
        ("experiment=flowers", "experiment=flowers is unknown, perhaps an8flower; use all an8flower"),
        ("scale=huge", "scale=huge is unknown; use day paper quick smoke"),
        ("debug=verbose", "debug=verbose is unknown; use default"),
        (
            "experiment=vebi/minst",
            "experiment=vebi/minst is unknown, perhaps vebi/mnist; use vebi/",
        ),
        ("explainer=lime/squars", "explainer=lime/squars is unknown, perhaps lime/squares; use lime/squares"),
        ("explainer=glob(nothing*)", "a glob of the sweep matches no file"),
        ("model=0", "Config group override must be a string or a list. Got int"),
        ("task=explain image=x hydra.sweeper.params.seed=0", "Unexpected type for root: NoneType"),
        ("sede=1", "sede is not a key of the config; use one of compile data"),
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
    # A single picture has no axes.
    ended = run(*(rest[:-2] if given.startswith("task=explain") else rest), *given.split(), store=tmp_path)
    assert ended.returncode == 1
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    cells_without_scores = 1 if given == "task=report" else 0
    assert len(ended.stderr.strip().splitlines()) == 1 + cells_without_scores


@pytest.mark.parametrize("name", ["submitit_local", "submitit_slurm"])
def test_launcher_of_an_extra_that_is_not_installed_names_it(name: str) -> None:
    missing = MissingConfigException("", missing_cfg_file=f"hydra/launcher/{name}", options=["basic"])
    assert one_line(missing).startswith(f"hydra/launcher={name} needs hydra-submitit-launcher; run pip install")
    unknown = MissingConfigException("", missing_cfg_file=f"hydra/launcher/{name}x", options=["basic", name])
    assert one_line(unknown).startswith(f"hydra/launcher={name}x is unknown, perhaps {name};")


def test_missing_module_asks_for_pythonpath() -> None:
    with pytest.raises(InstantiationException) as raised:
        instantiate({"_target_": "no_such_code.Mine"})
    assert one_line(raised.value).endswith("If no_such_code is code of your own, add its folder to PYTHONPATH.")


def test_lost_worker_of_a_launcher_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def main() -> None:
        raise TerminatedWorkerError("A worker process was terminated.\n\nIts log:\nmany lines")

    monkeypatch.setattr(sys, "argv", ["run.py"])
    with pytest.raises(SystemExit) as end:
        enter(main)
    assert str(end.value).startswith("a worker was lost (A worker process was terminated.)")
    assert "same command" in str(end.value)
    assert "\n" not in str(end.value)


QUICK = ("metric=[gini]", "recorder=[scores]", "section=[]", "scale=smoke", "logger=none")


def test_failing_cell_of_a_single_run_ends_with_an_error(tmp_path: Path) -> None:
    ended = run("hydra.mode=RUN", "explainer=gradient", "+explainer.build.nothing=1", *QUICK, store=tmp_path)
    assert ended.returncode == 1
    ended = run("hydra.mode=RUN", "explainer=gradient", *QUICK, store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("hydra.mode=RUN computes one cell and writes no table")


def test_several_explanations_of_a_picture_are_one_command(tmp_path: Path) -> None:
    Image.new("RGB", (30, 30), (10, 200, 30)).save(tmp_path / "a, b.png")
    one = (
        "hydra.mode=MULTIRUN",
        "task=explain",
        f"image={tmp_path / 'a, b.png'}",
        "explainer=centre,edges",
        "model=flower_net",
    )
    ended = run(*one, "scale=smoke", "logger=none", "data.training.epochs=1", store=tmp_path)
    assert ended.returncode == 0, ended.stderr
    folders = sorted(path.name.partition("_flower_net_")[2] for path in (tmp_path / "results" / "explain").iterdir())
    assert [name.partition("_")[0] for name in folders] == ["centre", "edges"]
    assert ended.stderr.count(" -> ") == 2
