"""Write docs/results.md, and the tables in README.md and notebooks/README.md, from the records in data/runs.

python -m benchmarks.report
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks import page, timing
from benchmarks.experiments import ablation, at_length, glnet_location, maps, sooner, trials
from benchmarks.speed import __main__ as speed
from benchmarks.speed import augment, embedding_map, explorers, growth, joined_views, notebooks, optimisers
from benchmarks.timing import ROOT, RUNS
from mnclglf_lite.results import compare, paper_table

HEAD = """# Measured so far

Written by `python -m benchmarks.report` from the files in `data/runs/`. Percent. kNN: cosine, weighted, T 0.1; raw features
of the online backbone unless a column says otherwise; bank: the training part without the hold-out; linear: logistic
regression on cached features. All settings were chosen on validation images (the hold-out), but for MNCLGLF on version 1 of
the toy box: its settings go back to trials that looked at test images.

"""
# What each folder answers, and how it was filled: the flags of `mnclglf-lite compare`, or another command (some take
# --data FOLDER where the images lie elsewhere)
COMPARISONS = {
    "toybox": (
        "The toy box, 45 seconds of two cores: eleven methods and MNCLGLF as released, three seeds",
        "--methods all,mnclglf-released --minutes 0.75 --seeds 0,1,2 --split test",
    ),
    "toybox-long": (
        "The toy box, minutes of one core: the trained networks of the lessons",
        f"python -m {at_length.__name__} toybox",
    ),
    "toybox-minute": (
        "The toy box, one minute: MNCLGLF as drawn",
        "--methods mnclglf --minutes 1 --seeds 0,1,2 --split test",
    ),
    "one-minute": (
        "CIFAR-10, one minute of two cores",
        "--dataset cifar10 --methods simclr,moco,mnclglf --minutes 1 --split test",
    ),
    "five-minutes": (
        "CIFAR-10, five minutes of two cores, half a minute of them for compiling",
        "--dataset cifar10 --methods simclr,moco,mnclglf --minutes 4.5 --engine compiled --width 48 --view-gray-p 0.25 "
        "--split test",
    ),
    "cifar10-long": (
        "CIFAR-10, the slim network, 40 to 60 epochs: as many whole views for each, a run a core",
        f"python -m {at_length.__name__} cifar10",
    ),
    "cifar10-slim": (ablation.SECTIONS["family"], f"python -m {ablation.__name__} family"),
    "precision-bf16": (
        "bf16 against fp32 on the toy box, version 1, three seeds, evaluated on the hold-out: here bf16",
        "--dataset toybox-v1 --methods simclr,mnclglf --precision bf16 --image-views 160000 --seeds 0,1,2",
    ),
    "precision-fp32": (
        "bf16 against fp32: here fp32",
        "--dataset toybox-v1 --methods simclr,mnclglf --precision fp32 --image-views 160000 --seeds 0,1,2",
    ),
}
for _stage in ("choose", "ask", "forms", "long"):
    COMPARISONS[f"ablation/{_stage}"] = (ablation.SECTIONS[_stage], f"python -m {ablation.__name__} {_stage}")
RECORDS = {  # in data/runs: what renders them
    "glnet-location.json": glnet_location.render,
    "speed/*.json": speed.render,
    "sooner-cpu.json": sooner.render,
    "optimisers-cpu.json": optimisers.render,
    "augment.json": augment.render,
    "joined_views-cpu.json": joined_views.render,
    "explorers-cpu.json": explorers.render,
    "embedding_map.json": embedding_map.render,
    "notebooks-cpu.json": notebooks.render,
    "growth/*.json": growth.render,
}


def kept(name: str) -> dict[str, Any]:
    return json.loads((RUNS / name).read_text())


def results() -> str:
    """All of results.md."""
    parts = []
    for folder, (title, how) in COMPARISONS.items():
        command = how if how.startswith("python") else f"mnclglf-lite compare {how} --out data/runs/{folder}"
        command += f"\npython -m {maps.__name__} data/runs/{folder}" * (RUNS / folder / "maps.json").exists()
        parts.append(page.section(title, command, compare.table(kept(f"{folder}/compare.json"), markdown=True)))
    parts.append(trials.render(list(trials.kept().values())))
    for pattern, render in RECORDS.items():
        for name in sorted(path.relative_to(RUNS).as_posix() for path in RUNS.glob(pattern)):
            parts.append(render(kept(name), name))
    return HEAD + "\n".join(parts)


def toybox_table() -> str:
    """What 45 seconds teach each method on the toy box, and MNCLGLF in a minute, for the README."""
    found, minute = kept("toybox/compare.json"), kept("toybox-minute/compare.json")
    rows = baselines(found, "-")
    for name, title in page.NAMES.items():
        for whole, folder, more in ((found, "toybox", ""), (minute, "toybox-minute", ", one minute")):
            if name in whole["rows"]:
                place = kept(f"{folder}/maps.json")["means"]["map"][name]
                rows.append(line(title + more, whole["rows"][name]["runs"], whole["rows"][name], f"{100 * place:.1f}"))
    head = ["| | kNN | whitened | linear | kNN on the map | steps of images | seconds |", "|---|" + 6 * "---:|"]
    note = f"{what_of(found)}; kNN on the map: k 10 on the two UMAP coordinates of 1,000 test images"
    return "\n".join([*head, *rows, "", note])


def minutes_table() -> str:
    """What one minute of two cores comes to on CIFAR-10, and what five, for the README."""
    found = {name: kept(f"{name}/compare.json") for name in ("one-minute", "five-minutes")}
    rows = baselines(found["one-minute"])
    for folder, whole in found.items():
        rows += [
            line(f"{page.NAMES[name]}, {folder.replace('-', ' ')}", row["runs"], row) for name, row in whole["rows"].items()
        ]
    head = ["| | kNN | whitened | linear | steps of images | seconds |", "|---|" + 5 * "---:|"]
    return "\n".join([*head, *rows, "", what_of(found["one-minute"])])


def baselines(found: dict[str, Any], *cells: str) -> list[str]:
    return [line(name, [row], None, *cells) for name, row in found["baselines"].items()]


def line(title: str, runs: list[dict[str, Any]], row: dict[str, Any] | None, *cells: str) -> str:
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
    runs = next(iter(found["rows"].values()))["runs"]
    run, seeds = runs[0], ", ".join(str(run["seed"]) for run in runs)
    bare = kept("speed/cpu-24px.json")["methods"]["simclr"]["summary"]["rates"]["bare"]["images_per_s"]["median"]
    return (
        f"Percent of {run['queries']:,} {found['on']} images, bank {run['bank']:,}; kNN: k 20, T 0.1; seed"
        f"{'s' * (len(runs) > 1)} {seeds}{' (mean ± half the range)' * (len(runs) > 1)}; "
        f"{run['hardware']}, where SimCLR's bare network (quick preset, CIFAR-10) makes {bare:,.0f} images a second"
    )


def caption() -> str:
    """What the README's first picture shows."""
    found = kept("toybox-long/compare.json")
    run = found["rows"]["simclr"]["runs"][0]
    before, after = (row["knn20"]["raw"]["top1"] for row in (found["baselines"]["random encoder"], run))
    return (
        f"*The same {run['queries']:,} test images before and after {run['train_seconds'] / 60:.0f} minutes of training "
        f"without labels on one CPU core: kNN accuracy {100 * before:.1f} % and {100 * after:.1f} %. `make picture` draws "
        "this map, and the one below that forms while SimCLR trains, from the features in `data/weights/toybox`.*"
    )


