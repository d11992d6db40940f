"""The Python end of the embedding map. What is seen and done is in test_embedding_map_live.py."""

import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from drawn import noise
from map_case import CASE, CHOSEN, NAMES, case
from oracles import slow_neighbours

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.evaluation import layouts
from mnclglf_lite.explorers.embedding.state import sheet, tally

pytest.importorskip("anywidget")
pytest.importorskip("matplotlib")
Image = pytest.importorskip("PIL.Image")


def embedding_map(*args, **kwargs):
    from mnclglf_lite.explorers import EmbeddingMap

    return EmbeddingMap(*args, **kwargs)


def test_neighbours_are_those_of_a_slow_loop_in_each_space():
    made = case()
    two = made["two"]
    for side, features in enumerate((made["before"], made["after"])):
        expected = slow_neighbours(features, CHOSEN, 5)
        packed = np.frombuffer(two.data["neighbours"][side], "<u2").reshape(50, 5)
        for at, number in enumerate(CHOSEN):
            assert list(two.neighbours(number, side)) == expected[number] == [CHOSEN[i] for i in packed[at]]
        same = [j % 3 == i % 3 for i in CHOSEN for j in expected[i]]
        assert two.data["shares"][side] == pytest.approx(sum(same) / len(same))


def test_what_travels_is_bytes_and_what_is_read_is_numbers():
    one = case()["one"]
    state = one.get_state()
    for name in ("labels", "index", "sheet"):
        assert isinstance(state["data"][name], bytes)
    assert all(isinstance(side, bytes) for side in state["layouts"]["pca"])
    assert state["selected"] == b"" and one.selected == ()
    some = CHOSEN[5], CHOSEN[1]
    one.set_state({"selected": memoryview(np.array(some, "<i4").tobytes()), "pinned": CHOSEN[2]})
    assert one.selected == (CHOSEN[1], CHOSEN[5]) and one.pinned == CHOSEN[2]
    for given in (list(some), np.array(some), torch.tensor(some)):
        one.selected = given
        assert one.selected == (CHOSEN[1], CHOSEN[5]) and all(type(i) is int for i in one.selected)
        assert one.get_state("selected")["selected"] == np.array([CHOSEN[1], CHOSEN[5]], "<i4").tobytes()


def test_words_tell_all_that_was_done():
    made = case()
    two, near = made["two"], [slow_neighbours(made[name], CHOSEN, 5) for name in ("before", "after")]
    plain = two.words
    assert plain.startswith("Map of 50 of 60 pictures of some (test) in 3 classes: PCA")
    assert "untrained: " in plain and "(cosine, 6 dimensions)" in plain and "(cosine, 5 dimensions)" in plain
    i = CHOSEN[7]
    two.pinned, two.isolated, two.selected = i, i % 3, CHOSEN[:4]
    same = [sum(j % 3 == i % 3 for j in side[i]) for side in near]
    both = len(set(near[0][i]) & set(near[1][i]))
    assert two.words.startswith(plain)
    for part in (
        f"Only {NAMES[i % 3]}", f"Pinned: {NAMES[i % 3]}, picture {i}", f"untrained: {same[0]} of 5",
        f"; trained: {same[1]} of 5", f"{both} of 5 neighbours are the same",
        f"4 pictures, {tally(torch.tensor(CHOSEN[:4]) % 3, NAMES)}.",
    ):  # fmt: skip
        assert part in two.words


def test_a_picture_stands_in_where_widgets_are_not_live():
    made = case()
    for shown in (made["one"], made["two"]):
        bundle, meta = shown._repr_mimebundle_()
        assert bundle["text/plain"] == shown.words == meta["image/png"]["alt"]
        assert "application/vnd.jupyter.widget-view+json" in bundle and len(bundle["image/png"]) > 5_000
        assert shown.png() is shown.png()  # drawn once
        width = Image.open(io.BytesIO(shown.png())).width
        assert meta["image/png"]["width"] == pytest.approx(width / 1.5, rel=0.01)  # 144 dots an inch, CSS has 96


def test_layouts_are_computed_when_asked_once_and_kept(tmp_path, monkeypatch):
    calls = []

    def slow(x, **params):
        calls.append(params)
        return layouts.pca(x).flip(1)

    monkeypatch.setitem(layouts.KINDS, "umap", slow)
    made = case()
    shown = embedding_map(made["before"], made["pictures"], other=made["after"], cache_dir=tmp_path, seed=3)
    assert not calls and set(shown.layouts) == {"pca"}
    shown.kind = "umap"
    assert calls == [{"seed": 3}] * 2 and set(shown.layouts) == {"pca", "umap"}  # one a side
    shown.kind = "pca"
    shown.kind = "umap"
    assert len(calls) == 2 and "UMAP" in shown.words and "seed 3" in shown.words
    pca, umap = (np.frombuffer(shown.layouts[kind][1], "<f4").reshape(-1, 2) for kind in ("pca", "umap"))
    np.testing.assert_array_equal(umap, pca[:, ::-1])
    again = embedding_map(made["before"], made["pictures"], kind="umap", cache_dir=tmp_path, seed=3)
    assert len(calls) == 2 and again.layouts["umap"][0] == shown.layouts["umap"][0]


