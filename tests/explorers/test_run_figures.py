"""Pictures of runs: the numbers in them are those of the files, nothing covers anything, and words say the same."""

import json
import math

import numpy as np
import pytest
import torch
from conftest import QUIET, tiny
from drawn import boxes_of, fits_its_page, noise
from oracles import cosine
from shelves import comparison, history, put

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.data import dataset
from mnclglf_lite.drawing import canvas
from mnclglf_lite.drawing.dotplot import dot_plot
from mnclglf_lite.drawing.palette import AGREE, DISAGREE, rgb
from mnclglf_lite.explorers.runs import curves, dots, neighbours
from mnclglf_lite.explorers.runs.curves import learning_curves
from mnclglf_lite.explorers.runs.dots import accuracy_dots
from mnclglf_lite.explorers.runs.neighbours import FeatureSpaces, neighbour_rows
from mnclglf_lite.results import published, summary
from mnclglf_lite.results.records import group_by_method, groups, load_records
from mnclglf_lite.training import train
from mnclglf_lite.views.view import whole_images

pytest.importorskip("PIL")
pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def kept():
    return groups(load_records())


def figure_and_words(drawing):
    return drawing.picture, drawing.words


# --- curves ---


def test_curves_hold_every_seed_and_the_mean_of_those_steps_that_all_have(tmp_path):
    rows = {0: history(3), 1: history(2, level=0.7)}
    for seed, each in rows.items():
        put(tmp_path / f"simclr-seed{seed}", seed=seed, rows=each)
    figure, words = figure_and_words(learning_curves(load_records(tmp_path), "knn", "seconds"))
    thin = [line.get_xydata() for line in figure.axes[0].lines if line.get_linewidth() == 0.8]
    for seed, line in enumerate(thin):
        np.testing.assert_allclose(line, [[row["seconds"], 100 * row["knn"]] for row in rows[seed]])
    (thick,) = [
        line.get_xydata() for line in figure.axes[0].lines if line.get_linewidth() == 1.9 and len(line.get_xdata()) == 2
    ]
    np.testing.assert_allclose(thick, [[1.5, 61.0], [3.0, 62.0]])  # (51 + 71) / 2, (52 + 72) / 2
    assert len(thin) == 2 and "simclr 62.0" in words and "Not finished: simclr seed 1 (step 20 of 30)." in words


@pytest.mark.parametrize(
    "measure, against, last",
    [
        ("loss", "step", (30, 2.0)), ("spread", "epoch", (3, 0.7)),
        ("rank", "pictures", (480, 5.0)), ("knn", "seconds", (4.5, 53.0)),
    ],
)  # fmt: skip
def test_each_measure_against_each_axis(tmp_path, measure, against, last):
    put(tmp_path / "simclr-seed0")
    figure, words = figure_and_words(learning_curves(load_records(tmp_path), measure, against))
    axes = figure.axes[0]
    assert tuple(axes.lines[0].get_xydata()[-1]) == pytest.approx(last)
    assert axes.get_xlabel() == summary.AXES[against] and axes.get_title(loc="left") == summary.CURVES[measure][0]
    assert summary.AXES[against] in words and summary.CURVES[measure][0] in words
    assert ("Losses are different formulas" in words) == (measure == "loss")


@pytest.mark.parametrize("measure", summary.CURVES)
@pytest.mark.parametrize("group", ["toybox", "cifar10-slim", "precision-bf16", "one-minute"])
def test_curves_of_kept_runs_can_be_read(kept, group, measure):
    """Twelve methods with three seeds: every name beside its line's end, none on another, all on the page."""
    figure, words = figure_and_words(learning_curves(kept[group], measure, "seconds"))
    assert fits_its_page(figure)
    names = group_by_method(kept[group])
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    tops = sorted((box.y0, box.y1) for box in boxes)
    assert len(boxes) == len(names) and all(a[1] <= b[0] for a, b in zip(tops, tops[1:], strict=False))
    assert all(box.x0 > figure.axes[0].get_window_extent().x1 for box in boxes)
    _, factor, digits = summary.CURVES[measure]
    for name, runs in names.items():
        end = np.mean([factor * r.history[-1][measure] for r in runs])
        told = f"{name}{' (labels)' * runs[0].with_labels} {end:.{digits}f}"
        assert told in words and told in [text.get_text() for text in figure.axes[0].texts]
    for part in (" each", kept[group][0].result["hardware"].split(",")[1].strip(), " s a run", "seed"):
        assert part in words and part in " ".join(figure.texts[1].get_text().split())


