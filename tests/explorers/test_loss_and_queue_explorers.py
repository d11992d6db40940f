"""The loss explorer and the queue explorer: the shells alone, then in a real JupyterLab by mouse and by keyboard."""

import pytest
import torch
from browser import OnPage, needs_browser, write_notebook
from conftest import clouds
from drawn import noise

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.explorers.loss.batch import Batch, drawn
from mnclglf_lite.explorers.loss.pairs import LOSSES

widgets = pytest.importorskip("mnclglf_lite.explorers")


# --- shells ------------------------------------------------------------------------------------------------------------


def shown(control):
    return control.layout.display != "none"


def test_every_control_of_the_loss_explorer_changes_picture_words_and_table():
    explorer = widgets.LossExplorer()
    seen = [(explorer.picture.png, explorer.words)]
    for control, value in (
        (explorer.temperature, 1.0), (explorer.alignment, 0.9), (explorer.sameness, 0.5), (explorer.draw_number, 4),
        (explorer.loss, "info_nce_queue"), (explorer.queue, 32), (explorer.loss, "soft_cross_entropy"),
        (explorer.second["soft_cross_entropy"], 0.2), (explorer.loss, "distillation_kl"),
        (explorer.second["distillation_kl"], 1.0),
    ):  # fmt: skip
        control.value = value
        seen.append((explorer.picture.png, explorer.words))
    assert len({png for png, _ in seen}) == len({words for _, words in seen}) == len(seen)
    assert (explorer.table.name, explorer.table.temperature, explorer.table.second) == ("distillation_kl", 1.0, 1.0)
    expected = drawn(alignment=0.9, sameness=0.5, seed=4)
    assert torch.equal(explorer.batch.a, expected.a) and torch.equal(explorer.batch.queue, expected.queue[:32])


def test_the_picture_depends_on_the_controls_and_not_on_the_way_there():
    names = ("alignment", "sameness", "draw_number", "queue", "loss")
    values = (0.9, 0.5, 4, 32, "info_nce_queue")
    pictures = []
    for order in (1, -1):
        explorer = widgets.LossExplorer()
        for name, value in list(zip(names, values, strict=True))[::order]:
            getattr(explorer, name).value = value
        pictures.append(explorer.picture.png)
    assert pictures[0] == pictures[1]


def test_only_controls_that_matter_are_shown():
    explorer = widgets.LossExplorer()
    found = {}
    for name in LOSSES:
        explorer.loss.value = name
        own = [other for other, control in explorer.second.items() if shown(control)]
        found[name] = shown(explorer.temperature), shown(explorer.queue), own
        assert LOSSES[name] in explorer.words and LOSSES[name] in explorer.picture.alt
    assert found == {
        "info_nce": (True, False, []), "nt_xent": (True, False, []), "info_nce_queue": (True, True, []),
        "negative_cosine": (False, False, []), "soft_cross_entropy": (True, True, ["soft_cross_entropy"]),
        "distillation_kl": (True, True, ["distillation_kl"]), "supervised_contrastive": (True, False, []),
    }  # fmt: skip


def test_the_temperature_is_the_number_that_is_read():
    explorer = widgets.LossExplorer()
    explorer.temperature.value = 10**-0.7  # where the slider's steps fall: 0.1995...
    assert explorer.table.temperature == 0.2 and "at temperature 0.2:" in explorer.words
    explorer.temperature.value = 10**-1.7
    assert explorer.table.temperature == 0.02


def test_an_anchor_that_was_pressed_stays_as_far_as_it_can():
    explorer = widgets.LossExplorer(loss="nt_xent")
    assert [place["name"] for place in explorer.picture.places] == [f"{c}{v}" for v in (1, 2) for c in "ABCDEFGH"]
    assert "Anchor A1" in explorer.words
    explorer.picture.chosen = "C2"
    assert "Anchor C2" in explorer.words and explorer.chosen == "C2"
    explorer.loss.value = "info_nce"  # second views are no anchors here
    assert "Anchor C1" in explorer.words
    explorer.loss.value = "supervised_contrastive"
    assert "Anchor C2" in explorer.words


