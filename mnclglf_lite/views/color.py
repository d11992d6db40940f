"""Colour: the whole batch at once, every picture with its own draw.

Every function takes float32 pictures (N, 3, H, W) in [0, 1] and one factor per picture (N,), and gives what
torchvision's function of the same job gives picture by picture. Nothing is changed in place unless said.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .crops import apply_matrices

# ITU-R 601 luma as torchvision rounds it (they sum to 0.9999)
LUMA = (0.2989, 0.587, 0.114)
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)  # the numbers torchvision's ColorJitter gives its four steps
SOLARIZE_ABOVE = 0.5  # Pillow's default, 128 of 255, seen from [0, 1]


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]  # (N, 1, 1, 1)


def luma(images: Tensor) -> Tensor:
    """Grey value of each pixel: (N, 1, H, W), as `rgb_to_grayscale`."""
    red, green, blue = images.split(1, 1)
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])  # (N, 1, H, W)


def blend(images: Tensor, target: Tensor, factor: Tensor) -> Tensor:
    """factor * images + (1 - factor) * target, clamped to [0, 1]: three of the four jitter steps are this."""
    factor = _per_image(factor)
    return torch.addcmul((1 - factor) * target, images, factor).clamp_(0, 1)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with black. factor (N,) >= 0: 0 gives black, 1 changes nothing."""
    return blend(images, images.new_zeros(()), factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the picture's mean grey. factor (N,) >= 0: 0 gives flat grey, 1 changes nothing."""
    return blend(images, luma(images).mean((1, 2, 3), keepdim=True), factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the grey picture. factor (N,) >= 0: 0 gives the grey picture, 1 changes nothing."""
    return blend(images, luma(images), factor)


def hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn every pixel's hue by `shift` (N,), in turns of the colour circle (-0.5 to 0.5); exact HSV.

    Hue h is counted in sixths of a turn from red, so h runs from -3 to 3. With the pixel stretched to lowest
    channel 0 and highest 1, h = +-(1 - red + green + blue), plus where green >= blue: the six cases of the
    textbook formula in one line. On the way back each channel is a trapezoid in h: red is 1 near 0, green
    near 2, blue near 4.
    """
    red, green, blue = images.unbind(1)  # (N, H, W) each
    low = torch.minimum(torch.minimum(red, green), blue)
    span = torch.maximum(torch.maximum(red, green), blue).sub_(low)  # highest minus lowest channel
    tiny = torch.finfo(images.dtype).tiny  # a grey pixel has no hue: 0 / tiny, then times span 0
    size = (green - red).add_(blue - low).div_(span.clamp(min=tiny)).add_(1)
    h = size.copysign_(green - blue).add_(6 * shift[:, None, None]).remainder_(6)  # (N, H, W) 0 to 6
    rises = ((h - 3).abs_().sub_(1), (h - 2).abs_().neg_().add_(2), (h - 4).abs_().neg_().add_(2))
    height = torch.stack(rises, 1).clamp_(0, 1)  # (N, 3, H, W) the trapezoids
    return height.mul_(span[:, None]).add_(low[:, None])


def jitter(images: Tensor, draw) -> Tensor:
    """torchvision's `ColorJitter`, each picture with its own factors and its own ORDER of the four steps.

    `draw` is a `view.ViewParams` (its fields brightness, contrast, saturation, hue (N,), order (N, 4), balanced).

    Brightness, contrast and saturation are the same operation with different targets, so in each of three
    blend slots every picture simply picks the target and factor whose turn it is. Hue is dearer and comes at
    position 0, 1, 2 or 3. Where the draw is balanced (a quarter of the batch at each position), each quarter
    is turned at its own time: hue costs one pass in all, and the sizes are known beforehand. Otherwise the
    whole batch is turned four times and each picture keeps its own turn: dearer, for small batches.

    Compiled, each quarter goes through all its steps by itself, which saves copies and stays in the cache; run
    eagerly, fewer and larger operations are faster (measured, both). The results are the same numbers.
    """
    n = len(images)
    position = (draw.order == HUE).to(torch.uint8).argmax(1)  # (N,) when hue's turn comes
    slot = torch.arange(3, device=images.device)
    step = draw.order.gather(1, slot + (slot >= position[:, None]))  # (N, 3) the order without hue
    factors = torch.stack((draw.brightness, draw.contrast, draw.saturation), 1).gather(1, step)  # (N, 3)
    to_grey = (1 - factors) * (step == SATURATION)  # (N, 3) weight of the grey picture
    to_mean = (1 - factors) * (step == CONTRAST)  # (N, 3) weight of the mean grey
    groups = position.argsort(stable=True).view(4, n // 4) if draw.balanced else None  # (4, N/4)

    def blended(images: Tensor, turn: int, rows: Tensor | slice) -> Tensor:
        """One blend slot of some rows, in place."""
        grey = luma(images)  # (n, 1, H, W)
        mean = _per_image(to_mean[rows, turn] * grey.mean((1, 2, 3)))  # (n, 1, 1, 1)
        target = torch.addcmul(mean, grey, _per_image(to_grey[rows, turn]))  # (n, 1, H, W)
        return images.mul_(_per_image(factors[rows, turn])).add_(target).clamp_(0, 1)

    if groups is not None and torch.compiler.is_compiling():
        quarters = []
        for place, rows in enumerate(groups):
            x = images[rows]
            for turn in range(4):
                x = hue(x, draw.hue[rows]) if turn == place else x
                x = blended(x, turn, rows) if turn < 3 else x
            quarters.append(x)
        return torch.cat(quarters)[groups.flatten().argsort()]

    images = images.clone()
    for turn in range(4):
        if groups is not None:
            rows = groups[turn]
            images.index_copy_(0, rows, hue(images[rows], draw.hue[rows]))
        else:
            images = torch.where(_per_image(position == turn), hue(images, draw.hue), images)
        if turn < 3:
            images = blended(images, turn, slice(None))
    return images


def grayscale(images: Tensor, on: Tensor) -> Tensor:
    """The grey picture in all three channels where `on` (N,) is true."""
    return torch.lerp(images, luma(images), _per_image(on).to(images.dtype))  # weights 0 and 1 are exact


def solarize(images: Tensor, on: Tensor, threshold: float = SOLARIZE_ABOVE) -> Tensor:
    """Invert every channel value at or above `threshold`, where `on` (N,) is true."""
    return torch.where(_per_image(on) & (images >= threshold), 1 - images, images)


def invert(images: Tensor, on: Tensor) -> Tensor:
    """The negative image, 1 - x, where `on` (N,) is true."""
    return torch.where(_per_image(on), 1 - images, images)


def blur_side(size: int) -> int:
    """Kernel side in pixels for pictures of side `size`: odd, about a tenth of it, at least 3.

    SimCLR's rule (23 for 224), which gives 3 for 32 and 7 for 64. The release blurs with Pillow, whose kernel
    is as wide as sigma asks; at 224 pixels that is nearly the same, at 32 it would blur far more.
    """
    return max(3, 2 * (size // 20) + 1)


def gaussian_blur(images: Tensor, sigma: Tensor, on: Tensor | None = None, side: int | None = None) -> Tensor:
    """Gaussian blur with each picture's own `sigma` (N,) in pixels, reflected edges, where `on` (N,) is true.

    The kernel is `side` x `side` (default `blur_side`), cut off there and normalised as in torchvision. A
    blur is a banded matrix down the rows and one across the columns; a picture that is not blurred gets the
    identity.
    """
    height, width = images.shape[-2:]
    side = blur_side(max(height, width)) if side is None else side
    reach = torch.arange(side, device=images.device) - side // 2  # (K,)
    kernel = torch.softmax(-0.5 * (reach / sigma[:, None]) ** 2, 1)  # (N, K)
    if on is not None:
        kernel = torch.where(on[:, None], kernel, (reach == 0).float())
    rows = _banded(kernel, reach, height)  # (N, H, H)
    columns = rows if height == width else _banded(kernel, reach, width)  # (N, W, W)
    return apply_matrices(images, rows, columns)


def _banded(kernel: Tensor, reach: Tensor, side: int) -> Tensor:
    """(N, side, side) matrices that slide each kernel (N, K) along a line with mirrored ends."""
    pixel = torch.arange(side, device=kernel.device)
    source = (side - 1) - ((side - 1) - (pixel[:, None] + reach[:, None, None]).abs()).abs()  # (K, side, 1)
    taken = (source == pixel).to(kernel.dtype)  # (K, side, side) which source pixel each tap reads
    return (kernel @ taken.flatten(1)).unflatten(1, (side, side))  # (N, side, side)
