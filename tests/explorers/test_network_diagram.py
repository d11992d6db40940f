"""The network diagram as an explorer: its controls without a browser, and in a real JupyterLab."""

from dataclasses import dataclass

import pytest
import torch
from browser import needs_browser, write_notebook
from conftest import QUIET, tiny
from drawn import noise

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.methods import registry, simclr
from mnclglf_lite.methods.registry import METHODS, VARIANTS, register_method
from mnclglf_lite.training.train import train

pytest.importorskip("anywidget")
widgets = pytest.importorskip("mnclglf_lite.explorers")


@pytest.fixture(scope="module")
def explorer():
    return widgets.NetworkDiagram()


def test_every_method_and_variant_can_be_chosen_and_is_drawn(explorer):
    assert list(explorer.method.options) == [*METHODS, *VARIANTS] and explorer.method.value == "mnclglf"
    seen = set()
    for name in explorer.method.options:
        explorer.method.value = name
        assert f"{name}: " in explorer.words and not explorer.picture.problem
        seen.add(bytes(explorer.picture.png))
    assert len(seen) == len(explorer.method.options)
    explorer.method.value = "mnclglf"


def test_every_control_changes_the_picture_or_the_words(explorer):
    for control, value in (
        (explorer.which, 5), (explorer.shown, "ways without"), (explorer.progress, 0.5), (explorer.method, "cgh")
    ):  # fmt: skip
        before = bytes(explorer.picture.png), explorer.words
        control.value = value
        assert (bytes(explorer.picture.png), explorer.words) != before
    assert "50% of the run done" in explorer.words
    explorer.shown.value, explorer.progress.value, explorer.method.value = "everything", 0.1, "mnclglf"


def test_a_box_that_is_pressed_is_looked_into(explorer):
    places = {place["name"]: place for place in explorer.picture.places}
    assert places["projector 4"]["label"] == "c1 (projector, call 4)"
    explorer.picture.chosen = "projector 4"
    assert explorer.words.startswith("Looking at c1 (projector, call 4)") and "gradient none arrived" in explorer.words
    explorer.method.value = "simclr"  # which has no such box
    assert explorer.words.startswith("Looking at z1")
    explorer.method.value = "mnclglf"
    assert explorer.words.startswith("Looking at c1")


def test_the_graph_is_measured_once_for_each_method_and_moment(explorer, monkeypatch):
    before = explorer.graph
    monkeypatch.setattr("mnclglf_lite.explorers.networks.widget.trace", lambda *args: pytest.fail("watched again"))
    explorer.which.value, explorer.shown.value = 3, "ways a gradient goes"
    assert explorer.graph is before


def test_it_takes_a_name_a_recipe_or_a_run(toys):
    assert widgets.NetworkDiagram("byol").graph.recipe.method.name == "byol"
    assert widgets.NetworkDiagram("mnclglf-released").graph.recipe.method.local_gradient is False
    mine = widgets.NetworkDiagram(tiny("simclr"), toys)
    assert mine.graph.pictures == 16 and mine.which.max == 31 and mine.graph.nodes["view 1"].tensor.shape[-1] == 16
    run = train(tiny("nnclr"), toys, **QUIET)
    mine = widgets.NetworkDiagram(run, toys.train)
    assert mine.progress.value == 1.0 and "nnclr: " in mine.words
    queue = run.method.queue.entries.clone()
    mine.picture.chosen = "queue 1"
    found = mine.graph.named("n1").tensor
    assert all(any(torch.equal(row, entry) for entry in queue) for row in found)  # neighbours from this run's own queue
    mine.method.value = "simclr"
    assert "simclr: " in mine.words


