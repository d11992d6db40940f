"""The crop explorer: what it shows against what a training step cuts, its numbers against slow loops, its pixels."""

import re

import numpy as np
import pytest
import torch
from browser import TOYS, OnPage, needs_browser, write_notebook
from conftest import QUIET, tiny
from drawn import boxes_of, fits_its_page, noise

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.data import dataset, toybox
from mnclglf_lite.data.dataset import batch_order
from mnclglf_lite.drawing import canvas, heatmap, palette
from mnclglf_lite.drawing.palette import rgb
from mnclglf_lite.explorers.crops import coverage, figure, sample
from mnclglf_lite.explorers.crops.coverage import Target
from mnclglf_lite.explorers.crops.sample import DRAWS
from mnclglf_lite.explorers.crops.words import counted_in_words, target_in_words
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.recipe.view_choice import ViewChoice, divisible
from mnclglf_lite.training import step, train
from mnclglf_lite.views import crops
from mnclglf_lite.views.batch import make_views
from mnclglf_lite.views.crops import crop_resize
from mnclglf_lite.views.patches import grid_patches, patch_boxes
from mnclglf_lite.views.view import View, denormalise, normalise

pytest.importorskip("PIL")
widgets = pytest.importorskip("mnclglf_lite.explorers")

KNOBS = {
    "scale": (0.3, 0.9), "local_scale": (0.1, 0.3), "ratio": (0.5, 2.0), "local": "grid", "grid": 2, "small_views": 3,
    "flip": 0.4, "colour": 1.2, "blur": 0.5,
}  # fmt: skip


def turned(recipe=None, **changes):
    recipe = recipe or tiny()
    return ViewChoice.of(recipe).turned(**(KNOBS | changes)).apply(recipe)


def random_boxes(b, m, hw, seed=0, whole=True):
    """Boxes (B, M, 4), of whole pixels or not."""
    g = torch.Generator().manual_seed(seed)
    side = torch.tensor(hw)
    size = 1 + torch.rand(b, m, 2, generator=g) * (side - 1)
    size = size.round() if whole else size
    start = torch.rand(b, m, 2, generator=g) * (side - size)
    return torch.cat((start.floor() if whole else start, size), -1)


# --- the value object ---


def test_views_of_a_recipe_change_nothing_in_it():
    recipe = tiny(small_views=2, local="crops")
    assert ViewChoice.of(recipe).apply(recipe) == recipe
    assert ViewChoice.of(recipe).apply(tiny("simclr")).method.small_views == 2  # of use to other methods too
    assert ViewChoice() == ViewChoice.of(type(recipe)())


def test_knobs_reach_the_fields_they_are_named_after():
    base = preset("quick", "mnclglf", "toybox")
    got = ViewChoice.of(base).turned(**KNOBS)
    assert got.view.scale == (0.3, 0.9) and got.small_view.scale == (0.1, 0.3)
    assert (got.local, got.grid, got.small_views) == ("grid", 2, 3)
    for view in (got.view, got.small_view):
        assert view.ratio == (0.5, 2.0) and view.flip_p == 0.4 and view.blur_p == 0.5
        assert view.jitter == pytest.approx((0.96, 0.96, 0.96, 0.5))  # 1.2 times 0.8; hue stays within half a turn
        assert view.gray_p == pytest.approx(0.6)
    assert (got.view.size, got.small_view.size) == (32, 16)
    plain = ViewChoice.of(base).turned(**KNOBS | {"colour": 0.0})
    assert plain.view.jitter == (0, 0, 0, 0) and plain.view.gray_p == 0
    assert ViewChoice.of(base).turned(**KNOBS | {"colour": 1.0}).view.jitter == base.views.view.jitter


def test_a_grid_takes_the_nearest_size_it_divides():
    for size in range(4, 70):
        for parts in (1, 2, 3, 5):
            multiples = [n * parts for n in range(1, 100)]
            assert divisible(size, parts) == min(multiples, key=lambda m: (abs(m - size), -m))
    base = preset("quick", "mnclglf", "toybox")
    assert turned(base, grid=3).views.view.size == 33
    assert turned(base, grid=3, local="crops").views.view.size == 32


# --- what is seen is what trains ---


