"""Networks for other programs: the file says what the network says, and what its numbers mean."""

import json

import numpy as np
import pytest
import torch
import yaml

from depthscope.cli import main
from depthscope.errors import BadInputError
from depthscope.networks import ResUNet
from depthscope.onnx_export import difference_from_torch, write_onnx
from depthscope.prediction import DepthModel, load_model
from depthscope.pretrained import write_weights
from depthscope.recipes import Recipe, to_yaml
from depthscope.training import save_checkpoint


def model(tmp_path, rays: bool, uncertainty: bool = True) -> DepthModel:
    torch.manual_seed(0)
    recipe = Recipe("tiny", ResUNet(8, 3, 16, uncertainty, rays=rays))
    network = recipe.network.build()
    torch.nn.init.normal_(network.head.outputs.weight, std=0.5)
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"recipe": to_yaml(recipe), "network": network.state_dict(), "step": 7})
    return load_model(path)


@pytest.mark.parametrize("rays", [pytest.param(False, marks=pytest.mark.slow), True])
def test_any_batch_is_as_pytorch_has_it(tmp_path, rays):
    onnxruntime = pytest.importorskip("onnxruntime")
    made = model(tmp_path, rays)
    assert write_onnx(made, tmp_path / "net.onnx", (32, 24)) < 1e-4
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    assert [node.name for node in session.get_inputs()] == (["image", "rays"] if rays else ["image"])
    for count in (1, 5):
        image = torch.rand(count, 3, 24, 32)
        channels = torch.randn(count, 2, 24, 32) * 0.3
        given = {"image": image.numpy()} | ({"rays": channels.numpy()} if rays else {})
        depth, std = session.run(["depth", "relative_std"], given)
        expected = made.network(torch.cat([image, channels], 1) if rays else image)
        np.testing.assert_allclose(depth, expected.log_depth.exp(), rtol=1e-4)
        np.testing.assert_allclose(std, expected.log_std.exp(), rtol=1e-4)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["size_px"]) == [32, 24] and metadata["unit"] == "relative"
    assert ("radians" in metadata["rays"]) == rays
    assert not list(tmp_path.glob(".*"))


def test_a_file_of_another_network_is_found_out(tmp_path):
    pytest.importorskip("onnxruntime")
    made = model(tmp_path, False, uncertainty=False)
    write_onnx(made, tmp_path / "net.onnx", (32, 24))
    torch.nn.init.normal_(made.network.head.outputs.weight, std=2.0)
    from depthscope.onnx_export import Exported, example

    assert difference_from_torch(tmp_path / "net.onnx", Exported(made.network), example(made, (32, 24), 2)) > 1e-3


def test_a_size_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="divisible by 8"):
        write_onnx(model(tmp_path, False), tmp_path / "net.onnx", (33, 24))


def test_weights_alone_predict_the_same_to_half_precision(tmp_path, capsys):
    made = model(tmp_path, True)
    assert main(["export", str(tmp_path / "checkpoint.pt"), "--out", str(tmp_path / "small.pt")]) == 0
    small = load_model(tmp_path / "small.pt")
    assert small.recipe == made.recipe
    images = torch.rand(2, 3, 24, 32)
    torch.testing.assert_close(small.network(images).log_depth, made.network(images).log_depth, atol=0.02, rtol=0.02)
    assert yaml.safe_load((tmp_path / "small.yaml").read_text("utf-8"))["weights_are_the_mean_of"][0]["steps"] == 7
    assert (tmp_path / "small.pt").stat().st_size < 0.75 * (tmp_path / "checkpoint.pt").stat().st_size


def test_weights_of_several_runs_are_averaged(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = model(tmp_path / "one", True), model(tmp_path / "two", True)
    state = {name: value + 1 for name, value in two.network.state_dict().items()}
    save_checkpoint(two.source, {"recipe": to_yaml(two.recipe), "network": state})
    out = tmp_path / "mean.pt"
    assert main(["export", str(one.source), "--average", str(two.source), "--out", str(out)]) == 0
    for name, value in load_model(out).network.state_dict().items():
        torch.testing.assert_close(value, one.network.state_dict()[name] + 0.5, atol=2e-3, rtol=2e-3)
    assert len(yaml.safe_load(out.with_suffix(".yaml").read_text("utf-8"))["weights_are_the_mean_of"]) == 2


def test_the_command_names_what_it_can_write(tmp_path, capsys):
    model(tmp_path, False)
    assert main(["export", str(tmp_path / "checkpoint.pt"), "--out", str(tmp_path / "net.tflite")]) == 2
    assert ".onnx or .pt" in capsys.readouterr().err


def test_what_only_weights_can_have_is_refused_for_onnx(tmp_path, capsys):
    run = str(model(tmp_path, False).source)
    assert main(["export", run, "--out", str(tmp_path / "net.onnx"), "--calibrate", str(tmp_path)]) == 2
    assert "ends in .pt" in capsys.readouterr().err


def test_deviations_are_shifted_in_the_file_and_said_on_its_card(tmp_path):
    made = model(tmp_path, True)
    write_weights([made.source], tmp_path / "fitted.pt", lambda network: (0.5, {"shift": 0.5}))
    bias = load_model(tmp_path / "fitted.pt").network.head.outputs.bias
    torch.testing.assert_close(bias, made.network.head.outputs.bias + torch.tensor([0.0, 0.5]), atol=2e-3, rtol=0)
    assert yaml.safe_load((tmp_path / "fitted.yaml").read_text("utf-8"))["deviations"] == {"shift": 0.5}
