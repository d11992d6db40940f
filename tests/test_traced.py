"""Every figure in the README's prose is that of its file, and so is what the notebooks say in words of the kept runs.

Tables are written by `benchmarks/report.py` and compared in test_records.py; what notebooks print, they read from the files.
"""

import json
import re
from pathlib import Path
from statistics import mean

from mnclglf_lite.data import toybox
from mnclglf_lite.evaluation import knn
from mnclglf_lite.explorers.crops import sample
from mnclglf_lite.explorers.loss import temperature
from mnclglf_lite.results import paired, records
from mnclglf_lite.results.paired import compare_rows
from mnclglf_lite.results.pretrained import load_features
from mnclglf_lite.results.published import PAPER
from mnclglf_lite.results.records import group_by_method, load_records

ROOT = Path(__file__).resolve().parents[1]
NAMES = re.compile(  # digits that are no figures: names, versions, addresses
    r"CIFAR-100?|ResNet-18|cifar100?|python3|float32|bf16|uint8|0[0-9]_[a-z_]+|MoCo v2|\(3\.10 or newer\)|JupyterLab 4|"
    r"2023\]\(https://arxiv\.org/abs/2306\.15930\)|Jordan and others 2024|version 1|toybox-v1"
)


def kept(name):
    return json.loads((records.KEPT / name / "compare.json").read_text())


def prose(text):
    """A page without what is generated, code, and the digits of names."""
    for part in (r"<!-- from .*?<!-- end -->", r"```.*?```", r"(?m)^    .*$"):
        text = re.sub(part, "", text, flags=re.DOTALL if "(?m)" not in part else 0)
    return NAMES.sub("", text)


def readme_figures():
    """What the README says with digits, as the files have it."""
    points = records.KEPT.parent / "weights" / "cifar10-slim" / "points.npz"
    guide = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "add_your_own_method.md").read_text(), re.DOTALL)[1]
    import numpy as np

    return [
        f"ten toys of the same {toybox.BRICKS} bricks",
        f"takes {len(guide.splitlines())} lines",
        f"temperature from {temperature.LOWEST:g} to {temperature.HIGHEST:g}",
        f"the views, {sample.DRAWS} draws",
        f"what they say of {len(np.load(points)['labels']):,} test pictures",
    ]


def test_every_figure_of_the_readme_is_that_of_its_file():
    text = " ".join(prose((ROOT / "README.md").read_text()).split())
    for figure in readme_figures():
        assert figure in text
        text = text.replace(figure, "")
    left = re.search(r".{0,40}\d.{0,40}", text)
    assert not left, f"nothing says where this comes from: {left[0]!r}"


