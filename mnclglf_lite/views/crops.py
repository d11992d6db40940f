"""Boxes are data: draw one random box per picture, then cut them all in one batched resample.

The boxes are drawn first, as a plain (N, 4) tensor, and cut afterwards. So a figure can draw exactly the
boxes that training cuts, and every picture of a batch has its own. (torchvision's transform called on a whole
batch draws ONE box for all of it, which would quietly spoil contrastive learning.)
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.errors import InputError, unknown

ATTEMPTS = 10  # torchvision's RandomResizedCrop tries ten boxes, then falls back on a central one
FILTERS = ("bilinear", "bicubic")


def sample_boxes(
    n: int,
    hw: tuple[int, int],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    generator: torch.Generator,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw `n` boxes as torchvision's `RandomResizedCrop` does: area uniform, log aspect ratio uniform.

    `hw` is the picture's (height, width) in pixels, `scale` the range of the box's share of the picture's
    area, `ratio` the range of width / height. Returns float32 (N, 4): top, left, height, width in whole
    pixels. Takes 22 random numbers a box, whatever comes out: all ten attempts are drawn at once and the
    first that fits is kept (else the largest central box of an allowed ratio), so the device never waits for
    Python.
    """
    height, width = hw
    device = generator.device if device is None else device
    draw = torch.rand(n, 2 * ATTEMPTS + 2, generator=generator, device=device)  # (N, 22)
    area = height * width * (scale[0] + (scale[1] - scale[0]) * draw[:, :ATTEMPTS])  # (N, 10)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = (low + (high - low) * draw[:, ATTEMPTS:-2]).exp()  # (N, 10) width / height
    w = (area * aspect).sqrt().round()  # (N, 10)
    h = (area / aspect).sqrt().round()  # (N, 10)
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)  # (N, 10)
    first = fits.to(torch.uint8).argmax(1, keepdim=True)  # (N, 1) argmax keeps the first of equals
    any_fits = fits.any(1)  # (N,)
    central_h, central_w = _central(height, width, ratio)
    h = torch.where(any_fits, h.gather(1, first)[:, 0], central_h)  # (N,)
    w = torch.where(any_fits, w.gather(1, first)[:, 0], central_w)  # (N,)
    top = torch.where(any_fits, draw[:, -2] * (height - h + 1), (height - h) * 0.5).floor()
    left = torch.where(any_fits, draw[:, -1] * (width - w + 1), (width - w) * 0.5).floor()
    return torch.stack((top, left, h, w), 1)  # (N, 4)


def _central(height: int, width: int, ratio: tuple[float, float]) -> tuple[float, float]:
    """(height, width) of the largest box whose aspect ratio lies in `ratio` (torchvision's fallback)."""
    if width / height < ratio[0]:
        return float(round(width / ratio[0])), float(width)
    if width / height > ratio[1]:
        return float(height), float(round(height * ratio[1]))
    return float(height), float(width)


def crop_resize(images: Tensor, boxes: Tensor, size: int, filter: str = "bilinear", flip: Tensor | None = None) -> Tensor:
    """Cut `boxes` out of `images` and resize each to `size` x `size`: float32 (N, C, S, S) in [0, 1].

    `images` is uint8 (N, C, H, W), or float already in [0, 1]; `boxes` float32 (N, 4) from `sample_boxes`;
    `flip` bool (N,) mirrors a row's result left to right, at no extra cost. Equal, image by image, to
    torchvision's `resized_crop(..., antialias=True)` on float images (bicubic results are clamped to [0, 1]:
    the cubic overshoots at edges). Differentiable in float images.

    Which of two equal routes is taken never depends on the values of the boxes:
    - bilinear, output at least as large as the picture: no box can be reduced, and one `grid_sample` does;
    - otherwise, and wherever torch compiles for a CPU (its own `grid_sample` is slow there: measured), two small
      matrices per image (rows and columns), which average where a box is reduced.
    """
    if filter not in FILTERS:
        raise unknown("filter", filter, FILTERS)
    if images.ndim != 4 or boxes.shape != (len(images), 4):
        raise InputError(
            f"images {tuple(images.shape)} and boxes {tuple(boxes.shape)} do not go together: "
            "expected images (N, C, H, W) and one row (top, left, height, width) per image, (N, 4)"
        )
    images = to_unit(images)
    height, width = images.shape[-2:]
    compiled_for_cpu = torch.compiler.is_compiling() and images.device.type == "cpu"
    if filter == "bilinear" and size >= max(height, width) and not compiled_for_cpu:
        y = _centres(boxes[:, 0], boxes[:, 2], size, height)  # (N, S)
        x = _centres(boxes[:, 1], boxes[:, 3], size, width, flip)  # (N, S)
        x, y = torch.broadcast_tensors(x[:, None, :], y[:, :, None])  # (N, S, S) each
        grid = torch.stack((x, y), -1)  # (N, S, S, 2)
        return F.grid_sample(images, grid, mode="bilinear", align_corners=False)  # (N, C, S, S)
    rows = resampling_matrix(boxes[:, 0], boxes[:, 2], height, size, filter)  # (N, S, H)
    columns = resampling_matrix(boxes[:, 1], boxes[:, 3], width, size, filter, flip)  # (N, S, W)
    out = apply_matrices(images, rows, columns)  # (N, C, S, S)
    return out.clamp_(0, 1) if filter == "bicubic" else out