def test_a_given_batch_is_what_is_looked_at():
    source = drawn(3, seed=7)
    batch = Batch(source.a, source.b, source.queue[:5], torch.tensor([4, 4, 9]))
    explorer = widgets.LossExplorer(batch, "info_nce_queue", 0.5)
    assert explorer.queue.options == (2, 4, 5) and explorer.queue.value == 5
    assert "of 3 pictures and a queue of 5 at temperature 0.5" in explorer.words
    assert explorer.alignment not in explorer.children[0].children  # there is nothing to align
    assert torch.equal(explorer.batch.a, batch.a)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: widgets.LossExplorer(loss="simclr"), "unknown loss 'simclr'"),
        (lambda: widgets.LossExplorer(temperature=5.0), "from 0.02 to 2.0; got 5.0"),
        (lambda: widgets.QueueExplorer(torch.ones(3, 2), noise(4)), "4 pictures need features"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(InputError, match=words):
        make()


KITCHEN = ("fork", "cup", "pan", "jar")


def test_every_control_of_the_queue_explorer_changes_picture_words_and_moment():
    features, _ = clouds(150, 6)
    explorer = widgets.QueueExplorer(features, noise(150, classes=KITCHEN), batch=8)
    assert "random start vectors and nothing else" in explorer.words and explorer.moment.size == 32
    seen = [(explorer.picture.png, explorer.words)]
    explorer.pushed.value = 3
    seen.append((explorer.picture.png, explorer.words))
    assert "After 3 batches of 8, the queue of 32 holds 24 embeddings" in explorer.words
    explorer.size.value = 16
    seen.append((explorer.picture.png, explorer.words))
    assert "Nearest to the query (fork)" in explorer.words
    explorer.picture.chosen = "query 2"
    seen.append((explorer.picture.png, explorer.words))
    assert "Nearest to the query (pan)" in explorer.words and explorer.moment.query == 2
    assert len({png for png, _ in seen}) == len({words for _, words in seen}) == 4
    assert [place["label"] for place in explorer.picture.places][1] == "take this cup as the query"
    explorer.pushed.value = explorer.pushed.max  # the last batch can be asked too
    assert not explorer.picture.problem and explorer.moment.pushed == explorer.story.steps - 1


# --- in the browser ----------------------------------------------------------------------------------------------------

LOSS = """
from mnclglf_lite.explorers import LossExplorer
loss = LossExplorer()
loss
"""
QUEUE = """
import torch
from mnclglf_lite.data import dataset
from mnclglf_lite.explorers import QueueExplorer
labels = torch.arange(150) % 4
features = torch.eye(4)[labels] + 0.4 * torch.randn(150, 4, generator=torch.Generator().manual_seed(0))
images = (labels[:, None, None, None] * 60).byte().expand(-1, 3, 8, 8).clone()
queue = QueueExplorer(features, dataset.ImageSet(images, labels, ("fork", "cup", "pan", "jar"), "kitchen", "test"), batch=8)
queue
"""


@pytest.fixture(scope="module")
def page(browser, lab):
    write_notebook(lab.folder / "explore.ipynb", LOSS, QUEUE)
    page = lab.open(browser, "explore.ipynb")
    drawn = "() => [...document.querySelectorAll('.mnclglf-picture img')].filter(i => i.naturalHeight > 0).length >= 2"
    page.wait_for_function(drawn)
    yield page
    assert page.left == [] and page.errors == []
    page.close()


@needs_browser()
def test_the_loss_explorer_by_mouse_and_by_keyboard(page, lab):
    from playwright.sync_api import expect

    one, python = OnPage(page, 0), lambda expression: lab.python("explore.ipynb", expression)
    expect(one.words).to_contain_text("InfoNCE of 8 pictures at temperature 0.2: 0.54 nats")
    one.drag("temperature", 1.0, "temperature 2 leaves")
    one.press("temperature", "ArrowLeft", "temperature 1.8 leaves")
    assert python("loss.table.temperature") == "1.8"
    for name in ("alignment of views", "sameness of pictures", "draw"):
        one.drag(name, 0.5)
        one.press(name, "ArrowRight")
    assert python("(loss.alignment.value, loss.sameness.value, loss.draw_number.value)") == "(0.55, 0.55, 11)"
    expect(one.control("queue size")).to_have_count(0)

    choose = one.control("loss").locator("select")
    one.changes(lambda: choose.select_option(label="Queue InfoNCE (info_nce_queue)"), "a queue of 16")
    one.drag("queue size", 1.0, "a queue of 64")
    one.press("queue size", "ArrowLeft", "a queue of 32")
    assert python("loss.table.gradient.shape") == "torch.Size([8, 33])"
    choose.focus()
    for to in ("Negative cosine", "Soft cross-entropy"):
        one.changes(lambda: page.keyboard.press("ArrowDown"), to)
    one.drag("teacher's temperature", 0.7)
    one.press("teacher's temperature", "ArrowRight")
    one.changes(lambda: choose.select_option(label="Softened KL (distillation_kl)"), "softened by 3")
    one.drag("softening temperature", 0.0, "softened by 0.5")
    one.press("softening temperature", "ArrowRight", "softened by 1")
    assert python("loss.table.second") == "1.0"

    one.changes(lambda: choose.select_option(label="NT-Xent (nt_xent)"), "Anchor A1")
    head = one.area.get_by_role("button", name="look at anchor C1")
    one.changes(head.click, "Anchor C1")
    head.focus()
    page.keyboard.press("Tab")
    one.changes(lambda: page.keyboard.press("Enter"), "Anchor D1")
    expect(one.area.get_by_role("button", name="look at anchor D1")).to_have_attribute("aria-pressed", "true")
    assert python("loss.chosen") == "'D1'"
    assert python("loss.words") == repr(one.words.inner_text())
    assert page.left == [] and page.errors == []


@needs_browser()
def test_the_queue_explorer_by_mouse_and_by_keyboard(page, lab):
    from playwright.sync_api import expect

    one, python = OnPage(page, 1), lambda expression: lab.python("explore.ipynb", expression)
    expect(one.words).to_contain_text("random start vectors and nothing else")
    one.drag("batches pushed", 1.0, "After 17 batches of 8")
    one.press("batches pushed", "ArrowLeft", "After 16 batches of 8")
    one.drag("queue size", 1.0, "queue of 128")
    one.press("queue size", "ArrowLeft", "queue of 64")
    one.changes(one.area.get_by_role("button", name="take this pan as the query").click, "query (pan)")
    page.keyboard.press("Tab")
    one.changes(lambda: page.keyboard.press("Enter"), "query (jar)")
    assert python("(queue.chosen, queue.moment.query, queue.moment.size)") == "('query 3', 3, 64)"
    assert python("queue.words") == repr(one.words.inner_text())
    assert page.left == [] and page.errors == []
