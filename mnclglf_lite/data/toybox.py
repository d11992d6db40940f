"""The toy box: a built-in image set of ten toys, drawn on the spot; nothing is downloaded and nothing is stored.

Every toy is built of the same 24 bricks. What it is lies only in how they are arranged: as a frame, shelves, a comb, a
target. So every toy has the same parts and the same area; counting colours says nothing about the class, and comparing
pixels or thumbnails little, because all else varies freely from image to image, independently of the class and of each
other: where the toy lies, how large it is, how far it is stretched and turned, its colour, the ground's colour, the light
across it, and whether the toy is brighter or darker than the ground. These are the *factors*. They are handed out with the
images, so that one can ask a learned feature what it kept and what it threw away.

How it is drawn: each toy is a stencil (the drawings below, in characters), enlarged; a whole batch of stencils is turned,
stretched, scaled and shifted by one affine resampling at twice the final resolution and averaged down, which leaves soft
edges.

Ours: the design and every constant. Arrangements and ranges were chosen by kNN on raw pixels and 8x8 thumbnails, by the
supervised reference and by short SimCLR runs, on the validation set: so that what needs no network stays low, and a small
network can learn the set in a minute. Place, size and stretch are what random resized crops vary too, and so may vary most.
No labelled accuracy of MNCLGLF was used.

This is version 2, the image set "toybox". Version 1, "toybox-v1", has twelve larger bricks to a toy, no stretch and smaller
ranges; whitened thumbnails solve two thirds of it. Older records were made with it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.errors import InputError, unknown

STENCILS = {
    "frame": """
        #######
        #.....#
        #.....#
        #.....#
        #.....#
        #.....#
        #######""",
    "chequer": """
        .#.#.#.
        #.#.#.#
        .#.#.#.
        #.#.#.#
        .#.#.#.
        #.#.#.#
        .#.#.#.""",
    "shelves": """
        ######
        ......
        ######
        ......
        ######
        ......
        ######""",
    "corners": """
        ###.###
        ###.###
        .......
        .......
        .......
        ###.###
        ###.###""",
    "cross": """
        ##...##
        ##...##
        ..###..
        ..#.#..
        ..###..
        ##...##
        ##...##""",
    "plus": """
        ..###..
        ..#.#..
        ###.###
        #.....#
        ###.###
        ..#.#..
        ..###..""",
    "target": """
        ..###..
        .#...#.
        #.###.#
        #.#.#.#
        #.###.#
        .#...#.
        ..###..""",
    "chevrons": """
        ...#...
        ..###..
        .##.##.
        ##.#.##
        ..###..
        .##.##.
        ##...##""",
    "arch": """
        #######
        #######
        #.....#
        #.....#
        #.....#
        #.....#
        #.....#""",
    "comb": """
        #######
        ##.#.##
        #..#..#
        #..#..#
        #..#..#
        #..#..#""",
}
CLASSES = tuple(STENCILS)

BRICKS = 24  # a toy
SPAN = 7  # bricks across the widest toy
CELL = 16  # stencil pixels a brick
FIELD = 16  # bricks across a whole stencil: room around the toy for turning and shrinking

# name: (lowest, highest), uniform. Lengths are shares of the picture's half side, colours as in HSV.
FACTORS = {
    "x": (-0.6, 0.6),  # centre of the toy, to the right
    "y": (-0.6, 0.6),  # centre of the toy, downwards
    "size": (0.38, 0.68),  # side of a seven-brick square, as a share of the picture's side
    "stretch": (0.65, 1.5),  # width / height of a brick, its area unchanged
    "rotation": (-35.0, 35.0),  # degrees, clockwise
    "toy_hue": (0.0, 1.0),  # turns of the colour circle
    "toy_saturation": (0.1, 0.8),
    "ground_hue": (0.0, 1.0),
    "ground_saturation": (0.1, 0.7),
    "contrast": (0.35, 0.7),  # difference in value between toy and ground
    "light": (0.0, 0.6),  # how much brighter the ground gets from one side to the other
    "light_angle": (0.0, 360.0),  # degrees, where the light comes from
    "toy_is_bright": (0, 1),  # 0: a dark toy on bright ground, 1: the other way round
}
PERIODS = {"toy_hue": 1.0, "ground_hue": 1.0, "light_angle": 360.0}  # factors that run in a circle: one full turn
NOISE = 0.02  # standard deviation of the grain, of 1
CHUNK = 1000  # pictures drawn at a time, to keep memory small; part of what a seed means

