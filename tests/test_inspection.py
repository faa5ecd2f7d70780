"""The verdict: what is accepted, and what is refused for which reason."""

import json
from dataclasses import replace

import pytest
import torch

from depthscope.cli import main
from depthscope.formats import read_sequence, write_sequence
from depthscope.inspection import CHECKS, inspect, largest_angles_deg
from miniatures.jhu_folder import write_jhu
from miniatures.scene import scene


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    write_jhu(folder)
    return read_sequence(folder, "world_from_camera")


def failed(sequence) -> set[str]:
    verdict = inspect(sequence)
    assert verdict.accepted == (not verdict.reasons)
    assert set(verdict.reasons) == {c.sentence for c in verdict.checks.values() if not c.passed}
    return {name for name, check in verdict.checks.items() if not check.passed}


def test_a_good_clip_is_accepted(clip):
    verdict = inspect(clip)
    assert verdict.accepted and verdict.reasons == ()
    assert list(verdict.checks) == list(CHECKS)


def test_the_published_clip(sinus_clip):
    verdict = inspect(read_sequence(sinus_clip, "world_from_camera"))
    assert verdict.accepted
    values = {name: check.value for name, check in verdict.checks.items()}
    assert values["in_front"] == values["inside_image"] == values["inside_mask"] == 1
    assert values["track_length"] == pytest.approx(6585 / 570)
    assert values["triangulation_angle"] == pytest.approx(4.6, abs=0.05)
    wrong = inspect(read_sequence(sinus_clip, "camera_from_world"))
    assert {"lock_on", "lock_on_above_null"} <= {n for n, c in wrong.checks.items() if not c.passed}
    assert wrong.checks["inside_image"].value == pytest.approx(6438 / 6585)
    assert wrong.checks["inside_mask"].value == pytest.approx(6311 / 6585)


def test_shuffled_poses(clip):
    assert {"lock_on"} <= failed(replace(clip, camera_from_world=clip.camera_from_world[torch.arange(8).flip(0)]))


def test_a_focal_length_of_another_image_size(clip):
    camera = replace(clip.cameras[0], focal_px=(520.0, 512.0))
    assert "inside_image" in failed(replace(clip, cameras=(camera,) * 8))


def test_points_outside_the_mask(clip):
    assert failed(replace(clip, mask=~clip.mask)) >= {"inside_mask"}


def test_few_points(clip):
    kept = torch.arange(len(clip.points)) < 8
    assert failed(clip.with_points(kept)) >= {"points_per_frame", "co_visible_pairs"}


def test_short_tracks(clip):
    rank = torch.zeros(len(clip.observations), dtype=torch.long)
    for point in range(len(clip.points)):
        own = clip.observations.point == point
        rank[own] = torch.arange(int(own.sum()))
    assert "track_length" in failed(clip.with_observations(rank < 2))


def test_a_camera_that_hardly_moves(clip):
    centres = clip.camera_centres * 0.03
    still = -(clip.camera_from_world.rotation @ centres[..., None])[..., 0]
    assert "triangulation_angle" in failed(
        replace(clip, camera_from_world=replace(clip.camera_from_world, translation=still))
    )


def test_frames_lost(clip):
    assert failed(replace(clip, unregistered=tuple(f"{n}.jpg" for n in range(9)))) == {"registered_share"}


def test_largest_angle_is_that_of_the_widest_pair(clip):
    angles = largest_angles_deg(clip)
    rays = clip.points[:, None] - clip.camera_centres[None]
    rays = rays / rays.norm(dim=-1, keepdim=True)
    for point in range(0, len(clip.points), 7):
        own = rays[point][clip.seen[:, point]]
        cosines = (own @ own.T).clamp(-1, 1)
        assert float(angles[point]) == pytest.approx(float(torch.rad2deg(torch.acos(cosines.min()))), abs=1e-5)


def test_command_writes_its_result_and_says_yes(tmp_path, capsys):
    write_jhu(tmp_path / "clip", direction="camera_from_world", unregistered=1)
    assert main(["inspect", str(tmp_path / "clip"), "--out", str(tmp_path / "verdict")]) == 0
    assert capsys.readouterr().out.startswith("usable: clip\n")
    result = json.loads((tmp_path / "verdict" / "result.json").read_text())
    assert result["accepted"] is True and result["reasons"] == []
    assert result["pose_direction"] == "camera_from_world"
    assert result["registered"] == 7 and result["unregistered"] == ["00000102.jpg"]
    assert result["points"] > 50
    assert set(result["checks"]["lock_on"]) == {"value", "gate", "passed", "sentence"}
    assert (tmp_path / "verdict" / "provenance.yaml").is_file()


def test_command_refuses_with_code_3_and_still_writes(tmp_path, capsys):
    write_jhu(tmp_path / "clip", scene(textured=False))
    arguments = ["inspect", str(tmp_path / "clip"), "--out", str(tmp_path / "verdict")]
    assert main([*arguments, "--pose-direction", "world_from_camera"]) == 3
    out = capsys.readouterr().out
    assert out.startswith("refused: clip\n  - patches around the projections")
    result = json.loads((tmp_path / "verdict" / "result.json").read_text())
    assert result["accepted"] is False and len(result["reasons"]) >= 1


def test_command_never_replaces_the_sequence(tmp_path, capsys):
    write_jhu(tmp_path / "clip")
    assert main(["convert", str(tmp_path / "clip"), str(tmp_path / "model"), "--to", "colmap"]) == 0
    assert main(["inspect", str(tmp_path / "model"), "--out", str(tmp_path / "model")]) == 2
    assert "holds the input" in capsys.readouterr().err
    assert (tmp_path / "model" / "sparse").is_dir()


def test_a_converted_clip_gets_the_same_verdict(clip, tmp_path):
    write_sequence(clip, tmp_path, "colmap-text")
    again = inspect(read_sequence(tmp_path))
    for name, check in inspect(clip).checks.items():
        assert again.checks[name].value == pytest.approx(check.value, abs=1e-6), name
