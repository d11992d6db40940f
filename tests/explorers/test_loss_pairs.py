"""Losses pair by pair: against loops, the chain rule, closed forms, and a numerical search for the least value."""

import math
from types import SimpleNamespace

import pytest
import torch
from oracles import (
    cosine,
    slow_distillation_kl,
    slow_info_nce,
    slow_info_nce_queue,
    slow_log_softmax,
    slow_negative_cosine,
    slow_nt_xent,
    slow_soft_cross_entropy,
    slow_supervised_contrastive,
)  # fmt: skip

from mnclglf_lite import losses
from mnclglf_lite.core.errors import InputError
from mnclglf_lite.explorers.loss import pairs
from mnclglf_lite.explorers.loss.batch import QUEUE_MOST, Batch, drawn, encoded
from mnclglf_lite.explorers.loss.pairs import LOSSES, SOFT, from_embeddings, from_similarities, similarities
from mnclglf_lite.explorers.loss.temperature import carriers, curves, hardest
from mnclglf_lite.explorers.loss.words import loss_words
from mnclglf_lite.views.view import View, normalise

TEMPERATURES = (0.05, 0.3, 1.0)


def anyhow(n=5, d=4, k=7, seed=0):
    """Embeddings of any length, three classes of unequal size."""
    draw = torch.Generator().manual_seed(seed)
    a, b, queue = (3 * torch.randn(rows, d, generator=draw, dtype=torch.float64) for rows in (n, n, k))
    return Batch(a, b, queue, torch.tensor([0, 1, 0, 2, 1, 1, 2, 0][:n]))


def table_of(rows, columns):
    return [[cosine(x, y) for y in columns.tolist()] for x in rows.tolist()]


def over(rows, temperature):
    return [[x / temperature for x in row] for row in rows]


def slow(name, batch, t, second):
    """Every loss, in loops."""
    a, b, queue = batch.a, batch.b, batch.queue
    if name in SOFT:
        student, teacher = over(table_of(a, queue), t), table_of(b, queue)
        if name == "distillation_kl":
            return slow_distillation_kl(student, over(teacher, t), second)
        target = [[math.exp(x) for x in slow_log_softmax(row)] for row in over(teacher, second)]
        return slow_soft_cross_entropy(student, target)
    both, labels = torch.cat([a, b]), batch.labels.repeat(2).tolist()
    return {
        "info_nce": lambda: slow_info_nce(a, b, t),
        "nt_xent": lambda: slow_nt_xent(a, b, t),
        "info_nce_queue": lambda: slow_info_nce_queue(a, b, queue, t),
        "negative_cosine": lambda: slow_negative_cosine(a, b),
        "supervised_contrastive": lambda: slow_supervised_contrastive(over(table_of(both, both), t), labels),
    }[name]()


# --- the table ---------------------------------------------------------------------------------------------------------


def test_every_loss_of_the_package_is_here():
    functions = {name for name, it in vars(losses).items() if callable(it) and it.__module__ == losses.__name__}
    parts = {"at_least_float32", "l2_normalize", "two_sides", "cosine_logits", "queue_logits"}  # what is no loss
    assert set(LOSSES) == functions - parts


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("t", TEMPERATURES)
def test_the_loss_of_similarities_is_the_loss_of_embeddings_and_of_loops(name, t):
    for seed in range(3):
        batch, second = anyhow(seed=seed), 0.3
        expected = slow(name, batch, t, second)
        s = similarities(name, batch)
        assert float(from_similarities(name, s, batch, t, second)) == pytest.approx(expected, abs=1e-9)
        assert float(from_embeddings(name, batch, t, second)) == pytest.approx(expected, abs=1e-9)
        assert pairs.loss_table(name, batch, t, second).value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_by_the_chain_rule_the_pulls_and_pushes_are_the_gradient_of_the_embeddings(name):
    batch, t, second = anyhow(), 0.3, 0.3
    gradient = pairs.loss_table(name, batch, t, second).gradient
    sides = ["a", "b", "queue"][: 1 if name in SOFT else 3 if name == "info_nce_queue" else 2]  # a teacher stays as it is
    leaves = [getattr(batch, side).clone().requires_grad_() for side in sides]
    for side, leaf in zip(sides, leaves, strict=True):
        object.__setattr__(batch, side, leaf)
    direct = torch.autograd.grad(from_embeddings(name, batch, t, second), leaves)
    through = torch.autograd.grad((gradient * similarities(name, batch)).sum(), leaves)
    for one, other in zip(direct, through, strict=True):
        assert one.abs().max() > 1e-3
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "negative_cosine"])
def test_a_row_is_softmax_minus_target(name):
    batch, t, second = anyhow(), 0.3, 0.5
    table = pairs.loss_table(name, batch, t, second)
    rows = len(table.similarity)
    softened = second if name == "distillation_kl" else 1.0
    for i in range(rows):
        used = [j for j in range(table.similarity.shape[1]) if name not in pairs.BOTH_SIDES or j != i]
        share = [math.exp(x) for x in slow_log_softmax([float(table.similarity[i, j]) / t / softened for j in used])]
        assert table.probability[i, used].tolist() == pytest.approx(share)
        # of distillation_kl, T^2 in front and one T within: a factor of `second` is left
        expected = [softened * (p - float(table.target[i, j])) / (rows * t) for p, j in zip(share, used, strict=True)]
        assert table.gradient[i, used].tolist() == pytest.approx(expected, abs=1e-12)
    torch.testing.assert_close(table.gradient.sum(dim=1), torch.zeros(rows, dtype=torch.float64), rtol=0, atol=1e-12)
    assert table.unused.sum() == (rows if name in pairs.BOTH_SIDES else 0)
    assert not table.gradient[table.unused].any() and not table.probability[table.unused].any()


