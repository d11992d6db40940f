"""The toy box: a built-in image set of ten toys, drawn on the spot, nothing downloaded and nothing stored.

Open the box and there are always the same eight parts in it: four sticks and four beads. Laid out one way they
are a car, another way a kite, a crown, a beetle. So *what* a toy is lies only in how its parts are arranged: every
toy has the same parts, the same painted area and the same colours to choose from. Counting colours says nothing
about the class, and comparing pixels says little, because everything else changes freely from picture to picture:
where the toy lies, how big and how far turned it is, its two colours, the table it lies on, the light, the grain
of the photograph. These are the *factors*. They are drawn independently of the class and of each other, and they
are handed out with the pictures, so that one can ask a learned feature what it kept and what it threw away.

A network has to see parts in relation (a gap, a ring, a row, a fan) to tell the toys apart, and a crop of a picture
usually still shows such a relation: that is what makes the set fit for contrastive learning on small machines.
All toys are mirror-symmetric, so a flipped toy is the same toy.

A picture is computed, not painted: every part is a *capsule* (all points within a radius of a segment; a bead is a
capsule of length zero), so the distance of a pixel to a part is a closed formula, and a batch of pictures is a few
array operations. Picture `i` of a seed depends on nothing but the seed, `i` and the side.

Source: ours (design, names and every constant; ranges were chosen by looking and by measuring kNN baselines).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .errors import InputError

# Lengths below are in toy units: a toy fills about -1..1 in both directions, x to the right and y down.
STICK_HALF, STICK_RADIUS, BEAD_RADIUS = 0.31, 0.13, 0.24

# name: (sticks as (centre x, centre y, degrees from horizontal, clockwise), beads as (x, y)). No two parts overlap.
TOYS: dict[str, tuple[tuple, tuple]] = {
    "pinwheel": (
        ((0, -0.6, 90), (0, 0.6, 90), (-0.6, 0, 0), (0.6, 0, 0)),
        ((-0.58, -0.58), (0.58, -0.58), (-0.58, 0.58), (0.58, 0.58)),
    ),
    "window": (
        ((0, -0.76, 0), (0, 0.76, 0), (-0.76, 0, 90), (0.76, 0, 90)),
        ((-0.76, -0.76), (0.76, -0.76), (-0.76, 0.76), (0.76, 0.76)),
    ),
    "gift": (
        ((0, -0.75, 0), (0, 0.75, 0), (-0.75, 0, 90), (0.75, 0, 90)),
        ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25)),
    ),
    "candles": (
        ((-0.75, 0.31, 90), (-0.25, 0.31, 90), (0.25, 0.31, 90), (0.75, 0.31, 90)),
        ((-0.75, -0.51), (-0.25, -0.51), (0.25, -0.51), (0.75, -0.51)),
    ),
    "peapod": (
        ((-0.46, -0.42, 0), (0.46, -0.42, 0), (-0.46, 0.42, 0), (0.46, 0.42, 0)),
        ((-0.75, 0), (-0.25, 0), (0.25, 0), (0.75, 0)),
    ),
    "beetle": (
        ((-0.67, -0.42, 35), (0.67, -0.42, -35), (-0.67, 0.42, -35), (0.67, 0.42, 35)),
        ((0, -0.75), (0, -0.25), (0, 0.25), (0, 0.75)),
    ),
    "car": (
        ((0, -0.405, 0), (0, -0.135, 0), (0, 0.135, 0), (0, 0.405, 0)),
        ((-0.72, -0.42), (0.72, -0.42), (-0.72, 0.42), (0.72, 0.42)),
    ),
    "tree": (
        ((-0.4, -0.62, -40), (0.4, -0.62, 40), (-0.4, -0.14, -40), (0.4, -0.14, 40)),
        ((0, 0.24), (-0.42, 0.48), (0.42, 0.48), (0, 0.74)),
    ),
    "crown": (
        ((-0.81, 0, 65), (-0.27, 0, -65), (0.27, 0, 65), (0.81, 0, -65)),
        ((-0.54, -0.5), (0.54, -0.5), (0, 0.5), (0, -0.75)),
    ),
    "kite": (
        ((-0.36, -0.72, -45), (0.36, -0.72, 45), (-0.36, 0, 45), (0.36, 0, -45)),
        ((0, -0.36), (0, 0.6), (-0.44, 0.82), (0.44, 0.82)),
    ),
}
CLASSES: tuple[str, ...] = tuple(TOYS)

# What varies, uniformly between the two bounds (floats) or among so many values (one integer).
FACTORS: dict[str, tuple[float, float] | int] = {
    "x": (0.26, 0.74),  # centre of the toy, share of the side, to the right
    "y": (0.26, 0.74),  # the same, down
    "size": (0.45, 0.65),  # width of the toy, share of the side
    "rotation": (-45.0, 45.0),  # degrees, clockwise
    "stick_hue": (0.0, 1.0),  # turns around the colour circle
    "bead_hue": (0.0, 1.0),
    "polarity": 2,  # 0: a dark toy on a lighter ground, 1: a light toy on a darker ground
    "contrast": (0.28, 0.36),  # luminance between toy and mean ground, of 1
    "ground": 4,  # index into GROUNDS
    "ground_hue": (0.0, 1.0),
    "ground_light": (0.38, 0.62),  # mean luminance of the ground, of 1
    "ground_angle": (0.0, 180.0),  # degrees: direction of gradient, stripes and checks
    "grain": (0.0, 0.04),  # largest random change of a pixel's luminance, of 1
}
GROUNDS: tuple[str, ...] = ("plain", "gradient", "stripes", "checks")
TOY_CHROMA, GROUND_CHROMA = 0.35, 0.04  # how far colours are from grey: strong for toys, faint for grounds
GROUND_SWING = 0.05  # luminance between the mean ground and its lightest or darkest spot
CHUNK_PIXELS = 30_000  # drawn at a time: in cache, and just too few for torch to split over threads (grain 32,768)


def draw(n: int, seed: int, side: int = 32) -> tuple[Tensor, Tensor, dict[str, Tensor], Tensor]:
    """`n` pictures of toys: `(images, labels, factors, masks)`.

    images uint8 (N, 3, S, S); labels int64 (N,), indices into `CLASSES`, every run of ten pictures holding each
    class once; factors as in `FACTORS`, each float32 or int64 (N,); masks bool (N, S, S), true where the toy covers
    more than half of a pixel. The same seed gives the same bytes, whatever the number of threads, and a smaller
    `n` gives the first pictures of a larger one.

    Raises `InputError` unless n >= 1, 0 <= seed < 2**63 and 16 <= side <= 512, all of them whole numbers.
    """
    _check("n", n, 1, 10**7)
    _check("seed", seed, 0, 2**63 - 1)
    _check("side", side, 16, 512)
    streams = torch.Generator().manual_seed(seed)
    label_seed, factor_seed, grain_seed = torch.randint(2**62, (3,), generator=streams).tolist()
    labels = _labels(n, label_seed)
    factors = _factors(n, factor_seed)
    grain = torch.Generator().manual_seed(grain_seed)
    images = torch.empty(n, 3, side, side, dtype=torch.uint8)
    masks = torch.empty(n, side, side, dtype=torch.bool)
    scene = _scene(labels, factors)
    step = max(1, CHUNK_PIXELS // side**2)
    for start in range(0, n, step):
        part = {name: values[start : start + step] for name, values in scene.items()}
        images[start : start + step], masks[start : start + step] = _render(part, side, grain)
    return images, labels, factors, masks


def _check(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"toy box: {name} is {value!r}; give a whole number from {low} to {high}")


def _labels(n: int, seed: int) -> Tensor:
    """Balanced and shuffled: each run of ten pictures is the ten classes in a fresh order."""
    c = len(CLASSES)
    keys = torch.rand(-(-n // c), c, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return keys.argsort(1).flatten()[:n]  # (N/10, 10) -> (N,)


def _factors(n: int, seed: int) -> dict[str, Tensor]:
    """One row of uniform numbers per picture, one column per factor: the first rows never depend on `n`."""
    u = torch.rand(n, len(FACTORS), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    out = {}
    for column, (name, span) in zip(u.T, FACTORS.items(), strict=True):
        if isinstance(span, int):
            out[name] = (column * span).long()
        else:
            out[name] = (span[0] + (span[1] - span[0]) * column).float()
    return out


def _scene(labels: Tensor, factors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Everything `_render` needs of each picture, float32.

    Sines and cosines are taken here, in float64 and then rounded: their last bit may depend on how an array is
    split over vector lanes and threads. `_render` keeps to operations that are rounded exactly, so its pixels don't.
    """
    f = {name: values.double() for name, values in factors.items()}
    sticks = torch.tensor([s for s, _ in TOYS.values()], dtype=torch.float64)  # (10, 4, 3)
    angle = torch.deg2rad(sticks[:, :, 2])
    sticks = torch.stack([sticks[..., 0], sticks[..., 1], angle.cos(), angle.sin()], -1)  # (10, 4, 4)
    beads = torch.tensor([b for _, b in TOYS.values()], dtype=torch.float64)  # (10, 4, 2)
    turn, slope = torch.deg2rad(f["rotation"]), torch.deg2rad(f["ground_angle"])
    ground = f["ground_light"]
    toy = ground + (2 * f["polarity"] - 1) * f["contrast"]
    scene = {
        "sticks": sticks[labels],  # (N, 4, 4)
        "beads": beads[labels],  # (N, 4, 2)
        "pose": torch.stack([f["x"], f["y"], f["size"] / 2, turn.cos(), turn.sin()], 1),  # (N, 5)
        "stick_rgb": _rgb(toy, f["stick_hue"], TOY_CHROMA),
        "bead_rgb": _rgb(toy, f["bead_hue"], TOY_CHROMA),
        "ground_rgb": _rgb(ground, f["ground_hue"], GROUND_CHROMA),
        "slope": torch.stack([slope.cos(), slope.sin()], 1),  # (N, 2)
        "grain": f["grain"],
        "kind": f["ground"],
    }
    return {name: values.float() for name, values in scene.items()}


