"""What is fuzzed: every reader with a tiny valid folder of its own, and the verbs of the command line."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random

import cv2
import numpy as np
import SimpleITK
import torch
import yaml

from depthscope import cli
from depthscope.formats import (
    c3vd,
    camera_file,
    colmap,
    depth_maps,
    endoslam,
    hamlyn,
    jhu,
    kitti,
    kitti_depth,
    nerfstudio,
    ply,
    read_sequence,
    scared,
    servct,
    simcol3d,
    surfaces,
    tracks,
    transforms,
    tum,
)
from depthscope.formats.ct import read_ct
from depthscope.geometry import Camera, RigidMotion, Similarity, Surface
from depthscope.networks.encoder_file import read_weights
from depthscope.prediction import load_model
from depthscope.pretext import encoder_of, stored_options, to_yaml as task_to_yaml
from depthscope.pretext.jigsaw import Jigsaw
from depthscope.recipes import read_recipe, to_yaml
from depthscope.report.folder import open_case
from depthscope.training import BEST, LAST, save_checkpoint
from depthscope.video import movie_frames, open_frames, read_grey, read_image
from depthscope.video.class_masks import Classes, MaskClass, read_mask_folder, write_classes
from depthscope.video.sound import read_sound
from depthscope.workspace import read_result, write_result
from miniatures import colmap_folder, dataset_folders, jhu_folder, kitti_folder
from miniatures.scene import scene
from moving_pictures import dicom_video, encode
from tiny_runs import tiny

CAMERA = Camera((48, 40), (40.0, 41.0), (24.0, 20.0), source="fuzz")


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
        name: What it is called.
        seed: Writes a valid folder.
        read: Reads the folder.
        weight: Share of the inputs.
        victims: Glob patterns of the files to damage; all if empty.
    """

    name: str
    seed: Callable[[Path], object]
    read: Callable[[Path], object]
    weight: float = 1.0
    victims: tuple[str, ...] = ()


def targets() -> tuple[Target, ...]:
    """Every reader."""
    quick = (*_texts(), *_surfaces(), *_pictures(), *_sequences(), *_datasets(), *_checkpoints())
    slow = [target for target in quick if target.name == "case"]
    return (*(target for target in quick if target.name != "case"), *slow, *_verbs(), *_volumes())


# Volumes and transforms: each takes a process of its own, so that there are fewer of them


def _volume() -> SimpleITK.Image:
    values = np.full((6, 7, 8), 40, np.int16)
    values[2:4, 2:5, 2:6] = -1000
    image = SimpleITK.GetImageFromArray(values)
    image.SetSpacing((2.5, 2.6, 2.7))
    return image


def _write_volume(folder: Path, name: str, compress: bool = False) -> None:
    SimpleITK.WriteImage(_volume(), str(folder / name), useCompression=compress)


def _write_series(folder: Path) -> None:
    from depthscope.formats.ct import CT
    from depthscope.formats.ct.writing import write_dicom_series

    values = SimpleITK.GetArrayFromImage(_volume())
    write_dicom_series(CT(values, (0.0, 0.0, 0.0), (0.5, 0.6, 0.7)), folder / "series")


def _write_transform(folder: Path, name: str) -> None:
    similarity = Similarity(torch.tensor(2.0).double(), RigidMotion.identity().to(torch.float64))
    if name.endswith((".tfm", ".h5")):
        transforms.write_itk(similarity, folder / name)
    elif name.endswith(".txt"):
        transforms.write_text(similarity, folder / name)
    else:
        content = {"target_from_source": similarity.matrix.tolist(), "scale": 2.0}
        (folder / name).write_text(json.dumps(content) if name.endswith("json") else yaml.safe_dump(content))


def _volumes() -> list[Target]:
    made = []
    for name, compress in (
        ("a.nii", False),
        ("a.nii.gz", False),
        ("a.nrrd", False),
        ("z.nrrd", True),
        ("a.mha", False),
        ("z.mha", True),
        ("a.mhd", False),
    ):
        made.append(
            Target(
                f"ct {name}",
                partial(_write_volume, name=name, compress=compress),
                lambda f, n=name: read_ct(f / n),
                0.06,
            )
        )
    made.append(Target("ct dicom", _write_series, lambda f: read_ct(f / "series"), 0.1))
    for name in ("a.tfm", "a.h5"):
        made.append(
            Target(
                f"transform {name}", partial(_write_transform, name=name), lambda f, n=name: transforms.read(f / n), 0.1
            )
        )
    for name in ("a.txt", "a.json", "a.yaml"):
        made.append(
            Target(f"transform {name}", partial(_write_transform, name=name), lambda f, n=name: transforms.read(f / n))
        )
    return made