def test_importing_and_showing_pca_imports_no_umap():
    heavy = "{'umap', 'numba', 'sklearn', 'matplotlib.pyplot'}"
    code = f"import sys\n{CASE}\none._repr_mimebundle_()\nprint(*({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(("kind", "said"), [("umap", "n_neighbors"), ("tsne", "perplexity")])
def test_a_layout_that_cannot_be_is_said_and_the_old_one_stays(kind, said):
    pytest.importorskip("umap" if kind == "umap" else "sklearn")
    made = case()
    few = embedding_map(made["after"][:5], made["pictures"].subset(torch.arange(5)))
    few.kind = kind
    assert few.kind == "pca" and said in few.problem
    assert "PCA" in few.words and few.words.endswith(few.problem)
    few.pinned = 3
    assert "picture 3" in few.words and few.problem in few.words  # said until another layout is asked for
    with pytest.raises(InputError, match=said):
        embedding_map(made["after"][:5], made["pictures"].subset(torch.arange(5)), kind=kind)


def test_an_interrupted_layout_leaves_the_old_one(monkeypatch):
    def interrupted(x, **params):
        raise KeyboardInterrupt

    monkeypatch.setitem(layouts.KINDS, "umap", interrupted)
    one = case()["one"]
    with pytest.raises(KeyboardInterrupt):
        one.kind = "umap"
    assert one.kind == "pca" and one.problem == "UMAP was interrupted."
    one.kind = "tsne"
    assert one.problem == "" and one.kind == "tsne"


def test_saved_it_is_a_page_with_what_it_had(tmp_path):
    from test_embedding_page import read

    two = case()["two"]
    two.selected, two.pinned = CHOSEN[3:5], CHOSEN[8]
    found = read(two.save(tmp_path / "new" / "map.html", "A title").read_text(encoding="utf-8"))
    assert found["data"]["neighbours"] == two.data["neighbours"] and found["layouts"] == two.layouts
    assert found["data"]["kinds"] == [["pca", "PCA"]]  # nobody is there to compute another
    assert found["pinned"] == CHOSEN[8] and found["selected"] == np.array(CHOSEN[3:5], "<i4").tobytes()


@pytest.mark.parametrize(("side", "classes"), [(1, 1), (64, 200), (32, 100)])
def test_any_size_of_picture_and_any_number_of_classes(side, classes):
    count = max(classes, 6)
    shown = embedding_map(torch.randn(count, 4), noise(count, side, tuple(map(str, range(classes)))))
    assert shown.data["tile"] == max(8, side) and f"in {classes} classes" in shown.words
    assert shown.png().startswith(b"\x89PNG")


def test_ten_thousand_pictures_of_64_pixels_fit_on_one_sheet():
    images = torch.zeros(10_000, 3, 64, 64, dtype=torch.uint8)
    packed, tile, columns = sheet(images)
    assert (tile, columns) == (64, 100) and Image.open(io.BytesIO(packed)).size == (6400, 6400)  # browsers draw 16,384


def test_half_precision_features_and_a_map_without_pictures():
    made = case()
    bare = embedding_map(made["after"].half(), None, labels=made["labels"], classes=NAMES)
    assert bare.data["sheet"] == b"" and bare.words.startswith("Map of 60 points in 3 classes")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "umpa"}, "did you mean 'umap'"),
        ({"features": torch.randn(59, 5)}, "60 pictures need features"),
        ({"other": torch.randn(60)}, r"one row each; got \(60,\)"),
        ({"other": torch.randn(60, 3), "names": ("a",)}, "two names"),
        ({"features": torch.full((60, 5), torch.nan)}, "not finite"),
        ({"k": 0}, "asks for 0 neighbours"),
        ({"points": 0}, "at least one"),
        ({"points": 1}, "N >= 2"),
        ({"pictures": None}, "needs labels"),
        ({"pictures": None, "labels": torch.full((60,), -1), "classes": ("a",)}, "labels are int64 from -1"),
    ],
)
def test_bad_input(change, words):
    made = case()
    given = {"features": made["after"], "pictures": made["pictures"]} | change
    with pytest.raises(InputError, match=words):
        embedding_map(**given)


def test_an_empty_set_is_refused():
    empty = case()["pictures"].subset(torch.zeros(0, dtype=torch.int64))
    with pytest.raises(InputError, match="N >= 2"):
        embedding_map(torch.zeros(0, 5), empty)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("selected", (CHOSEN[0], 60), "picture 60 is not on this map"),
        ("selected", [0.5], "by their numbers"),
        ("pinned", -1, "picture -1 is not on this map"),
        ("isolated", 3, "classes are 0 to 2"),
        ("kind", "umpa", "did you mean 'umap'"),
    ],
)
def test_what_cannot_be_set_is_refused(name, value, words):
    one = case()["one"]
    before = getattr(one, name)
    with pytest.raises(InputError, match=words):
        setattr(one, name, value)
    assert getattr(one, name) == before