def test_two_pictures_by_hand():
    """Unit vectors at right angles: the positive has e / (e + 1), and what is missing to 1 pulls, as it pushes."""
    axes = torch.eye(2, dtype=torch.float64)
    table = pairs.loss_table("info_nce", Batch(axes, 2 * axes, axes, torch.tensor([0, 1])), 1.0)
    share = math.e / (math.e + 1)
    assert table.probability[0].tolist() == pytest.approx([share, 1 - share])
    pull = (1 - share) / 2
    assert table.gradient.tolist() == [pytest.approx([-pull, pull]), pytest.approx([pull, -pull])]
    assert table.positive.tolist() == [[True, False], [False, True]]


def test_negative_cosine_pulls_every_positive_alike_and_pushes_nothing():
    table = pairs.loss_table("negative_cosine", anyhow())
    assert torch.equal(table.gradient, -torch.eye(5, dtype=torch.float64) / 5)
    assert table.probability is None and not table.push.any() and table.best == table.level == -1
    assert torch.equal(table.unused, ~torch.eye(5, dtype=torch.bool))


def test_a_classmate_can_be_pushed():
    """A positive whose share is above that of an even split among the positives: supervised contrastive takes it back."""
    u, v, w = torch.eye(3, dtype=torch.float64)
    batch = Batch(torch.stack([u, v, w]), torch.stack([u, v, w]), u[None], torch.tensor([0, 0, 1]))
    table = pairs.loss_table("supervised_contrastive", batch, 0.1)
    own, classmate = table.gradient[0, 3], table.gradient[0, 1]
    assert table.positive[0].tolist() == [False, True, False, True, True, False]
    assert own > 0 > classmate and float(table.push[0, 3]) == 0  # it is a push, but of no negative


def test_of_a_soft_target_the_first_choice_is_outlined_and_any_pair_can_be_pushed():
    for name in SOFT:
        table = pairs.loss_table(name, anyhow(), 0.3, 0.3)
        assert torch.equal(table.positive.int().argmax(1), table.target.argmax(1)) and (table.positive.sum(1) == 1).all()
        torch.testing.assert_close(table.push, table.gradient.clamp(min=0))


# --- bounds ------------------------------------------------------------------------------------------------------------


def test_with_all_similarities_equal_the_level_is_the_docstrings_closed_form():
    batch = anyhow()
    levels = {name: pairs.loss_table(name, batch, 0.4).level for name in LOSSES}
    assert levels["info_nce"] == pytest.approx(math.log(5))
    assert levels["nt_xent"] == levels["supervised_contrastive"] == pytest.approx(math.log(9))
    assert levels["info_nce_queue"] == pytest.approx(math.log(8))
    assert levels["soft_cross_entropy"] == pytest.approx(math.log(7))
    target = [slow_log_softmax([x / 0.4 / 3 for x in row]) for row in table_of(batch.b, batch.queue)]
    divergence = sum(math.exp(x) * (x + math.log(7)) for row in target for x in row) / 5  # of a uniform guess
    assert levels["distillation_kl"] == pytest.approx(9 * divergence)


