"""The camera that a network learned beside depth."""

from pathlib import Path

from depthscope.errors import BadInputError
from depthscope.geometry import Camera
from depthscope.training import BEST, LAST, load_checkpoint


def write_learned_camera(out: Path, cameras: list[Camera]) -> None:
    """``camera.yaml`` in the run's folder, where one camera was learned beside the network."""
    from depthscope.formats import camera_file
    from depthscope.networks.snippet_network import learned_camera

    correction = load_checkpoint(out / (BEST if (out / BEST).is_file() else LAST))["network"].get("camera")
    if correction is not None and len(set(cameras)) == 1:
        try:
            learned = learned_camera(cameras[0], correction)
        except (BadInputError, OverflowError):  # nobody gave these numbers, so that nobody can mend them
            print("the camera that was learned ran away, and is not written: calibrate with a board and give --camera")
            return
        print(f"the learned camera: {camera_file.write(learned, out / 'camera.yaml')}")
