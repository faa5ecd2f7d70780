"""Units of length by name."""

from typing import get_args

import pytest
import torch

from depthscope.errors import BadInputError
from depthscope.formats import ply
from depthscope.geometry import Surface
from depthscope.geometry.units import LengthUnit, length_unit


@pytest.mark.parametrize("name", get_args(LengthUnit))
def test_each_unit_has_its_name(name):
    assert length_unit(name, "model.pt") == name


@pytest.mark.parametrize("name", ["furlong", "", None, 3, "x" * 200])
def test_what_is_no_unit_is_refused(name):
    with pytest.raises(BadInputError, match="model.pt is in units of"):
        length_unit(name, "model.pt")


def test_a_surface_in_a_unit_that_we_do_not_know_does_not_tell_one(tmp_path):
    path = ply.write(Surface(torch.rand(4, 3), unit="mm"), tmp_path / "a.ply", ascii=True)
    assert ply.read(path).unit == "mm"
    path.write_text(path.read_text("utf-8").replace("unit mm", "unit furlong"), "utf-8")
    assert ply.read(path).unit == "not told"
