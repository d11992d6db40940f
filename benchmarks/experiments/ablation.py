"""Ablation of MNCLGLF: the slim net on CIFAR-10, two CPU cores, one thing changed at a time.

    python -m benchmarks.experiments.ablation STAGE --data DIR

    choose     temperature and learning rate of both forms, on validation images with a seed of its own: choice.json
    ask        every variant, three seeds, on test images
    forms      the two forms alone, six seeds; the last three were added when three had left the question open
    long       both forms, and no swap, for twice as many steps: early on a neighbour is often of another class
    family     every method as it comes beside both forms, one seed

Two runs with a core each do more than one with two: `OMP_NUM_THREADS=1 ... ask --share 1/2`, and 2/2 beside it, make every
second run each. Without a share the table of what they left is made. All go on where they were stopped.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from statistics import mean
from typing import Any

from benchmarks import timing
from mnclglf_lite.core.device import pick_device
from mnclglf_lite.core.errors import InputError
from mnclglf_lite.core.files import save_json
from mnclglf_lite.data.dataset import load_dataset
from mnclglf_lite.drawing import sheets
from mnclglf_lite.methods.mnclglf import MNCLGLFConfig
from mnclglf_lite.methods.registry import BUILT_IN
from mnclglf_lite.recipe.legacy import upgrade
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.recipe.recipe import Recipe
from mnclglf_lite.results import compare, paired
from mnclglf_lite.results.records import group_by_method, load_records
from mnclglf_lite.views.named_views import QUICK_VIEW

OUT = timing.RUNS / "ablation"
CHOICE = OUT / "choice.json"
FAMILY = timing.RUNS / "cifar10-slim"
TEMPERATURES, RATES = (0.1, 0.2, 0.5, 1.0), (0.18, 0.36, 0.9)
CHOOSING_SEED, SEEDS, SEEDS_OF_FORMS = 100, [0, 1, 2], [0, 1, 2, 3, 4, 5]
CHOOSING_VIEWS, VIEWS = 150_000, 600_000  # whole views a run: one minute and four on two cores
STEPS = 1562  # as many views: three an image, 128 images a step
LONG_STEPS = 2 * STEPS  # ten minutes a run on one core
LONG = ("drawn", "released", "no-swap")
# As many pixels as a patch of the grid, as much of the image (a quarter of what a whole view may show), and the colour
# changes of whole views. What differs: they lie anywhere, in any aspect, each mirrored and coloured on its own.
SMALL_CROPS = replace(MNCLGLFConfig.small_view, size=12, scale=(0.05, 0.25), gray_p=0.1, blur_p=0.0)
FORMS: dict[str, dict[str, Any]] = {"drawn": {}, "released": {"local_gradient": False, "global_weight": 2.0}}
VARIANTS: dict[str, dict[str, Any]] = {
    **FORMS,
    "local-only": {"local_weight": 2.0, "global_weight": 0.0},
    "weights-1-to-6": {"local_weight": 2 / 7, "global_weight": 12 / 7},
    "random-crops": {"local": "crops", "small_view": SMALL_CROPS},
    "one-network": {"num_networks": 1},
    "three-networks": {"num_networks": 3},
    "no-swap": {"neighbour_swap": False},
}


# The quick recipe that these runs were made with; today's has Muon and a first layer from the data.
OLD = {"optimiser": "sgd", "first_layer": "random", "weight_decay": 5e-4, "batch_size": 128, "ema": 0.8, "swap_from": 0.0}
OLD |= {"view": replace(QUICK_VIEW, scale=(0.2, 1.0)), "projector": (256, 128), "width": 24}


def base(**changes: Any) -> Recipe:
    return preset("quick", "mnclglf", "cifar10", **(OLD | {"temperature": 0.1, "lr": 0.36} | changes))


def candidates() -> dict[str, Recipe]:
    """Both forms with every temperature and rate."""
    return {
        f"{form}-T{temperature:g}-lr{rate:g}": base(**changes, temperature=temperature, lr=rate)
        for form, changes in FORMS.items()
        for temperature in TEMPERATURES
        for rate in RATES
    }


def best(result: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Temperature and rate of each form by kNN (k 20) on the hold-out; the finer table decides nothing."""
    found = {}
    for form in FORMS:
        rows = {name: row for name, row in result["rows"].items() if name.startswith(form + "-")}
        top = max(rows.values(), key=lambda row: row["runs"][0]["knn20"]["raw"]["top1"])
        found[form] = {"temperature": top["recipe"]["temperature"], "lr": top["recipe"]["lr"]}
    return found


def variants(choice: dict[str, dict[str, float]], steps: int = STEPS) -> dict[str, Recipe]:
    """The recipes that `ask` trains, and for more steps `long`."""
    settings = {name: choice["released" if name == "released" else "drawn"] for name in VARIANTS}
    return {name: base(**changes, steps=steps, **settings[name]) for name, changes in VARIANTS.items()}


def family(choice: dict[str, dict[str, float]]) -> dict[str, Recipe]:
    """Every method's quick recipe (the kept runs': of their time), and the two forms as `ask` has them."""
    rows = {method.Config.name: preset("quick", method.Config.name, "cifar10") for method in BUILT_IN}
    asked = variants(choice)
    return rows | {"mnclglf": asked["drawn"], "mnclglf-released": asked["released"]}


SECTIONS = {  # of results.md
    "family": "Old recipe (SGD): CIFAR-10, the slim net, the same methods, as many whole views for each, a run a core",
    "choose": "MNCLGLF on CIFAR-10, the slim net: temperature and learning rate, on validation images, a seed of its own",
    "ask": "MNCLGLF on CIFAR-10, the slim net: one part changed at a time, three seeds",
    "forms": "MNCLGLF on CIFAR-10, the slim net: as drawn and as released, six seeds",
    "long": "MNCLGLF on CIFAR-10, the slim net: both forms and no swap for twice as many steps, three seeds",
}


