"""A method owns its settings: each reads all that it has, and refuses by name what it has not."""

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from conftest import tiny

from mnclglf_lite.cli.main import main
from mnclglf_lite.core.config import Config, knob
from mnclglf_lite.core.errors import InputError
from mnclglf_lite.data.dataset import Splits
from mnclglf_lite.methods import registry
from mnclglf_lite.methods.base import Slot
from mnclglf_lite.methods.registry import BUILT_IN, METHODS, VARIANTS, methods_with, register_method, variant
from mnclglf_lite.methods.simclr import SimCLR
from mnclglf_lite.recipe.flags import all_settings
from mnclglf_lite.recipe.legacy import RENAMED, RENAMED_IN_VIEWS, upgrade
from mnclglf_lite.recipe.presets import preset, presets_of
from mnclglf_lite.recipe.recipe import SECTIONS, Recipe, build_method, value_of
from mnclglf_lite.training.train import train
from mnclglf_lite.views.view import View

OWN = sorted({name for method in BUILT_IN for name in method.Config.settings()})
UNREAD = [(method.Config.name, name) for method in BUILT_IN for name in OWN if name not in method.Config.settings()]


def words(setting):
    """What a user would type to set it."""
    flag, value = f"--{setting.replace('_', '-')}", all_settings()[setting].default
    if isinstance(value, View):
        return [f"{flag}-size", "16"]
    if isinstance(value, bool):
        return [f"--no-{flag[2:]}"]
    return [flag, *map(str, value if isinstance(value, tuple) else [value])]


@pytest.mark.parametrize(("method", "setting"), UNREAD)
def test_a_setting_that_is_not_read_is_refused_in_python_and_as_a_flag(method, setting, capsys):
    owner = methods_with(setting)[0]
    told = f"{method} has no setting '{setting}'; it is one of .*{owner}"
    with pytest.raises(InputError, match=told):
        preset("quick", method, "toybox", **{setting: all_settings()[setting].default})
    assert main(["train", "--method", method, *words(setting)]) == 2
    assert re.search(told, said := capsys.readouterr().err) and said.endswith(f"train --method {method} --help\n")


@pytest.mark.parametrize("method", METHODS)
def test_every_setting_that_a_method_has_is_read(method):
    """By the code of its class: each name stands in a file that the class is made of."""
    import inspect

    from mnclglf_lite.methods import knobs
    from mnclglf_lite.training import optimiser, step

    text = "".join(inspect.getsource(room) for room in (inspect.getmodule(METHODS[method]), optimiser, step))
    text += inspect.getsource(knobs.SmallViewKnobs)
    for name in METHODS[method].Config.settings():
        assert re.search(rf'config\.{name}\b|method, "{name}"', text), f"{method} never reads {name}"


def test_momentum_is_the_optimisers(toys):
    """It was the moving average's once, and SimCLR, which has none, trained alike under any."""
    found = []
    for momentum in (0.0, 0.99):
        asked = tiny("simclr", momentum=momentum, nesterov=False, steps=3, precision="fp32")
        found.append(train(asked, toys, device="cpu", log=lambda text: None).method.state_dict())
    assert not torch.equal(found[0]["backbone.conv1.weight"], found[1]["backbone.conv1.weight"])
    with pytest.raises(InputError, match="simclr has no setting 'ema'; it is one of moco, byol"):
        tiny("simclr", ema=0.9)


def test_a_comparison_takes_what_one_of_its_methods_reads(tmp_path, capsys):
    words = ["--queue", "100", "--batch-size", "32", "--out", str(tmp_path)]
    assert main(["compare", "--methods", "simclr,nnclr", *words]) == 2
    assert "the queue (100) must be a multiple of the batch (32)" in capsys.readouterr().err
    assert main(["compare", "--methods", "simclr,byol", *words]) == 2
    assert "none of these methods has a setting 'queue'" in capsys.readouterr().err


# --- recipes


def test_names_are_unique_across_sections_and_methods():
    shared = [spec.name for part in SECTIONS.values() for spec in dataclasses.fields(part)] + ["seed", "method", "format"]
    assert len(set(shared)) == len(shared)
    for method in BUILT_IN:
        assert not method.Config.settings() & set(shared)


def test_every_setting_says_unit_and_source_and_is_what_its_default_is_everywhere():
    kinds = {}
    for method in BUILT_IN:
        for part in (*SECTIONS.values(), method.Config):
            for spec in dataclasses.fields(part):
                assert spec.metadata["unit"] and spec.metadata["source"], spec.name
                kinds.setdefault(spec.name, set()).add(type(spec.default))
    assert all(len(kind) == 1 for kind in kinds.values()), kinds


