"""Write docs/results.md, and the tables in README.md and notebooks/README.md, from the records in data/runs.

python -m benchmarks.report
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import page, timing
from benchmarks.experiments import ablation, at_length, glnet_location, maps, sooner, trials
from benchmarks.speed import __main__ as speed
from benchmarks.speed import augment, embedding_map, explorers, growth, joined_views, notebooks, optimisers
from benchmarks.timing import ROOT, RUNS
from mnclglf_lite.results import compare, paired, paper_table
from mnclglf_lite.results.published import PAPER

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
PICTURES = {  # of a comparison, beside its record
    "compare.png": "The same as dots, a dot a seed: kNN and linear accuracy",
    "answer.png": "Every variant of MNCLGLF minus the drawn form, as dots with intervals",
}
BASELINES = ("raw pixels", "random encoder")  # in the README's table
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
        table = compare.table(kept(f"{folder}/compare.json"), markdown=True)
        pictures = [
            f"![{alt}](../data/runs/{folder}/{name})" for name, alt in PICTURES.items() if (RUNS / folder / name).exists()
        ]
        told = ablation.answer(kept("ablation/forms/compare.json")) if folder == "ablation/forms" else ""
        parts.append(page.section(title, command, *filter(None, (told, table, map_note(folder), *pictures))))
    how = "python -m benchmarks.experiments.ablation family\npython -m benchmarks.gpu.first_light"
    parts.append(page.section("The paper's table again", how, paper_table.table(RUNS, markdown=True)))
    parts.append(trials.render(list(trials.kept().values())))
    for pattern, render in RECORDS.items():
        for name in sorted(path.relative_to(RUNS).as_posix() for path in RUNS.glob(pattern)):
            parts.append(render(kept(name), name))
    return HEAD + "\n".join(parts)


def map_note(folder: str) -> str:
    """kNN accuracy on the maps of a comparison's runs, where it was measured; else nothing."""
    if not (RUNS / folder / "maps.json").exists():
        return ""
    found = kept(f"{folder}/maps.json")
    shares = ", ".join(f"{name} {100 * value:.1f}" for name, value in found["means"]["map"].items())
    return (
        f"kNN on the map (k {found['neighbours']}, one vote each, on the two UMAP coordinates of {found['points']:,} test "
        f"images): {shares}"
    )


def short_table() -> str:
    """Every method in the README: 45 seconds of the toy box, an hour of a core on CIFAR-10, and what the paper prints."""
    toys, real = kept("toybox/compare.json"), kept("cifar10-long/compare.json")
    lines = []
    for name in BASELINES:
        base = [found["baselines"][name] for found in (toys, real)]
        lines.append([name, knn([base[0]]), knn([base[1]]), linear([base[1]]), "-"])
    for name, title in page.NAMES.items():
        runs = [found["rows"].get(name, {"runs": []})["runs"] for found in (toys, real)]
        printed = f"{PAPER[name][0][0]:.2f}" if name in PAPER else "-"
        lines.append([title, knn(runs[0]), knn(runs[1]), linear(runs[1]), printed])
    minutes, views = toys["budget"]["minutes"], real["budget"]["image_views"]
    seeds = ", ".join(str(run["seed"]) for run in real["rows"]["mnclglf"]["runs"])
    head = ["", f"toy box, {60 * minutes:.0f} s: kNN", "CIFAR-10: kNN", "linear", "printed in the paper: linear"]
    return f"{page.table(head, lines)}\n\n" + (
        "Percent of test images; kNN: k 20, T 0.1. *Toy box*: two cores, seeds 0, 1, 2, mean ± half the range, "
        f"{what_of(toys)}. *CIFAR-10*: {views:,} whole views each, under an hour of one core, seed 0 (with ±: {seeds}), "
        f"{what_of(real)}. *Printed*: ResNet-18 at 224 pixels, another protocol. '-': not run yet, or not printed."
    )


def knn(runs: list[dict[str, Any]]) -> str:
    return compare.cell([run["knn20"]["raw"]["top1"] for run in runs]) if runs else "-"


def linear(runs: list[dict[str, Any]]) -> str:
    return compare.cell([run["linear"]["top1"] for run in runs]) if runs else "-"


def what_of(found: dict[str, Any]) -> str:
    """Under which protocol and where a comparison was measured."""
    run = next(iter(found["rows"].values()))["runs"][0]
    return f"bank {run['bank']:,}, {run['queries']:,} test images, {run['hardware']}"


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
        (readme, "toybox and data/runs/cifar10-long", short_table()),
        (readme, "ablation/forms", paired.sentences(kept("ablation/forms/compare.json"))),
        (readme, "speed/cpu-32px.json", speed.in_short(kept("speed/cpu-32px.json"))),
        (readme, "sooner-cpu.json", sooner.in_short(kept("sooner-cpu.json"))),
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
