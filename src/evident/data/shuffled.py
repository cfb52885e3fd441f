"""A data set whose training labels are shuffled: a network that fits them has learnt nothing about its classes.

For the sanity check by random labels (Adebayo et al. 2018, arXiv 1810.03292). One label in C stays right by chance, for
C classes of equal size.
"""

import torch

from evident.data.images import ImageSet, ImageSplits


def shuffled(original: ImageSplits, seed: int, train: int | None = None) -> ImageSplits:
    """Permute the labels of the training set by `seed`; images, masks, `val` and `test` are unchanged.

    `train` keeps the first so many training images only: a network learns fewer labels by heart in fewer steps. Raises
    `UserError` if there are not as many.
    """
    images = original.train if train is None else original.train.block(train)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    changed = ImageSet(images.images, images.labels[order], images.names, images.masks, images.others)
    return ImageSplits(changed, original.val, original.test, original.classes)
