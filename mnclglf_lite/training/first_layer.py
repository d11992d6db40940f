"""A first convolution that starts from the data: the principal components of image patches, whitened.

After Page's and Jordan's CIFAR speed records, which freeze it; here it is trained on. The backbone then begins with filters
for edges and colours that it would otherwise have to find.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..data.dataset import Splits
from ..models.resnet import ResNet
from ..recipe.recipe import Recipe, build_method
from ..views.view import whole_images

IMAGES = 5000  # of which patches are taken: the first speed records' number
EPSILON = 0.01  # added to a component's variance, so that noise is not blown up; pixels are normalised (ours)


def patch_components(images: Tensor, kernel: int) -> Tensor:
    """Whitened principal components of all patches: float (N, 3, S, S) -> (3 k k, 3, k, k), largest variance first.

    Each is a unit eigenvector of the patches' second moments, divided by the square root of its eigenvalue + `EPSILON`; its
    largest entry is positive.
    """
    moments, patches = torch.zeros(3 * kernel**2, 3 * kernel**2, dtype=torch.float64), 0
    for part in images.split(500):
        unfolded = nn.functional.unfold(part, kernel)  # (n, 3 k k, L)
        columns = unfolded.transpose(0, 1).flatten(1).double().cpu()  # (3 k k, n L)
        moments, patches = moments + columns @ columns.T, patches + columns.shape[1]
    values, vectors = torch.linalg.eigh(moments / patches)  # ascending; a vector in each column
    vectors = vectors.flip(1).T  # a vector in each row, largest variance first
    vectors = vectors * vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True)).sign()
    scaled = vectors / (values.flip(0).clamp(min=0) + EPSILON).sqrt()[:, None]
    return scaled.float().view(-1, 3, kernel, kernel)


@torch.no_grad()
def start_from_data(method: nn.Module, images: Tensor, size: int) -> None:
    """Set the first convolution of every backbone in `method`: components and their negatives, in turn.

    Channels beyond twice the components keep their random start. images: uint8 (M, 3, H, W), of which `IMAGES` are taken
    evenly and seen whole at `size` pixels.
    """
    # of one shape, the encoder's
    weights = [module.conv1.weight for module in method.modules() if isinstance(module, ResNet)]
    taken = images[:: -(-len(images) // IMAGES)]
    filters = patch_components(whole_images(taken, size), weights[0].shape[-1])
    both = torch.stack([filters, -filters], 1).flatten(0, 1)[: len(weights[0])]  # (2 3 k k, 3, k, k)
    for weight in weights:
        weight[: len(both)] = both.to(weight)


def with_data_start(recipe: Recipe, splits: Splits) -> dict[str, nn.Module]:
    """Where the recipe's first layer starts from the data, its untrained backbone with that start, by name; else nothing."""
    if recipe.encoder.first_layer != "data":
        return {}
    backbone = build_method(recipe, len(splits.train.classes)).to(splits.train.device).backbone
    start_from_data(backbone, splits.train.images, recipe.views.view.size)
    return {"random encoder, data start": backbone}
