"""Recipes: what presets say, what cannot be, and how views grow."""

import pytest

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.methods.registry import METHODS
from mnclglf_lite.recipe.presets import preset, presets_of
from mnclglf_lite.recipe.recipe import Recipe, build_method
from mnclglf_lite.training.step import views_at_step
from mnclglf_lite.views.view import View


def test_as_released_is_the_released_configuration():
    """Every setting that stands in the released code."""
    r = preset("as_released")
    assert (r.optim.epochs, r.optim.batch_size, r.optim.lr, r.optim.precision) == (200, 256, 0.1, "fp32")
    assert (r.optim.momentum, r.optim.nesterov, r.optim.warmup) == (0.9, False, 0.0)
    assert (r.optim.weight_decay, r.optim.decay_bias_and_norm, r.optim.clip_grad_norm) == (1e-4, True, 1.0)
    m = r.method
    assert (m.temperature, m.ema, m.queue, m.grid, m.combine) == (1.0, 0.99, 16384, 2, 2)
    assert (m.local_weight, m.global_weight, m.local_gradient, m.predictor_lr) == (1.0, 6.0, False, "constant")
    assert (m.projector, m.projector_last_norm, m.predictor_hidden) == ((2048,) * 3, True, 512)
    assert m.head_norm_start == "uniform" and r.views.eval_size == 224
    assert (r.encoder.width, r.encoder.blocks, r.encoder.stem) == (64, (2, 2, 2, 2), "imagenet")
    v = r.views.view
    assert (v.size, v.scale, v.interpolation, v.flip_p) == (224, (0.2, 1), "bicubic", 0.5)
    assert (v.jitter, v.jitter_p) == ((0.4, 0.4, 0.4, 0.1), 0.8)
    assert (v.gray_p, v.blur_p, v.blur_sigma, v.solarize_p) == (0.2, 0.5, (0.1, 2.0), 0.0)


def test_as_released_is_fast_mocos_release_too():
    """What differs from MNCLGLF's: batches of 512 at a rate of 0.1, and one epoch of warm-up."""
    mine, theirs = (preset("as_released", name, "cifar10") for name in ("fastmoco", "mnclglf"))
    assert mine.optim.batch_size == 512 and mine.optim.lr * 512 / 256 == 0.1
    assert mine.optim.warmup * mine.optim.epochs == pytest.approx(1)
    assert mine.replace(batch_size=256, lr=0.1, warmup=0.0).optim == theirs.optim
    assert (mine.views, mine.encoder) == (theirs.views, theirs.encoder)
    shared = mine.method.settings() & theirs.method.settings()
    assert all(getattr(mine.method, name) == getattr(theirs.method, name) for name in shared)


@pytest.mark.parametrize("method", METHODS)
def test_as_released_is_refused_for_methods_whose_release_it_is_not(method):
    released = method in ("fastmoco", "mnclglf")
    assert presets_of(method) == ["quick", "standard"] + ["as_released"] * released
    if released:
        assert preset("as_released", method, "cifar10").method.temperature == 1
        return
    with pytest.raises(InputError, match=f"as_released is for fastmoco and mnclglf alone; for {method} take standard"):
        preset("as_released", method, "cifar10")


def test_a_record_from_before_heads_could_start_otherwise_has_heads_that_start_at_one():
    record = preset("as_released").to_dict()
    del record["head_norm_start"]
    assert Recipe.from_dict(record) == preset("as_released", head_norm_start="one")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"queue": 1000, "batch_size": 128}, r"queue \(1000\) must be a multiple of the batch \(128\); the nearest is 1024"),
        ({"stem": "cifr"}, "did you mean 'cifar'"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"batch_size": 1}, "batch_size must be at least 2"),
        ({"ema": 1.0}, r"ema must lie in \[0, 1\)"),
        ({"grid": 3}, "32 pixels does not divide into a 3x3 grid"),
        ({"combine": 5}, "cannot combine 5 of 4 patches"),
        ({"epochs": 0.0}, "epochs > 0 or steps > 0"),
        ({"momentum": 0.0}, "nesterov needs"),
        ({"temprature": 0.1}, "did you mean 'temperature'"),
    ],
)
def test_impossible_recipes_are_refused_with_the_reason(changes, message):
    with pytest.raises(InputError, match=message):
        preset("quick").replace(**changes)


def test_views_of_a_methods_own_are_checked_too():
    with pytest.raises(InputError, match="a teacher_view of 2 pixels is too small"):
        preset("quick", "cgh", teacher_view=View(size=2))
    with pytest.raises(InputError, match="a small_view of 2 pixels is too small"):
        preset("quick", "simclr", small_view=View(size=2), small_views=1)
    assert preset("quick", "simclr", small_view=View(size=2)).method.small_view.size == 2  # there is none to be cut
    with pytest.raises(InputError, match="did you mean 'simclr'"):
        preset("quick", "simclear")


@pytest.mark.parametrize(("method", "sizes"), [("glnet", [[8] * 8, [16] * 8]), ("cgh", [[16, 32], [32, 32]])])
def test_whole_views_grow_and_views_of_a_methods_own_keep_their_size(method, sizes):
    """GLNet's patches are half the whole view; CGH's teacher has a view of its own."""
    asked = preset("quick", method, "toybox", progressive_sizes=(16, 32))
    built = build_method(asked, 10)
    assert [[view.size for view in views_at_step(asked, built, step, 2)] for step in (0, 1)] == sizes


def test_views_are_checked_where_they_are_made():
    with pytest.raises(InputError, match="scale"):
        preset("quick", view=View(scale=(1.0, 0.2)))


def test_unknown_preset_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'standard'"):
        preset("standart")


def test_differences_name_the_fields():
    a = preset("quick", "simclr")
    assert a.differences(a.replace(seed=1, lr=0.1)) == ["seed: 0 -> 1", f"lr: {a.optim.lr} -> 0.1"]