@pytest.mark.parametrize(
    ("name", "method"), [(name, each) for each in [*METHODS, *VARIANTS] for name in presets_of(variant(each)[0])]
)
def test_presets_go_to_json_and_back(name, method):
    kind, changes = variant(method)
    for dataset in ("toybox", "cifar10", "tinyimagenet"):
        asked = preset(name, kind, dataset, **changes)
        assert Recipe.from_dict(json.loads(json.dumps(asked.to_dict()))) == asked
        for setting, value in changes.items():
            assert value_of(asked, setting) == value


def test_no_preset_of_a_method_names_what_it_does_not_read():
    for method in BUILT_IN:
        for layers in method.presets.values():
            for layer in layers.values():
                assert not set(layer) & (set(OWN) - method.Config.settings()), method


def test_replace_refuses_with_the_nearest_name():
    with pytest.raises(InputError, match="did you mean 'temperature'"):
        tiny("simclr").replace(temprature=0.3)
    with pytest.raises(InputError, match="the method is chosen first"):
        tiny("simclr").replace(method="moco")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"temperature": 0.0}, "temperature must be positive and finite; got 0.0"),
        ({"temperature": float("nan")}, "temperature must be positive and finite; got nan"),
        ({"lr": float("inf")}, "lr must be positive and finite; got inf"),
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\); got 1.0"),
        ({"width": 0}, "width must be at least 1; got 0"),
        ({"width": 2.5}, "width must be of type int, such as 24; got 2.5"),
        ({"width": True}, "width must be of type int"),
        ({"projector": ()}, "projector takes at least one value"),
        ({"projector": (16, 0)}, r"projector must be at least 1; got \(16, 0\)"),
        ({"projector": 16}, "projector must be a tuple"),
        ({"stem": "patchy"}, "unknown stem 'patchy': did you mean 'patch'"),
        ({"weight_decay": -1.0}, "weight_decay must be finite and not negative; got -1.0"),
        ({"holdout": "yes"}, "holdout must be of type bool"),
        ({"view": 32}, "view must be of type View"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"momentum": 0.0}, "nesterov needs momentum > 0"),
    ],
)
def test_what_cannot_be_is_refused_by_name(changes, told):
    with pytest.raises(InputError, match=told):
        tiny("simclr", **changes)


def test_bounds_stand_with_the_setting():
    @dataclasses.dataclass(frozen=True)
    class Two(Config):
        pair: tuple[float, ...] = knob((0.1, 0.2), "shares", "ours", above=0, high=1, count=2)

    assert Two((1.0, 0.5)).pair == (1.0, 0.5)
    for bad in ((0.0, 0.5), (0.5, 1.1), (0.5,)):
        with pytest.raises(InputError, match="pair"):
            Two(bad)


@pytest.fixture
def learner():
    """Register methods that are SimCLR with another Config; forget them afterwards."""
    names = []

    def make(settings=None, presets=None, variants=None, name="mine", decorate=True):
        body = {"name": name, "__annotations__": {}} | {key: value for key, (_, value) in (settings or {}).items()}
        body["__annotations__"] = {key: kind for key, (kind, _) in (settings or {}).items()}
        config = type("Config", (SimCLR.Config,), body)
        config = dataclasses.dataclass(frozen=True)(config) if decorate else config
        register_method(type("Mine", (SimCLR,), {"Config": config, "presets": presets or {}, "variants": variants or {}}))
        names.append(name)

    yield make
    for name in names:
        registry._methods.pop(name, None)
        for each in [each for each, (of, _) in VARIANTS.items() if of == name]:
            del registry._variants[each]


def test_a_method_may_not_redeclare_what_every_recipe_has(learner):
    learner({"momentum": (float, knob(0.9, "of its own", "ours"))})
    with pytest.raises(InputError, match="mine declares momentum, which every recipe has"):
        preset("quick", "mine")


def test_a_methods_own_preset_may_not_name_what_it_does_not_read(learner):
    learner(presets={"quick": {"": {"queue": 64}}})
    with pytest.raises(InputError, match="mine has no setting 'queue'"):
        preset("quick", "mine")


def test_defaults_and_preset_need_fit_together_only_as_a_whole(learner):
    learner({"small_views": (int, knob(2, "views", "ours"))}, presets={"quick": {"": {"small_view": View(size=8)}}})
    assert preset("quick", "mine", stem="imagenet", view=View(size=16)).method.small_view.size == 8


def test_variants_of_a_registered_method_are_known_and_replaced(learner):
    learner(variants={"mine-cold": {"temperature": 0.05}})
    assert variant("mine-cold") == ("mine", {"temperature": 0.05})
    learner(variants={"mine-hot": {"temperature": 0.9}})
    assert "mine-cold" not in VARIANTS and variant("mine-hot")[0] == "mine"
    with pytest.raises(InputError, match="'ressl' is a name that is taken"):
        learner(name="other", variants={"ressl": {}})


def test_a_malformed_config_is_refused_when_it_is_registered(learner):
    for settings, decorate in (
        ({"t": (float, 2.0)}, True),
        ({"name": (str, "mine")}, True),
        ({"t": (float, knob(2.0, "t", "ours"))}, False),
    ):
        with pytest.raises(InputError, match="declare each setting of its Config with knob"):
            learner(settings, decorate=decorate)
    assert "mine" not in METHODS