@pytest.mark.parametrize(
    "changes", [{}, {"local": "crops"}, {"small_views": 0, "grid": 3}, {"local": "crops", "small_views": 0}]
)
def test_the_views_shown_are_those_that_a_step_makes_and_the_method_divides(toys, changes):
    recipe, picture = turned(**changes), toys.test.images[2]
    cuts = sample.cut(picture, recipe, seed=5)
    method = build_method(recipe, 10)
    made = make_views(picture.expand(DRAWS, -1, -1, -1), method.views, torch.Generator().manual_seed(5))
    first = [view[:1] for view in made]
    patches = [patch[0] for half in method.patches_of(first) for patch in half]
    expected = [*(view[0] for view in first[:3]), *patches, *(view[0] for view in first[3 : 3 + recipe.method.small_views])]
    assert len(expected) == len(cuts.shown) == len(cuts.names) == len(cuts.boxes) == len(cuts.draws)
    for name, shown, theirs in zip(cuts.names, cuts.shown, expected, strict=True):
        assert torch.equal(normalise(shown), theirs), name
    grid = recipe.method.grid**2
    assert cuts.names[:4] == ("A", "B", "C", "A1") and cuts.names[2 + grid : 4 + grid] == (f"A{grid}", "B1")
    assert cuts.names[3 + 2 * grid :] == tuple("DEF"[: recipe.method.small_views])


def test_a_run_with_the_explorers_views_trains_on_what_was_shown(toys, monkeypatch, tmp_path):
    """The first picture of the first batch, in a batch as large as the explorer's, with the explorer's seed."""
    recipe = tiny(batch_size=DRAWS, queue=DRAWS, steps=2, seed=7)
    index = int(batch_order(7, 0, len(toys.train))[0])
    explorer = widgets.CropExplorer(toys.train, recipe, picture=index)
    explorer.seed.value, explorer.scale.value, explorer.small_views.value = 7, (0.15, 0.45), 2
    explorer.colour.value, explorer.flip.value = 1.4, 0.8
    seen, make = [], make_views
    monkeypatch.setattr(step, "make_views", lambda *args: seen.append(make(*args)) or seen[-1])
    run = train.train(recipe, toys, views=explorer.views, out=tmp_path, **QUIET)
    monkeypatch.undo()
    assert run.step == 2 and run.recipe == explorer.views.apply(recipe) != recipe
    asked = sample.cut(toys.train.images[index], run.recipe, 7)
    whole, small = range(3), range(len(asked.names) - 2, len(asked.names))
    for i, view in zip([*whole, *small], seen[0], strict=True):
        assert torch.equal(normalise(asked.shown[i]), view[0])
    tiles = grid_patches(seen[0][1][:1])[:, 0]  # the patches of x2, as the method cuts them
    for tile, name in zip(tiles, ("B1", "B2", "B3", "B4"), strict=True):
        assert torch.equal(normalise(asked.shown[asked.names.index(name)]), tile)
    assert len(seen) == 2 and not torch.equal(seen[0][0], seen[1][0])
    # and the bytes of the picture on the page are those views
    page = np.asarray(explorer.draw().picture)
    for i, view in zip([*whole, *small], seen[0], strict=True):
        assert _within(page, canvas.pixels(denormalise(view[:1]).clamp(0, 1))[0]), asked.names[i]

    with pytest.raises(InputError, match="another recipe.*small_views"):  # a resumed run is checked as ever
        train.train(recipe, toys, out=tmp_path, resume=True, **QUIET)
    assert train.train(recipe, toys, views=explorer.views, out=tmp_path, resume=True, **QUIET).step == 2


def _within(page, tile):
    """Whether a tile (h, w, 3) stands somewhere on the page (H, W, 3), pixel by pixel."""
    h, w = tile.shape[:2]
    first = (page[: page.shape[0] - h + 1, : page.shape[1] - w + 1] == tile[0, 0]).all(-1)
    return any((page[y : y + h, x : x + w] == tile).all() for y, x in np.argwhere(first))


def test_the_200_draws_are_what_a_batch_gets(toys):
    recipe = turned()
    cuts = sample.cut(toys.test.images[0], recipe, seed=1)
    draws = make_views(
        toys.test.images[:1].expand(DRAWS, -1, -1, -1), build_method(recipe, 10).views, torch.Generator().manual_seed(1),
        lambda images, view, draw: draw,
    )  # fmt: skip
    assert torch.equal(cuts.whole, torch.stack([draw.boxes for draw in draws[:3]]))
    assert torch.equal(cuts.local[-3:], torch.stack([draw.boxes for draw in draws[3:]]))
    assert len({tuple(box) for box in cuts.boxes[0].tolist()}) > 50


