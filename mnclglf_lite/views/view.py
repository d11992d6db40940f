"""A view of an image: what may happen to it (View), what was drawn (ViewParams), and making it (`render_view`).

    view = View(size=32, scale=(0.2, 1.0))
    draw = sample_params(view, n=len(images), hw=(32, 32), generator=generator)     # data: look at it, plot it
    x = render_view(images, view, draw)                                             # (N, 3, 32, 32), normalised

Order as in MoCo v2 and the MNCLGLF release: crop, jitter, grey, blur, solarise, invert, flip. The flip is done inside
the crop's resample: it costs nothing there and commutes with everything after it.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.errors import InputError, unknown
from . import color, crops
from .crops import crop_resize

# ImageNet's channel mean and standard deviation, for every image set (the release's constants)
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class View:
    """What may happen to a picture. Defaults: MoCo v2's and the release's set, at CIFAR's size."""

    size: int = 32  # side of the view, pixels (the release: 224)
    scale: tuple[float, float] = (0.2, 1.0)  # share of the picture's area in the crop
    ratio: tuple[float, float] = (3 / 4, 4 / 3)  # width / height of the crop
    flip_p: float = 0.5  # probability
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)  # brightness, contrast, saturation, hue
    jitter_p: float = 0.8  # probability
    gray_p: float = 0.2  # probability
    blur_p: float = 0.5  # probability
    blur_sigma: tuple[float, float] = (0.1, 2.0)  # pixels
    solarize_p: float = 0.0  # probability (BYOL's second view: 0.2)
    invert_p: float = 0.0  # probability of the negative image, as torchvision's RandomInvert (the toy box: 0.5)
    interpolation: str = "bilinear"  # or "bicubic", the release's
    # crops come from here: top, left, height, width, shares
    source_region: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 2:
            raise InputError(f"view size {self.size!r}: expected a whole number of pixels, at least 2")
        if self.interpolation not in crops.FILTERS:
            raise unknown("interpolation", self.interpolation, crops.FILTERS)
        for name in ("flip_p", "jitter_p", "gray_p", "blur_p", "solarize_p", "invert_p"):
            value = getattr(self, name)
            if not _is_number(value) or not 0 <= value <= 1:
                raise InputError(f"view {name} {value!r}: expected a probability from 0 to 1")
        self._check_range("scale", 1.0, "shares of area, above 0 and at most 1, such as (0.2, 1.0)")
        self._check_range("ratio", float("inf"), "width / height ratios above 0, such as (0.75, 1.33)")
        self._check_range("blur_sigma", float("inf"), "pixels above 0, such as (0.1, 2.0)")
        object.__setattr__(self, "jitter", self._numbers("jitter", 4))
        object.__setattr__(self, "source_region", self._numbers("source_region", 4))
        top, left, height, width = self.source_region
        if min(top, left) < 0 or min(height, width) <= 0 or max(top + height, left + width) > 1 + 1e-9:
            raise InputError(
                f"view source_region {self.source_region}: expected top, left, height, width as shares of the picture, "
                "inside it, such as (0.0, 0.0, 0.8, 0.8)"
            )
        if min(self.jitter) < 0 or self.jitter[3] > 0.5:
            raise InputError(
                f"view jitter {self.jitter}: expected four strengths (brightness, contrast, saturation, "
                "hue), none negative, hue at most 0.5 of a turn; 0 switches one off"
            )

    def _numbers(self, name: str, count: int) -> tuple[float, ...]:
        value = getattr(self, name)
        if not isinstance(value, (tuple, list)) or len(value) != count or not all(map(_is_number, value)):
            raise InputError(f"view {name} {value!r}: expected {count} finite numbers")
        return tuple(value)  # a list, as JSON gives it, becomes a tuple

    def _check_range(self, name: str, most: float, meaning: str) -> None:
        low, high = self._numbers(name, 2)
        if not 0 < low <= high <= most:
            order = "the smaller number first" if low > high else "both inside the range"
            raise InputError(f"view {name} ({low}, {high}): expected two {meaning}; {order}")
        object.__setattr__(self, name, (low, high))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class ViewParams:
    """What happens to each of N pictures: one row each, plain tensors, so it can be shown."""

    boxes: Tensor  # float32 (N, 4) top, left, height, width in pixels
    flip: Tensor  # bool (N,)
    brightness: Tensor  # float32 (N,) factor, 1 = unchanged (also where the jitter is off)
    contrast: Tensor  # float32 (N,) factor
    saturation: Tensor  # float32 (N,) factor
    hue: Tensor  # float32 (N,) shift in turns of the colour circle, 0 = unchanged
    order: Tensor  # int64 (N, 4) the order of 0 brightness, 1 contrast, 2 saturation, 3 hue
    gray: Tensor  # bool (N,)
    blur: Tensor  # bool (N,)
    sigma: Tensor  # float32 (N,) pixels
    solarize: Tensor  # bool (N,)
    invert: Tensor  # bool (N,)
    balanced: bool  # hue's turn comes at each of the four positions in exactly N/4 rows (faster to render)

    def __len__(self) -> int:
        return len(self.boxes)

    def rows(self, index: Tensor | slice) -> ViewParams:
        """The draw of some rows only, or of rows in another order."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        picked = {name: value[index] for name, value in fields.items() if isinstance(value, Tensor)}
        return ViewParams(**picked, balanced=False)


def sample_params(
    view: View, n: int, hw: tuple[int, int], generator: torch.Generator, device: torch.device | str | None = None
) -> ViewParams:
    """Draw what happens to `n` pictures of (height, width) `hw`. `device` defaults to the generator's.

    Takes the same random numbers whatever the view says (36 a picture): with the same seed, turning one knob
    of the view changes that one thing and leaves the rest of the draw as it was.
    """
    device = generator.device if device is None else device
    pixels = (round(share * side) for share, side in zip(view.source_region, (*hw, *hw), strict=True))
    top, left, height, width = pixels
    boxes = crops.sample_boxes(n, (height, width), view.scale, view.ratio, generator, device)  # (N, 4)
    boxes[:, 0] += top
    boxes[:, 1] += left
    u = torch.rand(14, n, generator=generator, device=device)  # (14, N)
    on = u[0] < view.jitter_p  # (N,)
    factors = []
    for strength, v in zip(view.jitter[:3], u[1:4], strict=True):
        low = max(0.0, 1 - strength)
        factors.append(torch.where(on, low + (1 + strength - low) * v, 1.0))  # (N,)
    shift = torch.where(on, (2 * u[4] - 1) * view.jitter[3], 0.0)  # (N,)
    # hue's position (N,): a quarter of the batch each, shuffled; a batch that has no quarters draws it freely
    balanced = n % 4 == 0
    position = u[5].argsort() // max(n // 4, 1) if balanced else (4 * u[5]).long()
    others = u[6:9].T.argsort(1)  # (N, 3) the order of the other three
    place = torch.arange(4, device=device)
    before = others.gather(1, (place - (place > position[:, None]).long()).clamp(max=2))  # (N, 4)
    order = torch.where(place == position[:, None], color.HUE, before)  # (N, 4)
    sigma = view.blur_sigma[0] + (view.blur_sigma[1] - view.blur_sigma[0]) * u[9]
    return ViewParams(
        boxes=boxes,
        flip=u[10] < view.flip_p,
        brightness=factors[0],
        contrast=factors[1],
        saturation=factors[2],
        hue=shift,
        order=order,
        gray=u[11] < view.gray_p,
        blur=u[12] < view.blur_p,
        sigma=sigma,
        solarize=u[13] < view.solarize_p,
        invert=(u[13] * 4096).frac() < view.invert_p,  # its low bits, independent of the high ones: no draw of its own
        balanced=balanced,
    )


def render_view(images: Tensor, view: View, draw: ViewParams, normalise: bool = True) -> Tensor:
    """Make the views: uint8 (N, 3, H, W) and a draw of N rows give float32 (N, 3, S, S).

    With `normalise=False` the values stay in [0, 1], for looking at. What the view switches off (probability
    or strength 0) costs nothing.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise InputError(f"images of shape {tuple(images.shape)}: expected colour pictures (N, 3, H, W)")
    if len(images) != len(draw):
        raise InputError(f"{len(images)} images but a draw of {len(draw)} rows: draw one row per image")
    flip = draw.flip if view.flip_p else None
    x = crop_resize(images, draw.boxes, view.size, view.interpolation, flip)  # (N, 3, S, S)
    if view.jitter_p and any(view.jitter):
        x = color.jitter(x, draw)
    if view.gray_p:
        x = color.grayscale(x, draw.gray)
    if view.blur_p:
        x = color.gaussian_blur(x, draw.sigma, draw.blur)
    if view.solarize_p:
        x = color.solarize(x, draw.solarize)
    if view.invert_p:
        x = color.invert(x, draw.invert)
    return _normalise(x) if normalise else x


