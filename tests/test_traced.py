"""Every figure that stands in prose is that of its file: what the README and the notebooks say in words, told again here.

Tables are written by `benchmarks/report.py` and compared in test_records.py; what notebooks print, they read from the files.
"""

import json
import re
from pathlib import Path

from mnclglf_lite import crop_draws, loss_range, run_shelf

ROOT = Path(__file__).resolve().parents[1]
NAMES = re.compile(  # digits that are no figures: names, versions, addresses
    r"CIFAR-100?|ResNet-18|cifar100?|python3|float32|uint8|0[0-9]_[a-z_]+|MoCo v2|\(3\.10 or newer\)|JupyterLab 4|"
    r"2023\]\(https://arxiv\.org/abs/2306\.15930\)"
)


def kept(name):
    return json.loads((run_shelf.KEPT / name / "compare.json").read_text())


def prose(text):
    """A page without what is generated, code, and the digits of names."""
    for part in (r"<!-- from .*?<!-- end -->", r"```.*?```", r"(?m)^    .*$"):
        text = re.sub(part, "", text, flags=re.DOTALL if "(?m)" not in part else 0)
    return NAMES.sub("", text)


def readme_figures():
    """What the README says with digits, as the files have it."""
    toys, points = kept("toybox"), run_shelf.KEPT.parent / "weights" / "cifar10-slim" / "points.npz"
    run = toys["rows"]["simclr"]["runs"][0]
    thumbs = toys["baselines"]["8x8 thumbnails"]["knn20"]
    guide = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "add_your_own_method.md").read_text(), re.DOTALL)[1]
    import numpy as np

    return [
        f"{toys['budget']['image_views']:,} views each, on two cores",
        f"percent on {run['queries']:,} test pictures, bank {run['bank']:,}; kNN: k {run['protocols']['knn20']['k']}, "
        f"T {run['protocols']['knn20']['temperature']}",
        f"beat {100 * thumbs['whitened']['top1']:.0f}, not {100 * thumbs['raw']['top1']:.0f}, before",
        f"takes {len(guide.splitlines())} lines",
        f"temperature from {loss_range.LOWEST:g} to {loss_range.HIGHEST:g}",
        f"the views, {crop_draws.DRAWS} draws",
        f"what they say of {len(np.load(points)['labels']):,} test pictures",
    ]


def test_every_figure_of_the_readme_is_that_of_its_file():
    text = " ".join(prose((ROOT / "README.md").read_text()).split())
    for figure in readme_figures():
        assert figure in text
        text = text.replace(figure, "")
    left = re.search(r".{0,40}\d.{0,40}", text)
    assert not left, f"nothing says where this comes from: {left[0]!r}"
