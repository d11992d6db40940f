import math

import pytest
import torch
from oracles import cosine, slow_info_nce, slow_info_nce_queue, slow_negative_cosine, slow_nt_xent

from mnclglf_lite.losses import info_nce, info_nce_queue, negative_cosine, nt_xent, queue_logits


def pair(n=7, d=5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=dtype), torch.randn(n, d, generator=generator, dtype=dtype)


@pytest.mark.parametrize("temperature", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("fast, slow", [(info_nce, slow_info_nce), (nt_xent, slow_nt_xent)])
def test_equals_the_formula_written_as_loops(fast, slow, temperature):
    for seed in range(3):
        a, b = pair(seed=seed)
        assert float(fast(a, b, temperature)) == pytest.approx(slow(a, b, temperature), abs=1e-6)


@pytest.mark.parametrize("n", [2, 8, 256])
def test_all_equal_embeddings_leave_a_uniform_guess(n):
    same = torch.ones(n, 4, dtype=torch.float64)
    assert float(info_nce(same, same, 1.0)) == pytest.approx(math.log(n))
    assert float(nt_xent(same, same, 1.0)) == pytest.approx(math.log(2 * n - 1))


def test_the_best_values_at_temperature_one():
    """An ideal simplex of 256 pictures: cosine 1 with the partner and -1/255 with all others (worked out by hand)."""
    n = 256
    simplex = torch.eye(n, dtype=torch.float64) - 1 / n
    assert float(info_nce(simplex, simplex, 1.0)) == pytest.approx(4.548, abs=5e-4)
    assert float(nt_xent(simplex, simplex, 1.0)) == pytest.approx(5.236, abs=5e-4)
    # ... and with them the range of the whole loss: from 43.0 down to 36.0
    same = torch.ones(n, 2, dtype=torch.float64)
    assert float(info_nce(same, same, 1.0) + 6 * nt_xent(same, same, 1.0)) == pytest.approx(42.96, abs=0.01)
    assert float(info_nce(simplex, simplex, 1.0) + 6 * nt_xent(simplex, simplex, 1.0)) == pytest.approx(35.96, abs=0.01)


def test_nt_xent_equals_lightly():
    lightly = pytest.importorskip("lightly.loss")
    for temperature in (0.1, 0.5, 1.0):
        a, b = pair(n=16, d=8, dtype=torch.float32)
        theirs = lightly.NTXentLoss(temperature=temperature)(a, b)
        assert float(nt_xent(a, b, temperature)) == pytest.approx(float(theirs), abs=2e-6)


@pytest.mark.parametrize("loss", [info_nce, nt_xent])
def test_length_and_order_of_the_batch_do_not_matter(loss):
    a, b = pair()
    base = loss(a, b, 0.2)
    torch.testing.assert_close(loss(3 * a, 0.1 * b, 0.2), base)
    order = torch.randperm(len(a), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(loss(a[order], b[order], 0.2), base)
    assert not torch.isclose(loss(a, b[order], 0.2), base)  # the pairing does matter


def test_nt_xent_is_symmetric_and_info_nce_is_not():
    a, b = pair()
    torch.testing.assert_close(nt_xent(a, b, 0.3), nt_xent(b, a, 0.3))
    assert not torch.isclose(info_nce(a, b, 0.3), info_nce(b, a, 0.3))


@pytest.mark.parametrize("loss", [info_nce, nt_xent])
def test_gradients_are_those_of_the_formula(loss):
    a, b = pair(n=4, d=3)
    assert torch.autograd.gradcheck(lambda x, y: loss(x, y, 0.5), (a.requires_grad_(), b.requires_grad_()))


def test_half_precision_embeddings_are_compared_in_full():
    a, b = pair(n=32, d=16, dtype=torch.float32)
    half = nt_xent(a.bfloat16(), b.bfloat16(), 0.1)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, nt_xent(a.bfloat16().float(), b.bfloat16().float(), 0.1))


# --- a queue of negatives ----------------------------------------------------------------------------------------------


def triple(n=7, k=11, d=5, seed=0, dtype=torch.float64):
    """Queries, keys and a queue whose entries are of any length."""
    generator = torch.Generator().manual_seed(seed + 100)
    queue = torch.randn(k, d, generator=generator, dtype=dtype) * (1 + torch.arange(k)[:, None])
    return *pair(n, d, seed, dtype), queue


@pytest.mark.parametrize("temperature", [0.05, 0.2, 1.0])
def test_queue_nce_equals_the_formula_written_as_loops(temperature):
    for seed in range(3):
        q, k, queue = triple(seed=seed)
        expected = slow_info_nce_queue(q, k, queue, temperature)
        assert float(info_nce_queue(q, k, queue, temperature)) == pytest.approx(expected, abs=1e-9)


def test_queue_logits_hold_the_own_key_first_and_the_queue_in_its_order():
    q, k, queue = triple(n=3, k=4)
    logits = queue_logits(q, k, queue, 0.5)
    assert logits.shape == (3, 5)
    for i in range(3):
        row = [cosine(q[i].tolist(), k[i].tolist()), *(cosine(q[i].tolist(), entry.tolist()) for entry in queue)]
        assert logits[i].tolist() == pytest.approx([value / 0.5 for value in row])


@pytest.mark.parametrize("k", [1, 16, 4096])
def test_closed_forms_of_queue_nce(k):
    same = torch.ones(3, 4, dtype=torch.float64)
    queue = torch.ones(k, 4, dtype=torch.float64)
    assert float(info_nce_queue(same, same, queue, 0.2)) == pytest.approx(math.log(1 + k))  # all equal: a uniform guess
    opposite = math.log(1 + k * math.exp(-2 / 0.2))  # own key at cosine 1, all others at -1: the least there can be
    assert float(info_nce_queue(same, same, -queue, 0.2)) == pytest.approx(opposite, rel=1e-6)


def test_queue_nce_equals_lightlys_loss_with_a_memory_bank():
    lightly = pytest.importorskip("lightly.loss")
    q, k, queue = triple(n=16, k=32, d=8, dtype=torch.float32)
    for temperature in (0.1, 0.5):
        theirs = lightly.NTXentLoss(temperature=temperature, memory_bank_size=(32, 8))
        theirs.memory_bank.bank = torch.nn.functional.normalize(queue, dim=1)
        ours, other = q.clone().requires_grad_(), q.clone().requires_grad_()
        value, expected = info_nce_queue(ours, k, queue, temperature), theirs(other, k)
        assert float(value.detach()) == pytest.approx(float(expected.detach()), abs=2e-6)
        torch.testing.assert_close(torch.autograd.grad(value, ours)[0], torch.autograd.grad(expected, other)[0])


def test_in_queue_nce_length_does_not_matter_nor_the_queues_order_but_the_pairing_does():
    q, k, queue = triple()
    base = info_nce_queue(q, k, queue, 0.2)
    torch.testing.assert_close(info_nce_queue(3 * q, 0.1 * k, queue.flip(0) * 2, 0.2), base)
    assert not torch.isclose(info_nce_queue(q, k.flip(0), queue, 0.2), base)


def test_gradients_of_queue_nce_are_those_of_the_formula():
    q, k, queue = (x.requires_grad_() for x in triple(n=4, k=3, d=3))
    assert torch.autograd.gradcheck(lambda *x: info_nce_queue(*x, 0.5), (q, k, queue))


# --- cosine alone ------------------------------------------------------------------------------------------------------


def test_negative_cosine_equals_the_formula_lightly_and_the_squared_distance():
    for seed in range(3):
        p, z = pair(seed=seed)
        value = float(negative_cosine(p, z))
        assert value == pytest.approx(slow_negative_cosine(p, z), abs=1e-9)
        distance = (p / p.norm(dim=1, keepdim=True) - z / z.norm(dim=1, keepdim=True)).square().sum(1).mean()
        assert 2 + 2 * value == pytest.approx(float(distance))  # BYOL's
    lightly = pytest.importorskip("lightly.loss")
    assert value == pytest.approx(float(lightly.NegativeCosineSimilarity()(p, z)), abs=1e-9)


def test_closed_forms_of_negative_cosine():
    p, _ = pair()
    assert float(negative_cosine(p, 5 * p)) == pytest.approx(-1)
    assert float(negative_cosine(p, -p)) == pytest.approx(1)
    axes = torch.eye(4, dtype=torch.float64)
    assert float(negative_cosine(axes, axes.roll(1, 0))) == 0


def test_gradients_of_negative_cosine_are_those_of_the_formula():
    p, z = pair(n=4, d=3)
    assert torch.autograd.gradcheck(negative_cosine, (p.requires_grad_(), z.requires_grad_()))


@pytest.mark.parametrize("loss", [lambda *x: info_nce_queue(*x, 0.1), lambda p, z, _: negative_cosine(p, z)])
def test_half_precision_is_compared_in_full_here_too(loss):
    half = [x.bfloat16() for x in triple(n=32, d=16, dtype=torch.float32)]
    value = loss(*half)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(*(x.float() for x in half)))
