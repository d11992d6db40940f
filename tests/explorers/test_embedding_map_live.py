"""The embedding map in a real browser: the same checks of it as a page from disk and in JupyterLab."""

import math

import numpy as np
import pytest
import torch
from browser import needs_browser, new_page, write_notebook
from map_case import CASE, CHOSEN, NAMES, case
from oracles import slow_neighbours

from mnclglf_lite.drawing.palette import CLASS_COLOURS, rgb
from mnclglf_lite.explorers.embedding import state

pytest.importorskip("anywidget")
pytest.importorskip("matplotlib")

COLOURS = ((200, 40, 200), (40, 200, 40), (240, 240, 40))
AGREE, DISAGREE = (0, 114, 178), (184, 74, 0)  # of the lines, in the light theme


class Shown:
    """A map on the screen, and its state as the other end has it."""

    def __init__(self, page, at, made, name):
        self.page, self.root, self.name = page, page.locator(".mnclglf-map").nth(at), name
        self.map = made[name]  # the same map in this process: what it should show
        self.over, self.dots = self.root.locator(".over"), self.root.locator(".dots")
        self.facts, self.say = self.root.locator(".facts").first, self.root.locator("[aria-live=polite]")
        self.near = [
            slow_neighbours(made[side], CHOSEN, 5) for side in (["after"] if name == "one" else ["before", "after"])
        ]

    def button(self, name, **more):
        return self.root.get_by_role("button", name=name, **more)

    def places(self, side=0, kind="pca"):
        """Where each dot is on its canvas: the layout around the middle, 28 pixels free at the nearer edges."""
        points = np.frombuffer(self.map.layouts[kind][side], "<f4").reshape(-1, 2).astype(float)
        low, high = points.min(0), points.max(0)
        size = np.array(self.size(side))
        scale = ((size - 56) / (high - low)).min()
        placed = size / 2 + (points - (low + high) / 2) * scale * [1, -1]
        return dict(zip(CHOSEN, placed, strict=True))

    def at(self, number, side=0, kind="pca"):
        """Where a picture's dot is."""
        return self.places(side, kind)[number]

    def mouse(self, number, side=0, kind="pca"):
        """Moves the mouse to a picture's dot."""
        self.over.nth(side).scroll_into_view_if_needed()
        box, (x, y) = self.over.nth(side).bounding_box(), self.at(number, side, kind)
        self.page.mouse.move(box["x"] + x, box["y"] + y)

    def pixels(self, places, side=0, canvas="over"):
        """Colours (n, 4) of a canvas at places in CSS pixels."""
        read = "(c, at) => at.map(([x, y]) => [...c.getContext('2d').getImageData(x, y, 1, 1).data])"
        return np.array(getattr(self, canvas).nth(side).evaluate(read, [list(map(float, place)) for place in places]))

    def picture(self, side=0, canvas="over"):
        """All bytes of a canvas."""
        return getattr(self, canvas).nth(side).evaluate("c => c.toDataURL()")

    def until_dots(self, same, old):
        """Until the dots look as they did, or no longer do."""
        compare = f"([c, old]) => (c.toDataURL() === old) === {str(same).lower()}"
        self.page.wait_for_function(compare, arg=[self.dots.element_handle(), old])

    def click(self, number, side=0):
        """The mouse, on a picture's dot."""
        self.mouse(number, side)
        self.page.mouse.down()
        self.page.mouse.up()

    def size(self, side=0):
        """Width and height of a canvas."""
        box = self.over.nth(side).bounding_box()
        return box["width"], box["height"]

    def lonely(self, among=CHOSEN):
        """A picture whose dot no other's is near to, so that the mouse can mean no other."""

        sides = [self.places(side) for side in range(len(self.near))]
        return max(among, key=lambda i: min(math.dist(at[i], at[j]) for at in sides for j in CHOSEN if j != i))

    def strip(self, side=0):
        """What a strip says of its neighbours."""
        return [one.get_attribute("aria-label") for one in self.root.locator(".strip").nth(side).locator("button").all()]

    def lasso(self, corners, side=0, shift=True):
        """Draws a line around places of a canvas."""
        box = self.over.nth(side).bounding_box()
        if shift:
            self.page.keyboard.down("Shift")
        for at, (x, y) in enumerate([*corners, corners[0]]):
            self.page.mouse.move(box["x"] + x, box["y"] + y, steps=4)
            if not at:
                self.page.mouse.down()
        self.page.mouse.up()
        if shift:
            self.page.keyboard.up("Shift")


