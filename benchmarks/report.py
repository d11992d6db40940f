"""Write benchmarks/results.md from the results that stand in data/runs: no figure in it is typed by hand.

python benchmarks/report.py
"""

import json
import sys
from pathlib import Path
from statistics import mean, median
from typing import Any

from mnclglf_lite.core.text import format_table
from mnclglf_lite.recipe.legacy import upgrade
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.recipe.recipe import Recipe
from mnclglf_lite.results import compare, paired, paper_table
from mnclglf_lite.results.records import group_by_method, load_records

HERE = Path(__file__).parent
RUNS = HERE.parent / "data" / "runs"
HEAD = """# Measured so far

Written by `python benchmarks/report.py` from the files in `data/runs/`. Percent. kNN: cosine, weighted, T 0.1; raw features
of the online backbone unless a column says otherwise; bank: the training part without the hold-out; linear: logistic
regression on cached features. All settings were chosen on validation images (the hold-out), but for MNCLGLF on version 1 of
the toy box: its settings go back to trials that looked at test images.

"""
# What each folder answers, and the commands that fill it (some take --data FOLDER where the pictures lie elsewhere)
ASKED = {
    "toybox": (
        "The toy box, 45 seconds of two cores: eleven methods and MNCLGLF as released, three seeds",
        "mnclglf-lite compare --methods all,mnclglf-released --minutes 0.75 --seeds 0,1,2 --split test "
        "--out data/runs/toybox\npython -m benchmarks.maps data/runs/toybox",
    ),
    "toybox-minute": (
        "The toy box, one minute: MNCLGLF as drawn",
        "mnclglf-lite compare --methods mnclglf --minutes 1 --seeds 0,1,2 --split test --out data/runs/toybox-minute\n"
        "python -m benchmarks.maps data/runs/toybox-minute",
    ),
    "one-minute": (
        "CIFAR-10, one minute of two cores",
        "mnclglf-lite compare --dataset cifar10 --methods simclr,moco,mnclglf --minutes 1 --split test "
        "--out data/runs/one-minute",
    ),
    "five-minutes": (
        "CIFAR-10, five minutes of two cores, half a minute of them for compiling",
        "mnclglf-lite compare --dataset cifar10 --methods simclr,moco,mnclglf --minutes 4.5 --engine compiled --width 48 "
        "--view-gray-p 0.25 --split test --out data/runs/five-minutes",
    ),
    "cifar10-slim": (
        "Old recipe (SGD): CIFAR-10, the slim net, the same methods, as many whole views for each, a run a core",
        "python -m benchmarks.ablation family",
    ),
    "precision-bf16": (
        "bf16 against fp32 on the toy box, version 1, three seeds, asked on the hold-out: here bf16",
        "mnclglf-lite compare --dataset toybox-v1 --methods simclr,mnclglf --precision bf16 --image-views 160000 "
        "--seeds 0,1,2 --out data/runs/precision-bf16",
    ),
    "precision-fp32": (
        "bf16 against fp32: here fp32",
        "mnclglf-lite compare --dataset toybox-v1 --methods simclr,mnclglf --precision fp32 --image-views 160000 "
        "--seeds 0,1,2 --out data/runs/precision-fp32",
    ),
    "ablation/choose": (
        "MNCLGLF on CIFAR-10, the slim net: temperature and rate of both forms, asked on the hold-out, a seed of its own",
        "python -m benchmarks.ablation choose",
    ),
    "ablation/ask": (
        "MNCLGLF on CIFAR-10, the slim net: one part changed at a time, three seeds",
        "python -m benchmarks.ablation ask",
    ),
    "ablation/forms": (
        "MNCLGLF on CIFAR-10, the slim net: as drawn and as released, six seeds",
        "python -m benchmarks.ablation forms",
    ),
    "ablation/long": (
        "MNCLGLF on CIFAR-10, the slim net: both forms and no swap for twice as many steps, three seeds",
        "python -m benchmarks.ablation long",
    ),
}


def section(name: str) -> str:
    """One folder's table with what it is, its command, and the line that says what the numbers are."""
    folder, (title, command) = RUNS / name, ASKED[name]
    body = compare.table(json.loads((folder / "compare.json").read_text()), markdown=True)
    return f"## {title}\n\n```\n{command}\n```\n\n{body}\n"