STENCILS_1 = {
    "block": """
        ###
        ###
        ###
        ###""",
    "frame": """
        ####
        #..#
        #..#
        ####""",
    "chequer": """
        .#.#.
        #.#.#
        .#.#.
        #.#.#
        .#.#.""",
    "beads": """
        #.#.#.#
        .......
        #.#.#.#
        .......
        #.#.#.#""",
    "shelves": """
        ####
        ....
        ####
        ....
        ####""",
    "pinwheel": """
        ...#...
        ...#...
        ...#...
        ###.###
        ...#...
        ...#...
        ...#...""",
    "cross": """
        #.....#
        .#...#.
        ..#.#..
        .......
        ..#.#..
        .#...#.
        #.....#""",
    "corners": """
        ##...##
        #.....#
        .......
        .......
        .......
        #.....#
        ##...##""",
    "pyramid": """
        ..##..
        .####.
        ######""",
    "comb": """
        ######
        #.##.#
        #....#""",
}
_RANGES_1 = {"x": (-0.5, 0.5), "y": (-0.5, 0.5), "size": (0.42, 0.85), "rotation": (-25.0, 25.0)}
FACTORS_1 = {name: _RANGES_1.get(name, limits) for name, limits in FACTORS.items() if name != "stretch"}


def design(version: int) -> tuple[dict[str, str], dict[str, tuple[float, float]]]:
    """Stencils and factors of a version of the toy box, by name."""
    designs = {1: (STENCILS_1, FACTORS_1), 2: (STENCILS, FACTORS)}
    if version not in designs:
        raise InputError(f"toy box: version is {version!r}; there are 1 and 2")
    return designs[version]


