"""The protocols of `evident.contracts`, and the classes of the package that satisfy them."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from captum.attr import Attribution

import evident
from evident import contracts

PROTOCOLS: dict[str, Any] = {
    name: member
    for name, member in vars(contracts).items()
    if inspect.isclass(member) and member.__module__ == contracts.__name__
}

# All concrete classes that satisfy a protocol.
SATISFIED = {
    "data.an8flower.RenderedFlowers": {"Splits", "ChangesEvidence"},
    "data.flower_set.FlowerSet": {"ChangesParts"},
    "data.images.ImageSplits": {"Splits"},
    "data.scenes.landscapes.LandscapeSet": {"KnowsTruth", "Removable"},
    "data.scenes.photos.PhotoSet": {"Uncropped"},
    "data.scenes.photos.PhotoSplits": {"Splits"},
    "data.scenes.splits.SceneSplits": {"Splits", "NamesAttributes"},
    "explainers.cam.CAM": {"HasOwnMap", "ForSomeNetworks", "ShowsAttributes"},
    "explainers.fgvis.FGVis": {"GivesEvidence", "Optimises", "Signed"},
    "explainers.corrupted_oracle.CorruptedOracle": {"NeedsMask"},
    "explainers.reference_rows.Oracle": {"NeedsMask"},
    "explainers.siam.SIAM": {"HasOwnMap", "ForSomeNetworks", "ShowsAttributes", "StatesContributions"},
    "explainers.vebi.VEBI": {"Fits", "LearnsRelevance", "ShowsFeatures", "Interprets"},
    "models.patch_net.PatchNet": {"SumsContributions"},
    "models.siam.baselines.SceneRegressor": {"Regressor", "SumsContributions", "HasBackbone"},
    "models.siam.baselines.UnconstrainedAttributes": {
        *("Regressor", "SumsContributions", "HasBackbone", "HasAttributeMaps"),
    },
    "models.siam.network.SIAM": {"Regressor", "SumsContributions", "HasBackbone", "HasAttributeMaps"},
}


def classes() -> Iterator[tuple[str, Any]]:
    """Yield name and class of all classes of the package, except the protocols."""
    for info in pkgutil.walk_packages(evident.__path__, "evident."):
        module = importlib.import_module(info.name)
        for name, member in vars(module).items():
            if inspect.isclass(member) and member.__module__ == info.name and module is not contracts:
                yield f"{info.name}.{name}".removeprefix("evident."), member


def methods(protocol: Any) -> dict[str, Any]:
    return {name: member for name, member in vars(protocol).items() if not name.startswith("_")}


def inherited_by(member: Any) -> set[str]:
    return {name for name, protocol in PROTOCOLS.items() if protocol in member.__mro__}


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """Return all classes of the package by name."""
    return dict(classes())


satisfied = pytest.mark.parametrize(
    ("name", "protocol"), [(name, protocol) for name in SATISFIED for protocol in sorted(SATISFIED[name])]
)
every_protocol = pytest.mark.parametrize("name", PROTOCOLS)


@every_protocol
def test_protocol_holds_methods_only(name: str) -> None:
    protocol = PROTOCOLS[name]
    assert methods(protocol)
    for member in methods(protocol).values():
        assert inspect.isfunction(member) or isinstance(member, classmethod)
    assert not inspect.get_annotations(protocol)


@every_protocol
def test_protocol_is_runtime_checkable(name: str) -> None:
    assert not isinstance(object(), PROTOCOLS[name])


@every_protocol
def test_protocol_and_its_methods_are_documented(name: str) -> None:
    assert vars(PROTOCOLS[name])["__doc__"]
    assert all(inspect.getdoc(method) for method in methods(PROTOCOLS[name]).values())


def test_every_protocol_is_satisfied_by_a_class() -> None:
    assert set().union(*SATISFIED.values()) == set(PROTOCOLS)


def test_table_lists_all_classes_that_inherit_a_protocol(found: dict[str, Any]) -> None:
    inherited = {name: inherited_by(member) for name, member in found.items() if not inspect.isabstract(member)}
    assert {name: protocols for name, protocols in inherited.items() if protocols} == SATISFIED


def test_explainers_satisfy_only_protocols_that_they_inherit(found: dict[str, Any]) -> None:
    for member in found.values():
        if issubclass(member, Attribution):
            assert {name for name, protocol in PROTOCOLS.items() if issubclass(member, protocol)} == inherited_by(
                member
            )


@satisfied
def test_class_overrides_all_methods_of_the_protocol(found: dict[str, Any], name: str, protocol: str) -> None:
    for method, declared in methods(PROTOCOLS[protocol]).items():
        assert inspect.getattr_static(found[name], method) is not declared


@satisfied
def test_methods_have_the_parameters_of_the_protocol(found: dict[str, Any], name: str, protocol: str) -> None:
    for method in methods(PROTOCOLS[protocol]):
        own, declared = (getattr(kind, method) for kind in (found[name], PROTOCOLS[protocol]))
        assert parameters(own) == parameters(declared)
