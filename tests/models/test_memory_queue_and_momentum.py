import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.models.freeze import freeze
from mnclglf_lite.models.memory_queue import Queue
from mnclglf_lite.models.momentum import ema_schedule, update_ema


def test_follow_is_the_textbook_average_and_leaves_buffers():
    online, twin = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    freeze(twin)
    online[1].running_mean += 5
    expected = [0.9 * b + 0.1 * a for a, b in zip(online.parameters(), twin.parameters(), strict=True)]
    buffers = [b.clone() for b in twin.buffers()]
    update_ema(twin, online, 0.9)
    for got, want in zip(twin.parameters(), expected, strict=True):
        torch.testing.assert_close(got, want)
    assert all(torch.equal(a, b) for a, b in zip(twin.buffers(), buffers, strict=True))
    assert not any(p.requires_grad for p in twin.parameters())


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.99, 1.0])
def test_a_tensor_as_momentum_does_what_the_number_does(momentum):
    online, twin = (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)) for _ in range(2))
    online[1].weight.data.add_(1)
    other, before, buffers = copy.deepcopy(twin), copy.deepcopy(twin), [b.clone() for b in twin.buffers()]
    online[1].running_mean += 5
    update_ema(freeze(twin), online, torch.tensor(momentum))
    update_ema(freeze(other), online, momentum)
    for got, want, old, new in zip(*(net.parameters() for net in (twin, other, before, online)), strict=True):
        torch.testing.assert_close(got, want)
        torch.testing.assert_close(got, momentum * old + (1 - momentum) * new)
    assert all(torch.equal(a, b) for a, b in zip(twin.buffers(), buffers, strict=True))


def test_follow_equals_lightlys_update():
    utils = pytest.importorskip("lightly.models.utils")
    online, twin = nn.Linear(3, 4), nn.Linear(3, 4)
    theirs = copy.deepcopy(twin)
    update_ema(freeze(twin), online, 0.9)
    utils.update_momentum(online, freeze(theirs), 0.9)
    torch.testing.assert_close(twin.weight, theirs.weight)


def test_the_rising_momentum_is_byols_formula():
    """tau = 1 - (1 - tau_base) (cos(pi k / K) + 1) / 2, and lightly's schedule for any end."""
    for step in range(0, 101, 5):
        tau = float(ema_schedule(0.99, 1.0, torch.tensor(step / 100, dtype=torch.float64)))
        assert tau == pytest.approx(1 - 0.01 * (math.cos(math.pi * step / 100) + 1) / 2, abs=1e-12)
    assert float(ema_schedule(0.8, 0.9, torch.tensor(0.5))) == pytest.approx(0.85)
    scheduler = pytest.importorskip("lightly.utils.scheduler")
    for step in range(11):
        theirs = scheduler.cosine_schedule(step, 11, 0.9, 0.98)  # their last step has index 10
        assert float(ema_schedule(0.9, 0.98, torch.tensor(step / 10, dtype=torch.float64))) == pytest.approx(
            theirs, abs=1e-12
        )


def test_first_in_first_out():
    queue = Queue(6, 1)
    for start in range(0, 10, 2):
        queue.push(torch.tensor([[start], [start + 1]]).float(), torch.tensor([start, start + 1]))
    # ten pushed into six places: 4 and 5 still stand where they came, 6..9 have overwritten the oldest
    assert queue.entries.flatten().tolist() == [6, 7, 8, 9, 4, 5]
    assert queue.labels.tolist() == [6, 7, 8, 9, 4, 5]
    assert int(queue.pointer) == 4


def test_nearest_is_the_highest_cosine():
    generator = torch.Generator().manual_seed(0)
    queue = Queue(64, 8)
    queue.push(torch.randn(64, 8, generator=generator) * torch.rand(64, 1, generator=generator) * 10, torch.arange(64))
    queries = torch.randn(20, 8, generator=generator)
    entries, labels = queue.nearest(queries)
    for query, entry, label in zip(queries, entries, labels, strict=True):
        best = max(range(64), key=lambda k: float(F.cosine_similarity(query.double(), queue.entries[k].double(), dim=0)))
        assert int(label) == best
        assert torch.equal(entry, queue.entries[best])  # returned as stored, not normalised


def test_half_precision_around_it_does_not_blur_the_look_up():
    """Entries that differ by less than bf16 can tell: the nearest is still found, as in float32."""
    generator = torch.Generator().manual_seed(3)
    queue = Queue(64, 16)
    queue.entries.copy_(torch.ones(64, 16) + 0.01 * torch.randn(64, 16, generator=generator))
    query = torch.ones(32, 16) + 0.01 * torch.randn(32, 16, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = queue.nearest(query)
    assert torch.equal(found, queue.nearest(query)[0])
    similarity = torch.nn.functional.cosine_similarity(query.double()[:, None], queue.entries.double()[None], dim=2)
    assert torch.equal(found, queue.entries[similarity.argmax(dim=1)])


def test_entries_without_labels_forget_those_that_stood_there():
    queue = Queue(4, 1)
    queue.push(torch.ones(4, 1), torch.arange(4))
    queue.push(torch.ones(2, 1))
    assert queue.labels.tolist() == [-1, -1, 2, 3]


def test_starts_as_random_unit_vectors_without_labels():
    queue = Queue(32, 16)
    torch.testing.assert_close(queue.entries.norm(dim=1), torch.ones(32))
    assert set(queue.labels.tolist()) == {-1}


def test_a_batch_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match="no multiple of the batch"):
        Queue(10, 2).push(torch.zeros(4, 2))


def test_the_state_dict_holds_everything():
    queue = Queue(8, 2)
    queue.push(torch.randn(4, 2), torch.arange(4))
    other = Queue(8, 2)
    other.load_state_dict(queue.state_dict())
    assert torch.equal(other.entries, queue.entries) and int(other.pointer) == 4 and torch.equal(other.labels, queue.labels)