# --- boxes ---


@pytest.mark.parametrize("grid", [1, 2, 4])
def test_boxes_of_patches_hold_what_divide_cuts_out(grid):
    """Boxes as large as the view: every pixel of a patch is a pixel of the picture, and must lie where its box says."""
    picture = torch.randint(0, 256, (3, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[2.0, 5.0, 16.0, 16.0], [8.0, 0.0, 16.0, 16.0]])
    flip = torch.tensor([False, True])
    view = crop_resize(picture.expand(2, -1, -1, -1), boxes, 16, flip=flip)
    found, tiles = patch_boxes(boxes, flip, grid), grid_patches(view, grid)
    assert found.shape == (grid * grid, 2, 4)
    for box, tile in zip(found, tiles, strict=True):
        for n in range(2):
            top, left, height, width = box[n].int().tolist()
            there = picture[:, top : top + height, left : left + width].float() / 255
            torch.testing.assert_close(tile[n], there.flip(-1) if flip[n] else there)


def test_count_against_slow_loops():
    hw = (9, 12)
    whole, local = random_boxes(2, 7, hw, 1), random_boxes(4, 7, hw, 2, whole=False)
    local[0, :, :] = patch_boxes(whole[0], torch.zeros(7, dtype=torch.bool), 3)[4]  # inside, with rounded sides
    mask = torch.rand(hw, generator=torch.Generator().manual_seed(3)) < 0.15
    boxes = {"whole": whole.double().tolist(), "local": local.double().tolist()}

    def shared(a, b):
        wide = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
        high = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
        return max(wide, 0) * max(high, 0)

    def area(box):
        return box[2] * box[3]

    def holds(box, y, x):
        return box[0] <= y + 0.5 < box[0] + box[2] and box[1] <= x + 0.5 < box[1] + box[3]

    overlaps, inside, touch, covered, areas = [], [], [], [], {"whole": [], "local": []}
    pixels = [(y, x) for y in range(hw[0]) for x in range(hw[1])]
    times = np.zeros(hw)
    for m in range(7):
        mine = [box[m] for box in boxes["local"]]
        for kind in boxes:
            areas[kind] += [area(box[m]) / (hw[0] * hw[1]) for box in boxes[kind]]
        overlaps += [shared(a, b) / min(area(a), area(b)) for i, a in enumerate(mine) for b in mine[:i]]
        inside += [any(shared(g[m], box) / area(box) > 0.9999 for g in boxes["whole"]) for box in mine]
        touch += [any(mask[y, x] and holds(box, y, x) for y, x in pixels) for box in mine]
        covered += [any(holds(box, y, x) for box in mine) for y, x in pixels if mask[y, x]]
        for y, x in pixels:
            times[y, x] += sum(holds(box, y, x) for box in mine)
    got = coverage.count(whole, local, hw, mask)
    assert got.whole_area == pytest.approx(np.mean(areas["whole"]))
    assert got.local_area == pytest.approx(np.mean(areas["local"]))
    assert got.overlap == pytest.approx(np.mean(overlaps), abs=1e-6)
    assert got.inside == pytest.approx(np.mean(inside)) and 0 < got.inside < 1
    assert got.touch == pytest.approx(np.mean(touch)) and 0 < got.touch < 1
    assert got.covered == pytest.approx(np.mean(covered)) and 0 < got.covered < 1
    np.testing.assert_allclose(coverage.density(local, hw), times / (4 * 7), atol=1e-6)


def test_mutual_overlap_is_the_larger_of_the_two_shares():
    a, b = random_boxes(1, 300, (20, 20), 4)[0], random_boxes(1, 300, (20, 20), 5)[0]
    expected = torch.maximum(crops.overlap(a, b), crops.overlap(b, a))
    torch.testing.assert_close(crops.mutual_overlap(a, b), expected)
    hand = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[2.0, 2, 4, 2]])  # 2 x 2 in common, the smaller has 8
    assert crops.mutual_overlap(*hand).item() == 0.5


def test_without_an_object_nothing_is_said_of_it():
    boxes = random_boxes(3, 5, (8, 8))
    for mask in (None, torch.zeros(8, 8, dtype=torch.bool)):
        found = coverage.count(boxes, boxes, (8, 8), mask)
        assert found.touch is None and found.covered is None
        assert "object" not in counted_in_words(found)