def test_a_method_of_ones_own_is_among_them(toys):
    @dataclass(frozen=True)
    class MineConfig(simclr.SimCLRConfig):
        name = "mine"

    @dataclass(frozen=True)
    class BrokenConfig(simclr.SimCLRConfig):
        name = "broken"

    register_method(type("Mine", (simclr.SimCLR,), {"Config": MineConfig}))
    try:
        explorer = widgets.NetworkDiagram("mine")
        assert "mine" in explorer.method.options and "mine: " in explorer.words

        class Broken(simclr.SimCLR):
            Config = BrokenConfig

            def forward(self, views, labels=None):
                raise ValueError("no such thing")

        register_method(Broken)
        explorer = widgets.NetworkDiagram()
        picture = bytes(explorer.picture.png)
        explorer.method.value = "broken"  # said in words, the last picture stays, no traceback
        assert "forward of the method 'broken' broke off: ValueError: no such thing" in explorer.words
        assert bytes(explorer.picture.png) == picture
    finally:
        for name in ("mine", "broken"):
            registry._methods.pop(name, None)


@pytest.mark.parametrize(
    "given, words",
    [
        (("byoll",), "did you mean 'byol'"),
        ((3,), "a method's name, a Recipe or a Run; got int"),
        ((None, 3), "an ImageSet with pictures"),
        ((None, "empty"), "an ImageSet with pictures"),
    ],
)
def test_bad_input(given, words, toys):
    if given[-1] == "empty":
        given = (None, toys.train.subset(torch.arange(0)))
    with pytest.raises(InputError, match=words):
        widgets.NetworkDiagram(*given)


def test_pictures_may_be_few_and_tiny():
    explorer = widgets.NetworkDiagram("simclr", noise(2, side=1))
    assert explorer.graph.pictures == 2 and explorer.which.max == 1


@needs_browser()
def test_in_jupyterlab_by_mouse_and_by_keyboard(browser, lab):
    from playwright.sync_api import expect

    cells = ("from mnclglf_lite.explorers import NetworkDiagram", "explorer = NetworkDiagram('simsiam')\nexplorer")
    write_notebook(lab.folder / "networks.ipynb", *cells)
    page = lab.open(browser, "networks.ipynb")
    frame = page.locator(".mnclglf-picture")
    img, words = frame.locator("img"), frame.locator(".words")
    expect(words).to_contain_text("simsiam: 2 views of each of 32 pictures")

    def changes(act, text="", picture=True):
        src = img.get_attribute("src")
        act()
        expect(words).to_contain_text(text)
        if picture:
            expect(img).not_to_have_attribute("src", src)

    def value(of):
        return lab.python("networks.ipynb", f"explorer.{of}")

    def click_track(number, share):
        track = page.locator(".noUi-target").nth(number).bounding_box()
        page.mouse.click(track["x"] + share * track["width"], track["y"] + track["height"] / 2)

    method, shown = (page.get_by_label(name, exact=True).locator("visible=true") for name in ("method", "show"))
    changes(lambda: method.select_option("byol"), "momentum_backbone follows backbone")
    assert value("method.value") == "'byol'"
    changes(lambda: method.press("ArrowDown"), "nnclr: 2 views of each")
    assert value("graph.recipe.method.name") == "'nnclr'"
    shot = frame.screenshot()
    changes(lambda: shown.select_option("ways without"))
    assert frame.screenshot() != shot
    changes(lambda: shown.press("ArrowUp"))
    assert value("shown.value") == "'ways a gradient goes'"

    which, share = (page.get_by_role("slider").nth(i) for i in (0, 1))
    changes(lambda: which.press("ArrowRight"))
    assert value("which.value") == "1"
    changes(lambda: click_track(0, 0.7))
    assert int(value("which.value")) > 10
    changes(lambda: share.press("ArrowRight"), "11% of the run done", picture=False)
    click_track(1, 0.5)
    expect(words).not_to_contain_text("11% of the run done")

    changes(frame.get_by_role("button", name="n1 (queue, call 1)").click, "Looking at n1 (queue, call 1), made of z1")
    assert value("chosen") == "'queue 1'"
    second = frame.get_by_role("button", name="p2 (predictor, call 2)")
    changes(lambda: second.press("Enter"), "Looking at p2 (predictor, call 2), made of z2")
    expect(second).to_have_attribute("aria-pressed", "true")
    assert page.left == [] and page.errors == []
