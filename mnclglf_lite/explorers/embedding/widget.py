"""The embedding map: features laid out flat, with every picture's true neighbours under the hand.

Its script, `map.js`, draws and answers; this end computes layouts that are asked for, and takes part in what is
pinned and selected. Neighbours are found in the space of the features: the map cannot hide them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from torch import Tensor

from ...core.errors import InputError, unknown
from ...data.dataset import ImageSet
from ...drawing import canvas, plots
from ...drawing.canvas import array
from ...evaluation.knn import nearest_neighbours
from ...evaluation.layouts import KINDS, NAMES, NEIGHBOURS, POINTS, compute_layout, describe, subsample
from .. import shell
from . import page
from . import state as state_module
from .state import packed_points, tally


class EmbeddingMap(anywidget.AnyWidget):
    """A map of features that answers to the hand; two maps where two sets of features are given.

    Args:
        features: (N, D), one row a picture: any encoder's, any device.
        pictures: the N pictures and their labels; or None, and then `labels` and `classes`: dots without pictures.
        kind: the layout shown first: "pca" (at once), "tsne", "umap" (half a minute). The others are computed when their
            button is pressed for the first time.
        k: neighbours a picture, by cosine, among the pictures on the map.
        cache_dir: a folder where layouts are kept, by the hash of features and parameters; None keeps none.
        other: (N, E), features of the same pictures by a second encoder, for a second map beside the first: after training
            beside before, one method beside another. Each map has neighbours of its own.
        names: what the two maps are called.
        points: at most so many pictures, always the same draw, are on the map.
        seed: makes UMAP repeatable, on one thread (t-SNE takes 0 if none is given).
        labels, classes: (N,) whole numbers and a name for each, where there are no pictures.

    What the hand does arrives here, and what is set here shows there:

        selected    tuple of picture numbers (positions among the N), ascending: what the lasso caught
        pinned      number of the pinned picture, or None
        isolated    number of the class that is shown alone, or None
        kind        the layout

    `words` tells the state, `neighbours(number)` a picture's neighbours, and `save("map.html")` writes the map, with the
    layouts it has by then, as a page that opens without Python.

        found = evaluate.extract_features(run.backbone, test_set)
        m = EmbeddingMap(found, test_set)      # drag with Shift around some dots ...
        test_set.subset(torch.tensor(m.selected))
    """

    _esm = shell.asset("embedding/map.js")
    _css = shell.asset("embedding/map.css")
    data = traitlets.Dict().tag(sync=True)  # of state.map_state, as are layouts and problem
    layouts = traitlets.Dict().tag(sync=True)
    problem = traitlets.Unicode().tag(sync=True)
    kind = traitlets.Unicode("pca").tag(sync=True)
    pinned = traitlets.Int(None, allow_none=True).tag(sync=True)
    isolated = traitlets.Int(None, allow_none=True).tag(sync=True)
    selected = traitlets.Any(()).tag(  # bytes on the way: ten thousand numbers are 40 kB
        sync=True,
        to_json=lambda numbers, _: state_module.packed(numbers, "i4"),
        from_json=lambda view, _: tuple(np.frombuffer(view, "<i4").tolist()),
    )

    def __init__(
        self, features: Tensor, pictures: ImageSet | None, kind: str = "pca", k: int = NEIGHBOURS,
        cache_dir: str | Path | None = None, other: Tensor | None = None, names: Sequence[str] = ("before", "after"),
        points: int = POINTS, seed: int | None = None, labels: Tensor | None = None, classes: Sequence[str] = (),
    ):  # fmt: skip
        if kind not in KINDS:
            raise unknown("map", kind, KINDS)
        if pictures is not None:
            labels, classes = pictures.labels, pictures.classes
        elif labels is None:
            raise InputError("a map without pictures needs labels (N,) and the names of their classes")
        sides = [features] if other is None else [features, other]
        for side in sides:
            if side.ndim != 2 or len(side) != len(labels):
                raise InputError(f"{len(labels)} pictures need features (N, D), one row each; got {tuple(side.shape)}")
        if other is not None and len(names) != 2:
            raise InputError(f"two maps need two names; got {names!r}")
        chosen = subsample(len(labels), points)
        self._features = [side.detach().cpu()[chosen] for side in sides]
        self._labels, self._classes = array(labels)[array(chosen)], tuple(map(str, classes))
        self._cache_dir, self._seed = cache_dir, seed
        points_of, k = self._laid_out(kind), min(k, len(chosen) - 1)
        self._near = [array(nearest_neighbours(side, side, k, exclude_self=True)[1]) for side in self._features]
        self._numbers = array(chosen)
        self._heading = f"{len(chosen):,} points" if pictures is None else page.shown_of(pictures, len(chosen))
        self._pngs: dict[str, bytes] = {}
        state = state_module.map_state(
            {kind: points_of}, self._near, self._labels, self._classes, [side.shape[1] for side in sides],
            None if pictures is None else pictures.images[chosen.to(pictures.device)].cpu(), chosen,
            names=("",) if other is None else names, kinds=tuple(KINDS),
            about={each: describe(each, **self._params(each)) for each in KINDS},
        )  # fmt: skip
        super().__init__(**{name: state[name] for name in ("data", "layouts", "kind")})

    def neighbours(self, number: int, side: int = 0) -> tuple[int, ...]:
        """Numbers of a picture's k nearest, nearest first; side 1 is the second map's."""
        return tuple(self._numbers[self._near[side][self._positions([number])[0]]].tolist())

    def save(self, path: str | Path, title: str = "", caption: str = "") -> Path:
        """The map as a page that opens from disk, with the layouts that are there; returns its path."""
        data = {**self.data, "kinds": [each for each in self.data["kinds"] if each[0] in self.layouts]}
        names = ("layouts", "kind", "pinned", "isolated")
        state = {name: getattr(self, name) for name in names} | {"data": data, "problem": ""}
        state["selected"] = state_module.packed(self.selected, "i4")
        return page.write_page(path, state, title or "Embedding map", caption or f"{self._heading}.")

    @property
    def words(self) -> str:
        """The state in words, for a screen reader and for where the map is not live."""
        told = [f"Map of {self._heading} in {len(self._classes)} classes: {self.data['about'][self.kind]}."]
        for name, share, dimensions in zip(self.data["names"], self.data["shares"], self.data["dimensions"], strict=True):
            of = f"{name}: " if name else ""
            told.append(
                f"{of}{100 * share:.0f} % of the {self.data['k']} nearest neighbours (cosine, {dimensions:,} dimensions) "
                "share their picture's label."
            )
        if self.isolated is not None:
            told.append(f"Only {self._classes[self.isolated]} is shown.")
        if self.pinned is not None:
            told.append(self._words_of(self.pinned))
        if self.selected:
            some = tally(self._labels[self._positions(self.selected)], self._classes)
            told.append(f"Selected: {len(self.selected):,} picture{'s' if len(self.selected) > 1 else ''}, {some}.")
        return " ".join([*told, *([self.problem] if self.problem else [])])

    def _words_of(self, number: int) -> str:
        i = self._positions([number])[0]
        told = []
        for name, near in zip(self.data["names"], self._near, strict=True):
            same = int((self._labels[near[i]] == self._labels[i]).sum())
            told.append(f"{name + ': ' if name else ''}{same} of {near.shape[1]} neighbours share its label")
        if len(self._near) == 2:
            both = len({*self.neighbours(number, 0)} & {*self.neighbours(number, 1)})
            told.append(f"{both} of {self.data['k']} neighbours are the same in both")
        return f"Pinned: {self._classes[self._labels[i]]}, picture {number}; {'; '.join(told)}."

    def _positions(self, numbers: object) -> np.ndarray:
        """Which of those on the map the picture numbers are."""
        numbers = array(numbers)
        if len(numbers) and numbers.dtype.kind not in "iu":
            raise InputError(f"pictures are chosen by their numbers; got {numbers.dtype}")
        missing = numbers[~np.isin(numbers, self._numbers)]
        if len(missing):
            raise InputError(
                f"picture {missing[0]} is not on this map: it has {len(self._numbers):,} of them, from "
                f"{self._numbers[0]} to {self._numbers[-1]} (`points` sets how many)"
            )
        return np.searchsorted(self._numbers, numbers)

    # ---- what comes from the hand, or is set here

    @traitlets.validate("selected")
    def _select(self, proposal: Any) -> tuple[int, ...]:
        numbers = np.unique(array(proposal["value"]))
        self._positions(numbers)
        return tuple(numbers.astype(int).tolist())

    @traitlets.validate("pinned")
    def _pin(self, proposal: Any) -> int | None:
        if proposal["value"] is not None:
            self._positions([proposal["value"]])
        return proposal["value"]

    @traitlets.validate("isolated")
    def _isolate(self, proposal: Any) -> int | None:
        if proposal["value"] is not None and not 0 <= proposal["value"] < len(self._classes):
            raise InputError(f"classes are 0 to {len(self._classes) - 1}; got {proposal['value']}")
        return proposal["value"]

    @traitlets.validate("kind")
    def _known(self, proposal: Any) -> str:
        if proposal["value"] not in KINDS:
            raise unknown("map", proposal["value"], KINDS)
        return proposal["value"]

    @traitlets.observe("kind")
    def _arrange(self, change: Any) -> None:
        """Compute a layout that is not there yet. What cannot be is said, and the layout stays what it was."""
        if change["new"] in self.layouts:
            self.problem = ""
            return
        problem = f"{NAMES[change['new']]} was interrupted."
        try:
            made = packed_points(self._laid_out(change["new"]), len(self._numbers))
        except InputError as error:
            problem = str(error)
        else:
            problem = ""
            self.layouts = {**self.layouts, change["new"]: made}
        finally:
            if problem:
                self.kind = change["old"]
            self.problem = problem

    # ---- layouts and pictures

    def _params(self, kind: str) -> dict[str, int]:
        return {} if self._seed is None or kind == "pca" else {"seed": self._seed}

    def _laid_out(self, kind: str) -> list[Tensor]:
        return [compute_layout(side, kind, self._cache_dir, **self._params(kind)) for side in self._features]

    def png(self) -> bytes:
        """The map as a picture, for where widgets are not live."""
        if self.kind not in self._pngs:
            packed = self.layouts[self.kind]
            sides = [np.frombuffer(each, "<f4").reshape(-1, 2) for each in packed]
            note = f"{self._heading}; {self.data['about'][self.kind]}."
            if len(sides) == 1:
                figure = plots.scatter_map(*sides, self._labels, self._classes, "Embedding map", note)
            else:
                figure = plots.two_maps(*sides, self._labels, self._classes, self.data["names"], "Embedding maps", note)
            self._pngs[self.kind] = canvas.png(figure)
        return self._pngs[self.kind]

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle, _ = super()._repr_mimebundle_(**kwargs)
        return shell.with_picture(bundle, self.png(), self.words, 710 if len(self._near) == 1 else 960)