def minutes_section() -> str:
    """Trials of the quick preset, from `benchmarks/trials.py`: all that changed one thing, and each method's best."""
    from benchmarks import trials

    rows = list(trials.kept().values())
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        group, dataset, seconds, method = row["trial"].split()[:4]
        if group == "parts":  # see `parts_section`
            continue
        groups.setdefault((group, dataset, seconds, *([method] if group == "explore" else [])), []).append(row)
    parts = ["## What a minute or five can learn: trials\n\n```\npython -m benchmarks.trials --data DIR\n```\n"]
    for (group, dataset, seconds, *_), found in groups.items():
        methods: dict[str, list[dict[str, Any]]] = {}
        for row in found:
            methods.setdefault(row["trial"].split()[3], []).append(row)
        shown = sorted(found, key=knn_of, reverse=True)
        if group != "explore":
            shown = [max(tried, key=knn_of) for tried in methods.values()]
        lines = [
            [row["trial"].split()[3], str(len(methods[row["trial"].split()[3]])), f"`{row['trial'].split(maxsplit=4)[4]}`"]
            + [f"{row['steps']:,}"] + [f"{100 * row['knn20'][kind]:.1f}" for kind in ("raw", "whitened")]
            for row in sorted(shown, key=knn_of, reverse=True)
        ]  # fmt: skip
        head = ["method", "trials", "flags" if group == "explore" else "flags of the best", "steps", "kNN 20", "whitened"]
        row, places = found[0], sorted({row["hardware"] for row in found})
        parts.append(
            f"{dataset}, {seconds} s of two threads each, group `{group}`:\n\n{format_table(head, lines, markdown=True)}\n\n"
            f"Validation images ({row['queries']:,}, bank {row['bank']:,}); kNN: k 20, T 0.1; seed 0; {', '.join(places)}; "
            "one thread a trial, as many steps as two threads make in that time\n"
        )
    return "\n".join(parts)


def knn_of(row: dict[str, Any]) -> float:
    return row["knn20"]["raw"]


def parts_section() -> str:
    """MNCLGLF with a part changed, beside SimCLR, at equal image views: trials of the group `parts`."""
    from benchmarks import trials

    groups: dict[str, list[dict[str, Any]]] = {}
    for row in trials.kept().values():
        if row["trial"].startswith("parts "):
            groups.setdefault(trials.without_length_and_seed(row["trial"]), []).append(row)
    if not groups:
        return ""
    lines = []
    for rows in sorted(groups.values(), key=lambda found: -mean(map(knn_of, found))):
        recipe = Recipe.from_dict(rows[0]["recipe"])
        usual = preset("quick", recipe.method.name, recipe.data.dataset, steps=recipe.optim.steps, seed=recipe.seed)
        cells = [compare.cell([row["knn20"][kind] for row in rows]) for kind in ("raw", "whitened")]
        lines.append([", ".join([recipe.method.name, *usual.differences(recipe)]), f"{rows[0]['steps']:,}", *cells])
    row = rows[0]
    return (
        f"## MNCLGLF's parts beside SimCLR, {row['recipe']['dataset']}\n\n"
        "```\npython -m benchmarks.trials --data DIR\n```\n\n"
        f"{format_table(['the quick preset', 'steps', 'kNN 20', 'whitened'], lines, markdown=True)}\n\n"
        f"{trials.image_views(row):,} whole views each; validation images ({row['queries']:,}, bank {row['bank']:,}); kNN: "
        f"k 20, T 0.1; seeds {', '.join(str(row['recipe']['seed']) for row in rows)}, mean ± half the range; "
        f"{row['hardware']}\n"
    )


def sooner_table(found: dict[str, Any]) -> str:
    """SimCLR's seconds to a target, by whose code and which optimiser, and what they are."""
    lines = [
        [name, f"{steps:,}", f"{1000 * median(found['step_seconds'][name]):.0f}", f"{found['seconds'][name]:.0f}"]
        + [f"{found['ratios'][name]:.1f}"]
        for name, steps in found["steps"].items()
    ]
    recipe = found["recipes"]["ours, Muon"]
    head = [f"SimCLR, slim net, {recipe['view']['size']} pixels", "steps", "ms a step", "seconds", "times as long"]
    return (
        f"{format_table(head, lines, markdown=True)}\n\nThe shortest run, in steps of {found['grid']}, that reaches "
        f"{100 * found['target']:.0f} % kNN on CIFAR-10's validation images (k 20, T 0.1, raw, bank: the training "
        f"part), seed {recipe['seed']}; {found['hardware']}; torch {found['versions']['torch']}\n"
    )


