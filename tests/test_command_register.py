"""``depthscope register``: what it writes, and how it ends."""

import json

import numpy as np
import pytest
import SimpleITK
import torch

from depthscope.cli import main
from depthscope.errors import BadInputError
from depthscope.formats import ply
from depthscope.formats.ct import write_nifti
from depthscope.geometry import Surface
from depthscope.pipeline.registration import target_surface, what_may_help
from depthscope.simulation.anatomy import patient
from depthscope.simulation.ct import Scanner, scanned
from noses import seen_in


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A surface in a unit of its own, the CT, and a rough start."""
    place = tmp_path_factory.mktemp("case")
    nose = patient(4, "nasal", spacing_mm=0.9)
    write_nifti(scanned(nose, Scanner(voxel_mm=(0.9, 0.9, 0.9))), place / "ct.nii.gz")
    seen = seen_in(nose, 1, frames=2)
    normals = torch.cat([v.surface.normals for v in seen.views if v.surface.normals is not None])
    ply.write(Surface(seen.points, normals), place / "surface.ply")
    rough = seen.target_from_source.matrix.clone()
    rough[:3, 3] += torch.tensor([1.0, -1.0, 1.5])
    (place / "start.txt").write_text("\n".join(" ".join(map(str, row)) for row in rough.tolist()))
    return place, seen


def test_register_writes_what_others_open(case, tmp_path, capsys):
    place, seen = case
    arguments = ["register", str(place / "surface.ply"), str(place / "ct.nii.gz"), "--out", str(tmp_path / "out")]
    roughly = f"{float(seen.target_from_source.scale):.2g}"  # without it, the surface's halves are registered too
    code = main([*arguments, "--start", str(place / "start.txt"), "--scale", roughly])
    out = tmp_path / "out"
    result = json.loads((out / "result.json").read_text("utf-8"))
    assert code == (3 if result["ambiguous"] else 0)
    assert ("next: give the depth maps" in capsys.readouterr().out) == result["ambiguous"]
    assert {"scale", "confidence", "converged", "seconds", "predicted_tre_mm", "modes"} <= result.keys()
    assert {"mean", "std", "median", "inlier_share"} <= result["residual_mm"].keys()
    matrix = np.array(result["target_from_source"])
    np.testing.assert_allclose(np.loadtxt(out / "transform.txt"), matrix, rtol=1e-6)
    moved = ply.read(out / "aligned.ply")
    assert moved.unit == "mm" and moved.colours is not None
    points = seen.points.numpy() @ matrix[:3, :3].T + matrix[:3, 3]
    np.testing.assert_allclose(moved.points.numpy(), points, atol=1e-2)
    true = seen.target_from_source.apply(seen.points).numpy()
    assert np.linalg.norm(points - true, axis=1).mean() < 1.5
    itk = SimpleITK.ReadTransform(str(out / "transform.tfm"))
    np.testing.assert_allclose(itk.TransformPoint(points[0].tolist()), seen.points[0].numpy(), atol=1e-4)
    assert ply.read(out / "target.ply").unit == "mm"
    assert b"SPACE=LPS" in (out / "target.ply").read_bytes()[:600]
    assert (out / "residuals.png").stat().st_size > 5000 and (out / "provenance.yaml").is_file()


def test_a_refusal_says_what_was_not_tried_yet():
    assert "--prediction" in what_may_help(False, False) and "--scale" in what_may_help(False, False)
    assert what_may_help(True, True) == "check that the CT is this patient's"


def test_bad_input_ends_with_two_and_says_why(case, tmp_path, capsys):
    place, seen = case
    cases = [
        ([str(tmp_path / "none.ply"), str(place / "ct.nii.gz")], "missing"),
        ([str(place / "surface.ply"), str(tmp_path)], "0 DICOM series"),
        ([str(place / "surface.ply"), str(place / "surface.ply")], "no faces"),
        ([str(tmp_path), str(place / "ct.nii.gz")], "surface.ply"),
        ([str(place / "surface.ply"), str(place / "ct.nii.gz"), "--prediction", str(tmp_path)], "--sequence"),
    ]
    metres = Surface(seen.points[:3] * 1e-3 / seen.points.abs().max(), None, None, torch.tensor([[0, 1, 2]]), "mm")
    ply.write(metres, tmp_path / "metres.ply")
    cases.append(([str(place / "surface.ply"), str(tmp_path / "metres.ply")], "--unit"))
    for given, told in cases:
        assert main(["register", *given, "--out", str(tmp_path / "out")]) == 2
        assert told in capsys.readouterr().err
    surface, ct = str(place / "surface.ply"), str(place / "ct.nii.gz")
    assert main(["register", surface, ct, "--unit", "cm", "--out", str(tmp_path / "out")]) == 2
    assert "--unit cm for the CT" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_unit_of_a_target_is_said_or_asked_for(tmp_path):
    points = torch.tensor([[0.0, 0, 0], [0.08, 0, 0], [0, 0.08, 0], [0, 0, 0.08]])
    mesh = Surface(points, None, None, torch.tensor([[0, 1, 2], [0, 1, 3]]))
    path = ply.write(mesh, tmp_path / "metres.ply")
    with pytest.raises(BadInputError, match="in m it would be 80 mm.*--unit"):
        target_surface(path, -475.0, None, 0.0)
    goal, told, notes = target_surface(path, -475.0, None, 0.0, "m")
    assert float(goal.points.max()) == pytest.approx(80) and goal.unit == "mm" and "metres.ply" in told and not notes