class Page(Shown):
    """As a page from disk: the other end is the page's stand-in for a model."""

    def get(self, name):
        value = self.page.evaluate(
            "name => { const v = document.querySelector('#map').model.get(name);"
            "return v instanceof DataView ? [...new Int32Array(v.buffer)] : v; }",
            name,
        )
        return tuple(value) if isinstance(value, list) else value

    def set(self, name, value):
        self.page.evaluate(
            "([name, v]) => document.querySelector('#map').model.set("
            "name, name === 'selected' ? new DataView(Int32Array.from(v).buffer) : v)",
            [name, value],
        )


class InLab(Shown):
    """In a notebook: the other end is the kernel."""

    def __init__(self, page, at, made, name, lab):
        super().__init__(page, at, made, name)
        self.lab = lab

    def get(self, name):
        return eval(self.lab.python("map.ipynb", f"{self.name}.{name}"))

    def set(self, name, value):
        self.lab.python("map.ipynb", f"setattr({self.name}, {name!r}, {value!r})")


def wait(shown, name, value):
    """Until the other end has it: a message to the kernel takes a moment."""
    for _ in range(50):
        found = shown.get(name)
        if found == value:
            return
        shown.page.wait_for_timeout(100)
    assert found == value, name


# UMAP in the notebook: ends when a file is there, so that a test sees what is shown meanwhile
GATE = """
import pathlib, time

def gated(x, **params):
    while not pathlib.Path("open").exists():
        time.sleep(0.05)
    return layouts.pca(x).flip(1)

layouts.KINDS["umap"] = gated
"""


@pytest.fixture(scope="module")
def notebook(request):
    lab, browser = request.getfixturevalue("lab"), request.getfixturevalue("browser")
    write_notebook(lab.folder / "map.ipynb", CASE + GATE, "one", "two")
    page = lab.open(browser, "map.ipynb")
    page.wait_for_function("document.querySelectorAll('.mnclglf-map[data-ready=yes]').length === 2")
    yield lab, page
    assert page.left == [] and page.errors == []
    page.close()


@pytest.fixture(params=["page", "lab"])
def host(request, tmp_path):
    """A function that shows one of the maps, untouched."""
    made = case()
    if request.param == "lab":
        lab, page = request.getfixturevalue("notebook")

        def show(name):
            at = ("one", "two").index(name)
            for key, value in {"kind": "pca", "selected": (), "pinned": None, "isolated": None}.items():
                lab.python("map.ipynb", f"setattr({name}, {key!r}, {value!r})")
            shown = InLab(page, at, made, name, lab)
            shown.over.first.scroll_into_view_if_needed()
            page.mouse.move(2, 2)
            page.wait_for_function(
                "r => r.dataset.kind === 'pca' && /^Point at/.test(r.querySelector('.name').textContent)"
                " && /^nothing/.test(r.querySelectorAll('.facts')[1].textContent)",
                arg=shown.root.element_handle(),
            )
            return shown

        yield show
        return
    pages = []

    def show(name):
        shown = made[name]
        shown.kind = "tsne"
        shown.kind = "pca"
        page = new_page(request.getfixturevalue("browser"))
        pages.append(page)
        page.goto(shown.save(tmp_path / f"{name}.html", "A map").as_uri())
        page.wait_for_selector(".mnclglf-map[data-ready=yes]")
        return Page(page, 0, made, name)

    yield show
    for page in pages:
        assert page.left == [] and page.errors == []
        page.close()