# Surfaces


def _mesh() -> Surface:
    points = torch.tensor([[0.0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 10], [7, 7, 7]])
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 4], [1, 4, 3], [2, 3, 4]])
    colours = torch.full((5, 3), 120, dtype=torch.uint8)
    return Surface(points, points / 10, colours, faces, "mm")


def _write_mesh(folder: Path, name: str) -> None:
    import trimesh

    mesh = _mesh()
    assert mesh.faces is not None
    match name:
        case "a.ply":
            ply.write(mesh, folder / name, comments=("SPACE=RAS",))
        case "t.ply":
            ply.write(mesh, folder / name, ascii=True)
        case "a.vtp":
            (folder / name).write_text(_vtp(mesh))
        case "a.vtk" | "t.vtk":
            (folder / name).write_bytes(_legacy_vtk(mesh, binary=name == "a.vtk"))
        case "t.stl":
            trimesh.Trimesh(mesh.points.numpy(), mesh.faces.numpy()).export(folder / name, file_type="stl_ascii")
        case _:
            trimesh.Trimesh(mesh.points.numpy(), mesh.faces.numpy()).export(folder / name)


def _vtp(mesh: Surface) -> str:
    assert mesh.faces is not None
    points = " ".join(map(str, mesh.points.flatten().tolist()))
    corners = " ".join(map(str, mesh.faces.flatten().tolist()))
    ends = " ".join(str(3 * n + 3) for n in range(len(mesh.faces)))
    arrays = (("connectivity", corners), ("offsets", ends))
    polygons = "".join(
        f'<DataArray type="Int64" Name="{name}" format="ascii">{text}</DataArray>' for name, text in arrays
    )
    return (
        '<?xml version="1.0"?>\n<VTKFile type="PolyData" version="1.0" byte_order="LittleEndian" header_type="UInt64">'
        f'<PolyData><Piece NumberOfPoints="{len(mesh.points)}" NumberOfPolys="{len(mesh.faces)}"><Points>'
        f'<DataArray type="Float32" Name="Points" NumberOfComponents="3" format="ascii">{points}</DataArray></Points>'
        f"<Polys>{polygons}</Polys></Piece></PolyData></VTKFile>\n"
    )


def _legacy_vtk(mesh: Surface, *, binary: bool) -> bytes:
    assert mesh.faces is not None
    cells = np.concatenate([np.full((len(mesh.faces), 1), 3), mesh.faces.numpy()], 1)

    def block(head: str, values: np.ndarray, kind: str) -> bytes:
        text = " ".join(map(str, values.ravel().tolist())).encode()
        return f"{head}\n".encode() + (values.astype(kind).tobytes() if binary else text) + b"\n"

    return b"".join(
        (
            f"# vtk DataFile Version 4.2\nSPACE=RAS\n{'BINARY' if binary else 'ASCII'}\nDATASET POLYDATA\n".encode(),
            block(f"POINTS {len(mesh.points)} float", mesh.points.numpy(), ">f4"),
            block(f"POLYGONS {len(cells)} {cells.size}", cells, ">i4"),
            block(f"POINT_DATA {len(mesh.points)}\nNORMALS n float", mesh.points.numpy() / 10, ">f4"),
        )
    )


def _surfaces() -> list[Target]:
    names = ("a.ply", "t.ply", "a.stl", "t.stl", "a.obj", "a.vtp", "a.vtk", "t.vtk")
    return [
        Target(f"surface {name}", partial(_write_mesh, name=name), lambda f, n=name: surfaces.read(f / n), 1.2)
        for name in names
    ]


# Pictures, video, sound


def _frames(count: int = 4) -> list[np.ndarray]:
    texture = np.random.default_rng(3).integers(40, 200, (60, 80, 3)).astype(np.uint8)
    return [np.ascontiguousarray(cv2.GaussianBlur(texture, (0, 0), 2)[n : n + 40, n : n + 48]) for n in range(count)]