def test_targets():
    found = coverage.count(random_boxes(3, 5, (8, 8)), random_boxes(2, 5, (8, 8)), (8, 8), torch.ones(8, 8).bool())
    assert found.touch == 1 and Target(found.overlap, 1.0).checks(found) == (False, True)  # less than, not at most
    assert Target(found.overlap + 0.01, 1.0).checks(found) == (True, True)
    assert "not reached, they overlap" in target_in_words(Target(0.0, 1.0), found)
    assert target_in_words(Target(1.0, 0.5), found).endswith("reached.")
    with pytest.raises(InputError, match="overlap 20: expected a share"):
        Target(overlap=20)


# --- the picture ---


def test_boxes_are_drawn_where_they_are_and_one_alone_when_chosen(toys):
    picture = torch.full((3, 32, 32), 90, dtype=torch.uint8)
    cuts = sample.cut(picture, turned(preset("quick", "mnclglf", "toybox")), seed=2)
    sheet = figure.crop_figure(picture, cuts).picture
    alone = figure.crop_figure(picture, cuts, chosen="B").picture
    colours = [rgb(palette.BOX_COLOURS[i]) for i in range(3)]
    for i, colour in enumerate(colours):
        top, left, height, width = (10 * v for v in cuts.boxes[i, 0].int().tolist())
        x0, y0, x1, y1 = 14 + left, 14 + top, 14 + left + width - 1, 14 + top + height - 1
        edge = [(x, y) for x in range(x0, x1 + 1) for y in (y0, y1)] + [(x, y) for y in range(y0, y1 + 1) for x in (x0, x1)]
        drawn = [sheet.getpixel(at) == colour for at in edge]
        assert np.mean(drawn) > 0.6  # other frames and letters may cross it
        assert all(alone.getpixel(at) == colours[1] for at in edge) if i == 1 else True
    source = np.asarray(alone)[14:334, 14:334]
    assert not any((source == colour).all(-1).any() for i, colour in enumerate(colours) if i != 1)
    assert (source == 90).all(-1).mean() > 0.5


def test_views_stand_in_true_size_and_enlarged_at_their_places(toys):
    picture, recipe = toys.test.images[1], turned(small_views=2)
    cuts = sample.cut(picture, recipe, seed=3)
    drawing = figure.crop_figure(picture, cuts)
    page, boxes = np.asarray(drawing.picture), boxes_of(drawing)
    assert list(boxes) == list(cuts.names)
    for name, shown in zip(cuts.names, cuts.shown, strict=True):
        x, y, width, height = boxes[name]
        cell, tile = page[y : y + height, x : x + width], canvas.pixels(shown[None])[0]
        assert _within(cell, tile) and _within(cell, tile.repeat(6, 0).repeat(6, 1)), name  # 16 pixels, about 100 across
    for i, (x, y, w, h) in enumerate(boxes.values()):
        assert 0 <= x and x + w <= page.shape[1] and 0 <= y and y + h <= page.shape[0]
        assert not any(x < a + c and a < x + w and y < b + d and b < y + h for a, b, c, d in list(boxes.values())[:i])


def test_maps_show_density_and_the_objects_outline():
    picture, mask = torch.full((3, 32, 32), 90, dtype=torch.uint8), torch.zeros(32, 32, dtype=torch.bool)
    mask[8:16, 8:16] = True
    recipe = turned(preset("quick", "mnclglf", "toybox"), local="crops", small_views=0)
    cuts = sample.cut(picture, recipe, seed=2)
    bare, mapped = (np.asarray(figure.crop_figure(picture, cuts, mask=mask, maps=m).picture) for m in (False, True))
    assert mapped.shape[0] > bare.shape[0] and mapped.shape[1] == bare.shape[1]
    outline = np.argwhere((mapped == rgb(palette.AGREE)).all(-1))
    # a square of 8 pixels, 5 on the page for each, in two maps: its edge is the last pixel before it, all around
    assert 2 * 4 * 38 <= len(outline) <= 2 * 4 * 42
    (y, x), places = outline.min(0) - 39, [(16, 16), (1, 1), (30, 12), (5, 20)]
    share = coverage.density(cuts.local, (32, 32)).numpy()
    assert share[16, 16] > 3 * share[1, 1]
    for row, column in places:
        expected = heatmap.shade(share[row, column] / share.max(), heatmap.MORE)
        assert (mapped[y + 5 * row + 2, x + 5 * column + 2] == expected).all()


