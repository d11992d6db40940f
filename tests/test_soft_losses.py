"""Losses whose answer is a distribution, or a whole class: against loops, closed forms, torch and lightly."""

import math

import pytest
import torch
import torch.nn.functional as F
from oracles import cosine, slow_distillation_kl, slow_soft_cross_entropy, slow_supervised_contrastive

from mnclglf_lite.losses import cosine_logits, distillation_kl, nt_xent, soft_cross_entropy, supervised_contrastive


def numbers(*shape, seed=0, scale=3.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- similarities ------------------------------------------------------------------------------------------------------


def test_similarities_are_cosines_of_every_pair_over_the_temperature():
    a, b = numbers(3, 4), numbers(5, 4, seed=1)
    slow = torch.tensor([[cosine(x, y) / 0.3 for y in b.tolist()] for x in a.tolist()], dtype=torch.float64)
    torch.testing.assert_close(cosine_logits(a, b, 0.3), slow)


def test_similarities_are_computed_in_full_precision_under_autocast():
    a, b = numbers(3, 4).float(), numbers(5, 4, seed=1).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (a @ b.T).dtype == torch.bfloat16  # what would happen
        inside = cosine_logits(a, b, 0.3)
    assert inside.dtype == torch.float32 and torch.equal(inside, cosine_logits(a, b, 0.3))


# --- soft cross-entropy ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_soft_cross_entropy_equals_loops_and_torch(seed):
    logits, targets = numbers(6, 9, seed=seed), numbers(6, 9, seed=seed + 10).softmax(dim=1)
    value = float(soft_cross_entropy(logits, targets))
    assert value == pytest.approx(slow_soft_cross_entropy(logits.tolist(), targets.tolist()), abs=1e-9)
    assert value == pytest.approx(float(F.cross_entropy(logits, targets)), abs=1e-9)


def test_soft_cross_entropy_of_a_certain_target_is_the_hard_one_and_of_itself_its_entropy():
    logits, index = numbers(6, 9), torch.arange(6)
    torch.testing.assert_close(soft_cross_entropy(logits, F.one_hot(index, 9).double()), F.cross_entropy(logits, index))
    flat = torch.zeros(6, 9, dtype=torch.float64)
    assert float(soft_cross_entropy(flat, flat.softmax(1))) == pytest.approx(math.log(9))
    own = logits.softmax(dim=1)
    for other in (logits + 0.5 * numbers(6, 9, seed=4), flat):  # no guess is cheaper than the target itself
        assert soft_cross_entropy(other, own) > soft_cross_entropy(logits, own)


def test_the_gradient_of_soft_cross_entropy_is_guess_minus_target():
    logits, targets = numbers(6, 9).requires_grad_(), numbers(6, 9, seed=1).softmax(dim=1)
    (grad,) = torch.autograd.grad(soft_cross_entropy(logits, targets), logits)
    torch.testing.assert_close(grad, (logits.softmax(dim=1) - targets).detach() / 6)


# --- distillation_kl -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_distillation_kl_equals_loops(temperature):
    for seed in range(3):
        student, teacher = numbers(5, 7, seed=seed), numbers(5, 7, seed=seed + 10)
        slow = slow_distillation_kl(student.tolist(), teacher.tolist(), temperature)
        assert float(distillation_kl(student, teacher, temperature)) == pytest.approx(slow, abs=1e-9)


def test_distillation_kl_in_closed_form():
    """A teacher of 3 : 1 and an undecided student: T^2 (3/4 ln(3/2) + 1/4 ln(1/2))."""
    for t in (1.0, 3.0):
        teacher = torch.tensor([[t * math.log(3), 0.0]], dtype=torch.float64)
        student = torch.zeros(1, 2, dtype=torch.float64)
        expected = t**2 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
        assert float(distillation_kl(student, teacher, t)) == pytest.approx(expected)
    other_way = 9 * (0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25))
    assert float(distillation_kl(teacher, student, 3.0)) == pytest.approx(other_way)  # KL has a direction


