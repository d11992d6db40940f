"""Exercises of notebook 01: draw a box, cut it out, compare two boxes, count what a box sees, choose a view."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ...data import toybox
from ...views import crops
from ...views.view import View, ViewParams, render_view, sample_params
from ..exercise import Case, Exercise, KnownMistake, Property

if TYPE_CHECKING:
    from ...drawing.sheets import Shown

Pair = tuple[float, float]
Box = tuple[int, int, int, int]


def sides(u: Tensor, v: Tensor, scale: Pair, ratio: Pair, hw: tuple[int, int]) -> Tensor:
    """Heights and widths (N, 2) in pixels from uniform numbers u, v (N,): area uniform, logarithm of width / height uniform."""
    area = hw[0] * hw[1] * (scale[0] + (scale[1] - scale[0]) * u)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = (low + (high - low) * v).exp()
    return torch.stack([(area / aspect).sqrt(), (area * aspect).sqrt()], dim=1)


def cut(picture: Tensor, box: Box, size: int) -> Tensor:
    """The box (top, left, height, width) of a picture uint8 (3, H, W), resized: float (3, size, size) from 0 to 1."""
    top, left, height, width = box
    part = picture[None, :, top : top + height, left : left + width] / 255
    return F.interpolate(part, (size, size), mode="bilinear", antialias=True)[0]


def seen(mask: Tensor, box: Box) -> Tensor:
    """Share of the object's pixels, true in mask (H, W), that lie in the box (top, left, height, width)."""
    top, left, height, width = box
    return mask[top : top + height, left : left + width].sum() / mask.sum()


def a_view() -> View:
    """Crops that keep most of a toy, and colours that change wildly."""
    return View(scale=(0.4, 1.0), jitter=(0.8, 0.8, 0.8, 0.5), gray_p=0.5, blur_p=0.0)


# ---- slips of 01.1 to 01.4


def uniform_ratio(u: Tensor, v: Tensor, scale: Pair, ratio: Pair, hw: tuple[int, int]) -> Tensor:
    area = hw[0] * hw[1] * (scale[0] + (scale[1] - scale[0]) * u)
    aspect = ratio[0] + (ratio[1] - ratio[0]) * v
    return torch.stack([(area / aspect).sqrt(), (area * aspect).sqrt()], dim=1)


def without_exp(u: Tensor, v: Tensor, scale: Pair, ratio: Pair, hw: tuple[int, int]) -> Tensor:
    area = hw[0] * hw[1] * (scale[0] + (scale[1] - scale[0]) * u)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = low + (high - low) * v
    return torch.stack([(area / aspect).sqrt(), (area * aspect).sqrt()], dim=1)


def share_of_side(u: Tensor, v: Tensor, scale: Pair, ratio: Pair, hw: tuple[int, int]) -> Tensor:
    squared = tuple((s * s) for s in scale)
    share = (scale[0] + (scale[1] - scale[0]) * u) ** 2
    spread = (share - squared[0]) / (squared[1] - squared[0])
    return sides(spread, v, squared, ratio, hw)


def resized(part: Tensor, size: int, **how: object) -> Tensor:
    return F.interpolate(part[None] / 255, (size, size), **how)[0]


def part_of(picture: Tensor, box: Box) -> Tensor:
    top, left, height, width = box
    return picture[:, top : top + height, left : left + width]


def turned(box: Box) -> Box:
    """Top and left, height and width exchanged."""
    return box[1], box[0], box[3], box[2]


def in_both(a: Tensor, b: Tensor) -> Tensor:
    """Height and width (N, 2) of what two boxes share; negative where they are apart."""
    start = torch.maximum(a[:, :2], b[:, :2])
    return torch.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:]) - start


def of_both(a: Tensor, b: Tensor) -> Tensor:
    common = in_both(a, b).clamp(min=0).prod(1)
    return common / (a[:, 2:].prod(1) + b[:, 2:].prod(1) - common)


