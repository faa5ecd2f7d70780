"""Sequences compared."""

import pytest
import torch

from depthscope.sequence import Sequence


def assert_same(a: Sequence, b: Sequence, tolerance: float = 1e-12) -> None:
    """The same sequence, in all that every format keeps."""
    assert [p.name for p in a.images] == [p.name for p in b.images]
    assert a.unregistered == b.unregistered
    for one, other in zip(a.cameras, b.cameras, strict=True):
        assert one.size_px == other.size_px
        assert one.focal_px == pytest.approx(other.focal_px, abs=tolerance)
        assert one.centre_px == pytest.approx(other.centre_px, abs=tolerance)
        assert one.distortion == other.distortion
    torch.testing.assert_close(a.camera_from_world.rotation, b.camera_from_world.rotation, atol=tolerance, rtol=0)
    torch.testing.assert_close(a.camera_from_world.translation, b.camera_from_world.translation, atol=tolerance, rtol=0)
    torch.testing.assert_close(a.points, b.points, atol=tolerance, rtol=0)
    assert torch.equal(a.observations.frame, b.observations.frame)
    assert torch.equal(a.observations.point, b.observations.point)
    assert (a.mask is None) == (b.mask is None)
    assert a.mask is None or torch.equal(a.mask, b.mask)
