"""Several methods, several seeds, one image set, one table: with baselines, spread and seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

from . import __version__, checkpoint, data, evaluate, train
from .errors import InputError
from .methods import build
from .recipe import Recipe
from .run import start


def compare(
    recipes: dict[str, Recipe],
    seeds: list[int],
    splits: data.Splits,
    out: Path,
    on: str = "holdout",
    minutes: float | None = None,
    device: str = "auto",
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train every recipe with every seed and evaluate them, with the baselines, under the same protocols.

    Each run lives in `out/<name>-seed<seed>`; what is finished there is not trained again, what was stopped goes on. Writes
    `out/compare.json` and returns the same: {"rows": {name: {"runs": [...]}}, "baselines": {...}, ...}.
    """
    if not recipes or not seeds:
        raise InputError("nothing to compare: name at least one method and one seed")
    for recipe in recipes.values():  # refuses what cannot be trained before anything is
        start(recipe, len(splits.train), len(splits.train.classes), splits.train.device)
    first = next(iter(recipes.values()))
    random = build(first.replace(seed=seeds[0]), len(splits.train.classes)).to(splits.train.device).backbone
    result: dict[str, Any] = {
        "version": __version__,
        "dataset": splits.train.name,
        "on": on,
        "baselines": evaluate.baseline_rows(random, splits, on, first.test_size or None, log),
        "rows": {},
    }
    for name, recipe in recipes.items():
        runs = []
        for seed in seeds:
            folder = out / f"{name}-seed{seed}"
            asked = recipe.replace(seed=seed)
            run = train.train(asked, splits, out=folder, resume=True, device=device, minutes=minutes, log=log)
            if not run.finished:
                raise KeyboardInterrupt  # the run said where it stopped; comparing goes on from there next time
            found = evaluate.evaluate(run.backbone, splits, on, size=recipe.test_size or None)
            found |= {"seed": seed, "steps": run.step, "train_seconds": round(run.seconds, 1)}
            found["images_per_second"] = round(run.step * recipe.batch / max(run.seconds, 1e-9), 1)
            runs.append(found)
            checkpoint.save_json(folder / "result.json", {"recipe": run.recipe.to_dict(), **found})
        result["rows"][name] = {"recipe": recipe.to_dict(), "runs": runs}
        checkpoint.save_json(out / "compare.json", result)
    return result


def cell(values: list[float]) -> str:
    """Percent: the mean of the seeds, with half their range where there are several."""
    text = f"{100 * mean(values):.1f}"
    return text if len(values) == 1 else f"{text} ±{50 * (max(values) - min(values)):.1f}"


def table(result: dict[str, Any], markdown: bool = False) -> str:
    """The comparison as text or Markdown, with the line that says what the numbers are."""
    rows = {name: [entry] for name, entry in result["baselines"].items()}
    rows |= {name: entry["runs"] for name, entry in result["rows"].items()}
    reference = result["rows"].get("simclr", {}).get("runs")
    base = mean(run["linear"]["top1"] for run in reference) if reference else None
    head = ["", "kNN 200", "kNN 20", "whitened", "linear", "top-5", "linear / SimCLR", "spread", "seconds", "images/s"]
    lines = []
    for name, runs in rows.items():
        linear = [run["linear"]["top1"] for run in runs]
        trained = "train_seconds" in runs[0]
        lines.append([
            name,
            cell([run["knn"]["raw"]["top1"] for run in runs]),
            cell([run["knn20"]["raw"]["top1"] for run in runs]),
            cell([run["knn20"]["whitened"]["top1"] for run in runs]),
            cell(linear),
            cell([run["linear"]["top5"] for run in runs]),
            f"{mean(linear) / base:.3f}" if base else "-",
            f"{mean(run['spread'] for run in runs):.2f}",
            f"{mean(run['train_seconds'] for run in runs):.0f}" if trained else "-",
            f"{mean(run['images_per_second'] for run in runs):,.0f}" if trained else "-",
        ])  # fmt: skip
    first = next(iter(result["rows"].values()))["runs"]
    protocol = first[0]["protocols"]["knn"]
    note = (
        f"{result['dataset']}, asked on {result['on']} ({first[0]['queries']:,} pictures, bank {first[0]['bank']:,}); "
        f"kNN: cosine, weighted, T {protocol['temperature']}; seeds {[run['seed'] for run in first]}, "
        f"mean ± half the range; {first[0]['hardware']}"
    )
    return evaluate.layout(head, lines, markdown) + "\n\n" + note