def claims():
    """What the notebooks say in words of the kept runs: (notebook, its words, is it so?)."""
    forms, ask = kept("ablation/forms"), kept("ablation/ask")
    gap = {name: compare_rows(forms, "drawn", "released", name) for name in paired.MEASURES}
    less = {
        (row, name): compare_rows(ask, row, "drawn", name)
        for row in ask["rows"].keys() - {"drawn"}
        for name in paired.MEASURES
    }
    ways = group_by_method(load_records(records.KEPT / "ablation" / "ask"))
    yield "04", "the mean is next to nought", abs(gap["knn20"].mean) < 0.1
    yield (
        "04",
        "the interval reaches nearly a point to either side",
        -1 < gap["knn20"].low < -0.8 < 0.8 < gap["knn20"].high < 1,
    )
    yield "04", "measure the released form is ahead by a point or so", gap["linear"].clear and -2 < gap["linear"].mean < -1
    yield "04", "one interval just misses nought", -0.3 < gap["linear"].high < 0
    seconds = [mean(run["train_seconds"] for run in forms["rows"][form]["runs"]) for form in ("drawn", "released")]
    yield "04", "and it costs time", seconds[0] > 1.1 * seconds[1]
    both = [less["local-only", name].high for name in paired.MEASURES]
    yield "04", "**The local term alone is far behind**", max(both) < -3
    both = [less["no-swap", name] for name in paired.MEASURES]
    yield (
        "04",
        "**without the swap a run ends about a point higher**",
        all(0.8 < each.mean < 1.5 and each.clear for each in both),
    )
    told = [row.history for name in ("drawn", "no-swap") for row in ways[name]]
    yield (
        "04",
        "the agreement rises from 20 to 27 or 28 percent",
        all(0.19 < rows[0]["agreement"] < 0.215 and 0.265 < rows[-1]["agreement"] < 0.285 for rows in told),
    )
    toys = kept("toybox")
    seeds = {name: [100 * run["linear"]["top1"] for run in row["runs"]] for name, row in toys["rows"].items()}
    spans = {name: max(each) - min(each) for name, each in seeds.items()}
    one = {name: 2 * 1.96 * (mean(each) * (100 - mean(each)) / 2000) ** 0.5 for name, each in seeds.items()}
    yield (
        "07",
        "For MCL and CGH the seeds lie much farther apart",
        all(spans[name] > 1.5 * one[name] for name in ("mcl", "cgh")),
    )
    yield (
        "07",
        "For MoCo and the supervised row they lie close together",
        all(spans[name] < 2 for name in ("moco", "supervised")),
    )
    ends = {
        name: [run["knn20"]["raw"]["top1"] for run in toys["rows"][name]["runs"]] for name in ("mnclglf", "mnclglf-released")
    }
    drawn, released = ends.values()
    yield "04", "As drawn is ahead on average", mean(drawn) > mean(released)
    yield "04", "above two of the three as drawn", sum(max(released) > each for each in drawn) == 2
    yield "08", "up to thirty points apart", 29 < max(spans.values()) < 31
    lowest, highest = min(seeds["simclr"]), max(seeds["simclr"])
    below = {name for name, each in seeds.items() if max(each) < lowest}
    yield (
        "08",
        "CGH reaches it with two seeds of three, and every other method lies below",
        (
            below == seeds.keys() - {"simclr", "moco", "cgh", "supervised"}
            and sum(each > lowest for each in seeds["cgh"]) == 2
            and max(seeds["moco"]) > lowest
            and min(seeds["moco"]) < highest
        ),
    )
    pixels = toys["baselines"]["raw pixels"]
    runs = [(name, run) for name, row in toys["rows"].items() for run in row["runs"]]
    yield (
        "08",
        "A linear map reads all runs better than raw pixels, and so does kNN but for one of BYOL's",
        (
            min(run["linear"]["top1"] for _, run in runs) > pixels["linear"]["top1"]
            and [name for name, run in runs if run["knn"]["raw"]["top1"] <= pixels["knn"]["raw"]["top1"]] == ["byol"]
        ),
    )
    slim, shelf = kept("cifar10-slim"), load_records(records.KEPT / "cifar10-slim")
    rows, thumbs = slim["rows"], slim["baselines"]["8x8 thumbnails"]
    runs = {name: row["runs"][0] for name, row in rows.items() if name != "supervised"}
    white = {name: 100 * run["knn20"]["whitened"]["top1"] for name, run in runs.items()}
    over = {name: value - 100 * thumbs["knn20"]["whitened"]["top1"] for name, value in white.items()}
    linear = {name: 100 * run["linear"]["top1"] for name, run in runs.items()}
    taught = 100 * rows["supervised"]["runs"][0]["linear"]["top1"]
    yield "09", f"{slim['budget']['image_views']:,} whole views each", True
    epochs = [record.history[-1]["epoch"] for record in shelf if not record.with_labels]
    yield "09", "four to seven epochs", 4 < min(epochs) < 5 and 6 < max(epochs) < 7
    yield "09", "still beat BYOL and CGH", {name for name, gap in over.items() if gap < 0} == {"byol", "cgh"}
    yield "09", "three more are less than a point ahead of them", sum(0 < gap < 1 for gap in over.values()) == 3
    yield "09", "by five points at least", 5 < min(linear.values()) - 100 * thumbs["linear"]["top1"] < 6
    yield "09", "supervised is twenty points ahead", 20 < taught - max(linear.values()) < 21.5
    least = min(linear[name] for name in linear.keys() & PAPER.keys())  # the picture has the paper's methods alone
    yield "09", f"filled dots between {least:.0f} and {taught:.0f} percent", True
    histories = [[row["knn"] for row in record.history] for record in shelf]
    yield "09", "With five to fourteen rows", {5, 14} == {min(map(len, histories)), max(map(len, histories))}
    yield "09", "the best is at most a point ahead", max(max(knn) - knn[-1] for knn in histories) < 0.0101
    yield "07", f"SimCLR's network reaches {100 * rows['simclr']['runs'][0]['knn20']['raw']['top1']:.0f}", True
    real = load_features()
    near = {name: knn.nearest_neighbours(found, found, 8, exclude_self=True)[1] for name, found in real.features.items()}
    alike = {name: float((real.labels[found] == real.labels[:, None]).float().mean()) for name, found in near.items()}
    yield "06", "three in five neighbours share the class", 0.58 < alike["supervised"] < 0.63
    yield "06", "about three in ten", all(0.28 < alike[name] < 0.35 for name in ("simclr", "mnclglf", "mnclglf-released"))
    shared = {one: {other: float((near[one][:, :, None] == near[other][:, None]).any(2).float().mean()) for other in near}
              for one in near}  # fmt: skip
    most = {name: max(value for other, value in row.items() if other != name) for name, row in shared.items()}
    own = {name for name, value in most.items() if name != "supervised" and 0.2 < value < 0.3}
    yield "08", "BYOL, Fast-MoCo, CGH and GLNet a quarter or so", own == {"byol", "fastmoco", "cgh", "glnet"}
    others = [value for name, value in most.items() if name not in own | {"supervised"}]
    yield "08", "Seven of the eleven rows", len(others) == 7 and len(most) == 12  # both forms of one are two rows
    yield "08", "about four in ten neighbours", all(0.38 < value < 0.44 for value in others)
    yield "08", "nobody shares even a tenth", most["supervised"] < 0.1


def test_what_the_notebooks_say_of_the_kept_runs_is_so():
    pages = {path.name[:2]: " ".join(path.read_text().replace("\n# ", " ").split())
             for path in (ROOT / "notebooks" / "masters").glob("0*.py")}  # fmt: skip
    for notebook, words, holds in claims():
        assert words in pages[notebook], f"{notebook} does not say {words!r}"
        assert holds, f"{notebook}: {words!r} is not what the files say"