def least(name, batch, t, freed):
    """The lowest value that descent finds, with these tensors of the batch free."""
    found = math.inf
    for seed in range(3):
        draw = torch.Generator().manual_seed(seed)
        leaves = [torch.randn(getattr(batch, side).shape, generator=draw, dtype=torch.float64) for side in freed]
        for side, leaf in zip(freed, leaves, strict=True):
            object.__setattr__(batch, side, leaf.requires_grad_())
        optimiser = torch.optim.LBFGS(leaves, max_iter=400, line_search_fn="strong_wolfe", tolerance_change=1e-14)

        def loss(optimiser=optimiser):
            optimiser.zero_grad()
            value = from_embeddings(name, batch, t, 1.0)
            value.backward()
            return value

        optimiser.step(loss)
        found = min(found, float(from_embeddings(name, batch, t, 1.0).detach()))
    return found


PAIRS, ALONE, ONE = torch.tensor([0, 0, 1, 1, 2, 2]), torch.arange(6), torch.zeros(6, dtype=torch.long)


@pytest.mark.parametrize("t", [0.3, 1.0])
@pytest.mark.parametrize(
    "name, labels, freed",
    [
        ("info_nce", ALONE, ("a", "b")), ("nt_xent", ALONE, ("a", "b")), ("info_nce_queue", ALONE, ("a", "b", "queue")),
        ("supervised_contrastive", ALONE, ("a", "b")), ("supervised_contrastive", PAIRS, ("a", "b")),
        ("supervised_contrastive", ONE, ("a", "b")),
    ],
)  # fmt: skip
def test_the_best_value_is_the_least_that_descent_finds(name, labels, freed, t):
    batch = Batch(torch.ones(6, 8), torch.ones(6, 8), torch.ones(4, 8), labels)
    best, found = pairs.best(name, batch, t, 1.0), least(name, batch, t, freed)
    assert found >= best - 1e-9
    assert found <= best + 2e-3


def test_with_unequal_classes_the_bound_still_holds():
    batch = Batch(torch.ones(5, 8), torch.ones(5, 8), torch.ones(4, 8), torch.tensor([0, 0, 0, 1, 2]))
    for t in (0.3, 1.0):
        found = least("supervised_contrastive", batch, t, ("a", "b"))
        assert pairs.best("supervised_contrastive", batch, t, 1.0) < found < math.log(9)


def test_in_too_few_dimensions_the_best_value_is_a_bound():
    batch = Batch(torch.ones(6, 2), torch.ones(6, 2), torch.ones(4, 2), ALONE)
    assert least("info_nce", batch, 0.3, ("a", "b")) > pairs.best("info_nce", batch, 0.3, 1.0) + 0.05


@pytest.mark.parametrize("limit", [0.3, 1.0, 4.0])
def test_no_logits_in_the_box_have_a_lower_cross_entropy(limit):
    draw = torch.Generator().manual_seed(0)
    target = (3 * torch.randn(4, 6, generator=draw, dtype=torch.float64)).softmax(dim=1)
    logits = torch.zeros(4, 6, dtype=torch.float64)
    for _ in range(20_000):  # projected descent: a step, then back into the box; convex, so it finds the least
        logits = (logits - 0.5 * (logits.softmax(dim=1) - target)).clamp(-limit, limit)
    found = float(losses.soft_cross_entropy(logits, target))
    assert pairs.box_bound(target, limit) == pytest.approx(found, abs=1e-6)
    entropy = float(losses.soft_cross_entropy(target.log(), target))
    assert pairs.box_bound(target, 50.0) == pytest.approx(entropy) and found > entropy
    sure = torch.eye(6, dtype=torch.float64)  # InfoNCE, then: own logit at the upper limit, all others at the lower
    assert pairs.box_bound(sure, limit) == pytest.approx(math.log1p(5 * math.exp(-2 * limit)))


def test_the_bounds_of_teachers_hold():
    for seed in range(20):
        batch = anyhow(seed=seed)
        for name in SOFT:
            table = pairs.loss_table(name, batch, 0.5)
            assert table.best < table.value
    batch = anyhow()
    same = Batch(batch.b, batch.b, batch.queue, batch.labels)
    assert pairs.loss_table("distillation_kl", same, 0.2).value == pytest.approx(0, abs=1e-12)
    same = pairs.loss_table("soft_cross_entropy", same, 0.2, 0.2)  # as sure as its teacher: the entropy
    assert same.value == pytest.approx(same.best)


def test_temperature_one_leaves_less_than_a_nat():
    """Eight pictures: from ln 8 down to ln(1 + 7 exp(-8/7)) at temperature 1; almost all of ln 8 at 0.1."""
    warm, cold = (pairs.loss_table("info_nce", drawn(), t) for t in (1.0, 0.1))
    assert warm.level - warm.best == pytest.approx(math.log(8) - math.log(1 + 7 * math.exp(-8 / 7)))
    assert warm.level - warm.best < 0.91 and cold.level - cold.best > 2.079


