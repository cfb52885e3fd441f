"""The loader of sweeps gives the configs that Hydra gives, and merges files once for each choice of groups."""

from collections.abc import Iterator
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from evident import groups_once
from evident.cli import ROOT
from evident.groups_once import GroupsOnce

CELLS = (
    ["seed=2"],
    ["explainer=rise", "seed=1", "threads=1"],
    ["seed=1", "explainer=rise", "seed=3"],
    ["explainer=rise", "explained.images=3", "seed=1", "+model.further=[1,2]"],
    ["experiment=siam/lengths", "scale.data.scenes.epochs=50", "~model.layers", "seed=0"],
    ["experiment=vebi/mnist", "model.layer=features", "hydra.job.chdir=true", "seed=0"],
    ["scale=smoke"],
)


@pytest.fixture(autouse=True)
def loader(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(groups_once, "_composed", {})
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield


def composed(overrides: list[str]) -> DictConfig:
    return compose("config", overrides, return_hydra_config=True)


def use_groups_once() -> None:
    GlobalHydra.instance().config_loader().__class__ = GroupsOnce


@pytest.mark.parametrize("cell", CELLS, ids=" ".join)
def test_config_is_the_one_of_hydra(cell: list[str]) -> None:
    expected = composed(cell)
    use_groups_once()
    for _ in range(2):
        found = composed(cell)
        assert OmegaConf.to_container(found) == OmegaConf.to_container(expected)
        assert OmegaConf.is_struct(found) == OmegaConf.is_struct(expected)
        assert OmegaConf.is_struct(found.data) == OmegaConf.is_struct(expected.data)


def test_files_are_merged_once_for_each_choice_of_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    merged: list[list[str]] = []
    merge = ConfigLoaderImpl.load_configuration

    def counted(
        loader: ConfigLoaderImpl, config_name: str, overrides: list[str], *mode: Any, **named: Any
    ) -> DictConfig:
        merged.append(overrides)
        return merge(loader, config_name, overrides, *mode, **named)

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", counted)
    use_groups_once()
    seeds = [composed([f"explainer={name}", f"seed={seed}"]).seed for name in ("rise", "gradient") for seed in range(3)]
    assert seeds == [0, 1, 2] * 2
    assert merged == [["explainer=rise"], ["explainer=gradient"]]


def test_configs_do_not_share_their_values() -> None:
    use_groups_once()
    first, second = composed(["seed=1"]), composed(["seed=1"])
    first.model.name = "other"
    assert second.model.name == composed(["seed=1"]).model.name != "other"


@pytest.mark.parametrize("wrong", ["sead=1", "seed=1,2", "explained.image=3", "explainer.name.first=1"])
def test_a_wrong_value_gives_the_error_of_hydra(wrong: str) -> None:
    with pytest.raises(HydraException) as expected:
        composed([wrong])
    use_groups_once()
    with pytest.raises(HydraException) as found:
        composed([wrong])
    assert str(found.value) == str(expected.value)