def expect(locator):
    from playwright.sync_api import expect as playwrights

    return playwrights(locator)


def told(near, i):
    return f"{sum(j % 3 == i % 3 for j in near[i])} of 5 neighbours share its label"


@needs_browser()
def test_hover_shows_the_picture_its_neighbours_and_lines(host):
    one = host("one")
    i = one.lonely()
    plain = one.picture()
    one.mouse(i)
    expect(one.root.locator(".name")).to_have_text(NAMES[i % 3])
    expect(one.facts).to_have_text(f"picture {i}\n{told(one.near[0], i)}")
    assert one.picture() != plain
    assert one.strip() == [
        f"neighbour {at + 1}: {NAMES[j % 3]}, picture {j}, {'same' if j % 3 == i % 3 else 'another'} label"
        for at, j in enumerate(one.near[0][i])
    ]
    large = one.root.locator(".large").evaluate("c => [...c.getContext('2d').getImageData(64, 64, 1, 1).data]")
    assert np.abs(np.array(large[:3]) - COLOURS[i % 3]).max() <= 8
    for at, j in enumerate(one.near[0][i]):
        read = "c => [...c.getContext('2d').getImageData(32, 32, 1, 1).data]"
        shown = one.root.locator(".strip canvas").nth(at).evaluate(read)
        assert np.abs(np.array(shown[:3]) - COLOURS[j % 3]).max() <= 8
    one.page.mouse.move(2, 2)
    expect(one.root.locator(".name")).to_have_text("Point at a dot")
    assert one.picture() == plain and one.get("pinned") is None


@needs_browser()
def test_lines_of_agreeing_neighbours_are_solid_and_of_others_dashed(host):
    """Colours along each line, where no dot, picture or other line is over it."""
    one = host("one")
    seen, places = {True: 0, False: 0}, one.places()
    for i in CHOSEN:
        one.set("pinned", i)
        expect(one.facts).to_have_text(f"picture {i}, pinned\n{told(one.near[0], i)}")
        a, ends = places[i], {j: places[j] for j in one.near[0][i]}
        for j, b in ends.items():
            same = j % 3 == i % 3
            if math.dist(a, b) < 80 or seen[same] >= 3:
                continue
            along = a + np.linspace(0, 1, int(2 * math.dist(a, b)))[:, None] * (b - a)  # two places a pixel
            free = [
                p for p in along
                if min(math.dist(p, q) for q in (a, *ends.values())) > 14
                and all(_distance(p, a, c) > 6 for k, c in ends.items() if k != j)
            ]  # fmt: skip
            if len(free) < 60:
                continue
            shades = one.pixels(free)[:, :3].astype(int)
            free = np.abs(shades - COLOURS[i % 3]).max(1) > 40  # not under the picture itself
            if free.sum() < 60:
                continue
            right, wrong = (
                (np.abs(shades[free] - colour).max(1) < 60).mean()
                for colour in ((AGREE, DISAGREE) if same else (DISAGREE, AGREE))
            )
            assert wrong == 0
            assert right > 0.9 if same else 0.4 < right < 0.8, (i, j)  # 5 pixels of 9
            seen[same] += 1
        if min(seen.values()) >= 3:
            break
    assert min(seen.values()) >= 2


def _distance(p, a, b):
    """Of a point from the line between two."""
    t = np.clip(np.dot(p - a, b - a) / np.dot(b - a, b - a), 0, 1)
    return math.dist(p, a + t * (b - a))


