"""Networks whose scores change from call to call: the cause is named, and no other network is warned of."""

import logging
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from samples import flower_net, smooth_noise
from torch import Tensor, nn

from evident.errors import warn_once
from evident.models.repeatable import warn_of_other_scores


class Head(nn.Module):
    def __init__(self, drop: Any) -> None:
        super().__init__()
        self.linear, self.drop = nn.Linear(3, 2), drop

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.drop(images.mean((2, 3)) + 1))


class Attends(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x[None], x[None], x[None], dropout_p=0.5)[0]


def warnings_of(network: nn.Module, caplog: pytest.LogCaptureFixture) -> list[str]:
    warn_once.cache_clear()
    with caplog.at_level(logging.WARNING, logger="evident"):
        warn_of_other_scores(network, smooth_noise())
    return caplog.messages


@pytest.mark.parametrize(
    ("drop", "cause"),
    [
        (lambda x: F.dropout(x, 0.5), "dropout stays on in head;"),
        (lambda x: F.dropout(x, 0.5, training=True), "dropout stays on in head;"),
        (Attends(), "dropout stays on in head.drop;"),
        (lambda x: x + torch.rand_like(x), "it draws random numbers;"),
    ],
)
def test_cause_is_named(drop: Any, cause: str, caplog: pytest.LogCaptureFixture) -> None:
    network = nn.Sequential()
    network.add_module("head", Head(drop))
    [line] = warnings_of(network, caplog)
    assert cause in line
    assert "Sequential gives the same image other scores in every call" in line
    assert not network.head._forward_hooks


class Undefined(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)) * torch.nan


@pytest.mark.parametrize("network", [flower_net(), Head(nn.Dropout(0.9)).train(), Undefined()])
def test_others_are_not_warned_of(network: nn.Module, caplog: pytest.LogCaptureFixture) -> None:
    assert not warnings_of(network, caplog)