END = "<!-- end -->\n"


def marked() -> list[tuple[Path, str, str]]:
    """What this file writes into pages that are written by hand: the page, the mark before, the text."""
    readme, course = ROOT / "README.md", ROOT / "notebooks" / "README.md"
    found = [
        (readme, "toybox-long", caption()),
        (readme, "toybox", toybox_table()),
        (readme, "one-minute and data/runs/five-minutes", minutes_table()),
        (readme, "cifar10-slim and data/runs/gpu", paper_table.table(RUNS, markdown=True)),
        (readme, "ablation/forms", ablation.answer(kept("ablation/forms/compare.json"))),
        (readme, "speed/cpu-32px.json", speed.in_short(kept("speed/cpu-32px.json"))),
        (readme, "sooner-cpu.json", sooner.table(kept("sooner-cpu.json"))),
        (course, "notebooks-cpu.json", notebooks.in_short(kept("notebooks-cpu.json"))),
    ]
    return [(path, f"<!-- from data/runs/{name} by benchmarks/report.py -->\n", text + "\n") for path, name, text in found]


def main() -> None:
    timing.parser(__doc__).parse_args()
    (ROOT / "docs" / "results.md").write_text(results())
    for path, begin, text in marked():
        before, rest = path.read_text().split(begin)
        path.write_text(before + begin + text + END + rest.split(END, 1)[1])
    print("written: results.md and the tables of the READMEs")


if __name__ == "__main__":
    timing.program(main, "report")
