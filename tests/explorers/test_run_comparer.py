"""The run comparer: every control, without a browser and in a real JupyterLab."""

import json
import re
from pathlib import Path

import pytest
import torch
from browser import needs_browser, write_notebook
from drawn import noise
from shelves import comparison, put, result

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.results import summary
from mnclglf_lite.results.records import groups, load_records

pytest.importorskip("ipywidgets")
pytest.importorskip("anywidget")

from mnclglf_lite.explorers import RunComparer  # noqa: E402


def shelf(folder):
    """Two groups: three methods with two seeds on the toy box, two with one seed on CIFAR-10, one of them not evaluated."""
    comparison(folder / "toys", {"supervised": [0.9, 0.95], "simclr": [0.5, 0.7], "moco": [0.4, 0.6]})
    put(folder / "photos" / "simclr-seed0", dataset="cifar10", found=result(0.45, dataset="cifar10"))
    put(folder / "photos" / "byol-seed0", "byol", dataset="cifar10", found=False)
    return folder


@pytest.fixture
def comparer(tmp_path):
    return RunComparer(shelf(tmp_path), noise(), features={"given": torch.randn(12, 4)})


def test_every_control_changes_picture_and_words(comparer):
    c, seen = comparer, []

    def changed():
        state = (c.picture.png, c.words)
        assert all(state[0] != old[0] and state[1] != old[1] for old in seen[-1:]) and not c.picture.problem
        seen.append(state)

    changed()
    assert c.group.value == "toys" and c.words.startswith("kNN accuracy, % against optimiser steps: 3 methods, 6 runs")
    c.measure.value = "loss"
    changed()
    c.axis.value = "pictures"
    changed()
    c.methods.value = ("simclr", "moco")
    changed()
    assert "2 methods, 4 runs" in c.words and {r.name for r in c.records} == {"simclr", "moco"}
    c.panel.value = "final dots"
    changed()
    assert c.measure.value == "kNN 20" and "simclr leads with 60.0 (50.0 to 70.0) against moco's 50.0" in c.words
    for part in ("the ranges overlap, 2 seeds", "960 whole views each", "a slide rule", "4 s a run", "on test (40 images"):
        assert part in c.words
    c.measure.value = "linear"
    changed()
    c.group.value = "photos"
    changed()
    assert c.methods.options == c.methods.value == ("simclr", "byol") and c.measure.value == "linear"
    assert "Not evaluated under this measure: byol seed 0." in c.words and "simclr 87.1 to 87.7" in c.words
    c.elsewhere.value = False
    changed()
    assert "87.1" not in c.words
    c.panel.value = "neighbours"
    changed()
    assert set(c.near) == {"raw pixels", "given"} and "No weights at hand for simclr, byol" in c.words
    c.query.value = 5
    changed()
    assert "picture 5, class hen" in c.words


def test_pressing_a_neighbour_walks_to_it_again_and_again(comparer):
    comparer.panel.value = "neighbours"
    places = comparer.picture.places
    assert [place["name"] for place in places] == [f"{row}.{i}" for row in range(2) for i in range(8)]
    for name, row in (("0.0", "raw pixels"), ("0.0", "raw pixels"), ("1.3", "given")):
        target = comparer.near[row][int(name[2])]
        labels = {place["name"]: place["label"] for place in comparer.picture.places}
        assert f"neighbour {int(name[2]) + 1} by {row}: picture {target}, " in labels[name]
        comparer.picture.chosen = name
        assert comparer.query.value == target and f"picture {target}, class" in comparer.words and comparer.chosen == ""
    comparer.panel.value = "curves"
    assert comparer.picture.places == []


def test_controls_that_a_panel_does_not_read_are_not_there(comparer):
    def there():
        return [name for name in ("measure", "axis", "elsewhere", "query") if getattr(comparer, name).layout.display is None]

    for panel, names in (
        ("curves", ["measure", "axis"]),
        ("final dots", ["measure", "elsewhere"]),
        ("neighbours", ["query"]),
    ):
        comparer.panel.value = panel
        assert there() == names
    comparer.panel.value = "curves"
    assert [key for _, key in comparer.measure.options] == list(summary.CURVES)


def test_ticks_and_value_say_the_same(comparer):
    several = comparer.methods
    several.boxes["moco"].value = False
    assert several.value == ("supervised", "simclr") and "moco" not in comparer.words
    several.value = ("moco", "simclr")
    assert several.value == ("simclr", "moco") and [box.value for box in several.boxes.values()] == [False, True, True]
    several.none.click()
    assert several.value == () and comparer.words == "no method is chosen: tick at least one" == comparer.picture.problem
    several.every.click()
    assert several.value == several.options and not comparer.picture.problem
    with pytest.raises(InputError, match="nope is not among supervised, simclr, moco"):
        several.value = ("nope",)
    assert several.value == several.options


def test_what_cannot_be_is_said_in_words(tmp_path):
    c = RunComparer(shelf(tmp_path))
    before = c.picture.png
    c.panel.value = "neighbours"
    assert "neighbours need pictures" in c.words and c.picture.png == before
    c.panel.value = "final dots"
    c.group.value = "photos"
    c.methods.value = ("byol",)
    assert "`mnclglf-lite evaluate" in c.words and "byol-seed0" in c.words
    with pytest.raises(InputError, match="there is no folder"):
        RunComparer(tmp_path / "nowhere")