@needs_browser()
def test_click_pins_and_keys_walk(host):
    one = host("one")
    i = one.lonely()
    one.click(i)
    expect(one.facts).to_have_text(f"picture {i}, pinned\n{told(one.near[0], i)}")
    expect(one.say).to_have_text(f"Pinned {NAMES[i % 3]}, picture {i}. {told(one.near[0], i)}.")
    wait(one, "pinned", i)
    other = one.lonely([j for j in CHOSEN if j != i and j not in one.near[0][i]])
    one.mouse(other)
    expect(one.facts).to_contain_text(f"picture {i}, pinned")  # pinned is pinned
    press = one.page.keyboard.press
    press("ArrowRight")
    press("ArrowRight")
    second = one.near[0][i][1]
    expect(one.root.locator(".near.chosen")).to_have_count(1)
    assert one.root.locator(".near").nth(1).get_attribute("class").endswith("chosen")
    expect(one.say).to_contain_text(f"Neighbour 2 of 5: {NAMES[second % 3]}, picture {second}")
    press("Enter")
    wait(one, "pinned", second)
    expect(one.facts).to_contain_text(f"picture {second}, pinned")
    press("Backspace")
    wait(one, "pinned", i)
    press("ArrowLeft")
    expect(one.say).to_contain_text("Neighbour 5 of 5")
    press("Escape")
    wait(one, "pinned", None)
    expect(one.facts).to_contain_text(f"picture {other}\n")  # under the mouse all the while
    press("ArrowUp")
    wait(one, "pinned", other)
    one.root.locator(".strip button").nth(3).click()
    wait(one, "pinned", one.near[0][other][3])


@needs_browser()
def test_the_keyboard_alone_pins_zooms_selects_and_isolates(host):
    one = host("one")
    one.over.focus()
    press = one.page.keyboard.press
    cells = one.page.locator(".jp-Cell").count()
    press("ArrowDown")  # nothing is pinned: the dot in the middle
    places, middle = one.places(), np.array(one.size()) / 2
    i = min(CHOSEN, key=lambda j: math.dist(places[j], middle))
    wait(one, "pinned", i)
    before = one.picture(canvas="dots")
    press("+")
    one.until_dots(False, before)
    press("Shift+ArrowLeft")
    press("0")
    one.until_dots(True, before)
    for letter in "abxdm":  # JupyterLab's keys for cells
        press(letter)
    assert one.page.locator(".jp-Cell").count() == cells
    one.button("It and its neighbours").focus()
    press("Enter")
    wait(one, "selected", tuple(sorted([i, *one.near[0][i]])))
    one.button("Take it out").focus()
    press("Enter")
    wait(one, "selected", tuple(sorted(one.near[0][i])))
    one.button("Add it", exact=True).press("Space")
    wait(one, "selected", tuple(sorted([i, *one.near[0][i]])))
    one.button("Its class").press("Enter")
    wait(one, "selected", tuple(j for j in CHOSEN if j % 3 == i % 3))
    one.button("None").press("Enter")
    wait(one, "selected", ())
    one.root.locator(".legend button").first.focus()
    press("ArrowRight")
    press("ArrowRight")
    press("b")
    press("Enter")
    wait(one, "isolated", 2)
    assert one.page.locator(".jp-Cell").count() == cells
    expect(one.say).to_have_text("Nothing is pinned." if i % 3 != 2 else "Only hen is shown.")
    one.button("This class" if i % 3 != 2 else "Its class").press("Enter")
    wait(one, "selected", tuple(j for j in CHOSEN if j % 3 == 2))


