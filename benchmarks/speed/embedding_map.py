"""The embedding map with 10,000 CIFAR-10 test images, as a page from disk in a real browser: bytes and milliseconds.

    python -m benchmarks.speed.embedding_map --data DIR          about a minute on two cores

One map, then two side by side, of features that say nothing: those of an untrained encoder, and thumbnails. The bars: at
most 8 MB, hover under 5 ms, first paint under 1 s. They are printed, not tested: they depend on the machine.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks import page, timing
from mnclglf_lite.core.errors import InputError
from mnclglf_lite.data.dataset import load_dataset
from mnclglf_lite.evaluation import evaluate
from mnclglf_lite.evaluation.evaluate import extract_features, recalibrate_batchnorm
from mnclglf_lite.evaluation.knn import nearest_neighbours
from mnclglf_lite.evaluation.layouts import NEIGHBOURS, pca, subsample
from mnclglf_lite.explorers.embedding.page import write_page
from mnclglf_lite.explorers.embedding.state import map_state
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.recipe.recipe import build_method

RECORD = timing.RUNS / "embedding_map.json"
POINTS = 10_000
HOVERS = 200
LOADS = 5  # of each page; the first paint is their median
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
WATCH = """
window.spent = { pointermove: [], pointerup: [] };
for (const kind of Object.keys(spent)) {
  let begun = 0;  // an event goes inwards, to the map, then outwards
  addEventListener(kind, () => { begun = performance.now(); }, true);
  addEventListener(kind, () => { spent[kind].push(performance.now() - begun); });
}
window.frames = [];  // of those that draw all dots
let drew = false;
const { drawImage } = CanvasRenderingContext2D.prototype;
CanvasRenderingContext2D.prototype.drawImage = function (...given) {
  drew ||= this.canvas.className === "dots";
  return drawImage.apply(this, given);
};
const ask = window.requestAnimationFrame.bind(window);
window.requestAnimationFrame = (answer) => ask((now) => {
  drew = false;
  const begun = performance.now();
  answer(now);
  if (drew) frames.push(performance.now() - begun);
});
new MutationObserver(() => {
  if (!window.painted && document.querySelector("[data-painted]")) window.painted = performance.now();
}).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-painted"] });
"""


def summary(times: list[float]) -> dict[str, float]:
    """Milliseconds: median, 95th percentile and largest."""
    times = sorted(times)
    return {
        "median": round(statistics.median(times), 3),
        "p95": round(times[min(len(times) - 1, round(0.95 * len(times)))], 3),
        "largest": round(times[-1], 3),
    }


def pages(root: Path | None, points: int, folder: Path) -> dict[str, Path]:
    """The two pages, written."""
    splits = load_dataset("cifar10", root=root)
    chosen = subsample(len(splits.test), points)
    shown = splits.test.subset(chosen)
    network = recalibrate_batchnorm(build_method(preset("quick", "simclr", "cifar10"), 10).backbone, splits.train)
    features = [extract_features(encoder, shown) for encoder in (network, evaluate.Thumbnails())]
    near = [nearest_neighbours(each, each, NEIGHBOURS, exclude_self=True)[1] for each in features]
    layouts = {"pca": [pca(each) for each in features]}
    layouts["umap"] = [points.tanh() for points in layouts["pca"]]  # stands in for another layout: as many bytes
    sizes = [each.shape[1] for each in features]
    written = {}
    for name, sides in (("one map", 1), ("two maps", 2)):
        state = map_state(
            {kind: points[:sides] for kind, points in layouts.items()}, near[:sides], shown.labels, shown.classes,
            sizes[:sides], shown.images, chosen, names=("untrained", "thumbnails")[:sides] if sides == 2 else ("",),
        )  # fmt: skip
        written[name] = write_page(folder / f"{name.replace(' ', '_')}.html", state, name)
    return written


def measured(browser: Any, path: Path, hovers: int, loads: int) -> dict[str, Any]:
    """One page: loaded several times, then hovered, lassoed, zoomed and laid out anew."""
    paints, ready = [], []
    for _ in range(loads):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.add_init_script(WATCH)
        page.goto(path.as_uri())
        page.wait_for_selector("[data-ready=yes]")
        paints.append(page.evaluate("painted"))
        ready.append(page.evaluate("performance.now()"))
        if len(paints) < loads:
            page.close()
    box = page.locator(".over").first.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.evaluate("spent.pointermove.length = 0")
    draws, seen = torch.Generator().manual_seed(0), []
    while len(seen) < hovers:
        across, down = (torch.randn(2, generator=draws) * 0.12 * box["width"]).tolist()
        before = page.locator(".facts").first.text_content()
        page.mouse.move(middle[0] + across, middle[1] + down)
        spent = page.evaluate("spent.pointermove.splice(0)")
        if spent and page.locator(".facts").first.text_content() not in (before, ""):  # another image is shown
            seen.append(spent[-1])
    page.keyboard.down("Shift")
    page.mouse.move(middle[0] - 20, middle[1])
    page.mouse.down()
    for x, y in ((-300, -250), (0, -250), (0, 250), (-300, 250)):
        page.mouse.move(middle[0] + x, middle[1] + y, steps=40)
    page.mouse.up()
    page.keyboard.up("Shift")
    lasso = page.evaluate("spent.pointerup.splice(0)")
    selected = page.evaluate("document.querySelector('#map').model.get('selected').byteLength / 4")
    page.evaluate("frames.length = 0")
    for key in "+-" * 6:  # little: all dots stay in sight, or nearly
        page.keyboard.press(key)
        page.wait_for_timeout(100)
    zoom = page.evaluate("frames.splice(0)")
    page.keyboard.press("0")
    page.wait_for_timeout(300)
    page.evaluate("frames.length = 0")
    page.get_by_role("button", name="UMAP").click()
    page.wait_for_selector("[data-kind=umap]")
    moving = page.evaluate("frames.splice(0)")
    page.close()
    return {
        "page_bytes": path.stat().st_size,
        "first_paint_ms": summary(paints),
        "pictures_ready_ms": summary(ready),
        "hover_ms": {"moves": len(seen), **summary(seen)},
        "lasso_ms": {"points": int(selected), **summary(lasso)},
        "zoom_frame_ms": summary(zoom),
        "layout_frame_ms": summary(moving),
    }


def render(found: dict[str, Any], name: str) -> str:
    waits = ("first_paint_ms", "pictures_ready_ms", "hover_ms", "lasso_ms", "zoom_frame_ms", "layout_frame_ms")
    lines = []
    for maps in ("one map", "two maps"):
        each = [f"{found[maps][wait]['median']:.1f} ({found[maps][wait]['p95']:.1f})" for wait in waits]
        lines.append([maps, f"{found[maps]['page_bytes'] / 1e6:.2f}", *each])
    head = ["", "page, MB", "first paint", "images ready", "hover", "lasso", "zoom frame", "layout frame"]
    table = page.table(head, lines)
    note = (
        f"Milliseconds, median (95th percentile); chromium {found['versions']['chromium']} without a GPU; "
        f"{found['hardware']}, load {found['load'][0]:g}"
    )
    title = f"The embedding map, {found['points']:,} images"
    return page.section(title, f"python -m {__name__} --data FOLDER", table, note)


def main(argv: list[str] | None = None) -> None:
    """Measure both pages, print a line each, write the record."""
    flags = timing.parser(__doc__, data=True)
    flags.add_argument("--points", type=int, default=POINTS, help=f"images on a map (default: {POINTS})")
    flags.add_argument("--hovers", type=int, default=HOVERS, help=f"moves of the mouse (default: {HOVERS})")
    flags.add_argument("--out", type=Path, default=RECORD, metavar="FILE", help="(default: data/runs/embedding_map.json)")
    args = flags.parse_args(argv)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise InputError("the browser is driven by playwright, which is not installed: pip install playwright") from None
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise InputError("no chromium on PATH (Debian: apt install chromium)")
    result: dict[str, Any] = {"what": "the embedding map as a page", "points": args.points}
    with tempfile.TemporaryDirectory() as folder:
        written = pages(args.data, args.points, Path(folder))
        result |= timing.stamp(torch.device("cpu"))
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=program, args=FLAGS)
            result["versions"]["chromium"] = browser.version
            for name, path in written.items():
                result[name] = found = measured(browser, path, args.hovers, LOADS)
                hover, lasso = found["hover_ms"], found["lasso_ms"]
                print(
                    f"{name}: {found['page_bytes'] / 1e6:.2f} MB, first paint {found['first_paint_ms']['median']:.0f} ms, "
                    f"images {found['pictures_ready_ms']['median']:.0f} ms, hover {hover['median']:.2f} ms (p95 "
                    f"{hover['p95']:.2f}), lasso of {lasso['points']:,} points {lasso['median']:.0f} ms, frame of a zoom "
                    f"{found['zoom_frame_ms']['median']:.1f} ms, of a layout {found['layout_frame_ms']['median']:.1f} ms"
                )
            browser.close()
    timing.save(args.out, result)


if __name__ == "__main__":
    timing.program(main, "embedding_map")