def test_distillation_kl_is_zero_for_equals_and_does_not_see_a_constant():
    student, teacher = numbers(5, 7), numbers(5, 7, seed=1)
    assert float(distillation_kl(student, student, 3.0)) == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(distillation_kl(student + 2, teacher - 5, 3.0), distillation_kl(student, teacher, 3.0))


def test_with_a_high_temperature_distillation_kl_is_half_the_variance_of_the_difference():
    """Which is why T^2 is there: without it, the loss and its gradient would die with rising temperature."""
    student, teacher = numbers(5, 7), numbers(5, 7, seed=1)
    half_variance = (student - teacher).var(dim=1, unbiased=False).mean() / 2
    torch.testing.assert_close(distillation_kl(student, teacher, 1e4), half_variance, rtol=1e-3, atol=0)


def test_distillation_kl_teaches_the_student_alone():
    student, teacher = numbers(5, 7).requires_grad_(), numbers(5, 7, seed=1).requires_grad_()
    to_student, to_teacher = torch.autograd.grad(
        distillation_kl(student, teacher, 3.0), [student, teacher], allow_unused=True
    )
    assert to_teacher is None
    expected = 3 * ((student / 3).softmax(dim=1) - (teacher / 3).softmax(dim=1)) / 5
    torch.testing.assert_close(to_student, expected.detach())


# --- supervised contrastive --------------------------------------------------------------------------------------------

LABELS = torch.tensor([0, 1, 0, 2, 1, 0, 3, 1])  # classes of 3, 3, 1 and 1


def test_supervised_contrastive_equals_loops():
    for seed in range(3):
        s = numbers(8, 8, seed=seed)
        slow = slow_supervised_contrastive(s.tolist(), LABELS.tolist())
        assert float(supervised_contrastive(s, LABELS)) == pytest.approx(slow, abs=1e-9)


def test_with_two_of_each_class_it_is_nt_xent():
    """Two views of N pictures, the picture being the class: lightly's loss, and ours."""
    lightly = pytest.importorskip("lightly.loss")
    a, b = numbers(6, 5).float(), numbers(6, 5, seed=1).float()
    both = torch.cat([a, b])
    value = supervised_contrastive(cosine_logits(both, both, 0.2), torch.arange(6).repeat(2))
    torch.testing.assert_close(value, lightly.NTXentLoss(temperature=0.2)(a, b), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(value, nt_xent(a, b, 0.2))


def test_all_equal_similarities_leave_a_uniform_guess_among_the_others():
    for n in (4, 64):
        s, labels = torch.full((n, n), 7.0, dtype=torch.float64), torch.arange(n) % 2
        assert float(supervised_contrastive(s, labels)) == pytest.approx(math.log(n - 1))


def test_the_diagonal_counts_nowhere_and_gets_no_gradient():
    s = numbers(8, 8).requires_grad_()
    value = supervised_contrastive(s, LABELS)
    torch.testing.assert_close(supervised_contrastive(s + 50 * torch.eye(8), LABELS), value)
    (grad,) = torch.autograd.grad(value, s)
    assert torch.equal(grad.diagonal(), torch.zeros(8, dtype=torch.float64)) and grad.isfinite().all()


def test_a_picture_without_a_classmate_is_no_anchor_but_still_a_negative():
    s = numbers(8, 8).requires_grad_()
    (grad,) = torch.autograd.grad(supervised_contrastive(s, LABELS), s)
    alone = torch.tensor([3, 6])
    assert not grad[alone].any() and (grad[[0, 1, 2, 4, 5, 7]][:, alone] > 0).all()
    value = supervised_contrastive(s, torch.arange(8))  # nobody has one
    assert float(value) == 0 and not torch.autograd.grad(value, s)[0].any()


def test_order_of_the_batch_does_not_matter():
    s, order = numbers(8, 8), torch.randperm(8, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(supervised_contrastive(s[order][:, order], LABELS[order]), supervised_contrastive(s, LABELS))


def test_gradients_are_those_of_the_formula():
    s = numbers(5, 5, scale=1.0).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: supervised_contrastive(x, LABELS[:5]), s)
    teacher = numbers(5, 5, seed=1)
    assert torch.autograd.gradcheck(lambda x: distillation_kl(x, teacher, 3.0), s)
