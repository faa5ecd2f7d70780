"""Other runtimes compute the same network."""

import importlib.util

import pytest
import torch
import yaml

from depthscope import backends
from depthscope.backends import CompiledNetwork, cache_folder, quickest, with_backend
from depthscope.cli import main
from depthscope.errors import BadInputError
from depthscope.formats import depth_maps
from depthscope.networks import ResUNet
from depthscope.prediction import DepthModel, Recording, load_model, predict
from depthscope.recipes import Recipe, to_yaml
from depthscope.supervision import Supervision
from depthscope.training import save_checkpoint
from depthscope.video import write_image

SIZE = (64, 48)


@pytest.fixture
def model(tmp_path) -> DepthModel:
    torch.manual_seed(0)
    recipe = Recipe("tiny", ResUNet(8, 3, 16, True, rays=True), supervision=Supervision(size_px=SIZE))
    network = recipe.network.build()
    torch.nn.init.normal_(network.head.outputs.weight, std=0.5)
    save_checkpoint(tmp_path / "net.pt", {"recipe": to_yaml(recipe), "network": network.state_dict(), "step": 7})
    return load_model(tmp_path / "net.pt")


def recording(count: int = 3) -> Recording:
    draw = torch.Generator().manual_seed(1)
    frames = [torch.randint(0, 256, (48, 64, 3), generator=draw, dtype=torch.uint8) for _ in range(count)]
    return Recording(tuple(f"{n:02d}" for n in range(count)), frames, SIZE)


def installed(*names: str):
    """`find_spec` where these packages are installed and no other."""
    return lambda name: object() if name in names else None


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_depth_is_that_of_pytorch(model, tmp_path, backend, monkeypatch):
    for package in (backend, "onnxscript"):
        pytest.importorskip(package)
    other = with_backend(model, backend, "cpu", 3, tmp_path / "cache")
    expected, found = (list(predict(m, recording(), batch=2)) for m in (model, other))
    for one, two in zip(expected, found, strict=True):
        known = one.depth > 0
        within = 1e-4 if backend == "onnxruntime" else 3e-2  # bf16 where the processor has units for it
        assert float((two.depth / one.depth - 1)[known].abs().max()) < within
        assert float((two.std / one.std - 1)[known].abs().max()) < 10 * within
    (kept,) = (tmp_path / "cache").iterdir()
    assert kept.name.endswith("_64x48.onnx")
    monkeypatch.setattr(backends, "write_onnx", None)  # a second model of the same weights finds the file
    again = list(predict(with_backend(model, backend, "cpu", 3, tmp_path / "cache"), recording()))
    assert len(again) == 3


def test_a_damaged_file_is_made_anew_and_a_cache_is_no_need(model, tmp_path):
    pytest.importorskip("onnxruntime")
    expected = [found.depth for found in predict(model, recording())]
    path = backends.onnx_file(model, SIZE, tmp_path / "cache")
    path.write_bytes(path.read_bytes()[:2000])
    (tmp_path / "file").write_text("no folder")
    for cache in (tmp_path / "cache", tmp_path / "file"):
        found = [found.depth for found in predict(with_backend(model, "onnxruntime", "cpu", 3, cache), recording())]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)
    assert path.stat().st_size > 2000 and (tmp_path / "file").read_text() == "no folder"


def test_other_weights_have_another_file(model, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(backends, "write_onnx", lambda model, path, size: written.append(path.name))
    backends.onnx_file(model, SIZE, tmp_path)
    backends.onnx_file(model, (32, 24), tmp_path)
    next(iter(model.network.parameters())).data.add_(1.0)
    backends.onnx_file(model, SIZE, tmp_path)
    assert len(set(written)) == 3


@pytest.mark.parametrize(
    ("packages", "device", "frames", "expected"),
    [
        (("onnx", "onnxscript", "onnxruntime", "openvino", "bf16"), "cpu", 5000, "openvino"),
        (("onnx", "onnxscript", "onnxruntime", "openvino"), "cpu", 5000, "onnxruntime"),
        (("onnx", "onnxscript", "openvino"), "cpu", 5000, "openvino"),
        (("onnx", "onnxscript", "onnxruntime"), "cpu", 5000, "onnxruntime"),
        (("onnx", "onnxscript", "onnxruntime"), "cpu", 100, "torch"),
        (("onnx", "onnxscript", "onnxruntime", "openvino"), "cuda", 5000, "torch"),
        (("onnxruntime", "openvino"), "cpu", 5000, "torch"),
        ((), "cpu", 5000, "torch"),
    ],
)
def test_the_quickest_that_is_installed(monkeypatch, packages, device, frames, expected):
    monkeypatch.setattr(backends, "find_spec", installed(*packages))
    monkeypatch.setattr(backends, "openvino_has_bf16", lambda: "bf16" in packages)
    assert quickest(device, frames) == expected


def test_a_backend_that_is_not_there_is_named(model, monkeypatch, tmp_path):
    monkeypatch.setattr(backends, "find_spec", installed("onnx", "onnxscript"))
    with pytest.raises(BadInputError, match="pip install openvino"):
        with_backend(model, "openvino", "cpu", 3, tmp_path)
    with pytest.raises(BadInputError, match=r"depthscope\[export\]"):
        with_backend(model, "onnxruntime", "cpu", 3, tmp_path)
    with pytest.raises(BadInputError, match="--device cuda"):
        with_backend(model, "onnxruntime", "cuda", 3, tmp_path)
    assert with_backend(model, "torch", "cuda", 3) is model


def test_the_weights_do_not_travel_with_the_compiled_network(model, tmp_path):
    compiled = CompiledNetwork(model, "onnxruntime", tmp_path)
    assert not list(compiled.parameters()) and compiled.rays


def test_the_command_takes_a_backend(tmp_path, model, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(backends, "cache_folder", lambda: tmp_path / "cache")
    write_image(tmp_path / "frame.png", next(iter(recording().frames)))
    base = ["depth", str(tmp_path / "frame.png"), "--weights", str(tmp_path / "net.pt"), "--no-video", "--out"]
    assert main([*base, str(tmp_path / "torch")]) == 0
    assert not (tmp_path / "cache").exists()
    assert main([*base, str(tmp_path / "other"), "--backend", "onnxruntime"]) == 0
    one, two = (depth_maps.read(tmp_path / name / "depth" / "frame.tiff") for name in ("torch", "other"))
    torch.testing.assert_close(two, one, rtol=1e-4, atol=0)
    assert (
        yaml.safe_load((tmp_path / "other" / "provenance.yaml").read_text("utf-8"))["options"]["backend"]
        == "onnxruntime"
    )
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.skipif(importlib.util.find_spec("platformdirs") is None, reason="platformdirs is not installed")
def test_files_are_kept_in_the_cache_of_the_user():
    assert cache_folder().name == "depthscope"
