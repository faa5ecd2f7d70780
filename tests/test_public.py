"""The public face: NumPy in, NumPy out; and the same by the command."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

import depthscope as ds
from depthscope import pretrained
from depthscope.cli import main
from depthscope.errors import BadInputError
from depthscope.formats import camera_file, depth_maps
from depthscope.geometry import Camera
from depthscope.networks import ResUNet
from depthscope.recipes import Recipe, to_yaml
from depthscope.supervision import Supervision
from depthscope.training import save_checkpoint

SIZE = (96, 80)


@pytest.fixture(autouse=True)
def small_weights(tmp_path, monkeypatch):
    """Weights of a tiny network in place of those that ship."""
    torch.manual_seed(0)
    recipe = Recipe("tiny", ResUNet(8, 3, 16, True, rays=True), supervision=Supervision(area_px=48 * 40))
    network = recipe.network.build()
    torch.nn.init.normal_(network.head.outputs.weight, std=0.3)
    path = tmp_path / "weights.pt"
    save_checkpoint(path, {"recipe": to_yaml(recipe), "network": network.state_dict()})
    monkeypatch.setattr(pretrained, "WEIGHTS", path)
    from depthscope.public import load

    load.cache_clear()
    yield
    load.cache_clear()


def scene(disc: bool = False) -> np.ndarray:
    """A cavity that is dark in its middle, behind a round border or not."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    r = np.hypot(x + 0.5 - 48, y + 0.5 - 40)
    light = (40 + 3.2 * r).clip(0, 255)
    noise = np.random.default_rng(0).normal(0, 4, (SIZE[1], SIZE[0], 3))
    image = (light[..., None] * [1.0, 0.6, 0.5] + noise).clip(8, 255)
    if disc:
        image[r > 36] = 0
    return image.astype(np.uint8)


def test_a_first_map_waits_for_no_package_that_it_does_not_need():
    """SciPy's packages took a tenth of the time from the start of the process to the first map."""
    code = (
        "import sys, depthscope.commands.depth, depthscope.pipeline.prediction\n"
        "slow = ('scipy.spatial', 'scipy.optimize', 'scipy.sparse', 'skimage', 'sklearn', 'kornia')\n"
        "print(sorted(set(slow) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_it_imports_nothing_heavy():
    code = "import sys, depthscope as ds; assert 'torch' not in sys.modules; print('depth' in dir(ds))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_what_it_does_not_offer_is_no_attribute():
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = ds.nothing_like_it  # type: ignore[attr-defined]


def test_an_array_a_picture_and_a_file_are_the_same(tmp_path):
    image = pytest.importorskip("PIL.Image")
    array = scene()
    cv2.imwrite(str(tmp_path / "frame.png"), array[..., ::-1])
    one, other, third = ds.depth(array), ds.depth(image.fromarray(array)), ds.depth(str(tmp_path / "frame.png"))
    assert one.depth.dtype == np.float32 and one.depth.shape == one.image.shape[:2] and one.unit == "relative"
    np.testing.assert_array_equal(one.depth, other.depth)
    np.testing.assert_array_equal(one.depth, third.depth)
    assert one.std is not None and (one.std[one.depth > 0] > 0).all()


def test_outside_the_disc_there_is_no_depth():
    found = ds.depth(scene(disc=True))
    height, width = found.depth.shape
    assert found.depth[2, 2] == 0 and found.depth[height // 2, width // 2] > 0
    assert (found.depth > 0).mean() < 0.75


def test_a_camera_changes_what_is_seen_and_gives_a_cloud(tmp_path):
    camera = Camera(SIZE, (60.0, 60.0), (48.0, 40.0))
    camera_file.write(camera, tmp_path / "camera.yaml")
    without, given = ds.depth(scene()), ds.depth(scene(), camera)
    assert np.abs(given.depth / without.depth - 1).max() > 1e-3
    np.testing.assert_array_equal(given.depth, ds.depth(scene(), tmp_path / "camera.yaml").depth)
    surface = given.cloud(2)
    assert surface.points.shape[1] == 3 and surface.unit == "relative"
    with pytest.raises(BadInputError, match="camera"):
        without.cloud()
    with pytest.raises(BadInputError, match="camera"):
        ds.depth(scene(), Camera((192, 160), (120.0, 120.0), (96.0, 80.0)))


def test_a_mask_is_heeded():
    mask = np.zeros((SIZE[1], SIZE[0]), bool)
    mask[10:70, 20:80] = True
    found = ds.depth(scene(), mask=mask)
    assert found.depth[1, 1] == 0 and 0.3 < (found.depth > 0).mean() < 0.7


def test_it_can_be_looked_at():
    image = pytest.importorskip("PIL.Image")
    found = ds.depth(scene())
    assert isinstance(found.show(), image.Image)
    assert found.picture().shape[1] >= 2 * found.depth.shape[1]


@pytest.mark.parametrize(
    "wrong", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((8, 8, 4), np.uint8)]
)
def test_arrays_of_another_kind_are_refused(wrong):
    with pytest.raises(BadInputError, match="uint8"):
        ds.depth(wrong)


def test_the_command_writes_what_the_call_gives(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number:02d}.png"), np.roll(scene(), number, 1)[..., ::-1])
    assert main(["depth", str(folder), "--out", str(tmp_path / "out")]) == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text("utf-8"))
    assert result["frames"] == 3 and result["unit"] == "relative"
    written = depth_maps.read(tmp_path / "out" / "depth" / "00.tiff")
    np.testing.assert_allclose(written, ds.depth(folder / "00.png").depth, rtol=1e-4)
    assert (tmp_path / "out" / "video.mp4").is_file() and (tmp_path / "out" / "std" / "02.tiff").is_file()


def test_the_command_takes_a_single_image(tmp_path):
    cv2.imwrite(str(tmp_path / "one.png"), scene()[..., ::-1])
    assert main(["depth", str(tmp_path / "one.png"), "--out", str(tmp_path / "out"), "--no-video"]) == 0
    assert [path.name for path in (tmp_path / "out" / "depth").iterdir()] == ["one.tiff"]


def test_without_weights_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pretrained, "WEIGHTS", tmp_path / "none.pt")
    cv2.imwrite(str(tmp_path / "one.png"), scene()[..., ::-1])
    assert main(["depth", str(tmp_path / "one.png"), "--out", str(tmp_path / "out")]) == 2
    assert "install it again" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