def _write_picture(folder: Path, name: str) -> None:
    assert cv2.imwrite(str(folder / name), _frames(1)[0])


def _read_picture(path: Path) -> None:
    read_image(path)
    read_grey(path)


def _write_depth(folder: Path) -> None:
    depth_maps.write(folder / "a.tiff", torch.rand(40, 48) + 1)


def _write_pictures(folder: Path) -> None:
    for n, frame in enumerate(_frames()):
        assert cv2.imwrite(str(folder / f"{n:03d}.{'png' if n % 2 else 'jpg'}"), frame)


def _read_pictures(folder: Path) -> int:
    return sum(1 for _ in open_frames(folder))


def _write_video(folder: Path, name: str, codec: str, pix_fmt: str) -> None:
    encode(folder / name, _frames(6), codec=codec, pix_fmt=pix_fmt)


def _write_dicom_video(folder: Path, syntax: str, ending: str) -> None:
    """One coded stream, coded frames, or plain bytes."""
    frames = _frames(6)
    pixels: bytes | list[bytes] = b"".join(frame.tobytes() for frame in frames)
    if ending == ".jpg":
        coded = [cv2.imencode(ending, frame)[1].tobytes() for frame in frames]
        pixels = [piece + b"\0" * (len(piece) % 2) for piece in coded]
    elif ending:
        data = (encode(folder / f"stream{ending}", frames, codec="libx264", pix_fmt="yuv420p")).read_bytes()
        (folder / f"stream{ending}").unlink()
        pixels = [data + b"\0" * (len(data) % 2)]
    dicom_video(folder / "a.dcm", pixels, syntax, len(frames), (48, 40))


DICOM_VIDEOS = (
    ("plain", "1.2.840.10008.1.2.1", ""),
    ("frames", "1.2.840.10008.1.2.4.50", ".jpg"),
    ("stream", "1.2.840.10008.1.2.4.102", ".ts"),
)


def _read_video(path: Path) -> int:
    open_frames(path)
    return sum(1 for _ in movie_frames(path, tell=lambda _: None))


def _write_sounding(folder: Path) -> None:
    from sounding_videos import beeps, video_with

    video_with(folder / "a.mp4", beeps(1.0), 1.0)


def _write_masks(folder: Path) -> None:
    write_classes(Classes((MaskClass(0, "tissue", None, True), MaskClass(1, "tool", (255, 0, 0), False))), folder)
    for n in range(2):
        assert cv2.imwrite(str(folder / f"{n:03d}.png"), np.eye(40, 48, dtype=np.uint8))


def _read_masks(folder: Path) -> None:
    masks = read_mask_folder(folder)
    for name in ("000", "001"):
        masks.not_tissue(name, (48, 40))


def _pictures() -> list[Target]:
    made = [
        Target(f"picture {name}", partial(_write_picture, name=name), lambda f, n=name: _read_picture(f / n))
        for name in ("a.jpg", "a.png", "a.bmp", "a.tif", "a.webp")
    ]
    videos = (
        ("a.mp4", "libx264", "yuv420p"),
        ("a.avi", "mjpeg", "yuvj420p"),
        ("a.mkv", "libx264", "yuv420p"),
        ("a.mpg", "mpeg2video", "yuv420p"),
        ("a.mov", "mpeg4", "yuv420p"),
        ("a.ts", "libx264", "yuv420p"),
    )
    made += [
        Target(
            f"video {name}",
            partial(_write_video, name=name, codec=codec, pix_fmt=pix),
            lambda f, n=name: _read_video(f / n),
            0.8,
        )
        for name, codec, pix in videos
    ]
    made += [
        Target(
            f"video dicom {name}",
            partial(_write_dicom_video, syntax=syntax, ending=ending),
            lambda f: _read_video(f / "a.dcm"),
            0.8,
        )
        for name, syntax, ending in DICOM_VIDEOS
    ]
    made.append(Target("sound", _write_sounding, lambda f: read_sound(f / "a.mp4"), 0.5))
    made.append(Target("pictures", _write_pictures, _read_pictures))
    made.append(Target("depth map", _write_depth, lambda f: depth_maps.read(f / "a.tiff")))
    made.append(Target("masks", _write_masks, _read_masks))
    return made


# Sequences and data sets


