"""Several methods, several seeds, one image set, one table: baselines and cost; what others published, apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from ..core.device import pick_device
from ..core.distributed import refuse_many
from ..core.errors import InputError
from ..core.files import save_json
from ..core.text import format_table, short_count
from ..core.version import __version__
from ..data import dataset
from ..drawing.dotplot import dot_plot
from ..evaluation import evaluate
from ..evaluation.evaluate import query_split
from ..recipe.legacy import dataset_of, relative_flops
from ..recipe.recipe import Recipe, build_method, check_holdout_unseen
from ..training import train
from ..training.cost import Cost, cost_of, steps_for_views
from ..training.first_layer import with_data_start
from ..training.prepare import check_recipe
from ..training.run import new_run
from .published import published
from .records import PACKED, uses_labels
from .summary import budget_in_words, evaluated_on

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..training.run import Run

COLUMNS = (
    "data start: its first layer from the data; whitened: kNN 20 on whitened features; / SimCLR: linear over SimCLR's; "
    "feature std: standard deviation of the features, 0 is collapse; views/s: whole views a second; params: learnable; "
    "relative FLOPs: those of a step over those of showing its images to the backbone once"
)
SHARES = {  # a column, and where a run's result has it
    "kNN 200": lambda run: run["knn"]["raw"]["top1"],
    "kNN 20": lambda run: run["knn20"]["raw"]["top1"],
    "whitened": lambda run: run["knn20"]["whitened"]["top1"],
    "linear": lambda run: run["linear"]["top1"],
    "top-5": lambda run: run["linear"]["top5"],
}


def compare(
    recipes: dict[str, Recipe], seeds: list[int], splits: dataset.Splits, out: str | Path, split: str = "holdout",
    minutes: float | None = None, device: str = "auto", log: Callable[[str], None] = print, image_views: int | None = None,
    engine: str = "auto",
) -> dict[str, Any]:  # fmt: skip
    """Train every recipe with every seed and evaluate them, with the baselines, under the same protocols.

    What is held equal is the minutes of training, or the whole views shown (`image_views`, see `cost`), or what the recipes
    say. Each run lives in `out/<name>-seed<seed>`; what is finished there is not trained again, what was stopped goes on.
    Writes `out/compare.json` and returns the same: {"rows": {name: {"runs": [...]}}, "baselines": {...}, ...}. Raises
    `InputError` before anything is trained where a run in `out` has another recipe, or was sized in another way.
    """
    refuse_many("compare")
    if not recipes or not seeds:
        raise InputError("nothing to compare: name at least one method and one seed")
    if len(set(seeds)) < len(seeds):
        raise InputError(f"a seed stands twice in {seeds}; the second run would be the first again")
    if minutes is not None and image_views is not None:
        raise InputError("minutes and image_views each size the runs: give one of the two")
    out, classes, where = Path(out), len(splits.train.classes), pick_device(device)
    splits = dataset.Splits(*(part.to(where) for part in splits))
    for recipe in recipes.values():  # refuses a split that a recipe trains on before anything is trained
        check_holdout_unseen(recipe, split)
    sized, costs = sized_by_views(recipes, splits, image_views)
    budget = {"minutes": minutes, "image_views": image_views}
    check_same(out, sized, seeds, budget)
    first = next(iter(sized.values())).replace(seed=seeds[0])
    random, started = build_method(first, classes).to(where).backbone, with_data_start(first, splits)
    base = evaluate.baseline_rows(random, splits, split, first.views.eval_size or None, log, started)
    result: dict[str, Any] = {"version": __version__, "dataset": splits.train.name, "on": split, "budget": budget}
    result |= {"baselines": base, "rows": {}}
    out.mkdir(parents=True, exist_ok=True)
    save_json(out / "budget.json", budget)  # compare.json is written when the first method is through
    for name, recipe in sized.items():
        how = {"minutes": minutes, "device": device, "engine": engine, "log": log}
        runs = [
            run_of(recipe.replace(seed=seed), splits, folder_of(out, name, seed), split, costs[name].views, **how)
            for seed in seeds
        ]
        result["rows"][name] = {"recipe": recipe.to_dict(), "cost": asdict(costs[name]), "runs": runs}
        save_json(out / "compare.json", result)
    return result


def sized_by_views(
    recipes: dict[str, Recipe], splits: dataset.Splits, image_views: int | None
) -> tuple[dict[str, Recipe], dict[str, Cost]]:
    """The recipes with as many steps as show `image_views` whole views (None: as they are), and what each costs.

    Refuses what cannot be trained.
    """
    images, classes, where = len(splits.train), len(splits.train.classes), splits.train.device
    costs = {name: cost_of(recipe, new_run(recipe, images, classes, where).method) for name, recipe in recipes.items()}
    if image_views is None:
        return dict(recipes), costs
    steps = {name: steps_for_views(image_views, recipe, costs[name].views) for name, recipe in recipes.items()}
    return {name: recipe.replace(steps=steps[name]) for name, recipe in recipes.items()}, costs


def folder_of(out: Path, name: str, seed: int) -> Path:
    """Where a run of a comparison lives."""
    return out / f"{name}-seed{seed}"


def run_of(
    recipe: Recipe, splits: dataset.Splits, folder: Path, split: str, views: float, minutes: float | None = None,
    device: str = "auto", engine: str = "auto", log: Callable[[str], None] = print,
    callback: Callable[[Run], None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """One run of a comparison: trained in `folder` and evaluated, or read from there where an earlier call did both.

    `views` is how many whole views a step shows of an image (`cost`). An interrupt is raised again, when all is kept.
    """
    if minutes is None and (found := measured(folder, recipe, splits, split)):
        return found
    how = {"device": device, "minutes": minutes, "engine": engine, "log": log, "callback": callback}
    run = train.train(recipe, splits, out=folder, resume=True, **how)
    if not run.finished:
        raise KeyboardInterrupt  # the run said where it stopped; comparing goes on from there next time
    found = evaluate.evaluate(run.backbone, splits, split, size=recipe.views.eval_size or None)
    shown = run.step * recipe.optim.batch_size * views
    found |= {"seed": recipe.seed, "steps": run.step, "train_seconds": round(run.seconds, 1), "image_views": round(shown)}
    found["image_views_per_second"] = round(shown / max(run.seconds, 1e-9), 1)
    save_json(folder / "result.json", {"recipe": run.recipe.to_dict(), **found})
    return found


def measured(folder: Path, recipe: Recipe, splits: dataset.Splits, split: str) -> dict[str, Any] | None:
    """What an earlier call found out about this very run, under the same protocols."""
    path = folder / "result.json"
    if not path.exists():
        return None
    kept = json.loads(path.read_text())
    asked = {"seed": recipe.seed, "dataset": splits.train.name, "on": split}
    asked |= {"bank": len(splits.train), "queries": len(query_split(splits, split))}
    asked |= {"protocols": evaluate.protocols(len(splits.train))}
    if any(kept.get(key) != value for key, value in json.loads(json.dumps(asked)).items()):  # tuples are lists there
        return None
    if "recipe" not in kept or Recipe.from_dict(kept["recipe"]) != recipe:
        return None
    return {key: value for key, value in kept.items() if key != "recipe"}


def check_same(out: Path, recipes: dict[str, Recipe], seeds: list[int], budget: dict[str, Any]) -> None:
    """Refuse a folder whose runs were sized in another way or made with another recipe, and one of packed records."""
    if (out / PACKED).exists():  # their results stand in compare.json alone, which would be written anew
        raise InputError(f"{out} holds records ({PACKED}), which are kept as they are; give another --out, or move it away")
    path = out / "budget.json"
    if path.exists() and (there := json.loads(path.read_text())) != budget:
        raise InputError(f"the runs in {out} have another budget ({there}, asked for now: {budget}); give another --out")
    for name, recipe in recipes.items():
        for seed in seeds:
            path = folder_of(out, name, seed) / "recipe.json"
            if not path.exists():
                continue
            asked, kept = recipe.replace(seed=seed), Recipe.from_dict(json.loads(path.read_text()))
            if budget["minutes"] is not None:
                asked = asked.replace(steps=kept.optim.steps)  # calibrated when the run was begun
            check_recipe(path.parent, kept, asked)


def cell(values: list[float]) -> str:
    """Percent: the mean of the seeds, with half their range where there are several."""
    text = f"{100 * mean(values):.1f}"
    return text if len(values) == 1 else f"{text} ±{50 * (max(values) - min(values)):.1f}"


def table(result: dict[str, Any], markdown: bool = False) -> str:
    """The comparison as text or Markdown, what its numbers are, and what is published, apart."""
    rows = {name: [entry] for name, entry in result["baselines"].items()}
    rows |= {name: entry["runs"] for name, entry in result["rows"].items()}
    reference = result["rows"].get("simclr", {}).get("runs")
    base = mean(map(SHARES["linear"], reference)) if reference else None
    head = ["", *SHARES, "/ SimCLR", "feature std", "steps", "seconds", "views/s", "params", "relative FLOPs"]
    lines = []
    for name, runs in rows.items():
        line = [name, *(cell(list(map(read, runs))) for read in SHARES.values())]
        line += [
            f"{mean(map(SHARES['linear'], runs)) / base:.3f}" if base else "-",
            f"{mean(run['spread'] for run in runs):.2f}",
        ]
        if name in result["rows"]:
            cost = result["rows"][name]["cost"]
            steps, seconds, pace = (
                mean(run[key] for run in runs) for key in ("steps", "train_seconds", "image_views_per_second")
            )
            line += [f"{steps:,.0f}", f"{seconds:.0f}", f"{pace:,.0f}"]
            line += [short_count(cost["parameters"]), f"{relative_flops(cost):.1f}"]
        lines.append(line + ["-"] * (len(head) - len(line)))
    return "\n\n".join([format_table(head, lines, markdown), note(result), COLUMNS, *published_table(result, markdown)])


def note(result: dict[str, Any]) -> str:
    """What the numbers are: image set, protocol, budget, seeds, hardware."""
    runs = next(iter(result["rows"].values()))["runs"]
    knn = runs[0]["protocols"]["knn"]
    labels = [name for name, entry in result["rows"].items() if uses_labels(entry["recipe"])]
    told = f"{dataset_of(result)}, {evaluated_on(runs[0])}; kNN: cosine, weighted, T {knn['temperature']}; linear: L-BFGS "
    told += f"on cached features; last step, percent; trained {budget_in_words(result['budget'])}; seeds "
    told += ", ".join(str(run["seed"]) for run in runs) + ", mean ± half the range" * (len(runs) > 1)
    return told + f"; with labels: {', '.join(labels)}" * bool(labels) + f"; {runs[0]['hardware']}"


def published_table(result: dict[str, Any], markdown: bool = False) -> list[str]:
    """Others' numbers for the same methods and image set: heading, table, sources. Nothing where nothing is published."""
    lines, sources = [], {}
    for name, entry in result["rows"].items():
        for row in published(name, result["dataset"]):
            ours = list(map(SHARES["kNN 200" if row.measure == "knn" else "linear"], entry["runs"]))
            number = sources.setdefault(f"{row.source}: {row.note}", len(sources) + 1)
            theirs = [f"{row.top1:.2f}", "-" if row.top5 is None else f"{row.top5:.2f}", str(row.epochs or "-")]
            lines.append([f"{name}: {row.protocol}", cell(ours), *theirs, f"[{number}]"])
    if not lines:
        return []
    head = ["published elsewhere for a ResNet-18, under other protocols", "ours, above", "theirs", "top-5", "epochs", "from"]
    told = ("\n\n" if markdown else "\n").join(f"[{number}] {text}" for text, number in sources.items())
    return [format_table(head, lines, markdown), told]


def picture(result: dict[str, Any]) -> Figure:
    """The comparison as a dot plot: kNN and linear accuracy side by side."""
    first = next(iter(result["rows"].values()))["runs"][0]
    reads = {f"kNN accuracy, % (k {first['protocols']['knn20']['k']})": SHARES["kNN 20"]}
    reads["linear top-1 accuracy, %"] = SHARES["linear"]
    rows = {name: entry["runs"] for name, entry in result["rows"].items()}
    panels = {what: {name: [read(run) for run in runs] for name, runs in rows.items()} for what, read in reads.items()}
    marks = {what: {name: read(row) for name, row in result["baselines"].items()} for what, read in reads.items()}
    labels = [name for name, entry in result["rows"].items() if uses_labels(entry["recipe"])]
    title = f"{len(rows)} way{'s' * (len(rows) != 1)} to learn, on {dataset_of(result)}"
    text = "A dot is a seed, a bar their mean" + "; open squares: with labels" * bool(labels) + ". " + note(result)
    return dot_plot(panels, marks, labels, title, text)