def answer(found: dict[str, Any]) -> str:
    """Drawn or released, in two sentences, and what they rest on; from the record of `forms`."""
    runs, measures = found["rows"]["drawn"]["runs"], paired.MEASURES.items()
    seeds = [run["seed"] for run in runs]
    added = [seed for seed in seeds if seed not in SEEDS]
    lines = [paired.sentences(found), ""]
    for form, row in found["rows"].items():
        means = [f"{what} {100 * mean(read(run) for run in row['runs']):.1f}" for _, (what, read) in measures]
        recipe, seconds = upgrade(row["recipe"]), mean(run["train_seconds"] for run in row["runs"])
        settings = f"temperature {recipe['temperature']:g}, learning rate {recipe['lr']:g}, "
        settings += f"weights {recipe['local_weight']:g} (local) and {recipe['global_weight']:g}"
        lines.append(f"* as {form}: {', '.join(means)} %, the mean of {len(seeds)} seeds; {settings}; {seconds:.0f} s a run")
    lines += [
        f"* {runs[0]['steps']:,} steps of {recipe['batch_size']}; kNN: weighted, T 0.1, bank {runs[0]['bank']:,}; "
        f"{runs[0]['queries']:,} test images; {runs[0]['hardware']}, two runs side by side, at times with other work",
        f"* settings: the best of {len(TEMPERATURES)} temperatures and {len(RATES)} learning rates for each form, "
        f"on the hold-out, one other seed, a quarter of the views; {min(TEMPERATURES):g} is the lowest tried",
        f"* seeds {', '.join(map(str, seeds))}; {', '.join(map(str, added))} were added when the first had left the "
        f"question open, and say alone: {paired.gaps(found, 'drawn', 'released', added)}",
        *longer(),
        "* the intervals are about other seeds; test images, settings and length stay the same",
    ]
    return "\n".join(lines)


def longer() -> list[str]:
    """What twice the steps say, where that was run."""
    path = OUT / "long" / "compare.json"
    if not path.exists():
        return []
    found = json.loads(path.read_text())
    runs = found["rows"]["drawn"]["runs"]
    seeds, seconds = ", ".join(str(run["seed"]) for run in runs), mean(run["train_seconds"] for run in runs)
    ways = [r.history for r in group_by_method(load_records(path.parent))["drawn"]]
    ends = [", ".join(f"{100 * way[at]['agreement']:.0f}" for way in ways) for at in (0, -1)]
    return [
        f"* twice as long ({runs[0]['steps']:,} steps, {runs[0]['image_views']:,} whole views, seeds {seeds}, "
        f"{seconds:.0f} s a run as drawn):",
        f"  as drawn minus as released {paired.gaps(found, 'drawn', 'released')};",
        "  without the swap (compared because it was ahead in the ablation) minus with it "
        f"{paired.gaps(found, 'no-swap', 'drawn')};",
        f"  neighbours of the right class, as drawn: {ends[0]} % in the first epoch, {ends[1]} % in the last, by chance 10",
    ]


def share(text: str) -> tuple[int, int]:
    """`2/3` as (2, 3)."""
    which, of = (int(part) for part in text.split("/"))
    if not 1 <= which <= of:
        raise ValueError  # argparse names the option and what was given
    return which, of


def main(words: list[str] | None = None) -> None:
    parser = timing.parser(__doc__, data=True)
    parser.add_argument("what", choices=("choose", "ask", "forms", "long", "family"))
    parser.add_argument("--share", type=share, default=(1, 1), metavar="K/N", help="of N processes' runs those of the Kth")
    args = parser.parse_args(words)
    if args.what == "choose" and args.share != (1, 1):
        parser.error("choose is one comparison and knows no --share")
    if args.what != "choose" and not CHOICE.exists():
        raise InputError(f"{CHOICE} is missing: `ablation choose` writes it, and git has it")
    splits = load_dataset("cifar10", root=args.data, device=pick_device())
    if args.what == "choose":
        result = compare.compare(
            candidates(), [CHOOSING_SEED], splits, OUT / "choose", split="holdout", image_views=CHOOSING_VIEWS
        )
        save_json(CHOICE, best(result))
        print(json.dumps(best(result), indent=1))
        return
    choice, (which, of) = json.loads(CHOICE.read_text()), args.share
    rows, seeds, out, views = {
        "ask": (variants(choice), SEEDS, OUT / "ask", None),
        "forms": ({name: variants(choice)[name] for name in FORMS}, SEEDS_OF_FORMS, OUT / "forms", None),
        "long": ({name: variants(choice, LONG_STEPS)[name] for name in LONG}, SEEDS, OUT / "long", None),
        "family": (family(choice), SEEDS[:1], FAMILY, VIEWS),
    }[args.what]
    if of > 1:
        rows, costs = compare.sized_by_views(rows, splits, views)
        compare.check_same(out, rows, seeds, {"minutes": None, "image_views": views})
        for name, seed in list(itertools.product(rows, seeds))[which - 1 :: of]:
            folder = compare.folder_of(out, name, seed)
            compare.run_of(rows[name].replace(seed=seed), splits, folder, "test", costs[name].views)
        return
    result = compare.compare(rows, seeds, splits, out, split="test", image_views=views)
    sheets.save(compare.picture(result), out / "compare.png")
    if args.what in ("ask", "long"):
        sheets.save(paired.picture(result), out / "answer.png")


if __name__ == "__main__":
    timing.program(main, "ablation")