def _write_colmap(folder: Path, text: bool) -> None:
    clip = scene(frames=4, points=30)
    colmap_folder.write_colmap(folder, clip)
    if not text:
        sequence = colmap.read(folder)
        for path in (folder / "sparse" / "0").iterdir():
            path.unlink()
        names = [p.relative_to(folder / "images").as_posix() for p in sequence.images]
        colmap.write_model(sequence, folder / "sparse" / "0", names)


def _sequences() -> list[Target]:
    few = partial(scene, frames=4, points=30)
    model = ("sparse/0/*", "sparse/0/*", "images/*/*")
    plain = ("*index*", "motion.yaml", "structure.ply", "camera*", "*.bmp", "*.jpg")
    return [
        Target("colmap text", partial(_write_colmap, text=True), colmap.read, 1.5, model),
        Target("colmap binary", partial(_write_colmap, text=False), colmap.read, 1.5, model),
        Target("jhu", lambda f: jhu_folder.write_jhu(f, few()), lambda f: jhu.read(f, "world_from_camera"), 1.5, plain),
        Target("jhu direction", lambda f: jhu_folder.write_jhu(f, few()), read_sequence, 0.2, plain),
    ]


def _truth(reader: Callable[[Path], object]) -> Callable[[Path], object]:
    def read(folder: Path) -> None:
        clip = reader(folder)
        for number in range(min(2, len(clip))):  # type: ignore[arg-type]
            if clip.depth[number] is not None:  # type: ignore[attr-defined]
                clip.depth_of(number)  # type: ignore[attr-defined]

    return read


C3VD = "width = 160\nheight = 128\ncx = 80.5\ncy = 62.0\na0 = 130\na2 = -0.0005\na3 = 0\na4 = 0\nc = 1\nd = 0\ne = 0\n"


def _datasets() -> list[Target]:
    pinhole = dataset_folders.PINHOLE
    day = lambda f: f / kitti_folder.DAY / kitti_folder.DRIVE  # noqa: E731
    lidar = lambda f: (kitti_folder.write_raw(f, 3), kitti_folder.write_lidar(f, [(80.0, 60.0, 9.0)]))  # noqa: E731
    return [
        Target("c3vd", lambda f: dataset_folders.write_c3vd(f, pinhole, C3VD), _truth(c3vd.read), 0.8),
        Target("simcol3d", dataset_folders.write_simcol3d, lambda f: _truth(simcol3d.read)(f / "Frames_S1"), 0.5),
        Target("scared", dataset_folders.write_scared, _truth(scared.read)),
        Target("scared still", partial(dataset_folders.write_scared, clip=False), _truth(scared.read)),
        Target("hamlyn", dataset_folders.write_hamlyn, _truth(hamlyn.read), 0.8),
        Target("serv-ct", dataset_folders.write_servct, _truth(servct.read), 0.8),
        Target("endoslam", dataset_folders.write_endoslam, _truth(endoslam.read), 0.8),
        Target(
            "nerfstudio", dataset_folders.write_nerfstudio, _truth(nerfstudio.read), 1.0, ("*.json", "*.json", "*/*")
        ),
        Target("kitti raw", lambda f: kitti_folder.write_raw(f, 3), lambda f: kitti.read(day(f), stereo=True), 0.8),
        Target(
            "kitti odometry", lambda f: kitti_folder.write_odometry(f, 3), lambda f: kitti.read(f / "sequences/09"), 0.8
        ),
        Target("kitti lidar", lidar, lambda f: _truth(kitti_depth.read)(day(f)), 0.8),
    ]


# Texts


def _write_split(folder: Path) -> None:
    kitti_folder.write_raw(folder, 3)
    (folder / "split.txt").write_text("".join(f"{kitti_folder.DAY}/{kitti_folder.DRIVE} {n} l\n" for n in range(3)))


def _write_path(folder: Path) -> None:
    rows = [f"{n / 20} {0.01 * n} 0 {0.02 * n} 0 0 {0.001 * n} 1" for n in range(8)]
    (folder / "a.txt").write_text("# time tx ty tz qx qy qz qw\n" + "\n".join(rows) + "\n")


def _write_tracks(folder: Path) -> None:
    tracks.write(folder / "a.csv", [(f"frame_{n:06d}", p, 3.0 + n, 4.0, 0.5) for n in range(4) for p in range(3)])


