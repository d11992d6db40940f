"""Draw the pictures at the head of the README from what is shipped in data/weights and data/runs: nothing is trained.

python docs/make_picture.py          about ten seconds; writes docs/hero.png and docs/forming.gif
"""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mnclglf_lite.core.files import write_atomically
from mnclglf_lite.core.text import format_duration
from mnclglf_lite.data.dataset import load_dataset
from mnclglf_lite.drawing import palette, plots, sheets
from mnclglf_lite.drawing.canvas import pixels
from mnclglf_lite.results import pretrained, records

HERE = Path(__file__).parent
NAME = "simclr"
SIDE, BETWEEN, HOLD, MILLISECONDS = 480, 2, 12, 70  # of the animated picture: pixels, frames between two maps and at the end


def read() -> tuple[pretrained.KeptFeatures, records.Record]:
    """The shipped features, and the record of the run that they are of."""
    runs = records.group_by_method(records.load_records(records.KEPT / "toybox-long"))
    return pretrained.load_features("toybox"), runs[NAME][0]


def hero() -> None:
    """The same test images before and after training, each group with its name and one of its images."""
    kept, record = read()
    top1 = {
        "before": record.baselines["random encoder"]["knn20"]["raw"]["top1"],
        "after": record.result["knn20"]["raw"]["top1"],
    }
    names = tuple(f"{when} training: kNN {100 * value:.0f} %" for when, value in top1.items())
    result = record.result
    note = (
        f"The same {len(kept.labels):,} test images of the toy box under SimCLR's backbone; {kept.about['map']}. kNN: k 20, "
        f"T 0.1, bank {result['bank']:,}. {result['steps']:,} steps of {record.recipe['batch_size']} images without labels, "
        f"seed {record.seed}, {format_duration(result['train_seconds'])} on {result['hardware']}."
    )
    title = "Learned without a single label: images of one kind end up side by side"
    maps = (kept.layouts["untrained"], kept.layouts[NAME])
    images = load_dataset("toybox").test.subset(kept.index).images
    figure = plots.two_maps(*maps, kept.labels, kept.classes, names, title, note)
    for axes, places, named in zip(figure.axes, maps, (False, True), strict=True):
        name_groups(axes, places.numpy(), kept.labels.numpy(), kept.classes if named else None, images)
    sheets.save(figure, HERE / "hero.png")


def name_groups(axes: Any, places: np.ndarray, labels: np.ndarray, classes: tuple[str, ...] | None, images: Any) -> None:
    """An image of each class where the class is densest, its name above it."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    for label in range(labels.max() + 1):
        own = np.flatnonzero(labels == label)
        apart = np.linalg.norm(places[own, None] - places[None, own], axis=-1)
        middle = own[np.sort(apart, axis=1)[:, len(own) // 3].argmin()]  # nearest to a third of its class
        colour, _ = palette.class_style(label)
        tile = OffsetImage(pixels(images[middle : middle + 1])[0], zoom=0.75)
        frame = {"edgecolor": colour, "linewidth": 1.6}
        axes.add_artist(AnnotationBbox(tile, places[middle], pad=0.08, bboxprops=frame))
        if classes:
            axes.annotate(
                classes[label], places[middle], (0, 17), textcoords="offset points", ha="center", fontsize=9.5,
                color=palette.INK, zorder=5, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
            )  # fmt: skip


def forming() -> None:
    """The map while the network trains: one frame a snapshot, with steps, seconds and kNN accuracy."""
    _, record = read()
    with np.load(pretrained.folder_of("toybox") / "film.npz") as file:
        about = json.loads(str(file["about"]))
        places, steps, labels = (file[name] for name in ("places", "steps", "labels"))
    rows = record.history
    at = [0, *(row["step"] for row in rows)]
    seconds = np.interp(steps, at, [0, *(row["seconds"] for row in rows)])
    knn = [None, *(row["knn"] for row in rows)]
    told = [knn[np.searchsorted(at, step, side="right") - 1] for step in steps]
    low, high = places.min(axis=(0, 1)), places.max(axis=(0, 1))
    frames = []
    for i in range(len(places)):
        words = f"step {steps[i]:,} of {steps[-1]:,}, {seconds[i]:.0f} s" + (
            f", kNN {100 * told[i]:.0f} %" if told[i] else ""
        )
        for share in np.linspace(0, 1, BETWEEN, endpoint=False) if i + 1 < len(places) else [0.0]:
            after = places[min(i + 1, len(places) - 1)]
            frames.append(frame(places[i] + share * (after - places[i]), labels, (low, high), words, about["classes"]))
    frames += frames[-1:] * HOLD
    buffer = io.BytesIO()
    frames[0].save(
        buffer, "GIF", save_all=True, append_images=frames[1:], duration=MILLISECONDS, loop=0, optimize=True, disposal=1
    )
    write_atomically(HERE / "forming.gif", buffer.getvalue())
    print(f"forming.gif: {len(frames)} frames, {len(buffer.getvalue()) / 1e6:.2f} MB")


def frame(places: np.ndarray, labels: np.ndarray, room: tuple, words: str, classes: list[str]) -> Image.Image:
    inches = SIDE / 100
    figure, low, high = plots.new_figure(inches, inches, "", words)
    figure.set_dpi(100)
    axes = figure.add_axes((0.02, low, 0.96, 0.98 - low))
    plots._map(axes, places, labels, classes)
    axes.set(xlim=(room[0][0] - 0.5, room[1][0] + 0.5), ylim=(room[0][1] - 0.5, room[1][1] + 0.5))
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3]).quantize(48, dither=Image.Dither.NONE)


if __name__ == "__main__":
    hero()
    forming()
