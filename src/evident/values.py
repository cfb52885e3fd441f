"""What the methods of `evident.contracts` take and return."""

from typing import NamedTuple

from torch import Tensor

Batch = dict[str, Tensor]  # what a data set gives for some images: `image`, `index` and its labels, by name


class Evidence(NamedTuple):
    """Hold an explanation that is itself an image.

    `mask` (N, 3, H, W) in [0, 1] is one where a colour channel of a pixel is evidence; `explanation` and `complement`
    (N, 3, H, W) in [0, 1] show the image with only the evidence and without it. The scores (N,) are the target's
    softmax probability, or the output itself for a regression, for the image, the explanation and the complement.
    """

    mask: Tensor
    explanation: Tensor
    complement: Tensor
    score: Tensor
    explanation_score: Tensor
    complement_score: Tensor


class FeatureMaps(NamedTuple):
    """Hold one heatmap for each of the `top` features of an explanation.

    maps (N, top, H, W) in [0, 1]; features (N, top) int64, positions in the network's response vector, -1 where fewer
    than `top` features take part; shares (N, top) in [0, 1], how much each feature takes part in the prediction.
    """

    maps: Tensor
    features: Tensor
    shares: Tensor


class Truth(NamedTuple):
    """Hold what is known about N rendered scenes, in the units of the score.

    attribute_masks bool (N, K, H, W): the pixels that show each attribute; contributions (N, K): what each attribute
    adds to the score; contribution_map (N, H, W): the same, pixel by pixel; typical (N, K): the mean contribution of
    each attribute over all scenes that show it, so that every row is the same.
    """

    attribute_masks: Tensor
    contributions: Tensor
    contribution_map: Tensor
    typical: Tensor


class ChangedImages(NamedTuple):
    """Hold N images uint8 (N, 3, H, W) with their labels (N,), and changed copies of them.

    `recoloured` shows the evidence of another class, `new_labels`, in the same scene; `surrounded` shows the evidence
    among the surroundings of another image, which have none of their own; `grey` shows it without colour.
    """

    images: Tensor
    labels: Tensor
    recoloured: Tensor
    new_labels: Tensor
    surrounded: Tensor
    grey: Tensor


class Removals(NamedTuple):
    """Hold P images, each a scene rendered again without one of its attributes.

    Image p (3, H, W) in [0, 1] shows scene `row[p]` without attribute `attribute[p]`; its true score changes by
    `change[p]`.
    """

    row: Tensor
    attribute: Tensor
    images: Tensor
    change: Tensor


class PartChanges(NamedTuple):
    """Hold P images, each a scene rendered again with one of its K parts drawn anew, and the pixels of each part.

    Image p (3, H, W) in [0, 1] shows scene `row[p]` with another part `part[p]`; a part that a scene shows has several
    such images, one for each draw. masks bool (N, K, H, W): the pixels of each part of the N scenes. A part without
    pixels that has images, such as the light, changes pixels of all other parts.
    """

    row: Tensor
    part: Tensor
    images: Tensor
    masks: Tensor


class Interpretation(NamedTuple):
    """Hold average visualisations of F features, with values in [0, 1].

    places (F,): positions of the features in the responses x. crops (F, K, 3, size, size): crops of the images,
    strongest first. crop (F, 3, size, size): their average. signal (F, size, size): the average crop of the
    deconvolutions. labels (F, K): labels of the images. evidence (F, K): the share of the deconvolution inside the mask
    of the image, NaN without masks. A feature with a positive response to fewer than K images has zero crops and labels
    -1 for the rest, which do not enter the averages.
    """

    places: Tensor
    crops: Tensor
    crop: Tensor
    signal: Tensor
    labels: Tensor
    evidence: Tensor