def inside(corners, x, y):
    """Whether a place is in a convex outline: always on the same side of its edges."""
    edges = zip(corners, [*corners[1:], corners[0]], strict=True)
    return len({(bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0 for (ax, ay), (bx, by) in edges}) == 1


@needs_browser()
def test_a_lasso_selects_what_is_in_it(host):
    one = host("one")
    w, h = one.size()
    corners = [(0.3 * w, 20), (0.97 * w, 30), (0.8 * w, h - 20), (0.45 * w, h - 40)]
    expected = tuple(i for i, at in one.places().items() if inside(corners, *at))
    assert 5 < len(expected) < 45
    plain = one.picture(canvas="dots")
    one.lasso(corners)
    wait(one, "selected", expected)
    assert one.picture(canvas="dots") != plain
    counted = state.tally(torch.tensor(expected) % 3, NAMES)
    expect(one.root.locator(".facts").nth(1)).to_have_text(f"{len(expected)} pictures: {counted}")
    expect(one.say).to_have_text(f"Selected {len(expected)} pictures: {counted}.")
    expect(one.root.locator(".chosen-sheet")).to_be_visible()
    assert one.get("pinned") is None  # a drag is no click
    one.button("Lasso").click()
    corners = [(10, 60), (0.5 * w, 60), (0.5 * w, h - 10), (10, h - 10)]
    expected = tuple(i for i, at in one.places().items() if inside(corners, *at))
    one.lasso(corners, shift=False)
    wait(one, "selected", expected)
    one.button("Lasso").click()


@needs_browser()
def test_a_drag_moves_the_map_and_the_wheel_zooms_under_the_hand(host):
    one = host("one")
    i = one.lonely()
    plain = one.picture(canvas="dots")
    one.mouse(i)
    x, y = one.at(i)
    box = one.over.bounding_box()
    one.page.mouse.down()
    one.page.mouse.move(box["x"] + x - 60, box["y"] + y + 40, steps=5)
    one.page.mouse.up()
    assert one.get("pinned") is None and one.get("selected") == ()  # no click, no lasso
    one.page.mouse.move(2, 2)
    expect(one.root.locator(".name")).to_have_text("Point at a dot")
    one.page.mouse.move(box["x"] + x - 60, box["y"] + y + 40)
    expect(one.facts).to_contain_text(f"picture {i}")
    moved = one.picture(canvas="dots")
    one.over.focus()
    one.page.mouse.wheel(0, -400)
    one.until_dots(False, moved)
    one.page.mouse.move(2, 2)
    one.page.mouse.move(box["x"] + x - 60, box["y"] + y + 40)
    expect(one.facts).to_contain_text(f"picture {i}")
    one.button("Zoom out to all dots").click()
    one.until_dots(True, plain)


@needs_browser()
def test_what_the_other_end_sets_is_shown(host):
    one = host("one")
    plain = one.picture(canvas="dots")
    one.set("selected", (CHOSEN[3], CHOSEN[4], CHOSEN[6]))
    expect(one.root.locator(".facts").nth(1)).to_contain_text("3 pictures:")
    for i in (CHOSEN[3], CHOSEN[4], CHOSEN[6]):
        x, y = one.at(i)
        shades = one.pixels([(x + dx, y + dy) for dx in range(-8, 9) for dy in range(-8, 9)], canvas="dots")
        assert (shades[:, 3] > 250).any()  # full strength; others have 30 %
    one.set("selected", ())
    expect(one.root.locator(".facts").nth(1)).to_contain_text("nothing")
    assert one.picture(canvas="dots") == plain
    one.set("pinned", CHOSEN[9])
    expect(one.facts).to_contain_text(f"picture {CHOSEN[9]}, pinned")
    one.set("isolated", 1)
    expect(one.button("dog", exact=False)).to_have_attribute("aria-pressed", "true")


@needs_browser()
def test_the_legend_isolates_a_class(host):
    one = host("one")
    i = one.lonely()
    one.button(NAMES[(i + 1) % 3]).click()
    wait(one, "isolated", (i + 1) % 3)
    one.mouse(i)
    one.page.mouse.move(*(sum(pair) for pair in zip(one.page.viewport_size.values(), (-3, -3), strict=True)))
    one.mouse(i)
    expect(one.root.locator(".name")).to_have_text("Point at a dot")  # it is not there for the hand
    w, h = one.size()
    one.lasso([(5, 50), (w - 5, 50), (w - 5, h - 5), (5, h - 5)])
    wait(one, "selected", tuple(j for j, at in one.places().items() if j % 3 == (i + 1) % 3 and at[1] > 50))
    one.button(NAMES[(i + 1) % 3]).click()
    wait(one, "isolated", None)
    one.mouse(i)
    expect(one.facts).to_contain_text(f"picture {i}")


@needs_browser()
def test_two_maps_are_one_to_the_hand(host):
    two = host("two")
    heads = two.root.locator(".head").all_text_contents()
    for name, head, share in zip(("untrained", "trained"), heads, two.map.data["shares"], strict=True):
        assert head.startswith(name) and f"{100 * share:.0f} % of the 5 nearest" in head
    i = two.lonely()
    plain = [two.picture(side) for side in (0, 1)]
    two.mouse(i, side=0)
    both = len(set(two.near[0][i]) & set(two.near[1][i]))
    each = f"untrained: {told(two.near[0], i)}\ntrained: {told(two.near[1], i)}"
    expect(two.facts).to_have_text(f"picture {i}\n{each}\n{both} of 5 neighbours are the same in both")
    for side in (0, 1):
        assert two.picture(side) != plain[side]
        assert [line.split("picture ")[1].split(",")[0] for line in two.strip(side)] == [str(j) for j in two.near[side][i]]
        ends = 0  # dots in their class's colour at the ends of the lines
        for j in two.near[side][i]:
            x, y = two.at(j, side)
            shades = two.pixels([(x + dx, y) for dx in range(-3, 4)], side)
            ends += bool((np.abs(shades[:, :3] - rgb(CLASS_COLOURS[j % 3])).max(1) < 12).any())
        assert ends >= 4  # the picture may lie over one
    two.click(i, side=1)
    wait(two, "pinned", i)
    dots = [two.picture(side, "dots") for side in (0, 1)]
    w, h = two.size(1)
    corners = [(5, 50), (0.6 * w, 50), (0.6 * w, h - 5), (5, h - 5)]
    two.lasso(corners, side=1)
    expected = tuple(j for j, at in two.places(1).items() if inside(corners, *at))
    assert 0 < len(expected) < 50
    wait(two, "selected", expected)
    for side in (0, 1):
        assert two.picture(side, "dots") != dots[side]
    two.over.nth(1).focus()
    two.page.keyboard.press("ArrowRight")
    expect(two.say).to_contain_text("trained: neighbour 1 of 5")
    assert "chosen" in two.root.locator(".strip").nth(1).locator("button").first.get_attribute("class")
    two.page.keyboard.press("Enter")
    wait(two, "pinned", two.near[1][i][0])
    two.button("It and its neighbours").click()
    one = two.near[1][i][0]
    wait(two, "selected", tuple(sorted({one, *two.near[0][one], *two.near[1][one]})))


@needs_browser()
def test_a_layout_is_switched_by_mouse_and_by_key(host):
    one = host("one")
    before = one.picture(canvas="dots")
    expect(one.button("PCA")).to_have_attribute("aria-pressed", "true")
    one.button("t-SNE").click()
    one.page.wait_for_function("root => root.dataset.kind === 'tsne'", arg=one.root.element_handle())
    expect(one.button("t-SNE")).to_have_attribute("aria-pressed", "true")
    expect(one.root.locator(".truth")).to_contain_text("t-SNE, perplexity 30")
    assert one.picture(canvas="dots") != before
    if "tsne" not in one.map.layouts:
        one.map.kind = "tsne"  # here too: seed 0, the same on this machine
    i = CHOSEN[11]
    one.mouse(i, kind="tsne")
    shown = one.facts.text_content().split("\n")[0].removeprefix("picture ")
    here = one.at(i, kind="tsne")
    assert math.dist(here, one.at(int(shown), kind="tsne")) < 8  # it, or one beside it
    wait(one, "kind", "tsne")
    one.button("PCA").press("Enter")
    one.page.wait_for_function("root => root.dataset.kind === 'pca'", arg=one.root.element_handle())
    assert one.picture(canvas="dots") == before


@needs_browser()
def test_while_a_layout_is_computed_the_map_says_so_and_answers(notebook):
    lab, page = notebook
    made = case()
    lab.python("map.ipynb", "exec('one.kind = \"pca\"; one.pinned = one.isolated = None; one.selected = ()')")
    one = InLab(page, 0, made, "one", lab)
    status = one.root.locator(".state")
    one.button("UMAP").click()
    expect(status).to_contain_text("Computing UMAP")
    expect(one.say).to_contain_text("Computing UMAP")
    i = one.lonely()
    one.mouse(i)
    expect(one.facts).to_contain_text(f"picture {i}")
    (lab.folder / "open").touch()
    page.wait_for_function("root => root.dataset.kind === 'umap'", arg=one.root.element_handle())
    expect(status).to_have_text("")
    wait(one, "kind", "umap")
    assert set(one.get("layouts")) >= {"pca", "umap"}
    lab.python("map.ipynb", "layouts.KINDS.update(tsne=lambda x, **p: layouts.check(x, 99, 't-SNE'))")
    lab.python("map.ipynb", "one.layouts.pop('tsne', None) and one.send_state('layouts')")
    one.button("t-SNE").click()
    expect(status).to_contain_text("t-SNE takes features (N, D) with N >= 99")
    expect(one.button("UMAP")).to_have_attribute("aria-pressed", "true")
    assert "N >= 99" in one.get("words")


@needs_browser()
def test_colours_follow_jupyterlabs_theme(notebook):
    lab, page = notebook
    root = page.locator(".mnclglf-map").first
    paper = "r => getComputedStyle(r).backgroundColor"
    dots = root.locator(".dots").evaluate("c => c.toDataURL()")
    assert root.evaluate(paper) == "rgb(255, 255, 255)"
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    page.wait_for_function("([c, old]) => c.toDataURL() !== old", arg=[root.locator(".dots").element_handle(), dots])
    assert root.evaluate(paper) == "rgb(22, 24, 27)"
    page.evaluate("document.body.dataset.jpThemeLight = 'true'")
    page.wait_for_function("([c, old]) => c.toDataURL() === old", arg=[root.locator(".dots").element_handle(), dots])


@needs_browser()
def test_a_page_in_the_dark_and_without_pictures(browser, tmp_path):
    made = case()
    bare = type(made["one"])(made["after"], None, labels=made["labels"], classes=NAMES, k=3)
    page = new_page(browser, color_scheme="dark")
    page.goto(bare.save(tmp_path / "bare.html").as_uri())
    page.wait_for_selector(".mnclglf-map[data-ready=yes]")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 27)"
    root = page.locator(".mnclglf-map")
    expect(root.locator(".facts").first).to_contain_text("the pictures themselves are not here")
    for hidden in (root.locator(".large"), root.get_by_role("button", name="Pictures over the dots")):
        expect(hidden).to_be_hidden()
    root.locator(".over").focus()
    page.keyboard.press("ArrowRight")
    expect(root.locator(".facts").first).to_contain_text("of 3 neighbours share its label")
    assert root.locator(".strip canvas:visible").count() == 0 and root.locator(".strip button:visible").count() == 3
    assert page.left == [] and page.errors == []
    page.close()


@needs_browser()
def test_it_can_be_read_without_eyes(browser, tmp_path):
    page = new_page(browser)
    page.goto(case()["two"].save(tmp_path / "two.html").as_uri())
    page.wait_for_selector(".mnclglf-map[data-ready=yes]")
    for canvas in page.locator(".over").all():
        assert canvas.get_attribute("tabindex") == "0"
        assert "map of 50 pictures in 3 classes" in canvas.get_attribute("aria-label")
        described = canvas.get_attribute("aria-describedby").split()
        assert len(described) == 2 and all(page.locator(f"#{name}").text_content() for name in described)
    assert "6- and the 5-dimensional spaces; this flat picture may disagree" in page.locator(".truth").text_content()
    for button in page.get_by_role("button").all():
        assert button.get_attribute("aria-label") or button.text_content()
    for bare in page.locator("canvas:not([aria-label]):visible").all():  # not for a screen reader: in words elsewhere
        assert bare.evaluate("c => c.getAttribute('aria-hidden') === 'true' || c.closest('button') !== null")
    page.close()
