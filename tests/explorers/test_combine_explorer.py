"""The combine explorer: its embeddings by hand in float64, its ranks by counting, its pixels, a browser."""

import copy
import itertools

import numpy as np
import pytest
import torch
from browser import TOYS, OnPage, needs_browser, write_notebook
from conftest import QUIET, tiny
from drawn import boxes_of, fits_its_page, noise
from oracles import cosine

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.drawing import canvas, heatmap, palette
from mnclglf_lite.drawing.palette import rgb
from mnclglf_lite.explorers.patches import figure
from mnclglf_lite.explorers.patches.compute import BATCH, combined
from mnclglf_lite.explorers.patches.words import describe
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.training.run import new_run
from mnclglf_lite.views import view
from mnclglf_lite.views.batch import make_views

pytest.importorskip("PIL")
widgets = pytest.importorskip("mnclglf_lite.explorers")


@pytest.fixture
def method():
    return build_method(tiny(), 10)


def the_batch(pictures, index, seed):
    """The pictures and the generator of the batch, drawn as `combined` says: the picture, then others by the seed."""
    generator = torch.Generator().manual_seed(seed)
    others = [i for i in torch.randperm(len(pictures), generator=generator).tolist() if i != index]
    return pictures.images[[index, *others[: BATCH - 1]]], generator


@pytest.mark.parametrize("grid, k, local", [(2, 2, "grid"), (3, 2, "grid"), (2, 3, "grid"), (2, 1, "grid"), (2, 2, "crops")])
def test_embeddings_by_hand_in_float64(toys, grid, k, local):
    method = build_method(tiny(local=local), 10)
    found = combined(toys.test, method, index=5, seed=3, grid=grid, combine=k)
    size = {2: 16, 3: 15}[grid] if local == "grid" else 16
    images, generator = the_batch(toys.test, 5, 3)
    recipe = tiny(local=local, grid=grid, view=view.View(size=size, blur_p=0.0))
    cut = [x.double() for x in make_views(images, build_method(recipe, 10).views, generator)]
    exact = copy.deepcopy(method).double().train()
    side = size // grid
    if local == "grid":
        x2 = cut[1]
        tiles = [x2[:, :, r * side : (r + 1) * side, c * side : (c + 1) * side] for c in range(grid) for r in range(grid)]
    else:
        tiles = cut[3 + 4 :]
    with torch.no_grad():
        pooled = exact.backbone(torch.cat(tiles)).chunk(grid * grid)  # one batch for all patches, as the release has it
        members = list(itertools.combinations(range(grid * grid), k))
        means = [sum(pooled[p] for p in chosen) / k for chosen in members]
        c = exact.projector(torch.cat(means)).chunk(len(members))
        p = copy.deepcopy(method).double().train().embed(cut[0])[1]
    assert found.members == members and found.embeddings.shape == (len(members), 8)
    torch.testing.assert_close(found.prediction.double(), p[0], rtol=1e-3, atol=1e-4)
    for j in range(len(members)):
        torch.testing.assert_close(found.embeddings[j].double(), c[j][0], rtol=1e-3, atol=1e-4)
        slow = [cosine(p[0].tolist(), row.tolist()) for row in c[j]]
        assert found.cosines[j].tolist() == pytest.approx(slow, abs=1e-4)
        near = sum(abs(s - slow[0]) < 1e-4 for s in slow[1:])  # too near to tell which is larger
        assert abs(int(found.beaten[j]) - sum(s < slow[0] for s in slow[1:])) <= near
    for shown, tile in zip(found.patches, tiles, strict=True):
        torch.testing.assert_close(shown.double(), view.denormalise(tile[0]), rtol=0, atol=1e-6)
    assert found.others == BATCH - 1 and found.grid == (grid if local == "grid" else 0)
    torch.testing.assert_close(found.first.double(), view.denormalise(cut[0][0]), rtol=0, atol=1e-6)


def test_it_is_what_the_methods_own_forward_gives(toys, method):
    """And so what the loss compares: the mean of -log softmax over this picture's row and the others'."""
    found = combined(toys.test, method, index=0, seed=1, grid=2, combine=2)
    images, generator = the_batch(toys.test, 0, 1)
    outputs = copy.deepcopy(method).train()(make_views(images, method.views, generator))
    torch.testing.assert_close(found.embeddings, outputs["c2"][:, 0].detach())
    torch.testing.assert_close(found.prediction, outputs["p1"][0].detach())


