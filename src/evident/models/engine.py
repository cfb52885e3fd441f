"""Lightning's trainer as every stage uses it, with the arithmetic that repeats on a GPU.

The config says `deterministic: true`, and Lightning then asks torch for algorithms that repeat, for a fixed workspace
of cuBLAS, and for no search among cuDNN's algorithms. Two things are added on a GPU. Convolutions in TensorFloat-32,
which torch allows by default, have three digits: `32-true` means all seven. And layers of others may have a gradient
that torch has no deterministic algorithm for, such as the pooling of AlexNet and VGG-16: they run, with a warning,
instead of ending the cell.
"""

from collections.abc import Sequence
from typing import Any

import torch
from omegaconf import DictConfig
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import Logger


def on_gpu(config: DictConfig) -> bool:
    """Return whether the trainer of a cell's config computes on a GPU."""
    return torch.cuda.is_available() and config.trainer.accelerator != "cpu"


def trainer_of(config: DictConfig, loggers: Sequence[Logger], callback: Callback, **settings: Any) -> Trainer:
    """Build the trainer of a cell's config on one device; it shows no bar and no summary, and keeps no checkpoint."""
    configured = dict(config.trainer)
    if on_gpu(config):
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        if configured.get("deterministic") is True:
            configured["deterministic"] = "warn"
    return Trainer(
        **configured,
        **settings,
        devices=1,
        logger=list(loggers),
        callbacks=[callback],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