def test_ticks_and_crosses_follow_the_aims(toys):
    cuts = sample.cut(toys.test.images[0], turned(), seed=0)
    counted = coverage.count(cuts.whole, cuts.local, (16, 16), toys.test.masks[0])
    ways = {}
    for target in (Target(1.0, 0.0), Target(0.0, 0.0), Target(0.0, 1.0)):
        page = np.asarray(figure.crop_figure(toys.test.images[0], cuts, target=target, counted=counted).picture)[-32:]
        ways[target] = [bool((page == rgb(colour)).all(-1).any()) for colour in (palette.AGREE, palette.DISAGREE)]
    assert list(ways.values()) == [[True, False], [True, True], [False, True]]


def test_the_same_seed_gives_the_same_bytes(toys):
    def bytes_of(seed):
        cuts = sample.cut(toys.test.images[0], turned(), seed)
        return canvas.png(figure.crop_figure(toys.test.images[0], cuts, maps=True).picture)

    assert bytes_of(4) == bytes_of(4) != bytes_of(5)


@pytest.mark.parametrize("side, size", [(8, 12), (64, 64), (40, 224)])
def test_pictures_and_views_of_other_sizes(side, size):
    picture = torch.randint(0, 256, (3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    recipe = turned(tiny(view=View(size=size, blur_p=0.0)), grid=2, small_views=8)
    assert fits_its_page(figure.crop_figure(picture, sample.cut(picture, recipe, 0), maps=True).picture)


# --- the shell ---


@pytest.fixture
def explorer(toys):
    return widgets.CropExplorer(toys.test, tiny(), picture=1)


def test_every_control_changes_words_picture_and_views(explorer, toys):
    moves = {
        "picture_index": 2, "scale": (0.5, 0.8), "local_scale": (0.2, 0.3), "ratio": (0.5, 2.0), "local": ("crops", 2),
        "small_views": 2, "flip": 1.0, "colour": 0.5, "blur": 1.0, "seed": 9, "maps": True,
    }  # fmt: skip
    for name, value in moves.items():
        words, views_, png = explorer.words, explorer.views, explorer.picture.png
        getattr(explorer, name).value = value
        assert explorer.words != words, name
        assert explorer.picture.png != png or name == "local_scale"  # nothing has a local scale yet
        assert (explorer.views != views_) == (name not in ("picture_index", "seed", "maps")), name
    seed = explorer.seed.value
    explorer.new_draw.click()
    assert explorer.seed.value == seed + 1
    explorer.seed.value = 999
    explorer.new_draw.click()
    assert explorer.seed.value == 0
    got = explorer.views
    assert got.view.scale == (0.5, 0.8) and got.small_view.scale == (0.2, 0.3) and got.local == "crops"
    assert got.view.blur_p == got.small_view.blur_p == 1.0 and got.view.flip_p == 1.0 and got.small_views == 2


def test_the_words_hold_the_numbers(explorer, toys):
    cuts = sample.cut(toys.test.images[1], explorer.views.apply(tiny()), 0)
    found = coverage.count(cuts.whole, cuts.local, (16, 16), toys.test.masks[1])
    line = next(line for line in explorer.words.splitlines() if line.startswith(f"{DRAWS} draws"))
    numbers = [float(n) for n in re.findall(r"([\d.]+) %", line)]
    shares = [found.whole_area, found.local_area, found.overlap, found.inside, found.touch, found.covered]
    assert numbers == pytest.approx([100 * share for share in shares], abs=0.51)
    assert explorer.reached is all(Target().checks(found))
    assert toys.test.classes[toys.test.labels[1]] in explorer.words


def test_a_pressed_view_is_told_and_shown_alone(explorer):
    png = explorer.picture.png
    assert [place["name"] for place in explorer.picture.places][:4] == ["A", "B", "C", "A1"]
    explorer.picture.chosen = "B3"
    assert "\nB3 is the box " in explorer.words and explorer.picture.png != png
    explorer.local.value = ("crops", 2)
    explorer.small_views.value = 1
    explorer.picture.chosen = "D"
    explorer.small_views.value = 0  # what was pressed is gone
    assert "\nD is" not in explorer.words and explorer.picture.problem == ""


def test_the_target_can_be_reached_on_the_picture_that_comes_first():
    explorer = widgets.CropExplorer()
    assert len(explorer.pictures) == dataset.TOY_TEST and explorer.reached is False
    assert "not reached" in explorer.words
    explorer.scale.value = (0.8, 1.0)
    assert explorer.reached is True and explorer.words.endswith(": reached.")
    explorer.local.value = ("crops", 2)
    assert explorer.reached is False


def test_a_size_that_a_grid_does_not_divide_is_said():
    images, labels, factors, masks = toybox.draw(4, 0)
    pictures = dataset.ImageSet(images, labels, toybox.CLASSES, "toybox", "test", factors, masks)
    explorer = widgets.CropExplorer(pictures)
    explorer.local.value = ("grid", 3)
    assert "does not divide 32 pixels: global views have 33" in explorer.words
    assert explorer.views.view.size == 33
    explorer.local.value = ("grid", 2)
    assert explorer.views.view.size == 32 and "does not divide" not in explorer.words


def test_without_masks_there_is_no_target(toys):
    bare = dataset.ImageSet(toys.test.images, toys.test.labels, toys.test.classes, "folder:x", "test")
    explorer = widgets.CropExplorer(bare, tiny())
    assert explorer.reached is None and "arget:" not in explorer.words and "object" not in explorer.words
    explorer.maps.value = True
    assert "arget:" not in widgets.CropExplorer(toys.test, tiny(), target=None).words


def test_what_cannot_be_is_said_in_words(toys):
    explorer = widgets.CropExplorer(toys.test, tiny(view=View(size=10, blur_p=0.0)))
    png = explorer.picture.png
    explorer.local.value = ("grid", 3)  # patches of 3 pixels are too small for this network
    assert "too small for this network" in explorer.words and explorer.picture.png == png
    explorer.local.value = ("grid", 2)
    assert explorer.picture.problem == ""
    cases = {
        "empty": (toys.test.subset(torch.arange(0)), tiny()),
        "recipe is for 'simclr'": (toys.test, tiny("simclr")),
        r"\(3, 1, 1\) cannot be cut": (noise(side=1), tiny()),
    }
    for words, args in cases.items():
        with pytest.raises(InputError, match=words):
            widgets.CropExplorer(*args)


# --- a real browser ---


@needs_browser()
def test_in_jupyterlab(browser, lab):
    write_notebook(lab.folder / "crops.ipynb", TOYS, "explorer = CropExplorer(pictures)\nexplorer")
    page = lab.open(browser, "crops.ipynb")
    one = OnPage(page)
    # the local scale first concerns nothing, and the words say so; then small views have it
    one.press("local scale", "ArrowRight", draws=False)
    ways = {  # where the mouse drags it, and then a key that moves it far enough for this picture to change
        "small local views": (0.4, "ArrowRight"), "picture": (0.8, "ArrowLeft"), "global scale": (0.2, "PageUp"),
        "local scale": (0.1, "PageUp"), "flip, probability": (0.9, "Home"), "colour strength": (0.2, "Home"),
        "blur, probability": (0.7, "Home"), "seed": (0.5, "ArrowRight"),
    }  # fmt: skip
    for name, (share, key) in ways.items():
        one.drag(name, share)
        one.press(name, key)
    one.select("aspect, width / height", "1/2 to 2")
    one.select("local views", "random local crops")
    button, box = page.get_by_role("button", name="new draw"), page.get_by_label("maps of 200 draws")
    one.changes(button.click)
    one.changes(lambda: button.press("Enter"))
    one.changes(box.click)
    one.changes(lambda: box.press("Space"))
    one.changes(page.get_by_role("button", name="view A1: its box alone").click, "A1 is the box")
    one.changes(lambda: page.get_by_role("button", name="view A: its box alone").press("Enter"), "A is the box")

    got = lab.python("crops.ipynb", "explorer.views.local, explorer.views.grid, explorer.views.small_views")
    assert got == str(("grid", 3, int(one.control("small local views").locator(".widget-readout").text_content())))
    low, high = (float(x) for x in lab.python("crops.ipynb", "explorer.views.view.scale").strip("()").split(","))
    assert one.control("global scale").locator(".widget-readout").text_content() == f"{low:.2f} – {high:.2f}"
    assert lab.python("crops.ipynb", "explorer.views.view.ratio") == "(0.6666666666666666, 1.5)"
    assert page.left == [] and page.errors == []
