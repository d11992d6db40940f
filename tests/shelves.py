"""Runs for tests: what a training leaves in its folder, without training."""

import json

from conftest import tiny


def result(value, **changes):
    """A result of `evaluate`: kNN 20 at `value`, the rest near it."""
    row = {
        "dataset": "toybox", "on": "test", "size": 16, "bank": 320, "queries": 40, "dim": 16, "spread": 0.5, "rank": 4.0,
        "hardware": "a slide rule", "seconds": {"features": 1.0},
        "protocols": {
            "knn": {"k": 200, "temperature": 0.1, "weighted": True, "transform": "raw"},
            "knn20": {"k": 20, "temperature": 0.1, "weighted": True, "transform": "raw"},
            "knn10": {"k": 10, "temperature": 0.1, "weighted": False, "transform": "raw"},
            "linear": {"l2": 0.0001, "iterations": 200},
        },
        "knn": {"raw": {"top1": value - 0.05, "top5": 0.9}},
        "knn20": {"raw": {"top1": value, "top5": 0.9}, "whitened": {"top1": value + 0.01, "top5": 0.9}},
        "knn10": {"raw": {"top1": value - 0.02, "top5": 0.9}},
        "linear": {"top1": value + 0.03, "top5": 0.9},
    }  # fmt: skip
    return row | changes


def history(epochs=3, steps=10, level=0.5):
    """Rows of history.jsonl that can be told by heart: at epoch e the loss is 5 - e, kNN level + e / 100."""
    return [
        {"epoch": float(e), "step": e * steps, "seconds": 1.5 * e, "loss": 5.0 - e, "knn": level + e / 100,
         "spread": 0.4 + e / 10, "rank": 2.0 + e, "images_per_second": 100.0}
        for e in range(1, epochs + 1)
    ]  # fmt: skip


def put(folder, method="simclr", seed=0, value=0.5, rows=None, found=None, **recipe):
    """A finished and evaluated run of 30 steps in `folder`; `found` stands in place of its result, False leaves that out."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = tiny(method).replace(**{"seed": seed, "steps": 30, **recipe})
    (folder / "recipe.json").write_text(json.dumps(asked.to_dict()))
    rows = history(level=value) if rows is None else rows
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if found is not False:
        (folder / "result.json").write_text(json.dumps({"recipe": asked.to_dict(), **(found or result(value, seed=seed))}))
    return folder


def comparison(folder, values, **recipe):
    """Runs side by side, {method: one value a seed}, with baselines and a budget, as `compare` leaves them."""
    for method, seeds in values.items():
        for seed, value in enumerate(seeds):
            put(folder / f"{method}-seed{seed}", method, seed, value, **recipe)
    rows = {m: {"runs": [result(v, seed=seed) for seed, v in enumerate(seeds)]} for m, seeds in values.items()}
    base = {"raw pixels": result(0.2), "random encoder": result(0.1)}
    budget = {"minutes": None, "image_views": 960}
    (folder / "compare.json").write_text(json.dumps({"baselines": base, "budget": budget, "rows": rows}))
    (folder / "budget.json").write_text(json.dumps(budget))
    return folder