def sooner_section(path: Path) -> str:
    """Seconds to a target by this package and by lightly, from `benchmarks/sooner.py`."""
    found = json.loads(path.read_text())
    return (
        f"## Seconds to {100 * found['target']:.0f} % kNN on CIFAR-10\n\n```\n"
        f"python -m benchmarks.sooner --data DIR --out data/runs/{path.name}\n```\n\n{sooner_table(found)}"
    )


def optimisers_section(path: Path) -> str:
    """What a step costs with Muon, from `benchmarks/optimisers.py`."""
    found = json.loads(path.read_text())
    lines = [
        [name, str(row["batch_size"]), f"{1000 * row['sgd_seconds']:.1f}", f"{1000 * row['muon_seconds']:.1f}"]
        + [f"{row['ratio']:.3f}", " to ".join(f"{value:.3f}" for value in row["quartiles"])]
        for name, row in found["rows"].items()
    ]
    head = ["method", "batch", "SGD, ms", "Muon, ms", "ratio", "quartiles"]
    return (
        "## A step with Muon over one with SGD\n\n```\npython -m benchmarks.optimisers --out data/runs/optimisers-cpu.json\n"
        f"```\n\n{format_table(head, lines, markdown=True)}\n\nThe quick recipes for CIFAR-10; {found['hardware']}\n"
    )


def location_section(path: Path) -> str:
    """GLNet's location accuracy and what a step of it costs, from `benchmarks/glnet_location.py`."""
    found = json.loads(path.read_text())
    places = ("quadrant", "top_or_bottom", "left_or_right")
    lines = []
    for row in found["runs"]:
        shares = [f"{100 * row['location'][place]:.1f}" for place in places]
        lines.append([f"{row['base']}, mirrored {row['flip_patches']} the cut", *shares, f"{row['seconds']:.0f}"])
    body = format_table(["", *(place.replace("_", " ") for place in places), "seconds"], lines, markdown=True)
    times = "; ".join(f"{name} {ratio:.2f}" for name, ratio in found["time_ratio"].items())
    return (
        f"## GLNet: does its location head know the quadrant?\n\n```\n{found['command']}\n```\n\n{body}\n\n"
        f"{found['what']}; {found['steps']:,} steps, seed {found['seed']}; chance 25.0. Seconds a step over SimCLR's on "
        f"whole views of the same size: {times}; {found['hardware']}\n"
    )


def speed_section(path: Path) -> str:
    """How fast a step is, from `benchmarks/speed.py`: a table and its headlines for each method."""
    from benchmarks import speed

    found = json.loads(path.read_text())
    parts = [f"## Speed: {path.stem}\n\n```\n{found['command']}\n```\n"]
    for method, measured in found["methods"].items():
        told = next((row for row in measured["rows"].values() if "hardware" in row), None)
        recipe, loads = upgrade(measured["recipe"]), [state["load"][0] for state in measured["states"] if state["load"]]
        table = format_table(speed.HEADER, speed.table(measured), markdown=True)
        lines = "\n".join(f"- {line}" for line in speed.headlines(measured))
        parts.append(f"{NAMES.get(method, method)}\n\n{table}\n\n{lines}\n")
        if told:
            load = f"; load average {min(loads):.1f} to {max(loads):.1f}" if loads else ""
            protocol = found["protocol"][0].upper() + found["protocol"][1:]
            parts.append(
                f"Batch {recipe['batch_size']}, views of {recipe['view']['size']} pixels, {found['pictures']} pictures; "
                f"{told['hardware']}; torch {told['versions']['torch']}{load}. {protocol}.\n"
            )
    return "\n".join(parts)


