"""Muon: its matrices by SVD, one step by a slow loop, what it leaves to SGD, and what is refused."""

import copy

import pytest
import torch
from conftest import tiny
from oracles import slow_orthogonalise

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.recipe.recipe import Recipe, build_method
from mnclglf_lite.training.optimiser import make_optimiser, orthogonalize
from mnclglf_lite.training.run import new_run
from mnclglf_lite.training.step import Step

SHAPES = [(5, 5), (4, 9), (9, 4), (4, 30), (1, 7), (16, 1)]


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("kind", [torch.float64, torch.float32])
def test_orthogonalize_changes_the_singular_values_alone(kind):
    matrices = [random(*shape, seed=i) for i, shape in enumerate(SHAPES)]
    matrices.append(matrices[3] * torch.logspace(0, -3, 4, dtype=torch.float64)[:, None])  # badly conditioned
    tolerance = {torch.float64: 1e-12, torch.float32: 2e-3}[kind]  # rounding grows by up to 3.4^5 in small directions
    for found, matrix in zip(orthogonalize([m.to(kind) for m in matrices]), matrices, strict=True):
        assert found.dtype == kind and found.shape == matrix.shape
        torch.testing.assert_close(found.double(), slow_orthogonalise(matrix), rtol=0, atol=tolerance)


def test_orthogonalize_ends_near_the_nearest_orthogonal_matrix():
    for shape in SHAPES:
        matrix = random(*shape)
        u, s, v = torch.linalg.svd(matrix, full_matrices=False)
        assert (s / s.norm()).min() > 0.01
        values = torch.diagonal(u.T @ orthogonalize([matrix])[0] @ v.T)  # 1 each, were it exact
        assert 0.68 < values.min() and values.max() < 1.21
        scaled = orthogonalize([1e-12 * matrix])[0]  # of any size
        torch.testing.assert_close(scaled, orthogonalize([matrix])[0])
    assert not orthogonalize([torch.zeros(3, 4)])[0].any()


def started(optimiser, **changes):
    """A method with some gradients, and its optimiser."""
    recipe = tiny("byol", optimiser=optimiser, momentum=0.8, weight_decay=0.01, lr=0.3, **changes)
    method = build_method(recipe, 10).double()
    chosen = make_optimiser(recipe, method)
    for group in chosen.param_groups:
        group["lr"] = 0.05
    return method, chosen


def fill(method, seed):
    for i, parameter in enumerate(p for p in method.parameters() if p.requires_grad):
        parameter.grad = random(*parameter.shape, seed=100 * seed + i)


def test_three_steps_are_those_of_a_slow_loop_and_of_sgd():
    """Matrices move by the formula of the module; first convolution, biases and BatchNorm as SGD moves them."""
    method, muon = started("muon", muon_weight_decay=0.3)
    twin, sgd = started("sgd")
    for one, other in zip(method.parameters(), twin.parameters(), strict=True):
        other.data.copy_(one)
    before, buffers = copy.deepcopy(dict(method.named_parameters())), {}
    expected = {name: p.detach().clone() for name, p in before.items()}
    for seed in range(3):
        fill(method, seed)
        fill(twin, seed)
        muon.step()
        sgd.step()
        for name, parameter in method.named_parameters():
            if parameter.requires_grad and parameter.ndim > 1 and name != "backbone.conv1.weight":
                gradient = parameter.grad.reshape(len(parameter), -1)
                buffers[name] = 0.95 * buffers.get(name, 0) + gradient
                rows, columns = gradient.shape
                move = slow_orthogonalise(gradient + 0.95 * buffers[name]) * max(1, rows / columns) ** 0.5
                expected[name] = (1 - 0.05 * 0.3) * expected[name] - 0.05 * move.reshape(parameter.shape)
    theirs, left = dict(twin.named_parameters()), set()
    for name, parameter in method.named_parameters():
        if not parameter.requires_grad:
            torch.testing.assert_close(parameter, before[name], rtol=0, atol=0)
        elif name in buffers:
            torch.testing.assert_close(parameter, expected[name], rtol=0, atol=1e-12)
        else:
            left.add(name)
            torch.testing.assert_close(parameter, theirs[name], rtol=0, atol=1e-14)
            assert not torch.equal(parameter, before[name])
    assert "backbone.conv1.weight" in left and all(
        p.ndim == 1 for n, p in theirs.items() if n in left and "conv1.w" not in n
    )
    assert len(buffers) >= 6


def test_muons_rate_follows_the_schedule_and_not_the_batch(toys):
    for batch in (16, 32):
        recipe = tiny("simclr", optimiser="muon", muon_lr=0.07, lr=0.3, batch_size=batch, steps=10, warmup=0.0)
        run = new_run(recipe, len(toys.train), 10, torch.device("cpu"))
        Step(run, toys.train.images, toys.train.labels, "eager")(torch.arange(batch))
        rates = {group["muon"]: group["lr"] for group in run.optimiser.param_groups}
        assert rates == pytest.approx({True: 0.07, False: 0.3 * batch / 256})


def test_settings_of_the_other_optimiser_are_refused_by_name():
    for bad, told in (
        ({"optimiser": "adam"}, "optimiser"),
        ({"optimiser": "muon", "muon_lr": 0.0}, "muon_lr must be positive"),
        ({"optimiser": "muon", "muon_weight_decay": -1.0}, "muon_weight_decay"),
        ({"optimiser": "sgd", "muon_lr": 0.2}, "muon_lr: of Muon alone"),
    ):
        with pytest.raises(InputError, match=told):
            preset("quick", "simclr", **bad)
    with pytest.raises(InputError, match="as_released is trained by SGD"):
        preset("as_released", "mnclglf", optimiser="muon")
    muon = preset("quick", "simclr", optimiser="muon", muon_lr=0.2)
    assert muon.replace(optimiser="sgd").optim.muon_lr == Recipe().optim.muon_lr  # left behind, so that it can be chosen
    assert muon.replace(steps=5).optim.muon_lr == 0.2
