"""Draw the pictures at the head of the README from what is shipped in data/weights and data/runs: nothing is trained.

python docs/make_picture.py          about ten seconds; writes docs/hero.png and docs/forming.gif
"""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from mnclglf_lite.core.files import write_atomically
from mnclglf_lite.data.dataset import load_dataset
from mnclglf_lite.drawing import palette, plots, sheets
from mnclglf_lite.drawing.canvas import pixels
from mnclglf_lite.evaluation import layouts
from mnclglf_lite.results import pretrained, records

HERE = Path(__file__).parent
NAME = "simclr"
SIDE, BETWEEN, HOLD, MILLISECONDS = 480, 2, 12, 70  # of the animated picture: pixels, frames between two maps and at the end


def read() -> tuple[pretrained.KeptFeatures, records.Record]:
    """The shipped features, and the record of the run that they are of."""
    runs = records.group_by_method(records.load_records(records.KEPT / "toybox-long"))
    return pretrained.load_features("toybox"), runs[NAME][0]


def hero() -> None:
    """The same test images before and after training, and an image of each class as a legend."""
    kept, record = read()
    result, before = record.result, record.baselines["random encoder"]
    top1 = {when: row["knn20"]["raw"]["top1"] for when, row in (("before", before), ("after", result))}
    names = [f"{when} training: {100 * value:.1f} % kNN accuracy" for when, value in top1.items()]
    note = (
        f"A dot is one of {len(kept.labels):,} test images, placed by the features of SimCLR's backbone; labels colour and "
        "score it, no more. "
        f"{layouts.describe('tsne', seed=kept.about['seed'])}. kNN: k 20, T 0.1, bank {result['bank']:,} training images. "
        f"{result['steps']:,} steps of {record.recipe['batch_size']} images, seed {record.seed}, "
        f"{result['train_seconds'] / 60:.0f} minutes on {result['hardware']}."
    )
    title = "Trained without labels: images of the same kind group together"
    wide, tall, side = 10.0, 6.3, 0.56
    figure, low, high = plots.new_figure(wide, tall, title, note)
    bottom = low + 1.0 / tall
    for left, name, kind in ((0.02, names[0], "untrained"), (0.51, names[1], NAME)):
        axes = figure.add_axes((left, bottom, 0.47, high - bottom - 0.3 / tall))
        plots.draw_map(axes, kept.tsne[kind], kept.labels, kept.classes)
        axes.set_title(name, fontsize=12, color=palette.INK, loc="left", pad=7)
    test = load_dataset("toybox").test.subset(kept.index)
    for label, name in enumerate(kept.classes):
        colour, marker = palette.class_style(label)
        middle = 0.02 + 0.96 * (label + 0.5) / len(kept.classes)
        axes = figure.add_axes((middle - side / wide / 2, low + 0.28 / tall, side / wide, side / tall))
        apart = test.factors["x"].hypot(test.factors["y"]) + (
            test.labels != label
        )  # the toy that lies nearest to the middle
        axes.imshow(pixels(test.images[apart.argmin()][None])[0])
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(color=colour, linewidth=2.5)
        axes.set_xlabel(name, fontsize=10, color=palette.INK, labelpad=4)
        axes.plot(-0.18, 0.9, marker, markersize=9, color=colour, transform=axes.transAxes, clip_on=False)
    sheets.save(figure, HERE / "hero.png")


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
    # what is shown never shrinks: (F, 2) each
    low, high = np.minimum.accumulate(places.min(axis=1)), np.maximum.accumulate(places.max(axis=1))
    frames = []
    for i in range(len(places)):
        words = f"SimCLR, step {steps[i]:,}, {seconds[i]:.0f} s" + (f": kNN {100 * told[i]:.0f} %" if told[i] else "")
        for share in np.linspace(0, 1, BETWEEN, endpoint=False) if i + 1 < len(places) else [0.0]:
            j = min(i + 1, len(places) - 1)
            spots, *room = (each[i] + share * (each[j] - each[i]) for each in (places, low, high))
            frames.append(frame(spots, labels, room, words, about["classes"]))
    frames += frames[-1:] * HOLD
    buffer = io.BytesIO()
    frames[0].save(
        buffer, "GIF", save_all=True, append_images=frames[1:], duration=MILLISECONDS, loop=0, optimize=True, disposal=1
    )
    write_atomically(HERE / "forming.gif", buffer.getvalue())
    print(f"forming.gif: {len(frames)} frames, {len(buffer.getvalue()) / 1e6:.2f} MB")


def frame(places: np.ndarray, labels: np.ndarray, room: list[np.ndarray], words: str, classes: list[str]) -> Image.Image:
    """One frame; `room`: the lowest and the highest places that are shown."""
    inches = SIDE / 100
    figure, _, _ = plots.new_figure(inches, inches, "", "")
    figure.set_dpi(100)
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.9))
    axes.set_title(words, fontsize=12, color=palette.INK, loc="left", pad=6)
    plots.draw_map(axes, places, labels, classes)
    axes.set(xlim=(room[0][0] - 0.5, room[1][0] + 0.5), ylim=(room[0][1] - 0.5, room[1][1] + 0.5))
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3]).quantize(64, dither=Image.Dither.NONE)


if __name__ == "__main__":
    hero()
    forming()