def _write_case(folder: Path) -> None:
    (folder / "case.json").write_text(json.dumps({"run": {"done": "x", "seconds": 3.0}}))
    stages = {
        "run": {"steps": 10, "seconds": 4.0, "pairs_per_second": 3.0, "validation": {"abs_rel": 0.1}},
        "sequence": {
            "accepted": True,
            "outcome": "accepted",
            "reasons": [],
            "frames": 5,
            "checks": {"x": {"value": 1.0}},
        },
        "surface": {"vertices": 5, "faces": 6, "unit": "mm"},
        "registration": {"scale": 1.0, "residual_mm": {"mean": 1.0, "std": 1.0, "median": 0.5, "inlier_share": 0.9}},
    }
    for name, figures in stages.items():
        (folder / name).mkdir()
        write_result(folder / name, figures)
        (folder / name / "provenance.yaml").write_text(
            yaml.safe_dump({"command": ["depthscope", name], "seconds": 3.0})
        )
    (folder / "run" / "log.csv").write_text("step,loss\n1,0.5\n2,0.4\n")
    ply.write(_mesh(), folder / "surface" / "surface.ply")


def _read_case(folder: Path) -> None:
    from depthscope.report.page import page

    page(open_case(folder))


def _texts() -> list[Target]:
    return [
        Target(
            "camera.yaml",
            lambda f: camera_file.write(CAMERA, f / "camera.yaml"),
            lambda f: camera_file.read(f / "camera.yaml"),
            1.5,
        ),
        Target(
            "recipe", lambda f: (f / "a.yaml").write_text(to_yaml(tiny())), lambda f: read_recipe(f / "a.yaml"), 2.0
        ),
        Target("result.json", lambda f: write_result(f, {"a": 1.0, "b": [1, 2]}), read_result, 0.7),
        Target("trajectory", _write_path, lambda f: tum.read(f / "a.txt")),
        Target("tracks", _write_tracks, lambda f: tracks.read(f / "a.csv")),
        Target(
            "points",
            lambda f: (f / "p.csv").write_text("x,y\n1,2\n3,4\n"),
            lambda f: tracks.read_points(f / "p.csv"),
            0.7,
        ),
        Target(
            "kitti split",
            _write_split,
            lambda f: kitti.left_of_split(f, f / "split.txt"),
            0.7,
            ("split.txt", "*/*.txt"),
        ),
        Target(
            "kitti poses",
            lambda f: kitti_folder.write_odometry(f, 3),
            lambda f: kitti.read_path(f / "poses/09.txt"),
            0.5,
            ("poses/*",),
        ),
        Target("case", _write_case, _read_case, 0.6),
    ]


# Checkpoints and encoders


def _write_run(folder: Path) -> None:
    recipe = tiny()
    torch.manual_seed(0)
    weights = recipe.network.build().state_dict()
    content = {"network": weights, "step": 6, "seconds": 1.0, "recipe": to_yaml(recipe), "sequences": ["a"]}
    save_checkpoint(folder / BEST, content)


def _write_encoder(folder: Path) -> None:
    from depthscope.networks.res_unet_encoder import ResUNetEncoder
    from depthscope.pretext import write_encoder

    options = ResUNetEncoder(8, 3)
    torch.manual_seed(0)
    write_encoder(options.build(), options, folder)


def _read_encoder(folder: Path) -> None:
    from depthscope.networks.encoder import started

    read_weights(folder / "encoder.pt")
    started(encoder_of(folder))


def _write_task(folder: Path) -> None:
    save_checkpoint(folder / LAST, {"network": {"a": torch.zeros(3)}, "step": 3, "pretext": task_to_yaml(Jigsaw())})


def _checkpoints() -> list[Target]:
    return [
        Target("checkpoint", _write_run, load_model, 1.5),
        Target("encoder", _write_encoder, _read_encoder, 1.5),
        Target("pretext run", _write_task, stored_options, 1.0),
    ]


# The command line: files are damaged under a verb, or its words are


