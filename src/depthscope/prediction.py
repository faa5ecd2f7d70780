"""From a trained network and frames to depth maps, previews and point clouds."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import cv2
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from depthscope.alignment import TO_POINTS
from depthscope.errors import BadInputError
from depthscope.geometry import Camera, Kind, NoDistortion, RigidMotion, Surface, converted, depth_of
from depthscope.geometry.depth import backprojected, pixel_grid, sample, sampled_at
from depthscope.geometry.guided import guided
from depthscope.geometry.map_grid import RECORDED, MapGrid
from depthscope.geometry.rim import Ring, rings_around, spread_outwards
from depthscope.geometry.scale import LogMedian
from depthscope.geometry.units import LengthUnit, length_unit
from depthscope.networks import DepthPrediction, NetworkOptions, as_prediction
from depthscope.networks.ray_channels import of_kind, with_rays
from depthscope.networks.snippet_network import depth_weights
from depthscope.objectives import ViewSynthesis
from depthscope.pretrained import checkpoint_named
from depthscope.reading import reader, reading
from depthscope.recipes import Recipe, from_yaml
from depthscope.sequence import Sequence
from depthscope.supervision import network_size
from depthscope.supervision.clip import held_out
from depthscope.supervision.view import View, view_of
from depthscope.support import ON_PHANTOMS
from depthscope.training import LAST, load_checkpoint, weights_of
from depthscope.video import read_image
from depthscope.video.blank import blank
from depthscope.video.windows import content_box, fitting_size


@dataclass(frozen=True, eq=False)
class DepthModel:
    """A trained network that is ready to use.

    Attributes:
        network: In evaluation mode.
        recipe: How it was trained.
        divisor: What the sides of its images must be divisible by.
        source: The checkpoint it came from.
        unit_length: Length of the network's unit where its training knew one (from the baseline of two eyes), or None.
        unit: Of that length.
        learned_kind: What depth was where it was trained; a network that takes rays does not depend on it.
    """

    network: nn.Module
    recipe: Recipe
    divisor: int
    source: Path
    unit_length: float | None = None
    unit: LengthUnit = "relative"
    learned_kind: Kind = "z"


@dataclass(frozen=True, eq=False)
class Recording:
    """Frames of one camera to predict on: a sequence, an image folder or a video.

    Attributes:
        names: A name for each frame.
        frames: Their images, read when asked for.
        size_px: (width, height) of the images.
        camera: The camera, or None where it is not known.
        mask: Where it shows tissue, or None for everywhere.
        sequence: The SfM of these frames, or None.
        notes: What a user should know of the frames, in sentences; complete once they were read.
        source: What they are read from, for errors.
    """

    names: tuple[str, ...]
    frames: Iterable[UInt8[Tensor, "height width 3"]]
    size_px: tuple[int, int]
    camera: Camera | None = None
    mask: Bool[Tensor, "height width"] | None = None
    sequence: Sequence | None = None
    notes: list[str] = field(default_factory=list)
    source: str = ""

    @classmethod
    def of_sequence(cls, sequence: Sequence) -> "Recording":
        """The frames of a sequence."""
        images = (read_image(path) for path in sequence.images)
        return cls(
            sequence.frame_names,
            images,
            sequence.size_px,
            sequence.cameras[0],
            sequence.mask,
            sequence,
            source=sequence.name,
        )


@dataclass(frozen=True, eq=False)
class DepthMap:
    """The depth of one frame on the pixels that were recorded.

    Attributes:
        name: The frame's name.
        depth: In `unit`, shape (height, width); 0 where nothing is known (outside the content).
        std: Standard deviation of depth in the same unit, or None where the network does not say.
        content: Where the pixel shows nothing but tissue: narrower than where depth is known, which includes the rim.
        image: The frame at the same size.
        camera: Camera of this image, or None where the camera is not known.
        unit: "relative" (the network's own unit), "sfm" or "mm".
        kind: What depth is: along the optical axis ("z"), or along the ray ("distance") where the lens is too wide.
    """

    name: str
    depth: Float[Tensor, "height width"]
    std: Float[Tensor, "height width"] | None
    content: Bool[Tensor, "height width"]
    image: UInt8[Tensor, "height width 3"]
    camera: Camera | None
    unit: LengthUnit
    kind: Kind = "z"


@reader("a run of depthscope train, or a checkpoint", "check the path")
def load_model(run: Path | str, *, last: bool = False, network: str = "") -> DepthModel:
    """The network of a run folder (its best checkpoint, or with `last` the newest), of a checkpoint file, or "shipped".

    Args:
        run: The folder or the file.
        last: The newest checkpoint in place of the best.
        network: ``package.module:Class`` of a network from elsewhere that the checkpoint may name.

    Raises:
        BadInputError: There is no whole checkpoint, or it does not fit the recipe that it names.
    """
    path = Path(run) / LAST if last and Path(run).is_dir() else checkpoint_named(run)
    content = load_checkpoint(path)
    if "recipe" not in content:
        raise BadInputError(f"{path} names no recipe", "a checkpoint of a depth network", "train with depthscope train")
    recipe = from_yaml(content["recipe"], source=f"the recipe in {path}", trusted=(network,) if network else ())
    weights = weights_of(content, path)
    if isinstance(recipe.objective, ViewSynthesis):
        weights = depth_weights(weights)
    with reading(path, "weights of the network that its recipe names", "train again"):
        built = _built(recipe.network, weights, path)
    built = built.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    unit_length, unit = content.get("unit_length"), content.get("unit", "relative")
    if not (unit_length is None or isinstance(unit_length, float | int)):
        raise BadInputError(f"{path} is in units of {unit_length} {unit}", "a number and a name", "train again")
    unit = length_unit(unit, path)
    kind = content.get("depth_kind", "z")
    if kind not in ("z", "distance"):
        raise BadInputError(f"{path} holds depth of the kind {kind!r:.80}", "z or distance", "train again")
    return DepthModel(built, recipe, recipe.network.divisor, path, unit_length, unit, kind)


def _built(options: NetworkOptions, weights: dict[str, Tensor], path: Path) -> nn.Module:
    """The network with these weights; compared first without memory, as a file may name a network of any size."""
    try:
        with torch.device("meta"):
            expected = {name: tuple(value.shape) for name, value in options.build().state_dict().items()}
    except NotImplementedError:  # a network from elsewhere that computes as it is built
        expected = None
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if expected is not None and found != expected:
        name = next(name for name in (*expected, *found) if found.get(name) != expected.get(name))
        raise BadInputError(
            f"{path} does not fit its recipe ({name[:80]} is {found.get(name)}, not {expected.get(name)})",
            "weights of the same network",
            "train again",
        )
    network = options.build()
    network.load_state_dict(weights)
    return network


def predict(
    model: DepthModel,
    recording: Recording,
    *,
    batch: int = 8,
    scaled: bool = False,
    device: torch.device | str = "cpu",
    bf16: bool = False,
    full_size: bool = False,
) -> Iterator[DepthMap]:
    """The depth map of every frame, one after the other, in memory that does not grow with the clip.

    Args:
        model: From `load_model`.
        recording: The frames.
        batch: Frames in one pass of the network.
        scaled: Bring every frame to its sparse points (needs `recording.sequence`); its unit is then the sequence's.
        device: Where to compute.
        bf16: Compute the network in bf16; quicker where the device has units for it.
        full_size: Maps of the size of the frame, enlarged along its edges, in place of the network's.

    Frames that show nothing (black, of one colour) have no depth, which `recording.notes` tell at the end.

    Raises:
        BadInputError: No frame shows anything, or frames are too small, or of another size than the first.
    """
    model.network.to(device)
    window = _Window.for_recording(model, recording, full_size=full_size)
    waiting: list[Tensor] = []
    done, empty = 0, dict[str, str]()

    def maps() -> Iterator[DepthMap]:
        why = ["" if scaled else blank(image, recording.mask) for image in waiting]
        predicted = _predicted(model, window, recording, done, waiting, scaled, device, bf16, why)
        for found, reason in zip(predicted, why, strict=True):
            empty.update({found.name: reason} if reason else {})
            yield found

    for image in recording.frames:
        _check_size(image, recording, done + len(waiting))
        waiting.append(image)
        if len(waiting) == batch:
            yield from maps()
            done, waiting = done + len(waiting), []
    if waiting:
        yield from maps()
        done += len(waiting)
    if empty:
        _tell_of_blank(empty, done, recording)


def _tell_of_blank(empty: dict[str, str], frames: int, recording: Recording) -> None:
    """Notes which frames show nothing.

    Raises:
        BadInputError: None of them shows anything.
    """
    names, why = list(empty), " or ".join(sorted(set(empty.values())))
    if len(empty) == frames:
        what = "it is" if frames == 1 else f"all {frames} frames are"
        raise BadInputError(
            f"{recording.source or names[0]} shows nothing: {what} {why}",
            "frames that show tissue",
            "check the recording (light, lens cap, capture card), or give another file",
        )
    shown = ", ".join(names[:3]) + (f", ... {names[-1]}" if len(names) > 3 else "")
    recording.notes.append(f"{len(empty)} of {frames} frames are {why}, and have no depth: {shown}")


LEAST_SIDE_PX, MOST_ASPECT = 32, 10
"""Images with a shorter side, or longer in proportion, are thumbnails or strips and no frames of an endoscope."""


def _check_frame(recording: Recording) -> None:
    """Refuses what is too small or too long to be a frame."""
    width, height = recording.size_px
    if min(width, height) >= LEAST_SIDE_PX and max(width, height) <= MOST_ASPECT * min(width, height):
        return
    raise BadInputError(
        f"{recording.source or recording.names[0]} has frames of {width} x {height} pixels",
        f"at least {LEAST_SIDE_PX} on a side, and no side more than {MOST_ASPECT} times the other",
        "give the frames at their full size, not thumbnails or strips",
    )


def _check_size(image: Tensor, recording: Recording, number: int) -> None:
    height, width = image.shape[:2]
    if (width, height) != recording.size_px:
        raise BadInputError(
            f"frame {recording.names[number]} is {width} x {height} pixels",
            f"{recording.size_px[0]} x {recording.size_px[1]} as its camera or the first frame",
            "leave it out, or resize it",
        )


WIDEST_Z_DEG = 87.0
"""Angle from the axis up to which maps are handed out as z: at 87 degrees it is a twentieth of the distance."""


def along_axis(depth_map: DepthMap) -> DepthMap:
    """The map as z-depth where every ray that has depth allows it; the map as it is where the lens is too wide."""
    if depth_map.kind == "z" or depth_map.camera is None:
        return depth_map
    cosine = torch.where(depth_map.depth > 0, depth_map.camera.rays[..., 2], 1.0)
    if float(cosine.min()) < math.cos(math.radians(WIDEST_Z_DEG)):
        return depth_map
    cosine = cosine.to(depth_map.depth)
    std = None if depth_map.std is None else depth_map.std * cosine
    return replace(depth_map, depth=depth_map.depth * cosine, std=std, kind="z")


def cloud(depth_map: DepthMap, stride: int = 1) -> Surface:
    """The coloured point cloud of a depth map's content in its camera's axes, every `stride`-th pixel.

    Raises:
        BadInputError: The camera is not known.
    """
    if depth_map.camera is None:
        raise BadInputError("a depth map without a camera", "a known camera for a point cloud", "give --camera")
    lens = depth_map.camera.lens(depth_map.kind, grid=True).to(torch.float32)
    points = backprojected(depth_map.depth[None], lens[None])[0][::stride, ::stride]
    known = (depth_map.content & (depth_map.depth > 0))[::stride, ::stride]
    return Surface(points[known], colours=depth_map.image[::stride, ::stride][known], unit=depth_map.unit)


WIDEST_PINHOLE_DEG = 160.0
"""Field of view up to which frames are exported without distortion: 11 focal lengths from side to side."""

MOST_WIDTH_PX = 4096
"""Of such frames; wider ones are made coarser."""


def undistorted_map(depth_map: DepthMap, field_deg: float) -> tuple[DepthMap, float]:
    """The map and its frame as a pinhole would have them, and the share of the content that this pinhole sees.

    Args:
        depth_map: With a camera.
        field_deg: Full angle across the wider side. The scale at the middle is kept.

    Raises:
        BadInputError: The camera is not known, or no pinhole has such a field.
    """
    if not 10 <= field_deg <= WIDEST_PINHOLE_DEG:
        raise BadInputError(
            f"an undistorted frame of {field_deg:g} degrees",
            f"10 to {WIDEST_PINHOLE_DEG:g}: a pinhole would be infinitely wide at 180",
            "use the maps on the recorded frame, which hold every pixel",
        )
    camera = depth_map.camera
    if camera is None:
        raise BadInputError("an undistorted map without a camera", "a known camera", "give --camera")
    half, (height, width) = math.tan(math.radians(field_deg) / 2), depth_map.depth.shape
    across = min(MOST_WIDTH_PX, max(2, round(2 * half * max(camera.focal_px))))
    down = max(2, round(across * min(width, height) / max(width, height)))
    size = (across, down) if width >= height else (down, across)
    focal = across / (2 * half)
    target = Camera(size, (focal, focal), (size[0] / 2, size[1] / 2), source=f"undistorted from {camera.model}")
    pixels = camera.project(target.rays)
    limits = pixels.new_tensor([width, height])
    seen = ((pixels >= 0) & (pixels <= limits)).all(-1)
    pixels = torch.where(seen[..., None], pixels, 0.0)
    depth = torch.where(seen, sampled_at(depth_map.depth[None].double(), pixels[None])[0], 0.0)
    depth = converted(depth, target.rays, depth_map.kind, "z").float()
    relative = None
    if depth_map.std is not None:
        share = depth_map.std / depth_map.depth.clamp_min(1e-12)
        relative = depth * sample(share[None, None].double(), pixels[None])[0, 0].float()
    x, y = (pixels - 0.5).float().where(seen[..., None], torch.tensor(-9.0)).unbind(-1)  # OpenCV border
    image = cv2.remap(depth_map.image.numpy(), x.numpy(), y.numpy(), cv2.INTER_LINEAR)
    inside = cv2.remap(depth_map.content.numpy().astype("uint8") * 255, x.numpy(), y.numpy(), cv2.INTER_LINEAR)
    content = torch.from_numpy(inside >= 254)
    back = target.project(camera.rays)
    kept = ((back >= 0) & (back <= back.new_tensor(size))).all(-1) & (depth_map.depth > 0)
    made = DepthMap(depth_map.name, depth, relative, content, torch.from_numpy(image), target, depth_map.unit, "z")
    return made, float(kept.sum()) / max(1, int((depth_map.depth > 0).sum()))


def in_world(surface: Surface, camera_from_world: RigidMotion) -> Surface:
    """A cloud in camera axes, moved to the world of the sequence."""
    return surface.moved(camera_from_world.inverse().to(surface.points.dtype))


@dataclass(frozen=True, eq=False)
class _Window:
    """How frames enter the network, and how its depth is laid back over the whole frame."""

    view: View
    camera: Camera
    mask: Bool[Tensor, "height width"]
    canvas_px: tuple[int, int]
    canvas_mask: Bool[Tensor, "rows columns"]
    canvas_content: Bool[Tensor, "rows columns"]
    kept: Bool[Tensor, " points"] | None
    enlarged: int

    @classmethod
    def for_recording(cls, model: DepthModel, recording: Recording, *, full_size: bool = False) -> "_Window":
        _check_frame(recording)
        options = model.recipe.supervision
        camera = recording.camera or _stand_in(recording.size_px)
        if recording.mask is not None and not bool(recording.mask.any()):
            raise BadInputError("the mask hides everything", "some pixels that show tissue", "check its polarity")
        box = content_box(recording.mask, camera.size_px)
        if recording.sequence is not None:
            size = network_size(recording.sequence, options, model.divisor)
        elif options.size_px is not None:
            size = options.size_px
        else:
            size = fitting_size(box, options.area_px, model.divisor)
        view = view_of(camera, box, size)
        scale = size[0] / view.window_px[0]
        canvas = max(1, round(camera.size_px[0] * scale)), max(1, round(camera.size_px[1] * scale))
        if full_size:
            canvas = camera.size_px
        whole = View.whole(camera, canvas)
        mask = view.mask(recording.mask, camera, options.erosion_px)
        if not bool(mask.any()):
            lens = "" if recording.camera is None else " and without what the lens has no ray for"
            raise BadInputError(
                f"no pixel of the mask is left after it was shrunk by {options.erosion_px} px{lens}",
                "a mask with content" + (" within the range of the lens" if lens else ""),
                "check the mask" + (" and the camera" if lens else ""),
            )
        recording.notes.extend(remarks_on_lens(recording))
        content = whole.mask(recording.mask, camera, 1)
        kept = None  # points that were kept from training stay unseen, so that they can be measured at
        if recording.sequence is not None:
            kept = ~held_out(recording.sequence, options).points
        enlarged = round(1 / scale) if full_size else 1
        return cls(view, camera, mask, canvas, _touched(whole, recording.mask, camera), content, kept, enlarged)

    @property
    def whole(self) -> View:
        """The whole frame at the size of the results."""
        return View.whole(self.camera, self.canvas_px)

    @cached_property
    def _rings(self) -> tuple[Ring, ...]:
        return rings_around(self.mask)

    def laid_out(self, maps: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch rows columns"]:
        """Maps of the network's window over the whole image, bilinear; 0 outside the content.

        The rim of the content, on which the network was not trained, takes the values beside it.
        """
        maps = spread_outwards(maps, tuple(ring.to(maps.device) for ring in self._rings))
        width, height = self.canvas_px
        full = maps.new_tensor(self.camera.size_px) / maps.new_tensor(self.canvas_px)
        pixels = pixel_grid(height, width, maps) * full
        corner, ratio = maps.new_tensor([self.view.left, self.view.top]), maps.new_tensor(self.view.size_px)
        pixels = (pixels - corner) * ratio / maps.new_tensor(self.view.window_px)
        values = sample(maps[:, None], pixels.expand(len(maps), -1, -1, -1))[:, 0]
        return torch.where(self.canvas_mask.to(maps.device), values, 0.0)


def _stand_in(size_px: tuple[int, int]) -> Camera:
    """Carries the size of images whose camera is not known; nothing is measured with it."""
    width, height = size_px
    return Camera(size_px, (float(width), float(width)), (width / 2, height / 2), source="not known")


def _touched(whole: View, content: Bool[Tensor, "rows columns"] | None, camera: Camera) -> Bool[Tensor, "height width"]:
    """Pixels of the result that show any tissue, widened by one, so that nothing at the rim is mixed with 0.

    Where the lens has no ray there is no depth.
    """
    width, height = whole.size_px
    touched = torch.ones(height, width, dtype=torch.bool)
    if content is not None:
        shown = torch.from_numpy(whole.image(content.numpy().astype("uint8") * 255, camera)).float()
        touched = torch.nn.functional.max_pool2d(shown[None], 3, stride=1, padding=1)[0] > 0
    return touched if isinstance(camera.distortion, NoDistortion) else touched & has_ray(whole.camera)


def has_ray(camera: Camera) -> Bool[Tensor, "height width"]:
    """Pixels with a ray that its kind of depth can be along."""
    rays = camera.rays
    return rays.isfinite().all(-1) & ((rays[..., 2] > 1e-4) | (camera.depth_kind == "distance"))


def remarks_on_lens(recording: Recording) -> list[str]:
    """What to say where the lens has no ray for some of the content: it folds there, or sees 180 degrees as z."""
    if recording.camera is None or isinstance(recording.camera.distortion, NoDistortion):
        return []
    shown = torch.ones(recording.size_px[::-1], dtype=torch.bool) if recording.mask is None else recording.mask
    lost = float((shown & ~has_ray(recording.camera)).sum()) / float(shown.sum())
    if lost == 0:
        return []
    return [
        f"the {recording.camera.model} camera has no ray for {lost:.1%} of the content, where its model folds: "
        "no depth there; calibrate over the whole picture, or check that the model is the lens's"
    ]


def _predicted(
    model: DepthModel, window: _Window, recording, first, images, scaled, device, bf16, empty
) -> Iterator[DepthMap]:
    """The depth maps of a few frames; all 0 of those that are `empty`."""
    seen = torch.stack([torch.from_numpy(window.view.image(image.numpy(), window.camera)) for image in images])
    batch = seen.permute(0, 3, 1, 2).to(device).float() / 255 * window.mask.to(device)
    kind = window.camera.depth_kind
    lens = None if recording.camera is None else window.view.camera.lens(kind, grid=True).to(batch).repeated(len(batch))
    batch = with_rays(model.network, batch, lens).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
        prediction = as_prediction(model.network(batch))
    with torch.inference_mode():
        prediction = of_kind(prediction, model.network, lens, model.learned_kind)
    prediction = DepthPrediction(
        prediction.log_depth.float().cpu(), None if prediction.log_std is None else prediction.log_std.float().cpu()
    )
    shown = [torch.from_numpy(window.whole.image(image.numpy(), window.camera)) for image in images]
    inverse = window.laid_out(1 / prediction.depth)
    if window.enlarged > 1:
        pairs = zip(inverse, shown, strict=True)
        inverse = torch.stack([guided(one, image, window.canvas_mask, window.enlarged) for one, image in pairs])
    depth = 1 / inverse.clamp_min(1e-12)
    depth = torch.where(window.canvas_mask, depth, 0.0)
    std = None if prediction.log_std is None else depth * window.laid_out(prediction.log_std.exp())
    unit, sequence = "relative", recording.sequence
    if model.unit_length is not None:
        depth, unit = depth * model.unit_length, model.unit
        std = None if std is None else std * model.unit_length
    if scaled:
        if sequence is None:
            raise BadInputError("frames without SfM", "a sequence to take the scale from", "give --sequence")
        frames = range(first, first + len(images))
        factor = scale_fields(depth, sequence, frames, window.canvas_px, window.kept)
        depth, unit = depth * factor, sequence.unit
        supported = supported_std(depth, sequence, frames, window.canvas_px)
        std = supported if std is None else torch.maximum(supported, std * factor)
    camera = None if recording.camera is None else recording.camera.resized(window.canvas_px)
    for number in range(len(images)):
        name = recording.names[first + number]
        deviation, content = None if std is None else std[number], window.canvas_content
        if empty[number]:
            content = torch.zeros_like(content)
            depth[number], deviation = 0.0, None if deviation is None else torch.zeros_like(deviation)
        yield DepthMap(name, depth[number], deviation, content, shown[number], camera, unit, kind)


def frame_scales(
    depth: Float[Tensor, "batch height width"],
    sequence: Sequence,
    frames: range,
    size_px: tuple[int, int],
    maps: MapGrid = RECORDED,
) -> Float[Tensor, " batch"]:
    """Factor that brings each depth map to the sparse points of its frame: the weighted median of log ratios."""
    factors = []
    for map_, frame in zip(depth, frames, strict=True):
        pixels, sparse = points_of(sequence, frame, size_px, maps=maps)
        predicted = sampled_at(map_[None], pixels[None].float())[0]
        used = (predicted > 0) & (sparse > 0)
        if not bool(used.any()):
            raise BadInputError(
                f"frame {sequence.frame_names[frame]} has no sparse point",
                "points in every frame",
                "predict without scale",
            )
        ratio = (sparse[used].float() / predicted[used]).log()
        factors.append(LogMedian()(ratio, torch.ones_like(ratio)).factor)
    return torch.stack(factors)


def scale_fields(
    depth: Float[Tensor, "batch height width"],
    sequence: Sequence,
    frames: range,
    size_px: tuple[int, int],
    kept: Bool[Tensor, " points"] | None = None,
) -> Float[Tensor, "batch height width"]:
    """What brings each pixel of a depth map to the sparse points of its frame: `depthscope.alignment`.

    Args:
        depth: In the network's unit.
        sequence: The SfM of these frames.
        frames: Their numbers in it.
        size_px: (width, height) of the maps.
        kept: Points that may be used; all if None.

    Raises:
        BadInputError: A frame has no point.
    """
    fields = []
    for map_, frame in zip(depth, frames, strict=True):
        pixels, sparse = points_of(sequence, frame, size_px, kept)
        if not bool((sampled_at(map_[None], pixels[None].float())[0] > 0).any()):
            fields.append(frame_scales(map_[None], sequence, range(frame, frame + 1), size_px)[0].expand_as(map_))
            continue
        fields.append(TO_POINTS(map_, pixels, sparse))
    return torch.stack(fields)


def supported_std(
    depth: Float[Tensor, "batch height width"], sequence: Sequence, frames: range, size_px: tuple[int, int]
) -> Float[Tensor, "batch height width"]:
    """Standard deviation of scaled depth maps, as far as the sparse points of their frames support them."""
    found = []
    for map_, frame in zip(depth, frames, strict=True):
        pixels, sparse = points_of(sequence, frame, size_px)
        focal_px = min(sequence.cameras[frame].resized(size_px).focal_px)
        found.append(map_ * ON_PHANTOMS(map_, pixels, sparse, focal_px, sequence.median_depth))
    return torch.stack(found)


def points_of(
    sequence: Sequence,
    frame: int,
    size_px: tuple[int, int],
    kept: Bool[Tensor, " points"] | None = None,
    maps: MapGrid = RECORDED,
) -> tuple[Float[Tensor, "seen 2"], Float[Tensor, " seen"]]:
    """Pixels in a depth map of this size, and depths of its kind, of the points that a frame was triangulated with."""
    points, recorded = points_seen(sequence, frame, kept, maps), sequence.cameras[frame]
    return maps.camera(recorded, size_px).project(points), depth_of(points, maps.kind_of(recorded))


def points_seen(
    sequence: Sequence, frame: int, kept: Bool[Tensor, " points"] | None = None, maps: MapGrid = RECORDED
) -> Float[Tensor, "seen 3"]:
    """The points that a frame was triangulated with and that its depth map can show, in the axes of its camera."""
    rows = sequence.observations.frame == frame
    if kept is not None:
        rows = rows & kept[sequence.observations.point]
    recorded = sequence.cameras[frame]
    points = sequence.observed_points[rows]
    shown = (maps.undistorted or recorded).distortion.sees(points)
    return points[shown & (depth_of(points, maps.kind_of(recorded)) > 0)]
