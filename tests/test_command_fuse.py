"""``depthscope fuse``: true depth whose scale was spoilt frame by frame becomes the true wall again."""

import csv
import json
import shutil
from dataclasses import replace

import pytest
import torch

from depthscope.cli import main
from depthscope.errors import BadInputError
from depthscope.formats import depth_maps, ply, read_sequence
from depthscope.pipeline.registration import views_of
from tiny_runs import tube_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuse") / "clip"
    tube_clip(folder)
    return folder


@pytest.fixture(scope="module")
def spoilt(clip, tmp_path_factory):
    """The true depth, each frame in a unit of its own."""
    folder = tmp_path_factory.mktemp("spoilt")
    (folder / "depth").mkdir()
    generator = torch.Generator().manual_seed(2)
    for path in depth_maps.listed(clip / "depth").values():
        factor = float(torch.exp(0.3 + 0.02 * torch.randn((), generator=generator)))
        depth_maps.write(folder / "depth" / path.name, depth_maps.read(path) * factor)
    return folder


@pytest.fixture(scope="module")
def fused(clip, spoilt, tmp_path_factory):
    out = tmp_path_factory.mktemp("fused") / "out"
    assert main(["fuse", str(spoilt), str(clip), "--out", str(out)]) == 0
    return out


def test_it_leaves_what_the_contract_says(fused, clip):
    found = json.loads((fused / "result.json").read_text("utf-8"))
    surface = ply.read(fused / "surface.ply")
    assert found["vertices"] == len(surface.points) and found["faces"] == len(surface.faces)
    assert found["unit"] == surface.unit == read_sequence(clip).unit
    assert surface.normals is not None and surface.colours is not None
    assert found["frames"] == len(read_sequence(clip)) and found["frames_without_points"] == 0
    assert found["scale_drift"] == pytest.approx(0.02, rel=0.8)
    assert {path.name for path in fused.iterdir()} == {
        "surface.ply", "surface.jpg", "scales.csv", "result.json", "provenance.yaml"
    }  # fmt: skip


def test_the_surface_lies_on_the_true_wall(fused, clip):
    """Cast the true wall and the surface from the cameras of the clip: depths agree."""
    from depthscope.geometry.casting import RayCaster

    sequence, caster = read_sequence(clip), RayCaster(ply.read(fused / "surface.ply"))
    maps = depth_maps.listed(clip / "depth")
    errors = []
    for number in (0, 3, 6):
        camera = sequence.cameras[number]
        hits = caster.view(camera, sequence.camera_from_world[number])
        truth = depth_maps.read(maps[sequence.frame_names[number]]).flatten().double()
        both = hits.found & (truth > 0)
        assert float(both.double().mean()) > 0.6
        errors.append((hits.distance[both] / truth[both]).log().abs())
    assert float(torch.cat(errors).quantile(0.5)) < 0.01
    assert float(torch.cat(errors).quantile(0.9)) < 0.06


def test_what_is_uncertain_of_a_surface_is_not_registered(fused, clip):
    surface, centres = ply.read(fused / "surface.ply"), read_sequence(clip).camera_from_world.origin.double()
    points = surface.points.double()
    half = points[:, 2] > points[:, 2].median()
    far = (points[:, None] - centres).norm(dim=-1).amax(-1)
    std = torch.where(half, far, 1e-3 * far)  # as large as the distance, or a thousandth of it
    every = torch.cat([view.surface.points for view in views_of(replace(surface, std=1e-3 * far), clip)])
    certain = torch.cat([view.surface.points for view in views_of(replace(surface, std=std), clip)])
    assert float(every[:, 2].max()) > float(points[half, 2].min()) >= float(certain[:, 2].max())
    with pytest.raises(BadInputError, match="part of the surface that is certain"):
        views_of(replace(surface, std=far), clip)


def test_the_scales_are_told(fused, clip):
    rows = list(csv.DictReader((fused / "scales.csv").open()))
    assert [row["frame"] for row in rows] == list(read_sequence(clip).frame_names)
    assert all(0.6 < float(row["factor"]) < 0.9 and int(row["points"]) > 0 for row in rows)


def test_frames_of_another_clip_are_refused(clip, spoilt, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(spoilt, other)
    for path in list((other / "depth").iterdir()):
        path.rename(path.with_stem("x" + path.stem))
    assert main(["fuse", str(other), str(clip), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "expected the same frame names" in told and told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_depth_that_is_nowhere_known_gives_no_answer(clip, spoilt, tmp_path, capsys):
    empty = tmp_path / "empty"
    shutil.copytree(spoilt, empty)
    for path in (empty / "depth").iterdir():
        depth_maps.write(path, torch.zeros(64, 80))
    assert main(["fuse", str(empty), str(clip), "--out", str(tmp_path / "out")]) == 2
    assert "no frame has a sparse point with a predicted depth" in capsys.readouterr().err
