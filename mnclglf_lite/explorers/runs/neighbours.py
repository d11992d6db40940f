"""One picture, and who stands next to it in each method's eyes: rows of nearest neighbours, raw pixels first.

A table of accuracies says how often a method is right; these rows say what it takes for alike.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from ...core.errors import InputError
from ...data.dataset import ImageSet
from ...drawing import canvas
from ...drawing.canvas import MARGIN, SMALL, TEXT, new_canvas
from ...drawing.palette import AGREE, DISAGREE, GREY, INK
from ...evaluation import evaluate, layouts
from ...evaluation.evaluate import extract_features
from ...evaluation.layouts import NEIGHBOURS
from ...methods.registry import METHODS
from ...models.freeze import Encoder
from ...recipe import flags
from ...recipe.recipe import Recipe
from ...results.records import Record, group_by_method
from ...training.run import load_run

if TYPE_CHECKING:
    from PIL.Image import Image

TILE = 64  # pixels of the page: a neighbour; the query is twice as wide (ours)
AGAIN = "runs/again"  # where the command that trains a run once more puts it
Source = Encoder | str | Path  # an encoder, or the folder of a run with its checkpoint


class FeatureSpaces:
    """Where pictures lie in each method's features: read or computed when first asked for, then kept.

    Args:
        pictures: the query and its neighbours come from these.
        encoders: {method: encoder, or the folder of a run with its checkpoint}.
        features: {method: float (N, D)}, one row a picture.

    Raw pixels are always there: the row that all others must beat. A method of which nothing is given is looked for in its
    run's own folder, where a checkpoint may lie.
    """

    def __init__(
        self, pictures: ImageSet, encoders: Mapping[str, Source] | None = None, features: Mapping[str, Tensor] | None = None
    ):
        if len(pictures) < 2:
            raise InputError(f"a picture needs others to be its neighbours; got {len(pictures)}: give two or more")
        self.pictures, self._kept, self.told = pictures, {}, {}
        small = pictures.side <= 32  # as the baseline of `evaluate`: larger pictures are shrunk to 32 pixels
        pixels = {"raw pixels": evaluate.Pixels()} if small else {"32x32 pixels": evaluate.Thumbnails(32)}
        if twice := sorted(set(encoders or {}) & set(features or {})):
            raise InputError(f"encoders and features both have {', '.join(twice)}: give one of the two")
        self._sources: dict[str, Source] = {**pixels, **(encoders or {})}
        for name, found in (features or {}).items():
            self._keep(name, found, "features given")

    @property
    def given(self) -> list[str]:
        """The names that are there without any run: raw pixels, then encoders, then features."""
        return list(dict.fromkeys([*self._sources, *self._kept]))

    def of(self, name: str, runs: Sequence[Record] = ()) -> Tensor | None:
        """Features (N, D) of unit length under a name; None where nothing is at hand to compute them from."""
        if name in self._kept:
            return self._kept[name]
        source = self._sources.get(name)
        if source is None:
            source = next((r.folder for r in runs if (r.folder / "checkpoint.pt").exists()), None)
        if source is None:
            return None
        size, told = None, ""
        if isinstance(source, str | Path):
            trained = load_run(source, str(self.pictures.device))
            source, size = trained.backbone, trained.recipe.views.eval_size or None
            told = f"seed {trained.recipe.seed}, step {trained.step:,}, {trained.seconds:,.0f} s"
        return self._keep(name, extract_features(source, self.pictures, size=size), told)

    def _keep(self, name: str, found: Tensor, told: str) -> Tensor:
        found = layouts.check(found, 2, f"features of {name}")
        if len(found) != len(self.pictures):
            raise InputError(f"features of {name}: {len(found)} rows for {len(self.pictures)} pictures; give one row each")
        self.told[name] = f"{found.shape[1]:,} numbers" + (f", {told}" if told else "")
        self._kept[name] = F.normalize(found, dim=1)
        return self._kept[name]


@dataclass(frozen=True)
class Strips:
    """Rows of neighbours of one query, as drawn."""

    picture: Image
    words: str
    near: dict[str, list[int]]  # {method: positions of its neighbours, nearest first}
    boxes: dict[str, list[tuple[float, float, float, float]]]  # left, top, width, height of each, as shares of the picture


def nearest(features: Tensor, query: int, k: int) -> list[int]:
    """The k rows of features (N, D), of unit length, with the largest cosine to the query's, which is not among them."""
    similarity = features @ features[query]  # (N, D), (D) -> (N)
    similarity[query] = -2.0  # below any cosine
    return similarity.argsort(descending=True, stable=True)[:k].tolist()


