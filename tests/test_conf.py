"""The config folder: globs of the experiments, presets that compose, and targets that can be imported."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import yaml
from entry_point import ROOT, axes, run
from hydra import compose, initialize_config_dir
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from evident.cli import composed, prepare
from evident.sweep import grid

CONF = ROOT / "conf"
FILES = sorted(CONF.rglob("*.yaml"))
EXPLAINERS = {path.stem for path in (CONF / "explainer").glob("*.yaml")}


def with_hydra(*overrides: str) -> DictConfig:
    """Compose the config of the whole sweep, Hydra's part included."""
    return compose("config", [*overrides], return_hydra_config=True)


@pytest.fixture
def conf() -> Iterator[None]:
    prepare()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def explainers_of(cells: list[list[str]]) -> set[str]:
    return {override.removeprefix("explainer=") for cell in cells for override in cell if "explainer=" in override}


# For transformers only, and the fourth row of FGVis, which the larger tables have.
LEFT_OUT = {"attention_rollout", "attention_relevance", "fgvis_deletion_one_sided"}


@pytest.mark.usefixtures("conf")
@pytest.mark.parametrize(
    ("experiment", "excluded"),
    [
        ("an8flower", LEFT_OUT),
        ("an8flower_double_12c", LEFT_OUT),
        ("mnist", {"oracle", *LEFT_OUT}),
        ("imagenet", {"vebi"}),
        ("scenicness", LEFT_OUT),
    ],
)
def test_experiment_sweeps_every_explainer_of_the_top_folder(experiment: str, excluded: set[str]) -> None:
    config = with_hydra(f"experiment={experiment}")
    assert config.hydra.sweeper.params.explainer.startswith("glob(*")
    assert explainers_of(grid(config).asked) == EXPLAINERS - excluded


def test_experiment_sweeps_explainers_of_another_folder_too(tmp_path: Path) -> None:
    own = (CONF / "explainer" / "gradient.yaml").read_text().replace("name: gradient", "name: my_gradient")
    for name in ("my_gradient", "nested/my_gradient"):
        file = tmp_path / "conf" / "explainer" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(own.replace("my_gradient", name.replace("/", "_")))
    outside = f"hydra.searchpath=[file://{tmp_path / 'conf'}]"
    # Without the groups that do not matter here, composing takes half the time.
    rest = ("metric=[]", "recorder=[]", "section=[]", "scale=smoke", "logger=none")
    few = axes(explainer="glob([*gradient,v*])")
    ended = run(outside, "experiment=an8flower", *few, "task=report", *rest, store=tmp_path)
    missing = [line.split()[2] for line in ended.stderr.splitlines() if ": missing (" in line]
    assert set(missing) == {"my_gradient", "gradient", "input_x_gradient", "vebi"}
    assert len(set(missing)) == len(missing)


def test_debug_preset_is_small_and_raises_errors() -> None:
    config = composed("debug=default")
    assert (config.scale.name, config.threads) == ("smoke", 1)
    assert (config.explained.images, config.explained.batch_size) == (2, 2)
    assert config.logger == {}
    assert config.raise_errors
    assert config.trainer.detect_anomaly
    assert not composed().raise_errors


def test_failing_cell_of_a_debug_run_ends_it_with_the_traceback(tmp_path: Path) -> None:
    unknown = "+explainer.build.attribute.no_such_setting=1"
    ended = run("debug=default", "explainer=gradient", unknown, store=tmp_path)
    assert ended.returncode != 0
    assert "Traceback" in ended.stderr
    assert "no_such_setting" in ended.stderr
    assert not list(tmp_path.glob("cells/*/FAILED"))


@pytest.mark.usefixtures("conf")
def test_launcher_processes_runs_cells_in_parallel_processes() -> None:
    launcher = with_hydra("hydra/launcher=processes").hydra.launcher
    assert launcher._target_ == "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"
    assert launcher.n_jobs == 2


