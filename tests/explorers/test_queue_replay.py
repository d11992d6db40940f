"""The queue's story against a Python list, and its picture."""

import numpy as np
import pytest
import torch
from conftest import clouds
from drawn import boxes_of, fits_its_page, noise
from oracles import cosine

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.data import dataset
from mnclglf_lite.drawing import canvas
from mnclglf_lite.drawing.palette import AGREE, DISAGREE, INK, rgb
from mnclglf_lite.explorers.memory_queue.figure import queue_figure
from mnclglf_lite.explorers.memory_queue.replay import QueueStory

pytest.importorskip("PIL")


def flat_set(labels, side=4):
    """Pictures of one colour each, the colour telling which: red is the position."""
    images = torch.zeros(len(labels), 3, side, side, dtype=torch.uint8)
    images[:, 0] = torch.arange(len(labels))[:, None, None] % 256
    images[:, 1] = 200
    return dataset.ImageSet(images, labels, tuple("abcdefgh"), "flat", "test")


@pytest.fixture(scope="module")
def story():
    features, labels = clouds(150, 6)
    return QueueStory(features, flat_set(labels), batch=8)


def slow_queue(story, size, pushed):
    """The queue as a list of (vector, picture), newest at the end: a replay by hand from the queue's random vectors."""
    queue = [(vector, -1) for vector in story.queue(size, 0).entries.tolist()]
    for batch in story.stream[:pushed]:
        for picture in batch.tolist():
            queue.pop(0)
            queue.append((story.features[picture].tolist(), picture))
    return queue


def slow_nearest(queue, vector):
    """Entries of the list, the most similar first: (cosine, picture)."""
    return sorted(((cosine(vector, entry), picture) for entry, picture in queue), reverse=True)


def test_queries_stay_out_and_every_other_picture_comes_once(story):
    labels = story.pictures.labels
    assert story.queries == [0, 1, 2, 3] and story.chance == 0.25
    stream = story.stream.flatten().tolist()
    assert len(stream) == 144 == len(set(stream)) and not set(stream) & set(story.queries)
    assert story.sizes == [8, 16, 32, 64, 128] and story.steps == 18
    assert len(labels[story.stream[0]].unique()) > 1  # mixed: the clouds are stored class by class in turn
    again = QueueStory(story.features, story.pictures, 8)
    assert torch.equal(story.stream, again.stream)
    assert not torch.equal(story.stream, QueueStory(story.features, story.pictures, 8, seed=1).stream)


