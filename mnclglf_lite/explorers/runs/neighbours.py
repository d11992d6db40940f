"""One image, and what lies next to it in each method's features: rows of nearest neighbours, raw pixels first.

A table of accuracies says how often a method is right; these rows show what it takes for alike.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from ...core.errors import InputError
from ...data.dataset import ImageSet
from ...drawing import canvas
from ...drawing.canvas import MARGIN, SMALL, TEXT, Drawing, Place, new_canvas
from ...drawing.palette import GREY, INK
from ...evaluation import evaluate, layouts
from ...evaluation.evaluate import extract_features
from ...evaluation.knn import nearest_neighbours
from ...evaluation.layouts import NEIGHBOURS
from ...methods.registry import METHODS
from ...models.freeze import Encoder
from ...recipe import flags
from ...recipe.recipe import Recipe
from ...results.records import Record, group_by_method
from ...training.run import load_run

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
        """Features (N, D) under a name; None where nothing is at hand to compute them from."""
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
        self._kept[name] = found
        return found

    def neighbours(self, records: Sequence[Record], query: int, k: int = NEIGHBOURS) -> dict[str, list[int]]:
        """{method: positions of the query's neighbours, nearest first}: raw pixels, what was given, and those methods of
        `records` whose weights are at hand."""
        count, runs = len(self.pictures), group_by_method(records)
        if not 0 <= query < count:
            raise InputError(f"there are pictures 0 to {count - 1}; got {query}")
        k, near = min(k, count - 1), {}
        for name in dict.fromkeys([*self.given, *runs]):
            if (space := self.of(name, runs.get(name, ()))) is not None:
                found = nearest_neighbours(space[[query]], space, k + 1)[1][0].tolist()
                near[name] = [i for i in found if i != query][:k]  # of many doubles the query may not be among the first
        return near


def neighbour_rows(
    spaces: FeatureSpaces, records: Sequence[Record], query: int, near: Mapping[str, list[int]]
) -> Drawing:  # fmt: skip
    """The neighbours that `FeatureSpaces.neighbours` found, a row a method, with a place for each, named "row.rank".

    Below the rows stands which methods' weights are not at hand; the words give the command that trains one of them again.
    """
    pictures, runs, k = spaces.pictures, group_by_method(records), len(next(iter(near.values())))
    labels, classes = pictures.labels.tolist(), [str(name) for name in pictures.classes]
    same = {name: sum(labels[i] == labels[query] for i in others) for name, others in near.items()}
    title = f"The {k} nearest to picture {query}, class {classes[labels[query]]}"
    words = f"{title}, of {len(pictures):,} pictures of {pictures.name} ({pictures.split}). So many share its class: "
    words += ", ".join(f"{name} {count} of {k}" for name, count in same.items()) + ". "
    if elsewhere := sorted({r.dataset for r in records if r.name in near} - {pictures.name}):
        words += f"The runs learned on other pictures: {', '.join(elsewhere)}. "
    hint, missing = "", [name for name in runs if name not in near]
    if missing:
        hint = f"No weights at hand for {', '.join(missing)}."
        words += f"{hint} To have {missing[0]}: {again(runs[missing[0]][0])}"
    note = f"{pictures.name}, {pictures.split}, {len(pictures):,} pictures; nearest by cosine of raw features"
    names = {name: (spaces.told[name], f"{same[name]} of {k} agree") for name in near}
    drawing = _draw(pictures, query, near, names, hint, title, note)
    alt = "A query image, and rows of its nearest neighbours, a row a method"
    return replace(drawing, words=f"{words.strip()}\nClick a neighbour to make it the query.", alt=alt)


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
) -> Drawing:  # fmt: skip
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
    places = []
    for row, (name, others) in enumerate(near.items()):
        y = top + row * line
        for i, (text, size) in enumerate(_lines(name, names[name])):
            draw.text((MARGIN + left, y + 4 + 19 * i), text, GREY if i == 1 else INK, canvas.font(size))
        for i, j in enumerate(others):
            x, tile = MARGIN + first + i * step, canvas.enlarged(tiles[1 + row * count + i], scale)
            canvas.neighbour(sheet, draw, (x, y), tile, labels[j] == labels[query], str(classes[labels[j]]), step)
            label = f"neighbour {i + 1} by {name}: picture {j}, {classes[labels[j]]}; make it the query"
            places.append(Place.on(sheet, f"{row}.{i}", (x, y, side, side), label))
    for i, text in enumerate(wrapped):
        draw.text((MARGIN, top + rows + i * (TEXT + 5)), text, INK, canvas.font(TEXT))
    return Drawing(sheet, places=places)


def _lines(name: str, two: tuple[str, str]) -> list[tuple[str, int]]:
    return [(name, TEXT + 1), (two[0], SMALL), (two[1], TEXT)]