def test_a_method_keeps_its_looks_when_others_are_left_out_and_no_two_look_alike(kept):
    def looks(drawing):
        thick = [line for line in drawing.picture.axes[0].lines if line.get_linewidth() == 1.9]
        return [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in thick]

    order = list(group_by_method(kept["toybox"]))
    every = looks(learning_curves(kept["toybox"]))[: len(order)]
    assert len(set(every)) == len(order) == 12
    some = [r for r in kept["toybox"] if r.name in ("moco", "glnet")]
    assert looks(learning_curves(some, order=order))[:2] == [every[order.index("moco")], every[order.index("glnet")]]
    styles = [curves._style(place) for place in range(40)]
    assert len(set(styles)) == 40
    for one, next_one in zip(styles, styles[1:], strict=False):
        assert all(mine != its for mine, its in zip(one, next_one, strict=True))  # colour, line and marker


def test_runs_without_an_epoch_are_named_and_bad_names_refused(tmp_path):
    put(tmp_path / "simclr-seed0")
    put(tmp_path / "moco-seed0", "moco", rows=[], found=False)
    records = load_records(tmp_path)
    assert "No epoch has ended yet: moco." in learning_curves(records).words
    for call, words in (
        (lambda: learning_curves(records[1:]), "none of these runs has ended an epoch with 'knn'"),
        (lambda: learning_curves(records, "los"), "did you mean 'loss'"),
        (lambda: learning_curves(records, "loss", "steps"), "did you mean 'step'"),
    ):
        with pytest.raises(InputError, match=words):
            call()


# --- dots ---


def marked(figure):
    """{source's letter: sorted places of its diamonds}, over all rows."""
    axes, found = figure.axes[0], {}
    for text in axes.texts:
        if text.get_text() in dots.LETTERS:
            y = text.xy[1]
            there = [x for c in axes.collections for x, at in c.get_offsets() if abs(at - y) < 1e-9]
            found.setdefault(text.get_text(), []).append(sorted(there))
    return found


def test_published_numbers_are_diamonds_below_their_method_and_nowhere_else(kept):
    figure, words = figure_and_words(accuracy_dots(kept["cifar10-slim"], "linear"))
    found = marked(figure)
    paper = {row.method: row.top1 for row in published._paper() if row.dataset == "cifar10"}
    names = [published.SAME_AS.get(name, name) for name in group_by_method(kept["cifar10-slim"])]
    slow_flops = sorted(paper[name] for name in names if name in paper)
    assert sorted(x for (x,) in found["a"]) == pytest.approx(slow_flops) and len(slow_flops) == 9
    assert sorted(x for (x,) in found["b"]) == pytest.approx([87.72, 88.06, 89.54, 89.70]) and found["c"] == [[86.18]]
    assert fits_its_page(figure)
    for part in ("no ranking with ours", "simclr 87.1 to 87.7", "moco 84.0 to 89.7", "arXiv 2306.15930", "pc-cp/MSVQ",
                 "linear, 90 epochs of crops at 224 px, best test, 200 epochs of training"):  # fmt: skip
        assert part in words
    note = " ".join(figure.texts[1].get_text().split())
    assert "Hollow diamonds: published elsewhere, each under a protocol of its own. a: Li, Long, Li 2023" in note
    moco = next(text for text in figure.axes[0].texts if text.get_text() == "moco").xy[1]
    lanes = sorted(text.xy[1] for text in figure.axes[0].texts if text.get_text() in "abc")
    assert sum(moco - 1.8 < y < moco for y in lanes) == 3  # its three sources, below its own dots
    assert "Published" not in accuracy_dots(kept["cifar10-slim"], "linear", elsewhere=False).words


@pytest.mark.parametrize("group, measure, count", [
    ("cifar10-slim", "kNN 200", 9), ("cifar10-slim", "kNN 20", 0), ("cifar10-slim", "kNN 200, whitened", 0),
    ("toybox", "kNN 200", 0), ("toybox", "linear", 0), ("one-minute", "linear", 6),
])  # fmt: skip
def test_only_what_is_comparable_is_shown(kept, group, measure, count):
    figure, words = figure_and_words(accuracy_dots(kept[group], measure))
    assert sum(map(len, marked(figure).values())) == count
    assert ("no ranking with ours" in words) == bool(count) != ("nothing is published" in words)