def test_one_change_is_one_picture(comparer, monkeypatch):
    """A group or a panel settles other controls; nothing is drawn in between."""
    shown = []
    real = type(comparer.picture).show
    monkeypatch.setattr(type(comparer.picture), "show", lambda self, drawing: shown.append(drawing) or real(self, drawing))
    for change in (
        lambda: setattr(comparer.panel, "value", "final dots"),
        lambda: setattr(comparer.group, "value", "photos"),
        lambda: setattr(comparer.panel, "value", "neighbours"),
        lambda: setattr(comparer.picture, "chosen", "0.1"),
        lambda: setattr(comparer.methods, "value", ("simclr",)),
    ):
        shown.clear()
        change()
        assert len(shown) == 1


def test_the_records_that_come_with_the_package_are_what_it_opens_on():
    c = RunComparer()
    assert c.group.value == "toybox" and len(c.records) == 36 and list(c.groups) == list(groups(load_records()))
    for group in c.group.options:
        c.group.value = group
        for panel in ("curves", "final dots"):
            c.panel.value = panel
            assert not c.picture.problem and c.words


# --- in JupyterLab ---


@needs_browser()
def test_in_jupyterlab_by_mouse_and_by_keyboard(browser, lab):
    from playwright.sync_api import expect

    shelf(lab.folder / "runs")
    write_notebook(
        lab.folder / "runs.ipynb",
        "import torch\n"
        "from mnclglf_lite.data.dataset import ImageSet\n"
        "from mnclglf_lite.explorers import RunComparer\n"
        "images = torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))\n"
        "pictures = ImageSet(images, torch.arange(12) % 3, ('cat', 'dog', 'hen'), 'toybox', 'test')\n"
        "comparer = RunComparer('runs', pictures)\n"
        "comparer",
    )
    page = lab.open(browser, "runs.ipynb")
    picture, words = page.locator(".mnclglf-picture img"), page.locator(".mnclglf-picture .words")
    expect(words).to_contain_text("3 methods, 6 runs")
    state = {"src": picture.get_attribute("src"), "words": words.inner_text()}

    def changed(*parts):
        """Another picture, loaded, and other words."""
        expect(words).not_to_have_text(state["words"], use_inner_text=True)
        for part in parts:
            expect(words).to_contain_text(part)
        expect(picture).not_to_have_attribute("src", state["src"])
        page.wait_for_function("() => document.querySelector('.mnclglf-picture img').naturalWidth > 0")
        state.update(src=picture.get_attribute("src"), words=words.inner_text())

    def value(expression):
        return lab.python("runs.ipynb", expression)

    group, measure, axis = (page.get_by_label(name, exact=True) for name in ("group of runs", "measure", "against"))

    # curves, by mouse and by keyboard
    measure.select_option("loss")
    changed("loss against optimiser steps")
    measure.press("ArrowDown")
    changed("feature standard deviation (0 is collapse) against")
    axis.select_option("epochs")
    changed("against epochs")
    axis.press("ArrowDown")
    changed("against seconds of training")
    page.get_by_label("moco").click()
    changed("2 methods, 4 runs")
    page.get_by_label("supervised").press("Space")
    changed("1 method, 2 runs")
    assert value("comparer.methods.value") == "('simclr',)"
    page.get_by_role("button", name="none", exact=True).click()
    expect(page.locator(".mnclglf-picture .problem")).to_have_text("no method is chosen: tick at least one")
    page.get_by_role("button", name="all", exact=True).press("Enter")
    expect(words).to_contain_text("3 methods, 6 runs")
    expect(page.locator(".mnclglf-picture .problem")).to_have_count(0)
    state.update(src=picture.get_attribute("src"), words=words.inner_text())

    # final dots
    page.get_by_role("button", name="final dots", exact=True).press("Enter")
    changed("without labels, simclr leads with 60.0")
    expect(axis).to_be_hidden()
    group.press("ArrowUp")
    changed("simclr stands alone with 45.0")
    measure.select_option("linear")
    changed("simclr 87.1 to 87.7")
    page.get_by_label("published numbers").press("Space")
    changed()
    expect(words).not_to_contain_text("87.1")
    page.get_by_label("published numbers").click()
    changed("simclr 87.1 to 87.7")
    group.select_option("toys")
    changed("on toybox")
    assert value("comparer.group.value, len(comparer.records)") == "('toys', 6)"

    # neighbours: the query by slider, and by pressing a neighbour
    page.get_by_role("button", name="neighbours", exact=True).click()
    changed("picture 0, class cat", "No weights at hand for supervised, simclr, moco")
    slider = page.get_by_role("slider")
    slider.press("ArrowRight")
    changed("picture 1, class dog")
    box = page.locator(".noUi-base").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 1, box["y"] + box["height"] / 2)
    changed("picture 11, class hen")
    first = page.locator(".mnclglf-picture button").first
    target = re.search(r"picture (\d+), (\w+);", first.get_attribute("aria-label"))
    first.click()
    changed(f"picture {target[1]}, class {target[2]}")
    assert value("comparer.query.value") == target[1]
    again = re.search(r"picture (\d+),", first.get_attribute("aria-label"))[1]
    expect(first).to_be_focused()  # so that Enter walks on
    page.keyboard.press("Enter")
    changed(f"picture {again}, class")
    assert value("comparer.query.value, list(comparer.near)") == f"({again}, ['raw pixels'])"
    assert picture.get_attribute("alt").startswith("A query image, and rows")
    assert page.left == [] and page.errors == []
    page.close()


def test_the_shelf_of_these_tests_is_what_it_says(tmp_path):
    folder = shelf(tmp_path)
    assert json.loads((folder / "toys" / "compare.json").read_text())["budget"]["image_views"] == 960
    assert len(list(Path(folder).glob("*/*/history.jsonl"))) == 8
