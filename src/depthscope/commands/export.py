"""``depthscope export RUN --out FILE``."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from depthscope.errors import BadInputError


def export(
    run: Annotated[Positional[str], arg(metavar="RUN")],
    /,
    out: Path,
    size: str = "",
    last: bool = False,
    average: tuple[str, ...] = (),
    calibrate: tuple[Path, ...] = (),
) -> int:
    """A trained network for other programs: as ONNX, or its weights alone as a small checkpoint.

    Args:
        run: Folder of a training run, a checkpoint file, or shipped.
        out: FILE.onnx, or FILE.pt for the averaged weights in half precision.
        size: Size of the network's images in pixels, as 192x160; by default about the area it was trained on.
        last: Use the newest checkpoint instead of the best.
        average: For FILE.pt: further runs of the same network, whose weights are averaged with those of RUN.
        calibrate: For FILE.pt: stores of depthscope stills, of patients that were not trained on; the deviations that
            the network tells are brought to its errors on them.
    """
    from depthscope.onnx_export import write_onnx
    from depthscope.prediction import load_model
    from depthscope.pretrained import checkpoint_named, write_weights
    from depthscope.simulation.patients.options import size_px
    from depthscope.video.windows import fitting_size
    from depthscope.workspace import sweep, telling_write_errors

    if out.suffix not in (".onnx", ".pt"):
        raise BadInputError(f"--out {out}", "a file that ends in .onnx or .pt")
    if out.suffix == ".onnx" and (average or calibrate):
        raise BadInputError(f"--average or --calibrate with {out}", "a file that ends in .pt", "export that one then")
    model = load_model(run, last=last)
    with telling_write_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        sweep(out.parent, deep=False)
        if out.suffix == ".pt":
            fit = calibrated_on(calibrate) if calibrate else None
            write_weights([model.source, *map(checkpoint_named, average)], out, fit)
            print(f"{out}: {out.stat().st_size / 1e6:.1f} MB; depthscope predict {out} INPUT --out DEPTH")
            return 0
        supervision = model.recipe.supervision
        chosen = size_px(size) if size else supervision.size_px
        chosen = chosen or fitting_size((0, 0, 320, 256), supervision.area_px, model.divisor)
        difference = write_onnx(model, out, chosen)
    same = f"equal to PyTorch within {difference:.1g}" if difference == difference else "not compared with PyTorch"
    print(f"{out}: images of {chosen[0]} x {chosen[1]} pixels, any batch, {same}")
    return 0


def calibrated_on(stores: tuple[Path, ...]):
    """From a network to the shift of its deviations that fits these patients, and what is said of it."""
    from depthscope.simulation.still_store import StillStore
    from depthscope.supervised import UnseenPatients
    from depthscope.supervised.calibration import calibration

    unseen = UnseenPatients(StillStore.read(stores))

    def fit(network):
        found = calibration(network, unseen)
        said = {
            "shift": round(found.shift, 4),
            "within_1_and_2_before": [round(w, 3) for w in found.before],
            "within_1_and_2": [round(w, 3) for w in found.within],
            "fitted_on": list(found.patients),
        }
        return found.shift, said

    return fit