def augment_section(path: Path) -> str:
    """Views a second against torchvision picture by picture, from `benchmarks/augment.py`."""
    found = json.loads(path.read_text())
    parts = [f"## Making views, against torchvision picture by picture\n\n```\n{found['command']}\n```\n"]
    for name, chain in found["chains"].items():
        lines = []
        for row, value in chain["median"].items():
            each = chain["views_per_second"][row]
            lines.append([row, f"{value:,.0f}", f"{min(each):,.0f} to {max(each):,.0f}", f"{chain['ratio'][row]:.2f}"])
        head = [name, "views/s", "range", f"over the fastest of torchvision ({chain['fastest_peer'].split(' ', 1)[1]})"]
        parts.append(format_table(head, lines, markdown=True) + "\n")
    versions = found["versions"]
    parts.append(
        f"{found['what']}; {found['hardware']}; torch {versions['torch']}, torchvision {versions['torchvision']}. The same "
        "operations with the same probabilities and strengths. That boxes and draws have torchvision's distributions is "
        "tested (`tests/views/test_crops.py`, `tests/views/test_view.py`).\n"
    )
    return "\n".join(parts)


def joined_section(path: Path) -> str:
    """What one batch for all whole views would bring, from `benchmarks/joined_views.py`."""
    found = json.loads(path.read_text())
    said = "; ".join(f"{name} {row['apart_over_joined']:.2f}" for name, row in found["rows"].items())
    return (
        f"## Whole views as one batch?\n\n```\n{found['command']}\n```\n\n"
        f"{found['what']}: {said} (above 1: joining pays). {found['hardware']}; torch {found['torch']}\n"
    )


def growth_section(path: Path) -> str:
    """Fitted exponents of a step's time and memory, from `benchmarks/growth.py`."""
    found = json.loads(path.read_text())
    lines = []
    for row in found["rows"]:
        points = row["points"]
        cells = [f"{points[0]['size']:,} to {points[-1]['size']:,}"]
        for what, scale in (("seconds", 1e3), ("bytes", 1e-6)):
            ends = [scale * points[at][what] for at in (0, -1) if points[at][what]]
            cells.append(" to ".join(f"{value:,.0f}" for value in ends) or "-")
            fit = row["fits"][what]
            cells += (
                [f"{fit['exponent']:.2f} ×/÷ {fit['residual']:.2f}", f"{fit['last_exponent']:.2f}"] if fit else ["-", "-"]
            )
        lines.append([f"{row['row']} ({row['method']})", *cells])
    head = ["", "sizes", "ms a step", "exponent", "at the end", "MB", "exponent", "at the end"]
    picture = f"![panels of time and memory](../data/runs/growth/{path.stem}.png)\n\n" * path.with_suffix(".png").exists()
    return (
        f"## How a step grows, {path.stem}\n\n```\n{found['command']}\n```\n\n{picture}"
        f"{format_table(head, lines, markdown=True)}\n\n"
        f"`{found['preset']}` preset, engine {found['engine']}; medians of {found['rounds']} steps, sizes in turn; exponent "
        "of a fitted power law, with the factor by which the points lie off it (rms), and of the two largest sizes alone; "
        "views are fitted by their area; memory beyond the program's own. "
        f"{found['hardware']}, load {found['load'][0]:g}\n"
    )


NAMES = {
    name: f"**{title}**" if title.startswith("MNCLGLF") else title
    for name, title in sorted(paper_table.ROWS.items(), key=lambda row: row[0] == "supervised")  # it stands last here
}
BEGIN, END = "<!-- from data/runs/toybox by benchmarks/report.py -->\n", "<!-- end -->\n"