@pytest.mark.parametrize("size", [8, 32, 128])
@pytest.mark.parametrize("pushed", [0, 1, 5, 17])
def test_a_moment_is_what_the_list_says(story, size, pushed):
    moment = story.moment(size, pushed, 2)
    queue = slow_queue(story, size, pushed)
    expected = slow_nearest(queue, story.features[2].tolist())[:8]
    assert [near.cosine for near in moment.neighbours] == pytest.approx([c for c, _ in expected], abs=1e-5)
    assert [near.picture for near in moment.neighbours] == [picture for _, picture in expected]
    for near in moment.neighbours:
        if near.picture >= 0:
            batch = next(i for i, batch in enumerate(story.stream) if near.picture in batch)
            assert near.age == pushed - batch
        else:
            assert near.age == 0
    assert moment.real == sum(picture >= 0 for _, picture in queue) == min(size, 8 * pushed)
    assert moment.oldest == min(pushed, size // 8)
    assert moment.pointer == pushed % (size // 8)  # the oldest block goes first
    held = {batch for batch in moment.blocks if batch >= 0}
    assert held == set(range(max(0, pushed - size // 8), pushed))
    truth = story.queue(size, pushed)
    assert all(int(truth.labels[near.slot]) == near.picture for near in moment.neighbours)


@pytest.mark.parametrize("size", [8, 32, 128])
def test_agreement_is_what_the_list_says_and_what_the_queue_says(story, size):
    labels = story.pictures.labels.tolist()
    found = story.agreement(size)
    for step, coming in enumerate(story.stream):
        queue = slow_queue(story, size, step)
        right = 0
        for picture in coming.tolist():
            nearest = slow_nearest(queue, story.features[picture].tolist())[0][1]
            right += nearest >= 0 and labels[nearest] == labels[picture]
        assert float(found[step]) == pytest.approx(right / 8)
        asked = story.queue(size, step).nearest(story.features[coming])[1]  # memory_queue.Queue, asked by its own method
        agree = [i >= 0 and labels[i] == labels[j] for i, j in zip(asked.tolist(), coming.tolist(), strict=True)]
        assert float(found[step]) == pytest.approx(sum(agree) / 8)
    assert float(story.moment(size, 4, 0).agreement) == float(found[4])


def test_the_first_neighbour_is_the_queues_nearest(story):
    for pushed in range(0, 18, 3):
        moment = story.moment(64, pushed, 1)
        entry, picture = story.queue(64, pushed).nearest(story.features[1][None])
        assert int(picture) == moment.neighbours[0].picture
        torch.testing.assert_close(entry[0], story.queue(64, pushed).entries[moment.neighbours[0].slot])


def test_neighbours_do_not_depend_on_the_length_of_features_nor_on_the_global_seed(story):
    lengths = 1 + torch.arange(150)[:, None] % 7
    torch.manual_seed(5)
    before = torch.get_rng_state()
    other = QueueStory(story.features * lengths, story.pictures, 8).moment(32, 6, 0)
    assert torch.equal(before, torch.get_rng_state())
    mine = story.moment(32, 6, 0)
    assert [near.picture for near in other.neighbours] == [near.picture for near in mine.neighbours]
    assert other.agreement == mine.agreement


def test_a_long_stream_is_cut_to_a_hundred_batches():
    features, labels = clouds(900, 6)
    assert QueueStory(features, flat_set(labels), batch=4).steps == 100


# --- words -------------------------------------------------------------------------------------------------------------


def test_words_at_the_start_in_between_and_when_full(story):
    words = story.words(story.moment(64, 0, 0))
    for part in ("queue of 64", "nothing else", "(a): a random start vector", "0 of the 8", "0 % find", "chance 25 %"):
        assert part in words
    moment = story.moment(64, 3, 0)
    words, first = story.words(moment), moment.neighbours[0]
    agree = sum(int(story.pictures.labels[near.picture]) == 0 for near in moment.neighbours if near.picture >= 0)
    for part in (
        "3 batches of 8", "24 embeddings", "40 random", f"{story.name(first.picture)}, cosine {first.cosine:.2f}",
        f"pushed {first.age} batch", f"{agree} of the 8 nearest", f"{100 * moment.agreement:.0f} % find",
    ):  # fmt: skip
        assert part in words
    assert "16 embeddings, the oldest pushed 2 batches ago" in story.words(story.moment(16, 9, 0))
    assert "1 batch of 8" in story.words(story.moment(16, 1, 0))


# --- the picture -------------------------------------------------------------------------------------------------------


def test_the_strip_shows_the_neighbours_in_order_with_their_marks(story):
    moment = story.moment(64, 6, 1)
    drawing = queue_figure(story, moment)
    sheet, boxes = drawing.picture, boxes_of(drawing)
    x, y, width, _ = boxes["query 1"]
    assert sheet.getpixel((x + width // 2, y + 20)) == (1, 200, 0)
    frames = [sheet.getpixel((x - 2, y + 20)) for x, y, _, _ in boxes.values()]
    assert [frame == rgb(INK) for frame in frames] == [False, True, False, False]
    top = y - 22 + 104 + 24  # of the strip: see the figure's own steps
    for i, near in enumerate(moment.neighbours):
        left = 17 + 97 * i
        if near.picture < 0:
            assert sheet.getpixel((left + 20, top + 20))[0] > 200
            continue
        assert sheet.getpixel((left + 20, top + 20)) == (near.picture, 200, 0)
        colour = AGREE if story.agrees(moment, near) else DISAGREE
        line = {sheet.getpixel((left + dx, top - 3)) for dx in range(60)}
        assert rgb(colour) in line and ((255, 255, 255) in line) == (colour == DISAGREE)  # dashed where it disagrees


def test_random_vectors_have_a_tile_of_their_own(story):
    page = np.asarray(queue_figure(story, story.moment(64, 0, 0)).picture)
    assert not (page[180:260] == (0, 200, 0)).all(-1).any()
    assert not (page[160:280] == rgb(DISAGREE)).all(-1).any()  # they are of no class: neither right nor wrong


def test_newer_blocks_are_darker(story):
    moment = story.moment(64, 12, 0)  # blocks 9 10 11 12 5 6 7 8, as numbered
    assert moment.blocks == [8, 9, 10, 11, 4, 5, 6, 7]
    drawing = queue_figure(story, moment)
    y = boxes_of(drawing)["query 0"][1] - 22 + 104 + 156 + 34 + 3
    light = [sum(drawing.picture.getpixel((14 + round((j + 0.1) * 780 / 8), y))) for j in range(8)]
    assert sorted(range(8), key=lambda j: -moment.blocks[j]) == sorted(range(8), key=lambda j: light[j])


@pytest.mark.parametrize("size, pushed", [(8, 0), (8, 17), (128, 0), (128, 17), (32, 3)])
def test_everything_is_on_the_page_and_the_same_again(story, size, pushed):
    moment = story.moment(size, pushed, 3)
    drawing = queue_figure(story, moment)
    assert fits_its_page(drawing.picture) and len(drawing.places) == 4
    assert canvas.png(drawing.picture) == canvas.png(queue_figure(story, moment).picture)


def test_many_classes_many_queries_and_tiny_pictures():
    many = noise(200, 1, [f"a long name {i}" for i in range(20)])
    story = QueueStory(clouds(200, 6)[0], many, batch=16)
    assert len(story.queries) == 12 and story.chance == 0.05
    drawing = queue_figure(story, story.moment(16, 2, 11))
    x, _, width, _ = drawing.places[-1].box
    assert len(drawing.places) == 12 and x + width < 1 and fits_its_page(drawing.picture)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda f, p: QueueStory(f[:9], p), "150 pictures need features"),
        (lambda f, p: QueueStory(f.index_fill(0, torch.tensor([3]), torch.nan), p), "not finite"),
        (lambda f, p: QueueStory(f[:0], p.subset(torch.arange(0))), "N >= 1"),
        (lambda f, p: QueueStory(f[:36], p.subset(4 * torch.arange(36))), "two classes or more; flat shows 1"),
        (lambda f, p: QueueStory(f, p, batch=100), "two batches or more; got batch 100 and 146"),
        (lambda f, p: QueueStory(f, p, batch=0), "two batches or more"),
        (lambda f, p: QueueStory(f, p, batch=8).queue(24, 1), "power of two"),
        (lambda f, p: QueueStory(f, p, batch=8).queue(16, 19), "18 batches"),
        (lambda f, p: QueueStory(f, p, batch=8).moment(16, 18, 0), "0 to 17"),
    ],
)
def test_bad_input(change, words, story):
    with pytest.raises(InputError, match=words):
        change(story.features, story.pictures)