@pytest.mark.parametrize("training", [True, False])
def test_the_method_stays_as_it_was(toys, method, training):
    method.train(training)
    method.backbone.eval()
    modes = [module.training for module in method.modules()]
    before, config = copy.deepcopy(method.state_dict()), method.config
    draws = torch.get_rng_state()
    first = combined(toys.test, method, 0, 0, 3, 2)
    assert torch.equal(first.cosines, combined(toys.test, method, 0, 0, 3, 2).cosines)  # nothing is left behind
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())
    assert [module.training for module in method.modules()] == modes and method.config is config
    assert torch.equal(torch.get_rng_state(), draws)
    assert not any(parameter.grad is not None for parameter in method.parameters())


def test_a_trained_encoder_tells_its_picture_from_others(toys):
    """The very thing the explorer is to show: after training, the picture's own embedding is nearer."""
    from mnclglf_lite.training import train

    trained = train.train(tiny(steps=60, temperature=0.1, batch_size=32), toys, **QUIET)
    before, after = (
        np.mean([combined(toys.train, m, i, 0, 2, 2).beaten.float().mean().item() for i in range(40)])
        for m in (build_method(trained.recipe, 10), trained.method)
    )
    # of 31; chance is 15.5; measured, four seeds on two instruction sets: 14 to 16 before, 21 to 25 after
    assert after > max(before + 3, 20)


# --- the picture ---


def test_strips_show_the_numbers_and_marks_the_cosines(toys, method):
    found = combined(toys.test, method, 4, 2, 2, 2)
    drawing = figure.combine_figure(found)
    page, boxes = np.asarray(drawing.picture), boxes_of(drawing)
    assert list(boxes) == [f"pair {j}" for j in range(1, 7)]
    most = figure._above(max(float(found.embeddings.abs().max()), float(found.prediction.abs().max())))
    for j, (x, y, width, height) in enumerate(boxes.values()):
        line = page[y + 20, 14 + figure.NUMBERS :][: figure.STRIP]
        expected = heatmap.signed(found.embeddings[j].numpy(), most)  # 8 numbers, 32 pixels each
        assert (line[16::32] == expected).all()
        axis = page[y + 20, 14 + figure.COSINE :][: figure.AXIS + 1]
        diamond = np.flatnonzero((axis == rgb(palette.AGREE)).all(-1))
        share = (float(found.cosines[j, 0]) + 1) / 2
        assert diamond.mean() == pytest.approx(share * figure.AXIS, abs=1.5)
        assert x >= 0 and y >= 0 and x + width <= page.shape[1] and y + height <= page.shape[0]


def test_members_are_outlined(toys, method):
    found = combined(toys.test, method, 4, 2, 2, 2)
    colours = [rgb(palette.BOX_COLOURS[i]) for i in range(4)]

    def edges(chosen):
        """For each patch, the share of its outer edge in x2 that has its colour. A view is 128 pixels, a patch 64."""
        page = np.asarray(figure.combine_figure(found, chosen).picture)[32:160, 14:142]
        shares = []
        for i, colour in enumerate(colours):
            x, y = i // 2 * 64, i % 2 * 64  # column by column
            outer = page[y, x : x + 64] if i % 2 == 0 else page[y + 63, x : x + 64]
            shares.append((outer == colour).all(-1).mean())
        return shares

    assert all(0.3 < share < 0.9 for share in edges(""))  # dashed lines
    a, b, c, d = edges("pair 2")  # A + C
    assert a > 0.9 and c > 0.9 and b < 0.1 and d < 0.1
    assert edges("pair 99") == edges("combination 1") == edges("")


def test_many_combinations_are_cut_short_and_it_is_said(toys, method):
    found = combined(toys.test, method, 4, 2, 3, 2)
    assert len(found.members) == 36 and len(figure.combine_figure(found).places) == figure.ROWS == 18
    assert "first 18 are drawn" in describe(found)
    for k in (1, 4, 9):
        assert fits_its_page(figure.combine_figure(combined(toys.test, method, 4, 2, 3, k)).picture)


def test_scales_end_at_plain_numbers():
    for value, end in ((0.031, 0.04), (2.3, 3.0), (10.0, 10.0), (0.5, 0.5), (97.0, 100.0)):
        assert figure._above(value) == pytest.approx(end)


