"""What there is to do: a patient's anatomy and CT, a few frames of a clip, the end of a clip.

Jobs depend on seeds only. Whichever process does them, the bytes are the same. A patient and a clip are written whole
or not at all.
"""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from depthscope.formats.ct import CT
from depthscope.geometry import Camera, RigidMotion, Surface
from depthscope.simulation.anatomy import Anatomy
from depthscope.simulation.patients.options import SimulationOptions
from depthscope.workspace import atomic_folder, flush_folder, owner, put_in_place, remove, temporary, write_result


@dataclass(frozen=True)
class SimulationJob:
    """Something to do for a patient.

    Attributes:
        out: The folder of all.
        options: What all have in common.
        patient: Seed of the patient.
        clips: Clips that are to be made.
        clip: Which of them this job is for, or -1.
        frames: First and last but one of the frames that it makes; (0, 0) is the end of the clip.
        process: Owner of the temporaries: the process that all jobs are done for.
    """

    out: Path
    options: SimulationOptions
    patient: int
    clips: tuple[int, ...]
    clip: int = -1
    frames: tuple[int, int] = (0, 0)
    process: str = field(default_factory=owner)

    @property
    def folder(self) -> Path:
        """Of the patient."""
        return self.out / f"patient_{self.patient:05d}"

    @property
    def scratch(self) -> Path:
        """What the other jobs need of the patient."""
        return self._temporary(self.out / "work") / f"patient_{self.patient:05d}.pt"

    @property
    def draft(self) -> Path:
        """The clip while it is made."""
        return self._temporary(self.target)

    @property
    def target(self) -> Path:
        """The clip."""
        return self.folder / f"clip_{self.clip:02d}"

    def _temporary(self, path: Path) -> Path:
        """The same for all jobs of a command, in whichever process they are done."""
        return temporary(path, self.process, 0)


def patient_job(out: Path, options: SimulationOptions, patient: int, clips: int) -> SimulationJob | None:
    """What is missing of a patient."""
    job = SimulationJob(out, options, patient, ())
    missing = [n for n in range(clips) if not (dataclasses.replace(job, clip=n).target / "result.json").is_file()]
    if not missing and (job.folder / "result.json").is_file():
        return None
    return dataclasses.replace(job, clips=tuple(missing))


def build_patient(job: SimulationJob) -> None:
    """Anatomy, CT and landmarks of a patient as files, and what the other jobs need of it."""
    from depthscope.simulation.anatomy import patient
    from depthscope.simulation.clip_files import scene_of
    from depthscope.simulation.ct import scanned
    from depthscope.simulation.path import camera_from_world

    options, drawn = job.options, job.options.subject(job.patient)
    anatomy = patient(job.patient, options.anatomy, drawn.swelling_mm)
    if not (job.folder / "result.json").is_file():
        before = patient(job.patient, options.anatomy) if drawn.swelling_mm else anatomy
        volume = scanned(before)
        with atomic_folder(job.folder) as draft:
            _write_patient(job, draft, before, anatomy, volume)

    scene = scene_of(anatomy, drawn.look)
    motions = [camera_from_world(anatomy, clip, options.frames + 1, drawn.trajectory) for clip in job.clips]
    kept = {
        "points": scene.surface.points,
        "normals": scene.surface.normals,
        "faces": scene.surface.faces,
        "tones": scene.tones,
        "rotations": {clip: m.rotation for clip, m in zip(job.clips, motions, strict=True)},
        "translations": {clip: m.translation for clip, m in zip(job.clips, motions, strict=True)},
    }
    job.scratch.parent.mkdir(exist_ok=True)
    torch.save(kept, job.scratch)