# --- how the push is shared --------------------------------------------------------------------------------------------


def test_who_carries_the_push():
    push = torch.tensor([[0.5, 0.3, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25], [0.0, 0.95, 0.05, 0.0], [0.0, 0.0, 0.0, 0.0]])
    table = SimpleNamespace(push=(push.double() * 100).round() / 100)
    assert carriers(table).tolist() == [3, 4, 1, 0]
    assert carriers(table, 0.5).tolist() == [1, 2, 1, 0]
    shares = hardest(table)
    assert shares[:3].tolist() == pytest.approx([0.5, 0.25, 0.95]) and shares[3].isnan()


def test_a_low_temperature_pushes_the_hardest_negative_alone():
    names = [name for name in LOSSES if name not in (*SOFT, "negative_cosine")]
    for name in names:
        cold, warm = (pairs.loss_table(name, drawn(), t) for t in (0.02, 2.0))
        assert hardest(cold).mean() > 0.7 and carriers(cold).double().mean() < 3
        negatives = (~warm.positive & ~warm.unused).sum(dim=1)
        assert (carriers(warm) > 0.8 * negatives).all() and hardest(warm).mean() < 2 / negatives.min()


def test_curves_are_tables_at_other_temperatures():
    batch = drawn().with_queue(8)
    for name in LOSSES:
        found = curves(name, batch)
        if name == "negative_cosine":
            assert found is None
            continue
        assert (found.temperature[0], found.temperature[-1]) == pytest.approx((0.02, 2.0))
        table = pairs.loss_table(name, batch, found.temperature[5])
        assert (found.value[5], found.level[5], found.best[5]) == (table.value, table.level, table.best)
        assert found.carriers[5] == pytest.approx(carriers(table).double().mean().item())
    for name, second in (("distillation_kl", 1.5), ("soft_cross_entropy", 0.3)):
        found = curves(name, batch, second)
        table = pairs.loss_table(name, batch, found.temperature[9], second)
        assert (found.value[9], found.best[9]) == (table.value, table.best)


# --- batches -----------------------------------------------------------------------------------------------------------


def test_drawn_batches_are_what_the_sliders_say():
    own, others = [], []
    for seed in range(20):
        s = similarities("info_nce", drawn(alignment=0.7, sameness=0.3, seed=seed))
        own.append(s.diagonal().mean())
        others.append((s.sum() - s.trace()) / 56)
    assert float(torch.stack(own).mean()) == pytest.approx(0.3 + 0.7 * 0.7, abs=0.05)
    assert float(torch.stack(others).mean()) == pytest.approx(0.3 - 0.7 * 0.7 / 7, abs=0.05)
    perfect, same = drawn(alignment=1.0, sameness=0.0), drawn(sameness=1.0)
    for name in ("info_nce", "nt_xent"):
        table = pairs.loss_table(name, perfect, 0.3)
        assert table.value == pytest.approx(table.best)
    for name in LOSSES:
        table = pairs.loss_table(name, same, 0.3)
        assert table.value == pytest.approx(table.level, abs=1e-9)
    assert torch.equal(drawn(seed=3).a, drawn(seed=3).a) and not torch.equal(drawn(seed=3).a, drawn(seed=4).a)