def readme_table() -> str:
    """What 45 seconds teach each method on the toy box, and MNCLGLF in a minute, for the README."""
    found, minute = (json.loads((RUNS / name / "compare.json").read_text()) for name in ("toybox", "toybox-minute"))
    places, later = (json.loads((RUNS / name / "maps.json").read_text())["means"] for name in ("toybox", "toybox-minute"))
    rows = [(name, [row], None, None) for name, row in found["baselines"].items()]
    for name in NAMES:
        rows.append((NAMES[name], found["rows"][name]["runs"], found["rows"][name], places["map"][name]))
        if name in minute["rows"]:
            title = f"{NAMES[name]}, one minute"
            rows.append((title, minute["rows"][name]["runs"], minute["rows"][name], later["map"][name]))
    lines = [
        "| | kNN | whitened | linear | kNN on the map | steps of images | seconds |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for title, runs, row, place in rows:
        lines.append(readme_line(title, runs, row, "-" if place is None else f"{100 * place:.1f}"))
    return (
        "\n".join(lines) + f"\n\n{what_of(found)}; kNN on the map: k 10 on the two UMAP coordinates of 1,000 test images\n"
    )


def readme_line(title: str, runs: list[dict[str, Any]], row: dict[str, Any] | None, *cells: str) -> str:
    """A line of the README's tables: accuracies, the cells of its own, steps and seconds (dashes: it was not trained)."""
    shares = [compare.cell([run["knn20"][how]["top1"] for run in runs]) for how in ("raw", "whitened")]
    shares.append(compare.cell([run["linear"]["top1"] for run in runs]))
    last = ["-", "-"]
    if row is not None:
        steps, seconds = (mean(run[key] for run in runs) for key in ("steps", "train_seconds"))
        last = [f"{steps:,.0f} of {row['recipe']['batch_size']}", f"{seconds:.0f}"]
    return f"| {' | '.join([title, *shares, *cells, *last])} |"


def what_of(found: dict[str, Any]) -> str:
    """What the README's numbers of a comparison are: images, protocol, seeds, hardware and how fast it is."""
    run = next(iter(found["rows"].values()))["runs"][0]
    seeds = [each["seed"] for each in next(iter(found["rows"].values()))["runs"]]
    return (
        f"Percent of {run['queries']:,} {found['on']} images, bank {run['bank']:,}; kNN: k 20, T 0.1; seed"
        f"{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}{' (mean ± half the range)' * (len(seeds) > 1)}; "
        f"{run['hardware']}, where SimCLR's bare network (quick preset, CIFAR-10) makes {bare_pace():,.0f} images a second"
    )


def bare_pace() -> float:
    """Images a second of SimCLR's quick preset, forward and backward on views that lie ready: tells machines apart."""
    found = json.loads((RUNS / "speed" / "cpu-24px.json").read_text())["methods"]["simclr"]
    return found["summary"]["rates"]["bare"]["images_per_s"]["median"]


SPEED = ("ours", "ours-eager", "bare", "lightly-tuned", "lightly", "torchvision")
BEGIN_SPEED = "<!-- from data/runs/speed/cpu-32px.json by benchmarks/report.py -->\n"


def readme_speed() -> str:
    """SimCLR's step beside its peers', for the README."""
    found = json.loads((RUNS / "speed" / "cpu-32px.json").read_text())["methods"]["simclr"]
    rows, rates = found["rows"], found["summary"]["rates"]
    lines = ["| SimCLR, slim net, 32 pixels, two CPU cores | pictures/s | ours is |", "|---|---:|---:|"]
    for name in SPEED:
        pace = {row: rates[row]["images_per_s"]["median"] for row in ("ours", name)}
        lines.append(f"| {rows[name]['title']} | {pace[name]:,.0f} | {pace['ours'] / pace[name]:.2f} times as fast |")
    told = next(row for row in rows.values() if "hardware" in row)
    recipe = upgrade(found["recipe"])
    note = f"Batch {recipe['batch_size']}, seed {recipe['seed']}; {told['hardware']}; torch {told['versions']['torch']}."
    return "\n".join(lines) + f"\n\n{note}\n"


BEGIN_SOONER = "<!-- from data/runs/sooner-cpu.json by benchmarks/report.py -->\n"


def readme_sooner() -> str:
    """Seconds to a target beside lightly's, for the README."""
    return sooner_table(json.loads((RUNS / "sooner-cpu.json").read_text()))


BEGIN_PAPER = "<!-- from data/runs/cifar10-slim and data/runs/gpu by benchmarks/report.py -->\n"
BEGIN_ANSWER = "<!-- from data/runs/ablation/forms by benchmarks/report.py -->\n"
BEGIN_MINUTES = "<!-- from data/runs/one-minute and data/runs/five-minutes by benchmarks/report.py -->\n"
BEGIN_COURSE = "<!-- from data/runs/notebooks-cpu.json by benchmarks/report.py -->\n"


def readme_answer() -> str:
    """Drawn or released, in two sentences, and what they rest on."""
    from benchmarks import ablation

    found = json.loads((RUNS / "ablation" / "forms" / "compare.json").read_text())
    runs, measures = found["rows"]["drawn"]["runs"], paired.MEASURES.items()
    seeds = [run["seed"] for run in runs]
    added = [seed for seed in seeds if seed not in ablation.SEEDS]
    lines = [paired.sentences(found), ""]
    for form, row in found["rows"].items():
        means = [f"{what} {100 * mean(read(run) for run in row['runs']):.1f}" for _, (what, read) in measures]
        recipe, seconds = upgrade(row["recipe"]), mean(run["train_seconds"] for run in row["runs"])
        settings = f"temperature {recipe['temperature']:g}, rate {recipe['lr']:g}, "
        settings += f"weights {recipe['local_weight']:g} (local) and {recipe['global_weight']:g}"
        lines.append(f"* as {form}: {', '.join(means)} %, the mean of {len(seeds)} seeds; {settings}; {seconds:.0f} s a run")
    lines += [
        f"* {runs[0]['steps']:,} steps of {recipe['batch_size']}; kNN: weighted, T 0.1, bank {runs[0]['bank']:,}; "
        f"{runs[0]['queries']:,} test pictures; {runs[0]['hardware']}, two runs side by side, at times with other work",
        f"* settings: the best of {len(ablation.TEMPERATURES)} temperatures and {len(ablation.RATES)} rates for each form, "
        f"on the hold-out, one other seed, a quarter of the views; {min(ablation.TEMPERATURES):g} is the lowest tried",
        f"* seeds {', '.join(map(str, seeds))}; {', '.join(map(str, added))} were added when the first had left the "
        f"question open, and say alone: {paired.gaps(found, 'drawn', 'released', added)}",
        *longer(),
        "* the intervals are about other seeds; test pictures, settings and length are held still",
    ]
    return "\n".join(lines) + "\n"


def longer() -> list[str]:
    """What twice the steps say, where that was run."""
    path = RUNS / "ablation" / "long" / "compare.json"
    if not path.exists():
        return []
    found = json.loads(path.read_text())
    runs = found["rows"]["drawn"]["runs"]
    lines = [
        f"* twice as long ({runs[0]['steps']:,} steps, {runs[0]['image_views']:,} whole views, seeds "
        f"{', '.join(str(run['seed']) for run in runs)}, {mean(run['train_seconds'] for run in runs):.0f} s a run as drawn):"
    ]
    for one, other, words in (
        ("drawn", "released", "as drawn less as released"),
        ("no-swap", "drawn", "without the swap (asked because it was ahead in the ablation) less with it"),
    ):
        lines.append(f"  {words} {paired.gaps(found, one, other)};")
    ways = [r.history for r in group_by_method(load_records(path.parent))["drawn"]]
    ends = [", ".join(f"{100 * way[at]['agreement']:.0f}" for way in ways) for at in (0, -1)]
    lines.append(
        f"  neighbours of the right class, as drawn: {ends[0]} % in the first epoch, {ends[1]} % in the last, by chance 10"
    )
    return lines


def readme_minutes() -> str:
    """What one minute of two cores comes to on CIFAR-10, and what five, for the README."""
    found, later = (json.loads((RUNS / name / "compare.json").read_text()) for name in ("one-minute", "five-minutes"))
    rows = [(name, [row], None) for name, row in found["baselines"].items()]
    rows += [(f"{NAMES[name]}, one minute", row["runs"], row) for name, row in found["rows"].items()]
    rows += [(f"{NAMES[name]}, five minutes", row["runs"], row) for name, row in later["rows"].items()]
    lines = ["| | kNN | whitened | linear | steps of images | seconds |", "|---|---:|---:|---:|---:|---:|"]
    lines += [readme_line(*row) for row in rows]
    return "\n".join(lines) + f"\n\n{what_of(found)}\n"


def course_seconds() -> str:
    """How long the notebooks compute, for the map of the course."""
    found = json.loads((RUNS / "notebooks-cpu.json").read_text())
    lessons = [row["learner"] for name, row in found["rows"].items() if "01" <= name[:2] <= "09"]
    first, whole = found["rows"]["00_quickstart"]["learner"], found["whole_s"] / 60
    return (
        f"Each lesson computes for {min(lessons):.0f} to {max(lessons):.0f} seconds, the quickstart for {first:.0f}; all "
        f"notebooks,\nlearner's and solved, in {whole:.0f} minutes (profile `quick`; {found['hardware']}; "
        "`python -m benchmarks.notebooks`).\n"
    )


def notebooks_section(path: Path) -> str:
    """Seconds of every notebook, from `benchmarks/notebooks.py`."""
    found = json.loads(path.read_text())
    lines = [
        [name, *(f"{row[kind]:.0f}" if kind in row else "-" for kind in ("learner", "solved"))]
        for name, row in found["rows"].items()
    ]
    return (
        f"## How long the notebooks compute\n\n```\npython -m benchmarks.notebooks --out data/runs/{path.name}\n```\n\n"
        f"{format_table(['', 'learner, s', 'solved, s'], lines, markdown=True)}\n\n"
        f"From a clean kernel to the end, imports included, profile {found['profile']}; {found['hardware']}, load "
        f"{found['load'][0]:g} before; torch {found['versions']['torch']}\n"
    )


def explorers_section(path: Path) -> str:
    """Milliseconds of the explorers' pictures, from `benchmarks/explorers.py`."""
    found = json.loads(path.read_text())
    lines = []
    for name, row in found["rows"].items():
        times = f"{row['fastest_ms']:.1f} to {row['slowest_ms']:.1f}"
        lines.append([name, f"{row['median_ms']:.1f}", times, f"{row['png_ms']:.1f}" if "png_ms" in row else "-"])
    return (
        f"## How fast an explorer answers\n\n```\npython -m benchmarks.explorers --out data/runs/{path.name}\n```\n\n"
        f"{format_table(['', 'median, ms', 'range', 'as PNG, ms more'], lines, markdown=True)}\n\n"
        f"{found['calls']} calls each, one thread; {found['hardware']}, load {found['load'][0]:g}\n"
    )


def map_section(path: Path) -> str:
    """Bytes and milliseconds of the embedding map as a page, from `benchmarks/embedding_map.py`."""
    found = json.loads(path.read_text())
    waits = ("first_paint_ms", "pictures_ready_ms", "hover_ms", "lasso_ms", "zoom_frame_ms", "layout_frame_ms")
    lines = []
    for name in ("one map", "two maps"):
        row = found[name]
        each = [f"{row[wait]['median']:.1f} ({row[wait]['p95']:.1f})" for wait in waits]
        lines.append([name, f"{row['page_bytes'] / 1e6:.2f}", *each])
    head = ["", "page, MB", *(wait.removesuffix("_ms").replace("_", " ") for wait in waits)]
    return (
        f"## The embedding map, {found['points']:,} pictures\n\n"
        "```\npython -m benchmarks.embedding_map --data FOLDER\n```\n\n"
        f"{format_table(head, lines, markdown=True)}\n\nMilliseconds, median (95th percentile); chromium "
        f"{found['versions']['chromium']} without a GPU; {found['hardware']}, load {found['load'][0]:g}\n"
    )


SINGLE = {
    "sooner-cpu": sooner_section,
    "optimisers-cpu": optimisers_section,
    "augment": augment_section,
    "joined_views-cpu": joined_section,
    "explorers-cpu": explorers_section,
    "embedding_map": map_section,
    "notebooks-cpu": notebooks_section,
}


def page() -> str:
    """All of results.md."""
    parts = [section(name) for name in ASKED if (RUNS / name).is_dir()]
    parts += [parts_section(), minutes_section()]
    location = RUNS / "glnet-location.json"
    parts += [location_section(location)] if location.exists() else []
    parts += [speed_section(path) for path in sorted((RUNS / "speed").glob("*.json"))]
    for name, write in SINGLE.items():
        path = RUNS / f"{name}.json"
        parts += [write(path)] if path.exists() else []
    parts += [growth_section(path) for path in sorted((RUNS / "growth").glob("*.json"))]
    return HEAD + "\n".join(parts)


def main() -> None:
    (HERE / "results.md").write_text(page())
    for path, begin, table in marked():
        before, rest = path.read_text().split(begin)
        path.write_text(before + begin + table + END + rest.split(END, 1)[1])
    print("written: results.md and the tables of the READMEs")


def marked() -> list[tuple[Path, str, str]]:
    """What this file writes into pages that are written by hand: the page, the mark before, the text."""
    readme, course = HERE.parent / "README.md", HERE.parent / "notebooks" / "README.md"
    return [
        (readme, BEGIN, readme_table()),
        (readme, BEGIN_MINUTES, readme_minutes()),
        (readme, BEGIN_PAPER, paper_table.table(RUNS, markdown=True) + "\n"),
        (readme, BEGIN_ANSWER, readme_answer()),
        (readme, BEGIN_SPEED, readme_speed()),
        (readme, BEGIN_SOONER, readme_sooner()),
        (course, BEGIN_COURSE, course_seconds()),
    ]


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))  # run as a file, it does not find its own folder by name
    main()