def _write_patient(job: SimulationJob, draft: Path, before: Anatomy, anatomy: Anatomy, volume: CT) -> None:
    """CT, surfaces, landmarks and what was drawn; `before` is the anatomy as the CT shows it."""
    from depthscope.formats import ply
    from depthscope.formats.ct import write_dicom_series, write_nifti

    options, drawn = job.options, job.options.subject(job.patient)
    write_nifti(volume, draft / "ct.nii.gz")
    if options.dicom:
        write_dicom_series(volume, draft / "ct_dicom")
    frame = ("frame LPS", "scale from the phantom, exact")
    ply.write(anatomy.surface, draft / "anatomy.ply", comments=frame)
    if drawn.swelling_mm:
        ply.write(before.surface, draft / "anatomy_ct.ply", comments=frame)
    landmarks = {name: place.tolist() for name, place in anatomy.landmarks.items()}
    in_ct = {name: place.tolist() for name, place in before.landmarks.items()}
    record = {"frame": "LPS", "unit": "mm", "landmarks": landmarks, "landmarks_ct": in_ct}
    (draft / "landmarks.json").write_text(json.dumps(record, indent=1) + "\n")
    identity = [[float(i == j) for j in range(4)] for i in range(4)]
    told = {
        "seed": job.patient,
        "split": options.split,
        "anatomy": options.anatomy,
        "preset": options.preset,
        "variety": options.variety,
        "faults": options.record["faults"],
        "ct_from_world": identity,
        "shape": _told(anatomy.shape),
        "subject": _told(drawn),
    }
    (draft / "patient.yaml").write_text(yaml.safe_dump(told, sort_keys=False, default_flow_style=None))
    write_result(draft, {"seed": job.patient, "split": options.split, "unit": "mm", "landmarks": len(landmarks)})


@lru_cache(maxsize=1)
def _scene(scratch: Path, options: SimulationOptions, patient: int):
    """A patient's scene and the motions of its clips; kept, since the next job is mostly for the same one."""
    from depthscope.simulation.render import Scene
    from depthscope.simulation.texture import Mucosa

    kept = torch.load(scratch, weights_only=True)
    surface = Surface(kept["points"], kept["normals"], None, kept["faces"], "mm")
    scene = Scene(surface, Mucosa(options.subject(patient).look, patient), kept["tones"])
    motions = {clip: RigidMotion(r, kept["translations"][clip]) for clip, r in kept["rotations"].items()}
    return scene, motions


@lru_cache(maxsize=1)
def _take(scratch: Path, options: SimulationOptions, patient: int, clip: int):
    """A clip to be made; kept like the scene."""
    from depthscope.simulation.clip_files import Take, view_of
    from depthscope.simulation.patch import flat_patch

    scene, motions = _scene(scratch, options, patient)
    drawn = options.subject(patient)
    disturbances, scope = drawn.disturbances.of_clip(patient, clip), drawn.scope
    if disturbances.planar:
        view = view_of(scope.camera, scope.disc)
        scene = flat_patch(scene, view, motions[clip][0], disturbances.planar, patient)
    return Take(scene, scope, motions[clip], patient, clip, disturbances, drawn.trajectory.frames_per_second)


def make_frames(job: SimulationJob) -> None:
    """Some frames of a clip."""
    from depthscope.simulation.clip_files import write_frames

    write_frames(_take(job.scratch, job.options, job.patient, job.clip), range(*job.frames), job.draft)


def told_camera(camera: Camera, too_long: float) -> Camera:
    """The camera that a clip's file tells: the true one, or one with a focal length that is too long by this share."""
    x, y = camera.focal_px
    return dataclasses.replace(camera, focal_px=((1 + too_long) * x, (1 + too_long) * y)) if too_long else camera


def end_clip(job: SimulationJob) -> None:
    """What a clip needs besides its frames: videos, camera, sparse points, figures; then it is there."""
    from depthscope.formats import camera_file, colmap
    from depthscope.simulation.clip_files import tracked, write_videos

    take = _take(job.scratch, job.options, job.patient, job.clip)
    drawn = job.options.subject(job.patient)
    write_videos(take, job.draft, drawn.trajectory.frames_per_second, job.options.board_frames)
    camera_file.write(told_camera(take.scope.camera, drawn.told_focal), job.draft / "camera.yaml")
    sequence = tracked(take, job.draft, drawn.tracks, f"patient_{job.patient:05d}/clip_{job.clip:02d}")
    colmap.write(sequence, job.draft)
    observations = len(sequence.observations)
    figures = {
        "patient": job.patient,
        "clip": job.clip,
        "split": job.options.split,
        "preset": job.options.preset,
        "frames": len(sequence),
        "points": len(sequence.points),
        "points_per_frame": observations / len(sequence),
        "mean_track_length": observations / max(len(sequence.points), 1),
        "median_depth_mm": sequence.median_depth,
        "path_mm": float((take.motions.origin[1:-1] - take.motions.origin[:-2]).norm(dim=-1).sum()),
        "faults": job.options.record["faults"],
        "focal_told_too_long_by": drawn.told_focal,
        "unit": "mm",
    }
    write_result(job.draft, figures)
    flush_folder(job.draft)
    put_in_place(job.draft, job.target)
    remove(job.draft)


def _told(value: Any) -> Any:
    """Drawn parameters in terms of YAML."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _told(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): _told(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_told(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
