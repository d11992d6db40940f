"""Looking at features: one page that opens from disk and answers to the hand, and two pictures for a report.

The page is a single file: data, pictures, style and script are inside it. It asks nobody for anything, and
its security policy has the browser see to that. Neighbours are those of the embedding space, not of the flat
map: where the map puts apart what belongs together, the lines on it show it. Its script is the one of the
notebooks' map (`EmbeddingMap`).
"""

from __future__ import annotations

import base64
import html
import json
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...core.errors import InputError, unknown
from ...core.files import write_atomically
from ...data.dataset import ImageSet
from ...drawing import plots, sheets
from ...evaluation.knn import nearest_neighbours
from ...evaluation.layouts import KINDS, NEIGHBOURS, POINTS, compute_layout, describe, subsample
from .state import agreement, map_state


def build_page(state: dict[str, Any], title: str = "", caption: str = "") -> str:
    """The page of a map (`state.map_state`) as text."""
    assets = resources.files(__package__)
    text = json.dumps(state, default=lambda value: {"base64": base64.b64encode(value).decode()})
    filled = {
        "title": html.escape(title),
        "caption": html.escape(caption),
        "style": (assets / "map.css").read_text(encoding="utf-8"),
        "state": text.replace("<", "\\u003c"),  # no class name can end the script element
        "script": (assets / "map.js").read_text(encoding="utf-8"),
    }
    parts = (assets / "page.html").read_text(encoding="utf-8").split("{{")
    text = parts[0]
    for part in parts[1:]:  # one pass: what is filled in is never searched for names again
        name, rest = part.split("}}", 1)
        text += filled[name] + rest
    return text


def write_page(path: str | Path, state: dict[str, Any], title: str = "", caption: str = "") -> Path:
    """`build_page` into a file, whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, build_page(state, title, caption).encode("utf-8"))
    return path


def shown_of(pictures: ImageSet, shown: int) -> str:
    """How many pictures of a set are on a map: "2,000 of 10,000 pictures of cifar10 (test)"."""
    count = f"{shown:,}" if shown == len(pictures) else f"{shown:,} of {len(pictures):,}"
    return f"{count} pictures of {pictures.name} ({pictures.split})"


def explore(
    features: Tensor, pictures: ImageSet, out_dir: str | Path, kind: str = "umap", seed: int | None = None,
    points: int = POINTS, k: int = NEIGHBOURS, title: str = "", caption: str = "",
) -> list[Path]:  # fmt: skip
    """Features (N, D) of an image set as map.html, map.png and neighbours.png in `out_dir`; their paths.

    At most `points` pictures, always the same draw, are on the map, and neighbours are among them. kind:
    "umap", "tsne" or "pca"; the page has PCA too, to compare. seed: makes UMAP repeatable (t-SNE takes 0 if
    none is given). Layouts are kept in `out_dir`.
    """
    if features.ndim != 2 or len(features) != len(pictures):
        raise InputError(f"{len(pictures)} pictures need features (N, D), one row each; got {tuple(features.shape)}")
    if kind not in KINDS:
        raise unknown("map", kind, KINDS)
    chosen = subsample(len(pictures), points)
    shown = pictures.subset(chosen.to(pictures.device)).to("cpu")
    features = features.detach().cpu()[chosen]
    out_dir = Path(out_dir)
    params = {each: {} if seed is None or each == "pca" else {"seed": seed} for each in (kind, "pca")}
    layouts = {each: compute_layout(features, each, out_dir / "layouts", **params[each]) for each in params}
    _, near = nearest_neighbours(features, features, min(k, len(shown) - 1), exclude_self=True)
    about = {each: describe(each, **params[each]) for each in params}
    dimensions, place = features.shape[1], layouts[kind]
    title = title or pictures.name
    heading = shown_of(pictures, len(shown))
    heading = f"{caption}. {heading}" if caption else heading
    agree = agreement(shown.labels, near)
    note = f"{heading}; {about[kind]}. {100 * agree:.0f} % of the {near.shape[1]} nearest neighbours (cosine, "
    note += f"{dimensions} dimensions) share the picture's label."
    state = map_state(
        {each: [points] for each, points in layouts.items()}, [near], shown.labels, shown.classes, [dimensions],
        shown.images, chosen, about=about,
    )  # fmt: skip
    paths = [out_dir / "map.html", out_dir / "map.png", out_dir / "neighbours.png"]
    write_page(paths[0], state, title, f"{heading}.")
    sheets.save(plots.scatter_map(place, shown.labels, shown.classes, title, note), paths[1])
    first = torch.stack([(shown.labels == c).nonzero()[0, 0] for c in shown.labels.unique()[:10]])
    scale = max(1, 64 // shown.side)
    strips = sheets.neighbour_strips(
        shown.images, first, near[first], shown.labels, shown.classes, scale=scale, title=title, note=note
    )
    sheets.save(strips, paths[2])
    return paths
