"""One tiny clip through the stages in memory and through folders: the same weights, depth maps and surface."""

import json

import numpy as np
import pytest
import torch

import depthscope as ds
from depthscope.case import Case
from depthscope.errors import NoAnswerError
from depthscope.formats import depth_maps, ply, read_sequence
from depthscope.memory import array_bytes
from depthscope.pipeline import values
from depthscope.pipeline.cases import PREDICTION, RUN, SURFACE, case_stages
from depthscope.prediction import load_model
from tiny_runs import tiny, tube_clip

STEPS = 4


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline") / "clip"
    tube_clip(folder)
    return folder


@pytest.fixture(scope="module")
def case(clip, tmp_path_factory):
    """The stages by folders, each reading what the one before has written."""
    folder = tmp_path_factory.mktemp("pipeline") / "case"
    stages = case_stages(folder, clip, None, tiny(steps=STEPS), accept_rejected=True)
    Case(folder).walk(stages, lambda line: None)
    return folder


@pytest.fixture(scope="module")
def model(clip, tmp_path_factory):
    return values.train(read_sequence(clip), tiny(steps=STEPS), out=tmp_path_factory.mktemp("pipeline") / "run")


@pytest.fixture(scope="module")
def maps(clip, model):
    return values.predict(model, read_sequence(clip))


def test_training_in_memory_gives_the_same_weights(case, model):
    by_folder = load_model(case / RUN).network.state_dict()
    found = model.network.state_dict()
    assert all(torch.equal(found[name], weights) for name, weights in by_folder.items())


def test_every_depth_map_is_that_of_the_folder(case, maps):
    files = depth_maps.listed(case / PREDICTION)
    assert [one.name for one in maps] == list(files)
    for one in maps:
        assert torch.equal(one.depth, depth_maps.read(files[one.name]))


def test_the_surface_is_that_of_the_folder(case, maps):
    by_folder, fused = ply.read(case / SURFACE / "surface.ply"), values.fuse(maps)
    assert len(fused.surface.points) == len(by_folder.points) > 300
    assert torch.allclose(fused.surface.points.float(), by_folder.points.float(), atol=1e-4)
    assert fused.surface.unit == json.loads((case / SURFACE / "result.json").read_text("utf-8"))["unit"]


def test_a_clip_that_is_too_long_to_keep_is_predicted_again_and_is_the_same(maps, model):
    first = list(maps)
    size = sum(array_bytes(a) for a in (first[0].depth, first[0].content, first[0].image))
    short = values.ClipDepth(model, maps.sequence, budget_bytes=2 * size)
    again = list(short)
    assert all(torch.equal(a.depth, b.depth) for a, b in zip(first, again, strict=True))
    assert not short._kept and len(maps._kept) == len(maps)


@pytest.mark.slow
def test_a_surface_that_lies_in_itself_is_found_there(maps):
    surface = values.fuse(maps).surface
    try:
        found = values.register(maps, surface)
    except NoAnswerError:
        pytest.skip("a tube of eight frames fits in several places")
    moved = found.target_from_source.apply(surface.points.double())
    assert bool(moved.isfinite().all())


def test_the_public_face_goes_the_same_way_with_arrays(clip, maps, model, tmp_path):
    depths = ds.predict(model, read_sequence(clip))
    assert len(depths) == len(maps)
    frame = next(iter(depths))
    assert isinstance(frame.depth, np.ndarray) and frame.unit == maps.sequence.unit
    surface = ds.fuse(depths)
    assert surface.save(tmp_path / "surface.ply").is_file()
    assert np.allclose(surface.points, values.fuse(maps).surface.points.numpy())
    assert surface.faces.shape[1] == 3
