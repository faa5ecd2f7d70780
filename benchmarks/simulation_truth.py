"""Whether a simulated folder is what it says, by readers that did not write it.

    python benchmarks/simulation_truth.py --clips DIR --out DIR

For each patient: the CT as NIfTI (SimpleITK) and as a DICOM series (SimpleITK, pydicom) have one geometry, and the
surface extracted again lies on the anatomy. For each clip: the videos decode to their frames (PyAV), depth is that of
rays cast at the anatomy's mesh, and flow is what depth and motions give. The last two leave out instruments, and clips
whose tissue moves or is a patch. Writes ``simulation_truth.json``, prints it, and exits with 1 where a limit fails.
"""

import argparse
import json
import sys
from pathlib import Path

import av
import cv2
import pydicom
import SimpleITK
import torch
import yaml

from depthscope.formats import camera_file, depth_maps, ply, read_sequence
from depthscope.formats.ct import extracted_surface, read_ct
from depthscope.geometry.casting import RayCaster
from depthscope.geometry.depth import pixel_grid
from depthscope.geometry.nearest import NearestPoint
from depthscope.simulation.clip_files import unpacked_flow

LIMITS = {"ct_surface_mm_95": 0.3, "depth_relative_999": 1e-4, "flow_px_99": 0.02}
"""What the figures must stay below."""

POINTS = 20_000
"""Of the extracted surface that are looked at."""


def decoded(path: Path) -> int:
    """Frames that a video decodes to."""
    with av.open(str(path)) as video:
        return sum(1 for _ in video.decode(video=0))


def patient_figures(folder: Path) -> dict:
    """Of a patient's CT."""
    nifti = SimpleITK.ReadImage(str(folder / "ct.nii.gz"))
    found: dict = {"voxels": list(nifti.GetSize())}
    if (folder / "ct_dicom").is_dir():
        files = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder / "ct_dicom"))
        series, first = SimpleITK.ReadImage(files), pydicom.dcmread(files[0])
        pairs = [(series.GetOrigin(), nifti.GetOrigin()), (series.GetSpacing(), nifti.GetSpacing())]
        pairs.append(([float(x) for x in first.ImagePositionPatient], nifti.GetOrigin()))
        off = max(abs(a - b) for pair in pairs for a, b in zip(*pair, strict=True))
        found["dicom_as_nifti"] = series.GetSize() == nifti.GetSize() and off < 1e-3
    anatomy = folder / ("anatomy_ct.ply" if (folder / "anatomy_ct.ply").is_file() else "anatomy.ply")
    surface, mesh = extracted_surface(read_ct(folder / "ct.nii.gz")), ply.read(anatomy)
    rows = torch.linspace(0, len(surface.points) - 1, POINTS).long()
    distance = NearestPoint(mesh)(surface.points[rows].double()).distance
    return found | {"ct_surface_mm_95": float(distance.quantile(0.95)), "ct_surface_mm_max": float(distance.max())}


def clip_figures(clip: Path, caster: RayCaster, rigid: bool) -> dict:
    """Of one clip."""
    sequence, maps = read_sequence(clip), list(depth_maps.listed(clip).values())
    found: dict = {
        "frames": len(maps),
        "video_frames": decoded(clip / "video.mp4"),
        "board_frames": decoded(clip / "board.mp4"),
    }
    if not rigid:
        return found
    camera, motions = sequence.cameras[0], sequence.camera_from_world
    told = camera_file.read(clip / "camera.yaml")
    found["focal_told_over_true"] = told.focal_px[0] / camera.focal_px[0]
    pixels = pixel_grid(*(depth_maps.read(maps[0]).shape), torch.zeros((), dtype=torch.float64))
    relative, flow_error = [], []
    for i, path in enumerate(maps):
        depth = depth_maps.read(path).double()
        known = depth > 0
        metal = clip / "masks" / "instrument" / f"{path.stem}.png"
        if metal.is_file():
            known &= torch.from_numpy(cv2.imread(str(metal), cv2.IMREAD_GRAYSCALE)) == 0
        rays, world = camera.unproject(pixels[known]), motions[i].inverse()
        way = world.apply(rays) - world.translation
        cast = caster.cast(world.translation[None], way).distance
        relative.append((cast / depth[known] - 1).abs())
        if i + 1 < len(maps):
            flow, seen = unpacked_flow(clip / "flow" / f"{path.stem}.png")
            after = camera.project(motions[i + 1].apply(world.apply(depth[known][:, None] * rays)))
            error = (after - pixels[known] - flow[known].double()).norm(dim=-1)
            flow_error.append(error[seen[known]])
    every, moved = torch.cat(relative), torch.cat(flow_error)
    found["depth_relative_999"] = float(every.kthvalue(max(1, int(0.999 * len(every)))).values)
    found["flow_px_99"] = float(moved.kthvalue(max(1, int(0.99 * len(moved)))).values)
    found["flow_px_max"] = float(moved.max())
    return found


def main() -> int:
    """Reads the arguments, verifies, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True, help="what depthscope simulate wrote")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    record: dict = {"patients": {}, "clips": {}, "limits": LIMITS}
    fine = any(given.clips.glob("patient_*/clip_*"))
    for folder in sorted(given.clips.glob("patient_*")):
        found = record["patients"][folder.name] = patient_figures(folder)
        fine &= found.get("dicom_as_nifti", True) and found["ct_surface_mm_95"] <= LIMITS["ct_surface_mm_95"]
        print(folder.name, found, flush=True)
        drawn = yaml.safe_load((folder / "patient.yaml").read_text("utf-8"))["subject"]["disturbances"]
        rigid = not (drawn["planar"] or drawn["breathing"]["breath_mm"] or drawn["breathing"]["pulse_mm"])
        caster = RayCaster(ply.read(folder / "anatomy.ply"))
        for clip in sorted(folder.glob("clip_*")):
            figures = record["clips"][f"{folder.name}/{clip.name}"] = clip_figures(clip, caster, rigid)
            fine &= figures["frames"] == figures["video_frames"]
            fine &= all(figures[name] <= LIMITS[name] for name in LIMITS if name in figures)
            print(f"{folder.name}/{clip.name}", figures, flush=True)
    record["all_within_limits"] = bool(fine)
    (given.out / "simulation_truth.json").write_text(json.dumps(record, indent=2) + "\n")
    print("all within limits" if fine else "a limit fails")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
