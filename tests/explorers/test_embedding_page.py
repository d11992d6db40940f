import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from drawn import noise

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.drawing import palette, plots
from mnclglf_lite.evaluation import layouts
from mnclglf_lite.evaluation.knn import nearest_neighbours
from mnclglf_lite.explorers.embedding import page as page
from mnclglf_lite.explorers.embedding import state
from mnclglf_lite.explorers.embedding.page import build_page

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("matplotlib")

IDS = {"title", "caption", "map", "state"}


class Reader(HTMLParser):
    """Ids, tags, outside addresses and the text of scripts."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.tags, self.links, self.texts, self.stack = [], [], [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        self.stack.append((tag, attributes.get("id")))
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes[key] for key in ("src", "href", "action", "data") if key in attributes]

    def handle_endtag(self, tag):
        while self.stack and self.stack.pop()[0] != tag:
            pass

    def handle_data(self, text):
        if self.stack:
            key = self.stack[-1]
            self.texts[key] = self.texts.get(key, "") + text


@pytest.fixture(scope="module")
def case():
    """Twelve pictures of noise in three classes, with a layout and neighbours."""
    features = torch.randn(12, 7, generator=torch.Generator().manual_seed(0))
    return noise(side=16), layouts.pca(features), nearest_neighbours(features, features, 4, exclude_self=True)[1]


def made(case, title="", caption="", **changes):
    pictures, points, near = case
    given = {name: getattr(pictures, name) for name in ("images", "labels", "classes")}
    given |= {"layouts": {"pca": [points]}, "neighbours": [near]}
    return build_page(state.map_state(**{**given, "dimensions": [7], **changes}), title, caption)


def read(text):
    """What the page's script reads, bytes as arrays."""

    def unpacked(value):
        return base64.b64decode(value["base64"]) if set(value) == {"base64"} else value

    return json.loads(Reader(text).texts["script", "state"], object_hook=unpacked)


def numbers(packed, dtype):
    return np.frombuffer(packed, dtype)


def test_the_page_asks_nobody_for_anything(case):
    text = made(case, title="A title", caption="A caption")
    assert not re.search(r"https?:|//[a-z0-9-]+\.[a-z]|\burl\(|@import|\bfetch\(|XMLHttpRequest|WebSocket", text)
    page = Reader(text)
    assert page.links == ["data:,"]  # the icon, so that no browser looks for one
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "{{" not in text


def test_every_id_is_there_once_and_the_script_uses_no_other(case):
    text = made(case)
    page = Reader(text)
    assert sorted(page.ids) == sorted(IDS)
    used = set(re.findall(r'getElementById\("(\w+)"\)', text))
    assert used and used <= IDS


def test_the_page_says_its_language_and_follows_the_systems_theme(case):
    page = Reader(made(case))
    assert ("html", {"lang": "en"}) in page.tags
    assert {"name": "color-scheme", "content": "light dark"} in [a for tag, a in page.tags if tag == "meta"]


def test_data_come_back_as_they_were_given(case):
    pictures, points, near = case
    found = read(made(case, index=torch.arange(12) * 10))
    static = found["data"]
    np.testing.assert_array_equal(numbers(found["layouts"]["pca"][0], "<f4").reshape(12, 2), points.numpy())
    np.testing.assert_array_equal(numbers(static["labels"], "<u2"), pictures.labels.numpy())
    np.testing.assert_array_equal(numbers(static["neighbours"][0], "<u2").reshape(12, static["k"]), near.numpy())
    np.testing.assert_array_equal(numbers(static["index"], "<i4"), np.arange(12) * 10)
    assert static["classes"] == ["cat", "dog", "hen"] and static["dimensions"] == [7]
    assert static["colours"] == list(palette.CLASS_COLOURS)
    assert (found["kind"], found["pinned"], found["selected"], found["isolated"]) == ("pca", None, b"", None)


def test_neighbours_of_more_points_than_two_bytes_can_count_take_four():
    count = 65_537
    near = (torch.arange(count)[:, None] + 1) % count
    labels = torch.zeros(count, dtype=torch.int64)
    found = state.map_state({"pca": [torch.rand(count, 2)]}, [near], labels, ["a"], [3])["data"]
    np.testing.assert_array_equal(numbers(found["neighbours"][0], "<u4"), near.flatten())