def normalise(x: Tensor) -> Tensor:
    """(x - MEAN) / STD per channel: pictures (..., 3, H, W) in [0, 1] to what networks are given."""
    mean, std = _constants(x)
    return (x - mean).div_(std)


_normalise = normalise  # `render_view` has an argument of that name


def denormalise(x: Tensor) -> Tensor:
    """Back to [0, 1] for looking at: x * STD + MEAN."""
    mean, std = _constants(x)
    return (x * std).add_(mean)


def _constants(x: Tensor) -> tuple[Tensor, Tensor]:
    # filled on the device: copying them there would make the step wait, and a graph cannot capture that
    mean, std = (torch.stack([x.new_full((1, 1), v) for v in values]) for values in (MEAN, STD))
    return mean, std  # (3, 1, 1) each


def whole_images(images: Tensor, size: int | None = None) -> Tensor:
    """Whole pictures, for evaluation: uint8 (N, 3, H, W) to normalised float32 (N, 3, S, S).

    Resized bicubically, as in the release, and with antialiasing where `size` differs from the pictures' side.
    """
    x = crops.to_unit(images)  # (N, 3, H, W)
    if size is not None and images.shape[-2:] != (size, size):
        x = torch.nn.functional.interpolate(x, (size, size), mode="bicubic", antialias=True).clamp_(0, 1)  # (N, 3, S, S)
    return normalise(x)