def as_corners(a: Tensor, b: Tensor) -> Tensor:
    start, end = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    return (end - start).clamp(min=0).prod(1) / (b[:, 2:] - b[:, :2]).prod(1)


# ---- rules


def area_stays(answer) -> bool:
    """Height times width is the area that was drawn, whatever the ratio."""
    u, v = torch.rand(2, 50, generator=torch.Generator().manual_seed(3))
    found = answer(u, v, (0.1, 0.9), (0.25, 4.0), (30, 40))
    return torch.allclose(found.prod(1), 1200 * (0.1 + 0.8 * u), rtol=1e-4)


def moves_along(answer) -> bool:
    """Where two boxes lie together does not matter."""
    shift = torch.tensor([3.0, 5.0, 0.0, 0.0])
    return torch.allclose(answer(A, B), answer(A + shift, B + shift), atol=1e-5)


@functools.cache
def toys() -> tuple[Tensor, Tensor]:
    """200 toys to measure views on: images (200, 3, 32, 32) and masks (200, 32, 32)."""
    images, _, _, masks = toybox.draw(200, seed=11)
    return images, masks


def draws(view: View, count: int = 2) -> list[ViewParams]:
    generator = torch.Generator().manual_seed(0)
    return [sample_params(view, len(toys()[0]), (32, 32), generator) for _ in range(count)]


def share_seen(view: View) -> float:
    """Share of a toy that a view holds, a mean over 200 toys."""
    masks, (draw,) = toys()[1], draws(view, 1)
    return float(torch.stack([seen(mask, box) for mask, box in zip(masks, draw.boxes.long().tolist(), strict=True)]).mean())


def share_kept(view: View) -> float:
    """How well the mean colour of one view tells that of another: a correlation, 0 for not at all, 1 for wholly."""
    one, other = (render_view(toys()[0], view, draw, normalise=False).mean(dim=(2, 3)) for draw in draws(view))
    one, other = (colour - colour.mean(dim=0) for colour in (one, other))
    return float(((one * other).sum(dim=0) / (one.norm(dim=0) * other.norm(dim=0))).mean())


def share_common(view: View) -> float:
    """Overlap of two views of a picture, a mean over 200."""
    first, second = draws(view)
    return float(crops.overlap(first.boxes, second.boxes).mean())


def eight(view: View) -> Shown:
    """One toy, eight times: what the network will be fed."""
    from ...drawing import sheets

    image, generator = toys()[0][:1].expand(8, -1, -1, -1), torch.Generator().manual_seed(1)
    made = render_view(image, view, sample_params(view, 8, (32, 32), generator), normalise=False)
    sheet = sheets.contact_sheet(made.clamp(0, 1), columns=8, scale=2, title="Eight of your views of one toy")
    return sheets.Shown(sheet, "One toy eight times, each time cut and coloured as the chosen view has it.")


