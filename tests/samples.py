"""Images, networks and trainers that many tests share."""

from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from pytorch_lightning import Trainer
from torch import Tensor, nn

from evident.contracts import Splits
from evident.data.images import ImageSet
from evident.models.flower_net import FlowerNet
from evident.models.normalise import Normalise

Network = TypeVar("Network", bound=nn.Module)


def smooth_noise(
    count: int = 3,
    size: int | tuple[int, int] = 32,
    cells: int = 5,
    seed: int = 1,
    grey: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return images (count, 3, H, W) in [0, 1]: random grids of `cells` x `cells`, up-sampled bilinearly.

    SLIC finds super-pixels in them, and gradients differ from pixel to pixel.
    """
    height, width = (size, size) if isinstance(size, int) else size
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(count, 1 if grey else 3, cells, cells, generator=generator, dtype=dtype)
    return F.interpolate(noise, (height, width), mode="bilinear").expand(-1, 3, -1, -1).contiguous()


def training_set(count: int = 24, classes: int = 4, size: int = 32, cells: int = 6, seed: int = 1) -> ImageSet:
    """Return `smooth_noise` as uint8 images with labels 0, 1, ..., classes - 1 in turn."""
    images = (smooth_noise(count, size, cells, seed) * 255).byte()
    return ImageSet(images, torch.arange(count) % classes, [str(index) for index in range(count)])


def uniform_noise(
    count: int = 2, size: int = 64, seed: int = 1, channels: int = 3, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return images (count, channels, size, size) of independent uniform numbers in [0, 1)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, size, size, generator=generator, dtype=dtype)


def kaiming(network: Network) -> Network:
    """Initialise every weight with more than one dimension by `kaiming_normal_`, and return the network.

    With PyTorch's default weights, the signal of an untrained network fades into rounding errors.
    """
    for weight in network.parameters():
        if weight.dim() > 1:
            nn.init.kaiming_normal_(weight)
    return network


def flower_net(classes: int = 4, seed: int = 0) -> FlowerNet:
    """Return an untrained FlowerNet in eval mode, with `kaiming` weights drawn from the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kaiming(FlowerNet(classes)).eval()


class Brightness(nn.Module):
    """Predict class 0 with the mean of the image as probability, else class 1; the mean colour is black."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))

    def forward(self, images: Tensor) -> Tensor:
        mean = self.normalise(images).double().mean((1, 2, 3))
        return torch.stack([mean, 1 - mean], 1).log()


def unbiased_network(seed: int = 0) -> nn.Module:
    """Return a network without biases: its six scores are zero for the mean colour and depend on every pixel."""
    torch.manual_seed(seed)
    convolution, linear = nn.Conv2d(3, 12, 3, stride=2, bias=False), nn.Linear(48, 6, bias=False)
    nn.init.normal_(linear.weight)
    layers = [convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), linear]
    return nn.Sequential(Normalise((0.6, 0.3, 0.5)), *layers).eval()


def quiet_trainer(**settings: Any) -> Trainer:
    """Return a trainer on the CPU that prints and writes nothing."""
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        **settings,
    )


def no_splits() -> Splits:
    """Fail: what is tested needs the explained images only."""
    raise AssertionError("the data set was loaded")


class TinyTransformer(nn.Module):
    """A vision transformer without places: patches of 8 x 8 pixels and a class token, in two blocks of two heads."""

    def __init__(self, classes: int = 4, width: int = 16) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.Sequential(_Block(width), _Block(width))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(self.normalise(images)).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.class_token.expand(len(images), -1, -1), tokens), 1)
        return self.head(self.blocks(tokens)[:, 0])


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.keys, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = self.keys(self.norm1(tokens)).unflatten(2, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        tokens = tokens + self.out(attended)
        return tokens + self.mlp(self.norm2(tokens))


def huggingface_vit(classes: int = 5, size: int = 32, blocks: int = 2) -> Any:
    """Return a small vision transformer of transformers: patches of 8 x 8 pixels, blocks of two heads."""
    import transformers  # takes seconds

    config: Any = transformers.ViTConfig(
        hidden_size=24,
        num_hidden_layers=blocks,
        num_attention_heads=2,
        intermediate_size=48,
        image_size=size,
        patch_size=8,
    )
    config.num_labels = classes
    return transformers.ViTForImageClassification(config)