def test_dots_are_the_files_numbers_and_words_say_them(kept):
    figure, words = figure_and_words(accuracy_dots(kept["toybox"], "kNN 20, whitened"))
    whole = json.loads((kept["toybox"][0].folder.parent / "compare.json").read_text())
    found = sorted(float(x) for c in figure.axes[0].collections for x, _ in c.get_offsets())
    slow_flops = sorted(100 * run["knn20"]["whitened"]["top1"] for row in whole["rows"].values() for run in row["runs"])
    assert found == pytest.approx(slow_flops) and len(found) == 36
    for name, row in whole["baselines"].items():
        assert f"{name} {100 * row['knn20']['whitened']['top1']:.1f}" in words
    means = {
        name: 100 * np.mean([run["knn20"]["whitened"]["top1"] for run in row["runs"]]) for name, row in whole["rows"].items()
    }
    first, second = sorted(means.keys() - {"supervised"}, key=means.get, reverse=True)[:2]
    assert f"without labels, {first} leads with {means[first]:.1f}" in words
    assert f"supervised (labels) {means['supervised']:.1f}" in words
    gap = f"{means[first] - means[second]:.1f} points"
    assert figure.texts[0].get_text().startswith(f"On toybox, without labels, {first} leads {second} by {gap}")


def test_runs_that_are_not_evaluated_are_named(tmp_path):
    comparison(tmp_path, {"simclr": [0.5, 0.6]})
    put(tmp_path / "moco-seed0", "moco", found=False)
    assert "Not evaluated under this measure: moco seed 0." in accuracy_dots(load_records(tmp_path), "linear").words


def test_without_published_numbers_a_dot_plot_is_what_it_was():
    rows = {"x": [0.2, 0.4], "y": [0.3]}
    assert canvas.png(dot_plot({"a": rows})) == canvas.png(dot_plot({"a": rows}, published={"a": {}}))
    with pytest.raises(InputError, match="shares from 0 to 1; got 0.2 to 87"):
        dot_plot({"a": rows}, published={"a": {"x": {"a": [87.0]}}})


# --- strips ---


def strips(spaces, records, query, k=8):
    """Rows of neighbours as a drawing, and the neighbours themselves."""
    near = spaces.neighbours(records, query, k)
    return neighbour_rows(spaces, records, query, near), near


def slow_nearest(features, query, k):
    rows = features.double().tolist()
    others = sorted((i for i in range(len(rows)) if i != query), key=lambda i: -cosine(rows[query], rows[i]))
    return others[:k]


def test_neighbours_are_those_of_a_slow_search_in_each_space():
    some, features = noise(side=4), torch.randn(12, 5, generator=torch.Generator().manual_seed(1))
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 6))
    spaces = FeatureSpaces(some, {"net": linear}, {"given": features})
    seen = whole_images(some.images)  # as any network sees them
    slow = {"raw pixels": seen.flatten(1), "net": linear(seen).detach(), "given": features}
    for query in (0, 7, 11):
        found, near = strips(spaces, [], query, k=4)
        assert near == {name: slow_nearest(space, query, 4) for name, space in slow.items()}
        assert f"picture {query}, class {some.classes[query % 3]}" in found.words
        for name, others in near.items():
            agree = sum(int(some.labels[i] == some.labels[query]) for i in others)
            assert f"{name} {agree} of 4" in found.words


def test_each_box_holds_its_picture_framed_by_whether_it_agrees():
    some = noise(side=32)
    found, near = strips(FeatureSpaces(some), [], 5)
    sheet = np.asarray(found.picture)
    for j, (left, top, width, height) in zip(near["raw pixels"], boxes_of(found).values(), strict=True):
        assert width == height == 64
        tile = some.images[j].numpy().transpose(1, 2, 0).repeat(2, 0).repeat(2, 1)
        np.testing.assert_array_equal(sheet[top : top + 40, left : left + 40], tile[:40, :40])  # the badge is below right
        same = bool(some.labels[j] == some.labels[5])
        assert tuple(sheet[top - 3, left - 3]) == rgb(AGREE if same else DISAGREE)
        dashed = (sheet[top - 3, left : left + 64] == 255).all(-1).any()
        assert dashed != same  # a second cue beside the colour
    assert fits_its_page(found.picture)


