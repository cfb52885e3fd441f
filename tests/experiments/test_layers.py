"""The layers of layer-based methods are those that the rule of experiments/layers chooses on the committed results."""

import pandas as pd
import pytest
from entry_point import ROOT
from omegaconf import OmegaConf

PLACES = {
    "flower_net": "an8flower",
    "mnist_net": "mnist",
    "squeezenet1_1": "imagenet",
    "mobilenet_v2": "imagenet",
    "resnet50": "imagenet",
}
LEAST = 0.05  # by which Grad-CAM's score must be higher at another layer than the last


@pytest.mark.parametrize(("model", "data"), PLACES.items())
def test_layers_are_those_that_the_written_rule_chooses(model: str, data: str) -> None:
    table = pd.read_csv(ROOT / "results" / "layers" / data / "table.csv")
    means = table[table["model"] == model].pivot(index="explainer", columns="metric", values="mean")
    if data == "mnist":
        score = means["insertion_mean_colour"] - means["deletion_mean_colour"]
    else:
        score = means[["pointing_game", "average_precision"]].mean(axis=1)
    layers = OmegaConf.load(ROOT / "conf" / "model" / f"{model}.yaml")
    excitation, grad_cam = (
        score[[f"{name}_layer_{number}" for number in (1, 2, 3, 4)]].to_numpy()
        for name in ("excitation_backprop", "grad_cam")
    )
    assert layers.middle_layer == layers.layers[int(excitation[:3].argmax())]
    best = int(grad_cam.argmax()) if grad_cam.max() >= grad_cam[3] + LEAST else 3
    assert layers.layer == layers.layers[best]