def neighbour_rows(spaces: FeatureSpaces, records: Sequence[Record], query: int, k: int = NEIGHBOURS) -> Strips:
    """A row for raw pixels, for what was given, and for those methods of `records` whose weights are at hand.

    Below the rows stands which weights are not; the words say with what command to train one of these methods again.
    """
    pictures = spaces.pictures
    if not 0 <= query < len(pictures):
        raise InputError(f"there are pictures 0 to {len(pictures) - 1}; got {query}")
    k, runs = min(k, len(pictures) - 1), group_by_method(records)
    found = {name: spaces.of(name, runs.get(name, ())) for name in dict.fromkeys([*spaces.given, *runs])}
    near = {name: nearest(space, query, k) for name, space in found.items() if space is not None}
    labels, classes = pictures.labels.tolist(), [str(name) for name in pictures.classes]
    same = {name: sum(labels[i] == labels[query] for i in others) for name, others in near.items()}
    title = f"The {k} nearest to picture {query}, class {classes[labels[query]]}"
    words = f"{title}, of {len(pictures):,} pictures of {pictures.name} ({pictures.split}). So many share its class: "
    words += ", ".join(f"{name} {count} of {k}" for name, count in same.items()) + ". "
    if elsewhere := sorted({r.dataset for r in records if r.name in near} - {pictures.name}):
        words += f"The runs learned on other pictures: {', '.join(elsewhere)}. "
    hint, missing = "", [name for name in found if name not in near]
    if missing:
        hint = f"No weights at hand for {', '.join(missing)}."
        words += f"{hint} To have {missing[0]}: {again(runs[missing[0]][0])}"
    note = f"{pictures.name}, {pictures.split}, {len(pictures):,} pictures; nearest by cosine of raw features"
    names = {name: (spaces.told[name], f"{same[name]} of {k} agree") for name in near}
    picture, boxes = _draw(pictures, query, near, names, hint, title, note)
    return Strips(picture, words.strip(), near, boxes)


def again(record: Record) -> str:
    """What to do to have a run's weights: the command that trains it once more, and where to name them then."""
    if record.recipe["method"] not in METHODS:
        return f"its method {record.recipe['method']!r} is not known here; `register_method` it, then train it again."
    out = f"{AGAIN}/{record.folder.resolve().name}"
    command = shlex.join(["mnclglf-lite", "train", *flags.words_of(Recipe.from_dict(record.recipe)), "--out", out])
    cost = f" (it took {record.seconds:,.0f} s)" * bool(record.history)
    return f"{command}{cost}, then give encoders={{{record.name!r}: {out!r}}}."


def _draw(
    pictures: ImageSet, query: int, near: Mapping[str, list[int]], names: Mapping[str, tuple[str, str]],
    hint: str, title: str, note: str,
) -> tuple[Image, dict[str, list[tuple[float, float, float, float]]]]:  # fmt: skip
    """The query at the left, a row a method beside it; `names` has two lines for under a method's name."""
    labels, classes = pictures.labels.tolist(), pictures.classes
    scale, count = max(1, TILE // pictures.side), len(next(iter(near.values())))
    side = pictures.side * scale
    step, line, left = side + 10, side + SMALL + 20, 2 * side + 26
    wide = max(canvas.font(size).getlength(text) for name, two in names.items() for text, size in _lines(name, two))
    first = left + int(wide) + 18  # where the neighbours begin
    across = first + count * step - 10
    wrapped = canvas.wrapped(hint, TEXT, across)
    rows = max(len(near) * line, 2 * side + 40)
    sheet, draw, top = new_canvas(across, rows + len(wrapped) * (TEXT + 5), title, note)
    tiles = canvas.pixels(pictures.images[[query, *(i for others in near.values() for i in others)]])
    sheet.paste(canvas.enlarged(tiles[0], 2 * scale), (MARGIN, top))
    draw.rectangle((MARGIN - 1, top - 1, MARGIN + 2 * side, top + 2 * side), outline=INK)
    canvas.centred(draw, (MARGIN + side, top + 2 * side + 5), f"picture {query}: {classes[labels[query]]}", TEXT, INK, left)
    boxes: dict[str, list[tuple[float, float, float, float]]] = {}
    for row, (name, others) in enumerate(near.items()):
        y = top + row * line
        for i, (text, size) in enumerate(_lines(name, names[name])):
            draw.text((MARGIN + left, y + 4 + 19 * i), text, GREY if i == 1 else INK, canvas.font(size))
        for i, j in enumerate(others):
            x, same = MARGIN + first + i * step, labels[j] == labels[query]
            colour = AGREE if same else DISAGREE
            canvas.frame(draw, (x - 3, y - 3, x + side + 2, y + side + 2), colour, dash=not same)
            sheet.paste(canvas.enlarged(tiles[1 + row * count + i], scale), (x, y))
            canvas.badge(draw, (x + side - 15, y + side - 15), colour, same)
            canvas.centred(draw, (x + side / 2, y + side + 3), str(classes[labels[j]]), SMALL, colour, step)
            box = (x / sheet.width, y / sheet.height, side / sheet.width, side / sheet.height)
            boxes.setdefault(name, []).append(box)
    for i, text in enumerate(wrapped):
        draw.text((MARGIN, top + rows + i * (TEXT + 5)), text, INK, canvas.font(TEXT))
    return sheet, boxes


def _lines(name: str, two: tuple[str, str]) -> list[tuple[str, int]]:
    return [(name, TEXT + 1), (two[0], SMALL), (two[1], TEXT)]
