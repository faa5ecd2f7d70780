"""camera.yaml: in and out, and refused when it is not one."""

import pytest

from depthscope.errors import BadInputError
from depthscope.formats import camera_file
from depthscope.geometry import Brown, Camera, KannalaBrandt, NoDistortion

GOOD = "model: pinhole\nsize_px: [640, 480]\nfocal_px: [500, 501]\ncentre_px: [320, 240]\n"


@pytest.mark.parametrize(
    "lens", [NoDistortion(), Brown((0.1, -0.2, 1e-5, 0.3, 0.0)), KannalaBrandt((0.1, 0.2, 1 / 3, 0.0))]
)
@pytest.mark.parametrize("source", ["", "board clip"])
def test_written_and_read_again(tmp_path, lens, source):
    camera = Camera((640, 480), (500.1, 1e3 / 3), (320.5, 240.25), lens, source)
    assert camera_file.read(camera_file.write(camera, tmp_path / "camera.yaml")) == camera


def test_by_hand(tmp_path):
    (tmp_path / "camera.yaml").write_text(GOOD)
    assert camera_file.read(tmp_path / "camera.yaml") == Camera((640, 480), (500.0, 501.0), (320.0, 240.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no camera file"),
        ("a: [", "is not YAML"),
        (GOOD.replace("focal_px", "focal"), "lacks focal_px"),
        (GOOD + "K: 3\n", "unknown entries K"),
        (GOOD.replace("pinhole", "omni"), "model omni"),
        (GOOD.replace("[500, 501]", "500"), "focal_px is 500; expected 2 numbers"),
        (GOOD + "distortion: [0.1, 0, 0, 0]\n", "a pinhole with distortion"),
        (
            GOOD.replace("pinhole", "brown") + "distortion: [0.1]\n",
            "camera.yaml: 1 distortion coefficients for the brown model; expected 4 or 5 or 8",
        ),
        (
            GOOD.replace("pinhole", "fisheye") + "distortion: [0, 0, 0, 0, 0]\n",
            "5 .* for the fisheye model; expected 4",
        ),
        (GOOD.replace("pinhole", "omnidirectional") + "distortion: [0, 0, 0, 0]\n", "expected b2 b3 b4 c d e"),
    ],
)
def test_broken_files(tmp_path, text, message):
    (tmp_path / "camera.yaml").write_text(text)
    with pytest.raises(BadInputError, match=message):
        camera_file.read(tmp_path / "camera.yaml")
