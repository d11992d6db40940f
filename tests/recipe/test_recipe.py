import dataclasses
import json

import pytest

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.methods.registry import METHODS
from mnclglf_lite.recipe.presets import PRESETS, preset
from mnclglf_lite.recipe.recipe import Recipe
from mnclglf_lite.views.view import View


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("method", METHODS)
def test_presets_survive_json(name, method):
    recipe = preset(name, method, "cifar10", seed=3)
    again = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert again == recipe and again.differences(recipe) == []


def test_as_released_is_the_released_configuration():
    """Every setting that stands in the released code."""
    r = preset("as_released")
    assert (r.optim.epochs, r.optim.batch_size, r.optim.lr, r.optim.momentum, r.optim.nesterov) == (
        200,
        256,
        0.1,
        0.9,
        False,
    )
    assert (
        r.optim.weight_decay,
        r.optim.decay_bias_and_norm,
        r.optim.warmup,
        r.optim.clip_grad_norm,
        r.method.predictor_lr,
    ) == (1e-4, True, 0.0, 1.0, "constant")
    assert (r.method.temperature, r.method.ema, r.method.queue, r.method.grid, r.method.combine) == (1.0, 0.99, 16384, 2, 2)
    assert (r.method.local_weight, r.method.global_weight, r.method.local_gradient, r.optim.precision) == (
        1.0,
        6.0,
        False,
        "fp32",
    )
    assert (r.encoder.width, r.encoder.blocks, r.encoder.stem, r.method.projector, r.method.predictor_hidden) == (
        64,
        (2, 2, 2, 2),
        "imagenet",
        (2048,) * 3,
        512,
    )
    assert r.method.projector_last_norm
    v = r.views.view
    assert (v.size, v.scale, v.filter, v.flip, v.jitter, v.jitter_p) == (
        224,
        (0.2, 1),
        "bicubic",
        0.5,
        (0.4, 0.4, 0.4, 0.1),
        0.8,
    )
    assert (v.gray, v.blur, v.blur_sigma, v.solarize) == (0.2, 0.5, (0.1, 2.0), 0.0)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"queue": 1000}, r"queue \(1000\) must be a multiple of the batch \(128\); the nearest is 1024"),
        ({"method": "simclear"}, "did you mean 'simclr'"),
        ({"stem": "cifr"}, "did you mean 'cifar'"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"batch_size": 1}, "batch must be at least 2"),
        ({"ema": 1.0}, r"momentum must lie in \[0, 1\)"),
        ({"grid": 3}, "32 pixels does not divide into a 3x3 grid"),
        ({"combine": 5}, "cannot combine 5 of 4 patches"),
        ({"epochs": 0.0}, "epochs > 0 or steps > 0"),
        ({"momentum": 0.0}, "nesterov needs"),
        ({"method": "glnet", "grow": (16, 32)}, "grow changes the size of `view` alone, and glnet has other views"),
        ({"method": "cgh", "weak_view": View(size=2)}, "a weak_view of 2 pixels is too small"),
        ({"temprature": 0.1}, "did you mean 'temperature'"),
    ],
)
def test_impossible_recipes_are_refused_with_the_reason(changes, message):
    with pytest.raises(InputError, match=message):
        preset("quick").replace(**changes)


def test_views_are_checked_where_they_are_made():
    with pytest.raises(InputError, match="scale"):
        preset("quick", view=View(scale=(1.0, 0.2)))


def test_unknown_preset_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'standard'"):
        preset("standart")


def test_differences_name_the_fields():
    a = preset("quick", "simclr")
    assert a.differences(a.replace(seed=1, lr=0.1)) == ["seed: 0 -> 1", "lr: 0.36 -> 0.1"]


def test_every_knob_says_unit_and_source():
    for spec in dataclasses.fields(Recipe):
        assert spec.metadata["unit"] and spec.metadata["source"], spec.name