def _write_desk(folder: Path) -> None:
    """One of everything that a verb may be given."""
    for name in ("frames", "clip", "run", "maps", "case", "boards"):
        (folder / name).mkdir()
    _write_pictures(folder / "frames")
    for n, frame in enumerate(_frames(3)):
        assert cv2.imwrite(str(folder / "boards" / f"{n}.png"), frame)
    (folder / "clip").rmdir()
    _write_colmap(folder / "clip", text=False)
    _write_run(folder / "run")
    (folder / "maps" / "depth").mkdir()
    for n in range(4):
        depth_maps.write(folder / "maps" / "depth" / f"{n:03d}.tiff", torch.rand(40, 48) + 1)
    (folder / "truth").mkdir()
    for n in range(4):
        depth_maps.write(folder / "truth" / f"{n:03d}.tiff", torch.rand(40, 48) + 1)
    write_result(folder / "maps", {"frames": 4, "unit": "relative"})
    _write_case(folder / "case")
    camera_file.write(CAMERA, folder / "camera.yaml")
    (folder / "recipe.yaml").write_text(to_yaml(tiny(steps=1)))
    ply.write(_mesh(), folder / "a.ply")
    _write_volume(folder, "ct.nii.gz")
    _write_transform(folder, "start.txt")
    _write_video(folder, "film.mp4", "libx264", "yuv420p")


MODEL, MAPS = ("clip/sparse/0/*", "clip/images/*/*"), ("maps/*", "maps/*/*")
VERBS: dict[str, tuple[str, tuple[str, ...], float]] = {
    "inspect": ("inspect clip --out out", MODEL, 0.12),
    "convert": ("convert clip out --to jhu", MODEL, 0.3),
    "predict": ("predict run frames --out out --no-video", ("run/*", "frames/*"), 0.3),
    "predict film": ("predict run film.mp4 --out out --camera camera.yaml", ("film.mp4", "camera.yaml"), 0.2),
    "evaluate": ("evaluate maps truth --out out", (*MAPS, "truth/*"), 0.3),
    "register": ("register a.ply ct.nii.gz --out out --start start.txt", ("a.ply", "ct.nii.gz", "start.txt"), 0.08),
    "fuse": ("fuse maps clip --out out", (*MAPS, "clip/sparse/0/*"), 0.2),
    "calibrate": ("calibrate boards --board 5x4 --square-mm 3 --out out", ("boards/*",), 0.2),
    "report": ("report case", ("case/*.json", "case/*/*"), 0.4),
    "train": ("train clip --out out --config recipe.yaml", ("recipe.yaml", *MODEL), 0.12),
    "resume": ("train clip --out run --resume", ("run/*",), 0.1),
}
"""The command, what is damaged under it, and its share.

`run` and `pretrain` are not among them: they take minutes over what is whole, and their readers are those of others.
"""

WORDS = (
    "",
    "-",
    "--",
    "--out",
    "--help",
    "nan",
    "-1",
    "0",
    "1e999",
    "\u202e",
    "[1",
    "None",
    "x" * 5000,
    "--batch",
    "--seed",
)


class UnforeseenError(Exception):
    """A verb ended in its last net."""


def run_verb(words: list[str]) -> str:
    """Runs a verb in the folder that is the current one; raises what its last net caught."""

    def raised(error: Exception) -> tuple[str, int]:
        line, code = told(error)
        if code == cli.INTERNAL_ERROR:
            caught.append(error)
        return line, code

    told, caught = cli.unforeseen, []
    cli.unforeseen = raised
    try:
        code = cli.main(words)
    except SystemExit as end:
        code = end.code
    finally:
        cli.unforeseen = told
    if caught:
        raise caught[0]
    return f"exit {code}"


def damaged_words(command: str, random: Random) -> list[str]:
    """A command line in which one word is another, left out, doubled or added."""
    words = command.split()
    changed = list(words)
    place = random.randrange(1, len(changed))
    match random.choice(("another", "another", "out", "double", "added", "exchanged")):
        case "another":
            changed[place] = random.choice((*WORDS, *words))
        case "out":
            del changed[place]
        case "double":
            changed.insert(place, changed[place])
        case "added":
            changed.insert(place, random.choice(WORDS))
        case "exchanged":
            other = random.randrange(1, len(changed))
            changed[place], changed[other] = changed[other], changed[place]
    return changed


def _verbs() -> list[Target]:
    made = []
    for name, (words, victims, weight) in VERBS.items():
        made.append(Target(f"verb {name}", _write_desk, lambda _, w=words: run_verb(w.split()), weight, victims))
    plain = Target("words", _write_desk, lambda _: None, 1.2)
    return [*made, replace(plain)]
