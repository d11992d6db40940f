import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from mnclglf_lite import data, explore, maps, palette
from mnclglf_lite.errors import InputError

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("matplotlib")

IDS = {
    "title", "caption", "map", "truth", "one", "large", "name", "facts", "near", "strip", "classes", "legend",
    "pictures", "keys", "say", "data",
}  # fmt: skip


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
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (12, 3, 16, 16), dtype=torch.uint8, generator=generator)
    labels = torch.arange(12) % 3
    features = torch.randn(12, 7, generator=generator)
    return images, labels, features, maps.pca(features), maps.neighbours(features, 4)[0]


def made(case, **changes):
    images, labels, _, points, near = case
    given = dict(points=points, images=images, labels=labels, classes=("a", "b", "c"), neighbours=near, dimensions=7)
    return explore.page(**{**given, **changes})


def arrays(text):
    found = json.loads(Reader(text).texts["script", "data"])

    def array(key, dtype):
        return np.frombuffer(base64.b64decode(found[key]), dtype)

    return found, array


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
    used = set(re.findall(r'el\("(\w+)"\)', text)) | set(re.findall(r'getElementById\("(\w+)"\)', text))
    assert used and used <= IDS


def test_it_can_be_read_without_eyes_and_driven_without_a_mouse(case):
    page = Reader(made(case))
    by_id = {a["id"]: a for _, a in page.tags if "id" in a}
    assert by_id["say"]["aria-live"] == "polite"
    assert by_id["map"]["tabindex"] == "0"
    assert set(by_id["map"]["aria-describedby"].split()) <= IDS
    assert ("html", {"lang": "en"}) in page.tags
    assert "7-dimensional" in page.texts["p", "truth"] and "may disagree" in page.texts["p", "truth"]
    assert "prefers-color-scheme: dark" in made(case)


def test_data_come_back_as_they_were_given(case):
    images, labels, _, points, near = case
    found, array = arrays(made(case, index=torch.arange(12) * 10))
    np.testing.assert_array_equal(array("points", "<f4").reshape(12, 2), points.numpy())
    np.testing.assert_array_equal(array("labels", "<i4"), labels.numpy())
    np.testing.assert_array_equal(array("neighbours", "<i4").reshape(12, found["k"]), near.numpy())
    np.testing.assert_array_equal(array("index", "<i4"), np.arange(12) * 10)
    assert found["classes"] == ["a", "b", "c"]
    assert found["colours"] == list(palette.CLASS_COLOURS)


@pytest.mark.parametrize("side, tile", [(16, 16), (30, 32), (80, 64)])
def test_each_picture_is_where_the_script_looks_for_it(side, tile):
    """Pictures of one colour, so that JPEG and resizing cannot change them by much."""
    colours = torch.randint(0, 256, (7, 3, 1, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    images = colours.expand(7, 3, side, side)
    near = (torch.arange(7)[:, None] + 1) % 7
    found, _ = arrays(explore.page(torch.rand(7, 2), images, torch.zeros(7, dtype=torch.int64), ["a"], near, 3))
    kind, encoded = found["sprite"].split(",")
    assert kind == "data:image/jpeg;base64" and found["tile"] == tile
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")).astype(int)
    for i in range(7):
        row, column = divmod(i, found["columns"])
        shown = sheet[row * tile : (row + 1) * tile, column * tile : (column + 1) * tile]
        assert np.abs(shown - colours[i].flatten().numpy()).max() <= 6  # up to the very edge: nothing leaks in


def test_names_cannot_break_out_of_the_page(case):
    nasty = ("</script><b id='broken'>", '"&<i>', "{{data}}")
    text = made(case, classes=nasty, title="<b>{{script}}</b>", caption="a & b")
    page = Reader(text)
    assert sorted(page.ids) == sorted(IDS)
    assert arrays(text)[0]["classes"] == list(nasty)
    assert page.texts["h1", "title"] == "<b>{{script}}</b>"
    assert page.texts["p", "caption"] == "a & b"


def test_markers_of_page_and_plots_are_listed_in_one_order():
    """circle, square, triangle, diamond, triangle down, plus, cross, star, triangle left, triangle right."""
    assert palette.CLASS_MARKERS == ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
    assert len(palette.CLASS_COLOURS) == len(palette.CLASS_COLOURS_ON_DARK) == 10


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"points": torch.zeros(11, 2)}, r"points \(12, 2\)"),
        ({"labels": torch.full((12,), 3)}, "class names 3"),
        ({"neighbours": torch.zeros(12, 2)}, "never the picture itself"),
        ({"neighbours": torch.full((12, 2), 12)}, "0 to 11"),
        ({"neighbours": torch.zeros(11, 2)}, r"neighbours \(12, k\)"),
        ({"points": torch.full((12, 2), torch.nan)}, "finite"),
        ({"index": torch.arange(3)}, "numbers"),
    ],
)
def test_bad_input(case, changes, words):
    with pytest.raises(InputError, match=words):
        made(case, **changes)


def test_explore_writes_three_files_with_neighbours_from_feature_space(tmp_path):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 3, 16, 16), dtype=torch.uint8, generator=generator)
    pictures = data.ImageSet(images, torch.arange(40) % 3, ("a", "b", "c"), "some", "test")
    features = torch.randn(40, 9, generator=generator)
    paths = explore.explore(features, pictures, tmp_path / "out", "pca", points=30, k=4, caption="seed 0")
    assert [path.name for path in paths] == ["map.html", "map.png", "neighbours.png"]
    found, array = arrays(paths[0].read_text(encoding="utf-8"))
    index = torch.from_numpy(array("index", "<i4").astype(np.int64))
    assert len(index) == 30
    np.testing.assert_array_equal(array("neighbours", "<i4").reshape(30, 4), maps.neighbours(features[index], 4)[0])
    np.testing.assert_array_equal(array("labels", "<i4"), pictures.labels[index])
    near = maps.neighbours(features[index], 4)[0]
    share = (pictures.labels[index][near] == pictures.labels[index][:, None]).float().mean()
    caption = Reader(paths[0].read_text(encoding="utf-8")).texts["p", "caption"]
    assert caption.startswith("seed 0. 30 of 40 pictures of some (test); PCA")
    assert f"{100 * share:.0f} % of the 4 nearest" in caption
    for path in paths[1:]:
        assert min(Image.open(path).size) > 200


def test_explore_refuses_what_does_not_belong_together(tmp_path):
    pictures = data.ImageSet(
        torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64), ("a",), "x", "test"
    )
    with pytest.raises(InputError, match="4 pictures need features"):
        explore.explore(torch.rand(5, 3), pictures, tmp_path / "out")
    with pytest.raises(InputError, match="did you mean 'umap'"):
        explore.explore(torch.rand(4, 3), pictures, tmp_path / "out", kind="umapp")
    assert not (tmp_path / "out").exists()
