"""The traits of each method are what its file says, and the table marks what is not as in its first row."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.course import method_traits
from mnclglf_lite.course.method_traits import MethodTraits
from mnclglf_lite.drawing.palette import AGREE
from mnclglf_lite.methods import registry, simclr
from mnclglf_lite.methods.registry import BUILT_IN, METHODS, register_method
from mnclglf_lite.recipe.presets import preset

# learning, momentum encoders, predictor, queues, negatives, neighbour, parts: from the docstrings of the methods
KNOWN = {
    "simclr": (1, 0, False, 0, "batch", False, False),
    "moco": (1, 1, False, 1, "queue", False, False),
    "nnclr": (1, 0, True, 1, "batch", True, False),
    "byol": (1, 1, True, 0, "none", False, False),
    "simsiam": (1, 0, True, 0, "none", False, False),
    "fastmoco": (1, 1, True, 0, "batch", False, True),
    "mnclglf": (1, 1, True, 1, "batch", True, True),
    "glnet": (1, 1, True, 0, "batch", False, True),
    "cgh": (1, 1, False, 2, "queue", False, False),
    "mcl": (2, 2, False, 2, "queue", False, False),
}


def made(name, **changes):
    return method_traits.traits(preset("quick", name, "toybox", **changes))


@pytest.mark.parametrize("name", KNOWN)
def test_traits_are_read_off_the_method(name):
    row = made(name)
    found = (row.learning, row.momentum_encoders, row.predictor, row.queues, row.negatives, row.neighbour, row.parts)
    assert found == KNOWN[name]
    assert row.views == (3 if name == "mnclglf" else 2) and 3 < row.relative_flops < 15


def test_the_family_is_all_that_learns_without_labels():
    assert set(KNOWN) == {method.Config.name for method in BUILT_IN} - {"supervised"}
    for name in KNOWN:  # each with a loss of a name
        assert METHODS[name].loss_name and method_traits.cells(name, made(name))[-1] == METHODS[name].loss_name


def test_traits_follow_the_recipe():
    assert made("simclr", small_views=2).parts
    assert made("mcl", num_networks=3).learning == 3
    assert made("cgh", context="ressl").queues == 1


def test_a_loss_that_looks_at_no_other_picture_has_no_negatives():
    """Also where the batch is looked at by BatchNorm alone: it is switched off for the question."""

    @dataclass(frozen=True)
    class AloneConfig(simclr.SimCLRConfig):
        name = "alone-in-the-test"

    class Alone(simclr.SimCLR):
        Config = AloneConfig

        def loss(self, a, b):
            return -torch.nn.functional.cosine_similarity(a, b).mean()

    register_method(Alone)
    try:
        assert made("alone-in-the-test").negatives == "none"
    finally:
        del registry._methods["alone-in-the-test"]


def blue(sheet):
    """How many pixels have the colour of what differs."""
    colour = [int(AGREE[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.asarray(sheet) == colour).all(axis=2).sum())


def test_the_table_marks_what_differs_from_its_first_row():
    one, other = (
        MethodTraits(2, 1, 0, False, 0, "batch", False, False, 6.0),
        MethodTraits(2, 1, 1, False, 0, "batch", False, False, 8.0),
    )
    alike, apart = method_traits.picture({"simclr": one, "x": one}), method_traits.picture({"moco": one, "nnclr": other})
    assert blue(method_traits.picture({"simclr": one})) == 0
    assert blue(apart) >= 4 * 17 - 4  # the mark before "1", and the figure itself
    assert blue(method_traits.picture({"moco": one, "nnclr": one})) == 0  # the same loss, the same traits
    assert blue(alike) > 0  # a loss it does not know is not SimCLR's
    assert alike.size == apart.size and apart.width < 1100


def test_an_empty_family_is_refused():
    with pytest.raises(InputError, match="at least one member"):
        method_traits.picture({})