def _rgb(light: Tensor, hue: Tensor, chroma: float) -> Tensor:
    """Colours (N, 3) of exactly the luminance `light` (N,): hue and chroma never change how bright a part is.

    A hue is a direction in the plane of zero luminance (weights of BT.601); where the colour would leave 0..1,
    it is drawn back towards the grey of the same luminance.
    """
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=hue.dtype)
    shift = torch.tensor([0.0, 1.0, 2.0], dtype=hue.dtype) / 3
    way = torch.cos(2 * math.pi * (hue[:, None] - shift))  # (N,) -> (N, 3)
    way = way - (way * weights).sum(1, keepdim=True)
    room = torch.where(way > 0, 1 - light[:, None], light[:, None]) / way.abs().clamp_min(1e-9)
    return light[:, None] + way * room.amin(1, keepdim=True).clamp_max(chroma)


def _render(scene: dict[str, Tensor], side: int, grain: torch.Generator) -> tuple[Tensor, Tensor]:
    """A chunk of pictures: images uint8 (N, 3, S, S) and masks bool (N, S, S)."""

    def each(values: Tensor) -> Tensor:  # one number per picture, ready to meet the pixels
        return values[:, None, None]  # (N,) -> (N, 1, 1)

    grid = (torch.arange(side, dtype=torch.float32) + 0.5) / side
    down, right = grid[:, None], grid[None, :]  # (S, 1), (1, S)

    # Pixels in the toy's own frame: shift, turn back, divide by its size.
    x, y, unit, cos, sin = (each(v) for v in scene["pose"].T)
    dx, dy = (right - x) / unit, (down - y) / unit  # (N, 1, S), (N, S, 1)
    u, v = dx * cos + dy * sin, dy * cos - dx * sin  # (N, S, S)

    # Squared distance to the nearest segment of a kind. All sticks have one radius, so one root is enough.
    near_stick = near_bead = torch.full((), 1e6)
    for px, py, c, s in scene["sticks"].permute(1, 2, 0):  # (N, 4, 4) -> four times (4, N)
        du, dv = u - each(px), v - each(py)
        along = du * each(c) + dv * each(s)
        across = dv * each(c) - du * each(s)
        beyond = (along.abs() - STICK_HALF).clamp_min(0)
        near_stick = torch.minimum(near_stick, beyond * beyond + across * across)
    for px, py in scene["beads"].permute(1, 2, 0):  # (N, 4, 2) -> four times (2, N)
        du, dv = u - each(px), v - each(py)
        near_bead = torch.minimum(near_bead, du * du + dv * dv)
    pixels = unit * side  # pixels in one toy unit: distances in pixels make edges one pixel soft
    stick = ((STICK_RADIUS - near_stick.sqrt()) * pixels + 0.5).clamp(0, 1)  # (N, S, S): share covered
    bead = ((BEAD_RADIUS - near_bead.sqrt()) * pixels + 0.5).clamp(0, 1)
    bead = torch.minimum(bead, 1 - stick)  # parts touch but never hide each other

    # The ground: a pattern in -1..1 around its mean light, plus the grain of the photograph.
    c, s = (each(w) for w in scene["slope"].T)
    a, b = right * c + down * s, down * c - right * s  # (N, S, S)
    kind = each(scene["kind"])
    wave_a, wave_b = _wave(a * 5), _wave(b * 5)
    pattern = torch.where(kind == 1, 2 * (a - 0.5 * (c + s)), 0.0)
    pattern = torch.where(kind == 2, wave_a, pattern)
    pattern = torch.where(kind == 3, wave_a * wave_b, pattern)
    light = pattern.clamp(-1, 1) * GROUND_SWING
    noise = (2 * torch.rand(u.shape, generator=grain) - 1) * each(scene["grain"])

    bare = 1 - stick - bead
    images = torch.empty(len(u), 3, side, side, dtype=torch.uint8)
    for k in range(3):
        ground = each(scene["ground_rgb"][:, k]) + light
        value = ground * bare + stick * each(scene["stick_rgb"][:, k]) + bead * each(scene["bead_rgb"][:, k])
        images[:, k] = ((value + noise).clamp(0, 1) * 255 + 0.5).to(torch.uint8)
    return images, stick + bead > 0.5


def _wave(t: Tensor) -> Tensor:
    """A triangle wave of period 1 between -1 and 1: stripes without a sine."""
    return 4 * (t - torch.floor(t + 0.5)).abs() - 1