@pytest.mark.parametrize("side, tile", [(16, 16), (30, 32), (80, 64)])
def test_each_picture_is_where_the_script_looks_for_it(side, tile):
    """Pictures of one colour, so that JPEG and resizing cannot change them by much."""
    colours = torch.randint(0, 256, (7, 3, 1, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    images = colours.expand(7, 3, side, side)
    packed, shown_tile, columns = state.sheet(images)
    assert shown_tile == tile
    sheet = np.asarray(Image.open(io.BytesIO(packed)).convert("RGB")).astype(int)
    for i in range(7):
        row, column = divmod(i, columns)
        shown = sheet[row * tile : (row + 1) * tile, column * tile : (column + 1) * tile]
        assert np.abs(shown - colours[i].flatten().numpy()).max() <= 6  # up to the very edge: nothing leaks in


def test_a_sheet_keeps_to_its_bytes(monkeypatch):
    images = torch.randint(0, 256, (64, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    full = len(state.sheet(images)[0])
    monkeypatch.setattr(state, "SHEET_BYTES", full - 1)
    smaller = len(state.sheet(images)[0])
    assert smaller < full
    monkeypatch.setattr(state, "SHEET_BYTES", 0)  # cannot be kept: the coarsest there is
    assert 0 < len(state.sheet(images)[0]) < smaller


def test_a_tally_names_the_largest_classes_first():
    classes = ("a", "b", "c", "d")
    assert state.tally([1, 1, 0], classes) == "2 b, 1 a"
    assert state.tally([0, 1, 1, 2, 3, 3], classes, most=2) == "2 b, 2 d and 2 of 2 more classes"
    assert state.tally([0, 0, 1], classes, most=1) == "2 a and 1 of 1 more class"


def test_names_cannot_break_out_of_the_page(case):
    nasty = ("</script><b id='broken'>", '"&<i>', "{{data}}")
    text = made(case, classes=nasty, title="<b>{{script}}</b>", caption="a & b")
    page = Reader(text)
    assert sorted(page.ids) == sorted(IDS)
    assert read(text)["data"]["classes"] == list(nasty)
    assert page.texts["h1", "title"] == "<b>{{script}}</b>"
    assert page.texts["p", "caption"] == "a & b"


def test_markers_of_page_and_plots_are_listed_in_one_order():
    """circle, square, triangle, diamond, triangle down, plus, cross, star, triangle left, triangle right."""
    assert palette.CLASS_MARKERS == ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
    assert len(palette.CLASS_COLOURS) == len(palette.CLASS_COLOURS_ON_DARK) == 10


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"layouts": {"pca": [torch.zeros(11, 2)]}}, r"points \(12, 2\)"),
        ({"layouts": {"pca": [torch.full((12, 2), torch.nan)]}}, "finite"),
        ({"layouts": {}}, "one side or two"),
        ({"layouts": {"umpa": [torch.zeros(12, 2)]}}, "did you mean 'umap'"),
        ({"names": ("before", "after")}, "one side or two"),
        ({"labels": torch.full((12,), 3)}, "class names 3"),
        ({"labels": torch.full((12,), -1)}, "labels are int64 from -1"),
        ({"labels": torch.zeros(12)}, "labels are float32"),
        ({"labels": torch.zeros(0, dtype=torch.int64)}, "N >= 1"),
        ({"images": torch.zeros(3, 3, 8, 8, dtype=torch.uint8)}, "12 labels but 3 pictures"),
        ({"neighbours": [torch.zeros(12, 2)]}, "never the picture itself"),
        ({"neighbours": [torch.full((12, 2), 12)]}, "0 to 11"),
        ({"neighbours": [torch.zeros(11, 2)]}, r"neighbours \(12, k\)"),
        ({"index": torch.arange(3)}, "numbers"),
        ({"index": torch.zeros(12)}, "ascending"),
    ],
)
def test_bad_input(case, changes, words):
    with pytest.raises(InputError, match=words):
        made(case, **changes)


def test_explore_writes_three_files_with_neighbours_from_feature_space(tmp_path, monkeypatch):
    pictures, features, notes = noise(40), torch.randn(40, 9, generator=torch.Generator().manual_seed(0)), []
    draw = plots.scatter_map
    monkeypatch.setattr(plots, "scatter_map", lambda *a: notes.append(a[-1]) or draw(*a))
    paths = page.explore(features, pictures, tmp_path / "out", "pca", points=30, k=4, caption="seed 0")
    assert [path.name for path in paths] == ["map.html", "map.png", "neighbours.png"]
    text = paths[0].read_text(encoding="utf-8")
    found = read(text)
    static = found["data"]
    index = torch.from_numpy(numbers(static["index"], "<i4").astype(np.int64))
    assert len(index) == 30
    near = nearest_neighbours(features[index], features[index], 4, exclude_self=True)[1]
    np.testing.assert_array_equal(numbers(static["neighbours"][0], "<u2").reshape(30, 4), near)
    np.testing.assert_array_equal(numbers(static["labels"], "<u2"), pictures.labels[index])
    share = (pictures.labels[index][near] == pictures.labels[index][:, None]).float().mean()
    assert static["shares"] == [pytest.approx(float(share))]
    assert static["about"]["pca"].startswith("PCA") and list(found["layouts"]) == ["pca"]
    assert Reader(text).texts["p", "caption"] == "seed 0. 30 of 40 pictures of some (test)."
    assert notes[0].startswith("seed 0. 30 of 40 pictures of some (test); PCA")
    assert f"{100 * share:.0f} % of the 4 nearest" in notes[0]
    for path in paths[1:]:
        assert min(Image.open(path).size) > 200


def test_a_page_of_another_layout_has_pca_too(tmp_path):
    pytest.importorskip("sklearn")
    features = torch.randn(40, 9, generator=torch.Generator().manual_seed(0))
    html = page.explore(features, noise(40), tmp_path, "tsne", seed=3)[0]
    found = read(html.read_text(encoding="utf-8"))
    assert found["kind"] == "tsne" and [kind for kind, _ in found["data"]["kinds"]] == ["pca", "tsne"]
    for kind, params in (("pca", {}), ("tsne", {"seed": 3})):
        points = layouts.KINDS[kind](features, **params)
        np.testing.assert_array_equal(numbers(found["layouts"][kind][0], "<f4").reshape(40, 2), points)
    assert "seed 3" in found["data"]["about"]["tsne"]


def test_explore_refuses_what_does_not_belong_together(tmp_path):
    with pytest.raises(InputError, match="4 pictures need features"):
        page.explore(torch.rand(5, 3), noise(4), tmp_path / "out")
    with pytest.raises(InputError, match="did you mean 'umap'"):
        page.explore(torch.rand(4, 3), noise(4), tmp_path / "out", kind="umapp")
    assert not (tmp_path / "out").exists()