def draw(
    n: int, seed: int, side: int = 32, fixed: dict[str, float] | None = None, version: int = 2
) -> tuple[Tensor, Tensor, dict[str, Tensor], Tensor]:
    """`n` pictures: images uint8 (N, 3, S, S), labels int64 (N,), factors {name: (N,)}, masks bool (N, S, S).

    `fixed` holds factors at one value, such as {"x": 0.0, "y": 0.0} for toys in the middle; the others are drawn as ever.

    The same n, seed, side and version always give the same bytes. Labels are shuffled and balanced: every ten pictures in
    turn are one of each class. Factors are float32 in the units of `FACTORS`, `toy_is_bright` int64. Masks are true where
    bricks cover more than half of a pixel; wide toys may be cut off by the picture's edge.
    """
    for name, value, least in (("n", n, 1), ("seed", seed, 0), ("side", side, 8)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"toy box: {name} is {value!r}; give a whole number of at least {least}")
    arts, limits = design(version)
    generator = torch.Generator().manual_seed(seed)
    runs = torch.rand(-(-n // len(arts)), len(arts), generator=generator)
    labels = runs.argsort(dim=1).flatten()[:n]  # every ten pictures are the ten classes in an order of their own
    factors = _factors(n, generator, limits)
    for name, value in (fixed or {}).items():
        if name not in factors:
            raise unknown("factor of the toy box", name, factors)
        factors[name].fill_(value)
    stencils = torch.stack([_stencil(art) for art in arts.values()])  # (10, 256, 256)
    poses, toys, grounds, lights = _poses(factors), *_colours(factors), _lights(factors)
    images = torch.empty(n, 3, side, side, dtype=torch.uint8)
    masks = torch.empty(n, side, side, dtype=torch.bool)
    ramp = torch.linspace(-0.5, 0.5, side)
    for part in torch.arange(n).split(CHUNK):
        grid = F.affine_grid(poses[part], [len(part), 1, 2 * side, 2 * side], align_corners=False)
        cover = F.grid_sample(stencils[labels[part], None], grid, align_corners=False)  # (n, 1, 2S, 2S)
        cover = F.avg_pool2d(cover, 2)  # (n, 1, 2S, 2S) -> (n, 1, S, S)
        slope = lights[part, 0, None, None] * ramp + lights[part, 1, None, None] * ramp[:, None]  # (n, S, S)
        picture = (grounds[part, :, None, None] + slope[:, None]) * (1 - cover) + toys[part, :, None, None] * cover
        picture += NOISE * torch.randn(picture.shape, generator=generator)
        images[part] = (picture.clamp(0, 1) * 255).round().byte()
        masks[part] = cover[:, 0] > 0.5
    return images, labels, factors, masks


def _factors(n: int, generator: torch.Generator, limits: dict[str, tuple[float, float]]) -> dict[str, Tensor]:
    """A column of uniform numbers for each factor."""
    columns = torch.rand(len(limits), n, generator=generator)
    factors = {name: low + (high - low) * u for (name, (low, high)), u in zip(limits.items(), columns, strict=True)}
    factors["toy_is_bright"] = factors["toy_is_bright"].round().long()
    return factors


def _stencil(art: str) -> Tensor:
    """Characters to a stencil of FIELD x FIELD cells with the toy's middle in its middle, 1 on bricks."""
    rows = art.split()
    cells = torch.tensor([[float(mark == "#") for mark in row] for row in rows])
    bricks = cells.repeat_interleave(CELL, 0).repeat_interleave(CELL, 1)
    height, width = bricks.shape
    top, left = (FIELD * CELL - height) // 2, (FIELD * CELL - width) // 2
    field = torch.zeros(FIELD * CELL, FIELD * CELL)
    field[top : top + height, left : left + width] = bricks
    return field


def _poses(factors: dict[str, Tensor]) -> Tensor:
    """Affine maps (N, 2, 3) from picture coordinates to stencil coordinates, both from -1 to 1."""
    zoom = SPAN / FIELD / factors["size"].double()
    angle = torch.deg2rad(factors["rotation"].double())
    x, y = factors["x"].double(), factors["y"].double()
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    rows = [torch.stack([cos, sin, -cos * x - sin * y], 1), torch.stack([-sin, cos, sin * x - cos * y], 1)]
    if "stretch" in factors:
        wider = factors["stretch"].double().sqrt()[:, None]
        rows = [rows[0] / wider, rows[1] * wider]
    return torch.stack(rows, 1).float()


def _colours(factors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Colours of toy and ground, (N, 3) each: their values lie `contrast` apart, evenly about the middle."""
    half = (factors["toy_is_bright"] * 2 - 1) * factors["contrast"] / 2
    toy = _rgb(factors["toy_hue"], factors["toy_saturation"], 0.55 + half)
    return toy, _rgb(factors["ground_hue"], factors["ground_saturation"], 0.55 - half)


def _lights(factors: dict[str, Tensor]) -> Tensor:
    """The light's gradient, (N, 2): to the right and downwards."""
    angle = factors["light_angle"] * (math.pi / 180)
    return factors["light"][:, None] * torch.stack([angle.cos(), angle.sin()], 1)


def _rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """HSV to RGB, (N,) each -> (N, 3); the closed form, checked against `colorsys`."""
    k = (torch.tensor([5.0, 3.0, 1.0]) + 6 * hue[:, None]) % 6  # (N, 3)
    return value[:, None] * (1 - saturation[:, None] * torch.minimum(k, 4 - k).clamp(0, 1))