def test_numbers_of_numpy_and_lists_become_plain_values():
    asked = tiny(
        "simclr",
        steps=np.int64(5),
        lr=np.float32(0.5),
        temperature=np.linspace(0.1, 1, 3)[1],
        projector=[16, 8],
        seed=np.int64(3),
    )
    assert json.loads(json.dumps(asked.to_dict()))["steps"] == 5 and asked.method.projector == (16, 8)
    assert [type(value) for value in (asked.optim.lr, asked.method.temperature, asked.seed)] == [float, float, int]
    with pytest.raises(InputError, match="seed must be a whole number"):
        tiny("simclr", seed=True)


def test_a_slot_has_a_view_of_its_own_or_changes():
    with pytest.raises(InputError, match="not both"):
        Slot("small", View(size=16), changes={"blur_p": 0.9})


# --- records of the first format


def test_a_recipe_of_a_newer_format_is_refused():
    with pytest.raises(InputError, match="format 4; this version reads up to 3"):
        Recipe.from_dict({"format": 4, "method": "simclr"})


@pytest.mark.parametrize("older", [{}, {"format": 2}])
def test_the_toy_box_of_older_records_is_its_version_1(older):
    old = {"method": "simclr", "dataset": "toybox", "seed": 3} | older
    assert Recipe.from_dict(old).data.dataset == upgrade(old)["dataset"] == "toybox-v1" and old["dataset"] == "toybox"
    assert upgrade(old | {"dataset": "cifar10"})["dataset"] == "cifar10"
    today = preset("quick", "simclr", "toybox").to_dict()
    assert today["format"] == 3 and upgrade(today) == today and Recipe.from_dict(today).data.dataset == "toybox"
    assert "invert_p" in today["view"] and Recipe.from_dict(old | {"view": {"size": 24}}).views.view.invert_p == 0.0


@pytest.mark.parametrize("name", list(METHODS))
def test_both_versions_of_the_toy_box_have_the_same_presets(name):
    today, before = (preset("quick", name, dataset) for dataset in ("toybox", "toybox-v1"))
    assert before == today.replace(dataset="toybox-v1") != today


def test_old_records_are_read_under_todays_names():
    old = {
        "method": "simclr", "dataset": "toybox", "seed": 3, "batch": 64, "sgd_momentum": 0.8, "momentum": 0.5, "queue": 1,
        "temperature": 0.3, "clip": 1.0, "view": {"size": 24, "flip": 0.25, "gray": 0.1, "scale": [0.4, 1.0]}, "steps": 7,
    }  # fmt: skip
    before = json.dumps(old)
    found = Recipe.from_dict(old)
    assert json.dumps(old) == before
    assert found.method.temperature == 0.3 and found.optim.momentum == 0.8 and found.optim.clip_grad_norm == 1.0
    assert found.views.view == View(size=24, flip_p=0.25, gray_p=0.1, scale=(0.4, 1.0)) and found.optim.batch_size == 64
    assert upgrade(found.to_dict()) == found.to_dict() and "queue" not in upgrade(old)
    moved = Recipe.from_dict(old | {"method": "moco", "queue": 128})
    assert moved.method.ema == 0.5 and moved.optim.momentum == 0.8 and moved.method.queue == 128


def test_the_table_of_old_names_leads_to_names_of_today():
    assert set(RENAMED.values()) <= set(all_settings())
    assert set(RENAMED_IN_VIEWS.values()) <= {spec.name for spec in dataclasses.fields(View)}


def test_a_resumed_run_may_differ_in_nothing_that_it_reads(toys, tmp_path):
    quiet = {"device": "cpu", "log": lambda text: None}
    train(tiny("simclr", steps=2), toys, out=tmp_path, **quiet)
    with pytest.raises(InputError, match=r"temperature: [0-9.]+ -> 0.3"):
        train(tiny("simclr", steps=2, temperature=0.3), toys, out=tmp_path, resume=True, **quiet)
    assert (
        isinstance(toys, Splits) and build_method(tiny("simclr"), 10).config.temperature == tiny("simclr").method.temperature
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_its_method_with_one_thing_changed(name):
    method, changes = variant(name)
    assert method in METHODS and name not in METHODS and len(changes) == 1
    for plain in (preset(key, method, dataset) for key in presets_of(method) for dataset in ("toybox", "cifar10")):
        if plain.differences(plain.replace(**changes)) == []:
            assert not plain.method.local_gradient and name == "mnclglf-released"  # `as_released` is so already


def test_names_of_methods_stand_for_themselves_and_unknown_ones_are_refused():
    assert [variant(name) for name in METHODS] == [(name, {}) for name in METHODS]
    with pytest.raises(InputError, match="unknown method 'mnclglf-relased': did you mean 'mnclglf-released'"):
        variant("mnclglf-relased")
