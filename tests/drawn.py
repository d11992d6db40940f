"""What tests of figures share: images of noise, where things stand on a figure, and whether all of it is there."""

import numpy as np
import torch

from mnclglf_lite.data.dataset import ImageSet


def noise(count=12, side=8, classes=("cat", "dog", "hen"), seed=0):
    """An image set of noise, its classes in turn."""
    images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return ImageSet(images, torch.arange(count) % len(classes), tuple(classes), "some", "test")


def boxes_of(drawing):
    """Where the places of a drawing are: {name: (left, top, width, height) in pixels}."""
    sides = 2 * drawing.picture.size
    return {p.name: tuple(round(share * side) for share, side in zip(p.box, sides, strict=True)) for p in drawing.places}


def fits_its_page(picture):
    """Whether nothing is cut off: a white border of three pixels is left all around a figure."""
    if hasattr(picture, "canvas"):  # matplotlib's
        picture.canvas.draw()
        picture = np.asarray(picture.canvas.buffer_rgba())[..., :3]
    page = np.asarray(picture)
    return all((edge == 255).all() for edge in (page[:3], page[-3:], page[:, :3], page[:, -3:]))
