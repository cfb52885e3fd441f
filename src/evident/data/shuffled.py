"""A data set whose training labels are shuffled: a network that fits them has learnt nothing about its classes.

For the sanity check by random labels (Adebayo et al. 2018, arXiv 1810.03292). One label in C stays right by chance, for
C classes of equal size.
"""

import torch

from evident.data.images import ImageSet, ImageSplits


def shuffled(original: ImageSplits, seed: int) -> ImageSplits:
    """Permute the labels of `train` by `seed`; images, masks, `val` and `test` are unchanged."""
    train = original.train
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    changed = ImageSet(train.images, train.labels[order], train.names, train.masks, train.others)
    return ImageSplits(changed, original.val, original.test, original.classes)