@pytest.mark.usefixtures("conf")
@pytest.mark.parametrize(("name", "kind"), [("submitit_local", "LocalLauncher"), ("submitit_slurm", "SlurmLauncher")])
def test_launchers_of_submitit_keep_their_files_in_the_store(name: str, kind: str) -> None:
    pytest.importorskip("submitit", reason="needs hydra-submitit-launcher; run pip install '.[cluster]'")
    launcher = with_hydra(f"hydra/launcher={name}", "paths.store=/shared/store").hydra.launcher
    assert launcher._target_ == f"hydra_plugins.hydra_submitit_launcher.submitit_launcher.{kind}"
    assert launcher.submitit_folder == "/shared/store/.submitit/%j"  # a folder that all machines see


def test_local_settings_of_a_user_are_optional_and_applied_last(tmp_path: Path) -> None:
    shutil.copytree(CONF, tmp_path / "conf", ignore=shutil.ignore_patterns("local"))
    (tmp_path / "own" / "local").mkdir(parents=True)
    own = tmp_path / "own" / "local" / "default.yaml"
    own.write_text("# @package _global_\nthreads: 7\nexplained: {examples: 5}\n")
    prepare()
    with initialize_config_dir(str(tmp_path / "conf"), version_base="1.3"):
        without = with_hydra("experiment=fgvis/defence")
        with_own = with_hydra("experiment=fgvis/defence", f"hydra.searchpath=[file://{tmp_path / 'own'}]")
    assert (without.threads, without.explained.examples) == (1, 6)
    assert (with_own.threads, with_own.explained.examples) == (7, 5)


def targets_in(value: Any) -> Iterator[str]:
    """Yield every `_target_` in the content of a YAML file."""
    if isinstance(value, dict):
        yield from (target for key, target in value.items() if key == "_target_")
        for inner in value.values():
            yield from targets_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from targets_in(inner)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_targets_of_a_config_can_be_imported(path: Path) -> None:
    for target in targets_in(yaml.safe_load(path.read_text())):
        assert target == "???" or callable(get_object(target)), target


def networks() -> Iterator[tuple[str, DictConfig]]:
    """Yield every network, as its YAML file says, and variants with layers of their own, as that of its parent adds."""
    for path in sorted((CONF / "model").rglob("*.yaml")):
        own, parent = yaml.safe_load(path.read_text()), path.parent.with_suffix(".yaml")
        if path.parent.name == "model" or "layers" in own:
            inherited = yaml.safe_load(parent.read_text()) if parent.is_file() else {}
            yield path.relative_to(CONF).as_posix(), cast(DictConfig, OmegaConf.merge(inherited, own))


@pytest.mark.parametrize(("name", "model"), list(networks()), ids=[name for name, _ in networks()])
def test_layers_of_a_network_are_its_modules_and_hold_the_chosen_ones(name: str, model: DictConfig) -> None:
    if name in ("model/checkpoint.yaml", "model/huggingface.yaml"):
        return  # their layers are those of the user's network
    assert len(set(model.layers)) == len(model.layers) == 4
    assert model.layer in model.layers
    # The last layer is not a middle layer.
    assert model.middle_layer in model.layers[:-1]
    settings: dict[str, Any] = {"classes": 2, **({"attributes": 5} if "attributes" in model.build else {})}
    if "weights" in model.build.get("backbone", {}):
        settings["backbone"] = {"weights": None}
    with torch.device("meta"):
        network = instantiate(OmegaConf.merge(model.build, settings))
    names = {name for name, _ in network.named_modules()}
    assert set(model.layers) <= names


@pytest.mark.usefixtures("conf")
def test_experiments_with_a_gallery_record_predictions_unless_their_cells_are_fixed() -> None:
    found = {}
    for file in sorted((CONF / "experiment").rglob("*.yaml")):
        name = file.relative_to(CONF / "experiment").with_suffix("").as_posix()
        config = with_hydra(f"experiment={name}")
        if "gallery" in config.section:
            found[name] = "outcomes" in config.recorder
    assert found == {
        **{"an8flower": True, "an8flower_double_12c": True, "mnist": True},
        **{"imagenet": True, "scenicness": False},
    }