def test_embeddings_of_many_numbers_take_several_lines(toys):
    found = combined(toys.test, build_method(tiny(projector=(16, 600), predictor_hidden=8), 10), 0, 0, 2, 2)
    drawing = figure.combine_figure(found)
    _, y, _, _ = boxes_of(drawing)["pair 1"]
    strip = np.asarray(drawing.picture)[y + 10 : y + 30, 14 + figure.NUMBERS :][:, : figure.STRIP]
    assert len({row.tobytes() for row in strip}) == 3  # 600 numbers, 200 a line


# --- the shell ---


@pytest.fixture
def explorer(toys, method):
    return widgets.CombineExplorer(toys.test, method, picture=1)


def test_every_control_changes_words_and_picture(explorer):
    for name, value in {"index": 2, "seed": 4, "grid": 3, "combine": 3}.items():
        words, png = explorer.words, explorer.picture.png
        getattr(explorer, name).value = value
        assert explorer.words != words and explorer.picture.png != png, name
    assert len(explorer.found.members) == 84 and explorer.found.embeddings.shape == (84, 8)


def test_a_pressed_pair_is_told(explorer):
    explorer.picture.chosen = "pair 2"
    found = explorer.found
    for part in ("pair 2 = A + C", "mean of 2", f" {found.cosines[1, 0]:.2f},", f" {found.beaten[1]} of 31 "):
        assert part in explorer.words.splitlines()[-1]
    assert [place["label"] for place in explorer.picture.places][1] == "pair 2: A + C"
    explorer.combine.value = 3  # no longer pairs
    assert "pair 2" not in explorer.words and explorer.picture.problem == ""


def test_what_cannot_be_is_said_in_words(explorer, toys, method):
    png = explorer.picture.png
    explorer.combine.value = 5
    assert "cannot combine 5 of 4 patches" in explorer.words and explorer.picture.png == png
    explorer.grid.value = 3
    assert explorer.picture.problem == "" and "126 combinations" in explorer.words
    cases = {
        "an image set of 0": (toys.test.subset(torch.arange(0)), method),
        "an image set of 1": (toys.test.subset(torch.arange(1)), method),
        "this is SimCLR": (toys.test, build_method(tiny("simclr"), 10)),
        "cannot be cut": (noise(side=1), method),
    }
    for words, args in cases.items():
        with pytest.raises(InputError, match=words):
            widgets.CombineExplorer(*args)


def test_a_run_or_nothing_may_be_given(toys):
    begun = new_run(tiny(steps=9), 320, 10, torch.device("cpu"))
    begun.step = 4
    explorer = widgets.CombineExplorer(toys.test, begun)
    assert explorer.method is begun.method and "the network after step 4 of 9" in explorer.words
    small = toys.test.subset(torch.arange(5))  # fewer than a batch
    explorer = widgets.CombineExplorer(small)
    assert "untrained" in explorer.words and explorer.method.backbone.conv1.out_channels == 16 and explorer.found.others == 4


def test_the_same_seed_gives_the_same_bytes(toys, method):
    def bytes_of(seed):
        return canvas.png(figure.combine_figure(combined(toys.test, method, 0, seed, 2, 2)).picture)

    assert bytes_of(1) == bytes_of(1) != bytes_of(2)


# --- a real browser ---


@needs_browser()
def test_in_jupyterlab(browser, lab):
    write_notebook(lab.folder / "combine.ipynb", TOYS, "explorer = CombineExplorer(pictures)\nexplorer")
    page = lab.open(browser, "combine.ipynb")
    one = OnPage(page)
    one.changes(page.get_by_role("button", name="pair 2: A + C").click, "pair 2 = A + C")
    one.changes(lambda: page.get_by_role("button", name="pair 5: B + D").press("Enter"), "pair 5 = B + D")
    for name, share in (("picture", 0.6), ("seed", 0.3)):
        one.drag(name, share)
        one.press(name, "ArrowRight")
    one.select("grid", "3x3")
    one.press("combine", "ArrowRight")
    one.drag("combine", 0)
    assert lab.python("combine.ipynb", "explorer.found.members") == "[(0,), (1,), (2,), (3,)]"
    assert lab.python("combine.ipynb", "tuple(explorer.found.embeddings.shape)") == "(4, 128)"
    one.control("combine").get_by_role("slider").press("End")  # 9 of 4 patches: the words say why not, the picture stays
    page.locator(".mnclglf-picture .problem").get_by_text("cannot combine 9 of 4 patches").wait_for()
    assert page.left == [] and page.errors == []