def to_unit(images: Tensor) -> Tensor:
    """float32 in [0, 1] from uint8 pictures; float pictures are taken to be in [0, 1] already."""
    if images.dtype == torch.uint8:
        return images.float().div_(255)
    if not images.is_floating_point():
        raise InputError(f"images are {images.dtype}: expected uint8 (0 to 255) or float (0 to 1)")
    return images.float()


def _positions(start: Tensor, length: Tensor, size: int, flip: Tensor | None) -> Tensor:
    """(N, S) where each output pixel's centre falls in the source, in pixels from the source's edge."""
    at = torch.arange(size, device=start.device) + 0.5  # (S,)
    if flip is not None:
        at = torch.where(flip[:, None], size - at, at)  # (N, S) mirrored rows read from right to left
    return start[:, None] + at * (length / size)[:, None]  # (N, S)


def _centres(start: Tensor, length: Tensor, size: int, side: int, flip: Tensor | None = None) -> Tensor:
    """(N, S) `grid_sample` coordinates, -1 to 1 over the picture's side. They stay between the centres of the
    box's first and last pixel, so nothing outside the box leaks in: exactly crop first, then resize."""
    at = _positions(start, length, size, flip)
    at = torch.minimum(torch.maximum(at, start[:, None] + 0.5), (start + length)[:, None] - 0.5)
    return at * (2 / side) - 1


def resampling_matrix(
    start: Tensor, length: Tensor, side: int, size: int, filter: str = "bilinear", flip: Tensor | None = None
) -> Tensor:
    """(N, S, side): row s holds the weights with which the source's `side` pixels make output pixel s.

    `start` and `length` (N,) give each image's stretch of the source. Where the stretch is reduced the filter
    widens with it (antialiasing); pixels outside the stretch have weight 0; every row sums to 1. Filters as
    Pillow and torch with `antialias=True` have them: a triangle, or the cubic with a = -0.5.
    """
    centre = _positions(start, length, size, flip)[:, :, None]  # (N, S, 1)
    pixel = torch.arange(side, device=start.device) + 0.5  # (side,)
    reach = (length / size).clamp(min=1)[:, None, None]  # (N, 1, 1) pixels per output pixel, where reduced
    distance = (pixel - centre).div_(reach).abs_()  # (N, S, side)
    if filter == "bilinear":
        weight = (1 - distance).clamp_(min=0)
    else:
        near = (1.5 * distance - 2.5) * distance * distance + 1
        far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
        weight = torch.where(distance < 1, near, far * (distance < 2))
    inside = (pixel > start[:, None]) & (pixel < (start + length)[:, None])  # (N, side)
    weight = weight * inside[:, None, :]
    return weight / weight.sum(-1, keepdim=True)


def apply_matrices(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Resample (N, C, H, W) by each image's own matrices: rows (N, S, H) down, columns (N, T, W) across."""
    n, c, h, w = images.shape
    across = images.reshape(n, c * h, w) @ columns.transpose(1, 2)  # (N, C*H, T)
    return rows[:, None] @ across.reshape(n, c, h, -1)  # (N, C, S, T)


def area_share(boxes: Tensor, hw: tuple[int, int]) -> Tensor:
    """(N,) share of the picture's area that each box covers."""
    return boxes[..., 2] * boxes[..., 3] / (hw[0] * hw[1])


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """(N,) share of box b's area that lies inside box a; boxes are rows of top, left, height, width."""
    return _common(a, b) / b[..., 2:].prod(-1)


def mutual_overlap(a: Tensor, b: Tensor) -> Tensor:
    """(N,) what both boxes cover, as a share of the smaller: 1 where one lies inside the other, 0 where they are apart."""
    return _common(a, b) / torch.minimum(a[..., 2:].prod(-1), b[..., 2:].prod(-1))


def _common(a: Tensor, b: Tensor) -> Tensor:
    """(N,) area that lies in both boxes."""
    start = torch.maximum(a[..., :2], b[..., :2])  # (N, 2) top, left
    end = torch.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])  # (N, 2) bottom, right
    return (end - start).clamp(min=0).prod(-1)