def test_a_picture_with_many_doubles_is_still_not_its_own_neighbour():
    spaces = FeatureSpaces(noise(), features={"collapsed": torch.ones(12, 3)})
    for query, expected in ((0, [1, 2, 3]), (1, [0, 2, 3]), (11, [0, 1, 2])):
        assert spaces.neighbours([], query, 3)["collapsed"] == expected


@pytest.fixture(scope="module")
def trained(tmp_path_factory, toys):
    """A run with its checkpoint, of two steps."""
    folder = tmp_path_factory.mktemp("runs") / "simclr-seed0"
    return train.train(tiny("simclr", steps=2), toys, out=folder, **QUIET)


def test_a_run_with_its_checkpoint_is_looked_through(trained, toys, tmp_path):
    (record,) = load_records(trained.out)
    by_record = FeatureSpaces(toys.test).neighbours([record], 3)
    by_folder = FeatureSpaces(toys.test, {"simclr": trained.out}).neighbours([], 3)
    by_module = FeatureSpaces(toys.test, {"simclr": trained.backbone}).neighbours([], 3)
    assert by_record == by_folder == by_module and set(by_record) == {"raw pixels", "simclr"}
    spaces = FeatureSpaces(toys.test, {"simclr": str(trained.out)})
    spaces.of("simclr")
    assert spaces.told["simclr"].startswith(f"{trained.backbone.dim} numbers, seed 0, step 2, ")


def test_where_nothing_is_at_hand_it_says_what_to_do(tmp_path, trained):
    put(tmp_path / "simclr-seed0", width=8, found=False)
    put(tmp_path / "own-seed0", found=False)
    own = json.loads((tmp_path / "own-seed0" / "recipe.json").read_text())
    (tmp_path / "own-seed0" / "recipe.json").write_text(json.dumps(own | {"method": "own"}))
    simclr, mine = load_records(tmp_path)
    found, near = strips(FeatureSpaces(noise()), [simclr, mine], 0)
    assert set(near) == {"raw pixels"} and "No weights at hand for simclr, own." in found.words
    for part in ("mnclglf-lite", "--steps 30", "--out runs/again/simclr-seed0 (it took 4 s)",  # 4.5, to even
                 "encoders={'simclr': 'runs/again/simclr-seed0'}"):  # fmt: skip
        assert part in found.words
    assert "'own' is not known here" in neighbours.again(mine)
    given, near = strips(FeatureSpaces(noise(), {"simclr": lambda x: x.flatten(1)}), [simclr], 0)
    assert "No weights" not in given.words and near["simclr"] == near["raw pixels"]


def test_pictures_of_another_set_are_said_to_be_that(trained, toys):
    record = load_records(trained.out)
    others = dataset.ImageSet(toys.test.images, toys.test.labels, toys.test.classes, "cifar10", "test")
    assert "other pictures: toybox" in strips(FeatureSpaces(others), record, 0)[0].words
    assert "other pictures" not in strips(FeatureSpaces(toys.test), record, 0)[0].words


def test_larger_pictures_are_shrunk_for_the_pixel_row_and_few_pictures_have_few_neighbours():
    near = FeatureSpaces(noise(3, side=40)).neighbours([], 0)
    assert list(near) == ["32x32 pixels"] and sorted(near["32x32 pixels"]) == [1, 2]


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: FeatureSpaces(noise(1)), "needs others to be its neighbours; got 1"),
        (lambda: FeatureSpaces(noise(), None, {"a": torch.full((12, 2), math.nan)}), "features of a.*not finite"),
        (lambda: FeatureSpaces(noise(), None, {"a": torch.zeros(11, 2)}), "features of a: 11 rows for 12 pictures"),
        (lambda: FeatureSpaces(noise(), {"a": abs}, {"a": torch.zeros(12, 2)}), "both have a"),
        (lambda: FeatureSpaces(noise()).neighbours([], 12), "pictures 0 to 11; got 12"),
        (lambda: FeatureSpaces(noise(), {"a": "nowhere"}).of("a"), "no checkpoint at nowhere"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(InputError, match=words):
        call()