def boxes(n: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return crops.sample_boxes(n, (32, 32), (0.05, 0.6), (0.5, 2.0), generator)


A, B = boxes(12, 0), boxes(12, 1)
U, V = torch.rand(2, 6, generator=torch.Generator().manual_seed(0))
PICTURE = (torch.rand(3, 24, 20, generator=torch.Generator().manual_seed(0)) * 255).byte()
HALVES = torch.zeros(3, 6, 6, dtype=torch.uint8)
HALVES[:, :, 3:] = 255  # black to the left, white to the right
MASK = torch.zeros(6, 6, dtype=torch.bool)
MASK[1:3, 2:6] = True  # eight pixels
BLOT = torch.rand(20, 24, generator=torch.Generator().manual_seed(2)) < 0.3
WILD = {"jitter": (0.8, 0.8, 0.8, 0.5), "gray_p": 0.5, "blur_p": 0.0}


def two(a: Box, b: Box) -> tuple[Tensor, Tensor]:
    return torch.tensor([a]).float(), torch.tensor([b]).float()


EXERCISES = {
    "01.1": Exercise(
        goal="two uniform random numbers become the height and the width of a box",
        reference=sides,
        trials=[
            Case(
                "u = 0, v = 1/2, shares from 1/4 to 1, ratios from 1/2 to 2, a picture of 20 x 20",
                (torch.zeros(1), torch.full((1,), 0.5), (0.25, 1.0), (0.5, 2.0), (20, 20)),
                torch.tensor([[10.0, 10.0]]),
            ),
            Case(
                "u = 1, v = 1, shares up to 1/2, ratios up to 2, a picture of 20 x 20",
                (torch.ones(1), torch.ones(1), (0.25, 0.5), (0.5, 2.0), (20, 20)),
                torch.tensor([[10.0, 20.0]]),
            ),
            Case("six random boxes on a picture of 32 x 48", (U, V, (0.2, 1.0), (0.75, 4 / 3), (32, 48))),
        ],
        slips=[
            KnownMistake(
                uniform_ratio,
                "the ratio itself was drawn uniformly: wide boxes then come up more often than tall ones. Draw its logarithm",
            ),
            KnownMistake(
                lambda *given: sides(*given).flip(1),
                "height and width are exchanged: the ratio is width / height, and the height comes first",
            ),
            KnownMistake(
                lambda *given: sides(*given) ** 2, "these are areas, not sides: a square of area a has sides of sqrt(a)"
            ),
            KnownMistake(
                share_of_side, "the share was taken of the side, not of the area: half the side is a quarter of the area"
            ),
            KnownMistake(
                without_exp,
                "the logarithm of the ratio was used as the ratio: take .exp() of what you have drawn between the two logarithms",
            ),
            KnownMistake(
                lambda u, v, scale, ratio, hw: sides(u, v, scale, ratio, (1, 1)),
                "these are shares of the picture's side; pixels are wanted, so begin with the area height * width of the picture",
            ),
        ],
        rules=[Property("height times width must be the area that u has drawn, whatever the ratio", area_stays)],
        hints=(
            "Two steps: u says how large the box is, v says how wide it is for its height. From area and ratio follow both sides.",
            "area = H W (s0 + (s1 - s0) u); ratio r = exp(log r0 + (log r1 - log r0) v); height = sqrt(area / r), width = sqrt(area r).",
            "u and v are (N,); area and ratio too; torch.stack([height, width], dim=1) is (N, 2).",
        ),
        difficulty=2,
        minutes=6,
        home="mnclglf_lite.views.crops.sample_boxes, which also rounds to whole pixels and draws anew what does not fit",
    ),
    "01.2": Exercise(
        goal="cut a box out of a picture and resize it to a square",
        reference=cut,
        trials=[
            Case("the white half of a picture that is black to the left", (HALVES, (1, 3, 4, 3), 2), torch.ones(3, 2, 2)),
            Case("a box of 5 x 6 pixels, enlarged to 12", (PICTURE, (2, 7, 5, 6), 12)),
            Case("a box of 20 x 15 pixels, reduced to 8", (PICTURE, (3, 4, 20, 15), 8)),
        ],
        slips=[
            KnownMistake(
                lambda p, box, size: resized(part_of(p, turned(box)), size, mode="bilinear", antialias=True),
                "top and left are exchanged: the first number goes with the rows, which are the second dimension of (3, H, W)",
            ),
            KnownMistake(
                lambda p, box, size: resized(p[:, box[0] : box[2], box[1] : box[3]], size, mode="bilinear", antialias=True),
                "height and width were read as where the box ends; it ends at top + height and left + width",
            ),
            KnownMistake(
                lambda p, box, size: 255 * cut(p, box, size),
                "the values go from 0 to 255; divide by 255, so that they go from 0 to 1",
            ),
            KnownMistake(
                lambda p, box, size: F.interpolate(part_of(p, box)[None], (size, size), mode="bilinear", antialias=True)[0],
                "these are whole numbers from 0 to 255 still; divide by 255, before you resize",
            ),
            KnownMistake(
                lambda p, box, size: resized(part_of(p, box), size),
                "F.interpolate copied the nearest pixel, which is what it does unless told: say mode='bilinear'",
            ),
            KnownMistake(
                lambda p, box, size: resized(part_of(p, box), size, mode="bilinear"),
                "where a box is reduced, pixels were left out: say antialias=True, so that all of them are averaged",
            ),
            KnownMistake(
                lambda p, box, size: (
                    F.interpolate(part_of(p, box)[None], (size, size), mode="bilinear", antialias=True)[0] / 255
                ),
                "whole numbers from 0 to 255 were resized, and so rounded: divide by 255 first, then resize",
            ),
        ],
        hints=(
            "First cut, by slicing; then resize. What does a slice need: a start and an end.",
            "rows top ... top + height, columns left ... left + width; then F.interpolate(x, (size, size), mode='bilinear', antialias=True).",
            "picture (3, H, W) -> (3, height, width), / 255; F.interpolate wants a batch: [None] makes (1, 3, h, w), [0] takes it off.",
        ),
        difficulty=1,
        minutes=5,
        home="mnclglf_lite.views.crops.crop_resize, for a whole batch with a box for each picture",
    ),
    "01.3": Exercise(
        goal="the share of box b that lies inside box a",
        reference=crops.overlap,
        trials=[
            Case(
                "two boxes of 10 x 10, one shifted by 5 down and right",
                two((0, 0, 10, 10), (5, 5, 10, 10)),
                torch.tensor([0.25]),
            ),
            Case("a small box inside a large one", two((0, 0, 10, 10), (2, 3, 4, 4)), torch.ones(1)),
            Case("two boxes side by side, apart", two((0, 0, 4, 4), (0, 6, 4, 4)), torch.zeros(1)),
            Case("two boxes apart across the corner", two((0, 0, 4, 4), (6, 6, 4, 4)), torch.zeros(1)),
            Case("twelve pairs of random boxes", (A, B)),
        ],
        slips=[
            KnownMistake(
                of_both,
                "this is the share of what the two cover together (intersection over union); divide by the area of b alone",
            ),
            KnownMistake(
                lambda a, b: in_both(a, b).clamp(min=0).prod(1) / a[:, 2:].prod(1),
                "this is the share of box a that lies in b; it was asked the other way round: divide by the area of b",
            ),
            KnownMistake(
                as_corners,
                "the last two numbers were read as bottom and right; they are height and width, so bottom = top + height",
            ),
            KnownMistake(
                lambda a, b: in_both(a, b).prod(1) / b[:, 2:].prod(1),
                "boxes that are apart share a negative height or width: set those to 0 before you multiply, .clamp(min=0)",
            ),
            KnownMistake(
                lambda a, b: in_both(a, b).prod(1).clamp(min=0) / b[:, 2:].prod(1),
                "apart in height and in width, minus times minus is plus: set each of the two to 0 first, then multiply",
            ),
            KnownMistake(
                lambda a, b: in_both(a, b).clamp(min=0).prod(1) / torch.minimum(a[:, 2:].prod(1), b[:, 2:].prod(1)),
                "this is the share of the smaller box; asked is the share of b, whichever is the smaller",
            ),
        ],
        rules=[Property("moving both boxes together changed the share", moves_along)],
        hints=(
            "What two boxes share is a box again. Where does it begin, where does it end?",
            "top = max of the tops, bottom = min of the bottoms, the same for left and right; height and width at least 0; divided by b's area.",
            "a[:, :2] + a[:, 2:] is (N, 2): bottom and right. torch.maximum and torch.minimum compare number by number; .prod(1) -> (N,).",
        ),
        difficulty=2,
        minutes=6,
    ),
    "01.4": Exercise(
        goal="the share of an object's pixels that a box holds",
        reference=seen,
        trials=[
            Case("an object of 8 pixels, of which a box holds 2", (MASK, (0, 1, 2, 3)), torch.tensor(0.25)),
            Case("a box beside the object", (MASK, (4, 0, 2, 5)), torch.tensor(0.0)),
            Case("the whole picture", (BLOT, (0, 0, 20, 24)), torch.tensor(1.0)),
            Case("a blot in a picture of 20 x 24", (BLOT, (3, 9, 11, 8))),
        ],
        slips=[
            KnownMistake(
                lambda mask, box: part_of(mask[None], box).float().mean(),
                "this is the share of the box that the object fills; it was asked how much of the object is in the box",
            ),
            KnownMistake(
                lambda mask, box: seen(mask, turned(box)), "top and left are exchanged: the first number goes with the rows"
            ),
            KnownMistake(
                lambda mask, box: mask[box[0] : box[2], box[1] : box[3]].sum() / mask.sum(),
                "height and width were read as where the box ends; it ends at top + height and left + width",
            ),
            KnownMistake(
                lambda mask, box: part_of(mask[None], box).sum() / mask.numel(),
                "this was divided by all pixels of the picture; divide by those of the object, mask.sum()",
            ),
            KnownMistake(
                lambda mask, box: part_of(mask[None], box).sum(),
                "this is a number of pixels; divide it by the object's, mask.sum()",
            ),
        ],
        hints=(
            "Count true pixels twice: inside the box, and in the whole picture.",
            "(true pixels in the box) / (true pixels): mask[...].sum() / mask.sum().",
            "mask (H, W), sliced by rows top : top + height and columns left : left + width.",
        ),
        difficulty=1,
        minutes=3,
    ),
    "01.5": Exercise(
        goal="a View for training: most of the toy in sight, place and colour given away to nobody",
        reference=a_view,
        value=True,
        trials=[],
        slips=[
            KnownMistake(
                View(size=12, scale=(0.4, 1.0), **WILD),
                "leave size at 32: in fewer pixels bricks melt together, and the runs are to be compared",
            ),
            KnownMistake(
                View(scale=(0.05, 0.05), **WILD),
                "such crops hold too little of the toy, less than two thirds: two views of it may have nothing in common. "
                "Raise the scale",
            ),
            KnownMistake(
                View(scale=(1.0, 1.0), **WILD),
                "two views show nearly the same part, so place and size hardly change, and nothing makes the network forget "
                "them. Let the scale begin lower",
            ),
            KnownMistake(
                View(scale=(0.4, 1.0), jitter_p=0.0, gray_p=0.0, blur_p=0.0),
                "colours hardly change, so that a glance at them finds the partner. Switch the jitter on",
            ),
            KnownMistake(
                View(scale=(0.4, 1.0), blur_p=0.0),
                "colours change too little: one view's mean colour still tells much of the other's, a correlation above 0.5. Make "
                "all four of the jitter stronger than the defaults, hue too; grey helps, but grey alone leaves the brightness",
            ),
        ],
        rules=[
            Property(
                "give a View, such as View(scale=(0.2, 1.0)); of an explorer, explorer.views.view",
                lambda view: isinstance(view, View),
            ),
            Property("the views are to be 32 pixels wide, so that runs can be compared", lambda view: view.size == 32),
            Property(
                "a view must hold two thirds of the toy on average: raise the scale", lambda view: share_seen(view) > 2 / 3
            ),
            Property(
                "two views overlap by more than nine tenths on average: lower the scale's beginning",
                lambda view: share_common(view) < 0.9,
            ),
            Property(
                "one view's mean colour tells the other's almost exactly: let colours change",
                lambda view: share_kept(view) < 0.85,
            ),
            Property(
                "one view's mean colour still tells much of the other's (a correlation above 0.5): let colours change more",
                lambda view: share_kept(view) < 0.5,
            ),
        ],
        hints=(
            "Toys are told apart by how their bricks are arranged. Which knobs leave that alone, and which change all else?",
            "Crops: large enough for two thirds of the toy, never always the whole. Colour: jitter well above a photograph's, often grey.",
            "View(scale=(low, high), jitter=(brightness, contrast, saturation, hue), gray_p=probability, blur_p=probability); hue at most 0.5.",
        ),
        difficulty=2,
        minutes=8,
        home="mnclglf_lite.views.named_views.TOY_VIEW",
        draw=eight,
    ),
}