def test_encoded_batches_hold_two_views_of_each_picture_two_of_a_class(toys):
    class Encoder(torch.nn.Module):
        def forward(self, x):
            assert not self.training  # asked in eval mode
            return x.flatten(1)

    encoder = Encoder().train()
    view = View(size=16)
    batch = encoded(encoder, toys.train, view, n=6, queue=10, seed=2)
    assert encoder.training
    assert batch.a.shape == batch.b.shape == (6, 3 * 16 * 16) and batch.queue.shape == (10, 768)
    assert batch.shown.shape == (12, 3, 16, 16) and batch.shown_queue.shape == (10, 3, 16, 16)
    assert batch.labels.unique(return_counts=True)[1].tolist() == [2, 2, 2]
    shown = normalise(batch.shown.float() / 255).flatten(1)  # what was encoded is what is shown, but for rounding
    torch.testing.assert_close(shown, torch.cat([batch.a, batch.b]).float(), rtol=0, atol=0.02)
    again = encoded(encoder, toys.train, view, n=6, queue=10, seed=2)
    assert torch.equal(batch.a, again.a) and torch.equal(batch.shown_queue, again.shown_queue)
    assert len(encoded(encoder, toys.train, view, n=5, queue=4)) == 5
    still = View(size=16, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip_p=0.0, jitter_p=0.0, gray_p=0.0, blur_p=0.0)
    batch = encoded(encoder, toys.train, still, n=4, queue=6)
    torch.testing.assert_close(batch.a, batch.b)  # of the same pictures, in the same order
    assert len(torch.cat([batch.a, batch.queue]).unique(dim=0)) == 10  # no picture twice


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: pairs.loss_table("infonce", drawn()), "did you mean 'info_nce'"),
        (lambda: pairs.loss_table("info_nce", drawn(), 0.0), "above 0"),
        (lambda: pairs.loss_table("distillation_kl", drawn(), 0.2, math.nan), "above 0"),
        (lambda: drawn(alignment=1.2), "from 0 to 1"),
        (lambda: drawn(1), "2 to 16"),
        (lambda: drawn().with_queue(65), "queue of 64"),
        (lambda: Batch(torch.ones(4, 2), torch.ones(3, 2), torch.ones(1, 2), torch.ones(4)), "one shape"),
        (lambda: Batch(torch.ones(4), torch.ones(4), torch.ones(1, 2), torch.ones(4)), "one row each"),
        (lambda: Batch(torch.full((4, 2), torch.nan), torch.ones(4, 2), torch.ones(1, 2), torch.ones(4)), "diverged"),
        (lambda: Batch(torch.ones(1, 2), torch.ones(1, 2), torch.ones(1, 2), torch.ones(1)), "2 to 16 pictures"),
        (lambda: Batch(*[torch.ones(4, 2)] * 3, torch.ones(4), torch.zeros(4, 3, 2, 2)), "8 embeddings"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(InputError, match=words):
        call()


def test_too_few_pictures_to_encode(toys):
    with pytest.raises(InputError, match="take 40 pictures; toybox has 20"):
        encoded(lambda x: x.flatten(1), toys.train.subset(torch.arange(20)), View(size=16))


# --- words -------------------------------------------------------------------------------------------------------------


def test_the_words_hold_the_numbers():
    table = pairs.loss_table("info_nce", drawn(), 1.0)
    words = loss_words(table, drawn(), 2)
    share, count = hardest(table).mean(), carriers(table).double().mean()
    for part in (
        "InfoNCE of 8 pictures", f"{table.value:.2f} nats", f"{table.level:.2f} (ln 8)", f"at best {table.best:.2f}",
        f"leaves {table.level - table.best:.2f} nats", f"C1: its positive (C2) has {100 * table.probability[2, 2]:.0f} %",
        f"come {100 * (table.level - table.value) / (table.level - table.best):.0f} % of the way",
        f"{100 * share:.0f} % falls on its hardest negative", f"{count:.1f} of its 7 negatives carry 90 %",
    ):  # fmt: skip
        assert part in words, part


def test_every_loss_has_its_own_words():
    batch = drawn().with_queue(16)
    for name, parts in {
        "nt_xent": ("ln 15", "14 negatives"), "info_nce_queue": ("queue of 16", "(the own key)", "ln 17"),
        "negative_cosine": ("-1.00", "no softmax"), "soft_cross_entropy": ("teacher's 0.04", "no student can come below"),
        "distillation_kl": ("softened by 3", "teacher's first choice"),
        "supervised_contrastive": ("3 positives (B1, A2, B2)", "worse than hopeless"),  # sure of views, blind to classes
    }.items():  # fmt: skip
        words = loss_words(pairs.loss_table(name, batch, 0.2), batch, 0)
        assert all(part in words for part in parts) and ("nats" in words) == (name != "negative_cosine"), name


def test_words_at_the_ends():
    same = drawn(sameness=1.0)
    for name in ("info_nce", "nt_xent", "supervised_contrastive"):
        words = loss_words(pairs.loss_table(name, same, 0.2), same, 0)
        assert "has come 0 % of the way" in words.replace("-0", "0") and "All shares are equal." in words
    assert "Nothing is pushed." in loss_words(pairs.loss_table("distillation_kl", same, 0.2), same, 0)
    one_class = Batch(same.a, same.b, same.queue, torch.zeros(8, dtype=torch.long))
    words = loss_words(pairs.loss_table("supervised_contrastive", one_class, 0.2), one_class, 0)
    assert "0.00 nats between" in words and "hardest negative" not in words and "Nothing is pushed." in words
    assert QUEUE_MOST == len(same.queue)
