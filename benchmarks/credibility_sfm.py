"""One COLMAP run with the settings that work on tissue, in a process of its own.

    python benchmarks/credibility_sfm.py JOB.json

The job names a folder of pictures, a mask, a camera and a scratch folder; the answer is printed as one line of JSON.
Settings: green channel, CLAHE (clip 3, 8 x 8), SIFT peak 0.002, at most 6000 features, sequential matching over 15
frames, fixed intrinsics, first pair from 4 degrees on.
"""

import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pycolmap


def main() -> None:
    """Runs one job."""
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    scratch = Path(job["scratch"])
    shutil.rmtree(scratch, ignore_errors=True)
    for name in ("images", "masks", "models"):
        (scratch / name).mkdir(parents=True)
    width, height = job["size"]
    mask = cv2.resize(cv2.imread(job["mask"], cv2.IMREAD_GRAYSCALE), (width, height), interpolation=cv2.INTER_NEAREST)
    mask = cv2.erode((mask > 127).astype(np.uint8) * 255, np.ones((9, 9), np.uint8), borderValue=0)
    even = cv2.createCLAHE(3.0, (8, 8))
    for path in job["pictures"]:
        green = cv2.imread(path)[..., 1]
        if green.shape != (height, width):
            green = cv2.resize(green, (width, height), interpolation=cv2.INTER_AREA)
        name = f"{Path(path).stem}.png"
        cv2.imwrite(str(scratch / "images" / name), even.apply(green))
        cv2.imwrite(str(scratch / "masks" / f"{name}.png"), mask)
    print(json.dumps(reconstructed(job, scratch)))


def reconstructed(job: dict, scratch: Path) -> dict:
    """Extracts, matches, maps, and counts."""
    database, threads = scratch / "database.db", job["threads"]
    pycolmap.set_random_seed(0)
    pycolmap.logging.minloglevel = 2
    extraction = pycolmap.FeatureExtractionOptions()
    extraction.num_threads = threads
    extraction.sift.peak_threshold = 0.002
    extraction.sift.max_num_features = 6000
    reader = pycolmap.ImageReaderOptions()
    reader.mask_path = str(scratch / "masks")
    reader.camera_model = job["model"]
    reader.camera_params = ",".join(map(str, job["params"]))
    pycolmap.extract_features(
        database, scratch / "images", camera_mode=pycolmap.CameraMode.SINGLE, reader_options=reader,
        extraction_options=extraction,
    )  # fmt: skip
    matching = pycolmap.FeatureMatchingOptions()
    matching.num_threads = threads
    pairing = pycolmap.SequentialPairingOptions()
    pairing.overlap, pairing.quadratic_overlap = 15, False
    pycolmap.match_sequential(database, matching_options=matching, pairing_options=pairing)
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = threads
    options.ba_refine_focal_length = options.ba_refine_principal_point = options.ba_refine_extra_params = False
    options.mapper.init_min_tri_angle = 4.0
    options.multiple_models = False
    models = pycolmap.incremental_mapping(database, scratch / "images", scratch / "models", options)
    frames = len(job["pictures"])
    if not models:
        return {"frames": frames, "registered": 0}
    model = max(models.values(), key=lambda m: m.num_reg_images())
    observations, placed = model.compute_num_observations(), model.num_reg_images()
    return {
        "frames": frames,
        "registered": placed,
        "points": model.num_points3D(),
        "observations_per_frame": observations / max(placed, 1),
        "track_length": model.compute_mean_track_length(),
        "angle_deg": float(np.median(angles(model))),
        "reprojection_px": model.compute_mean_reprojection_error(),
    }


def angles(model: pycolmap.Reconstruction) -> list[float]:
    """The widest angle that each point is seen under, in degrees."""
    centres = {i: model.images[i].projection_center() for i in model.reg_image_ids()}
    found = []
    for point in model.points3D.values():
        ways = np.array([centres[e.image_id] - point.xyz for e in point.track.elements])
        ways /= np.linalg.norm(ways, axis=1, keepdims=True)
        found.append(float(np.degrees(np.arccos(np.clip((ways @ ways.T).min(), -1, 1)))))
    return found or [0.0]


if __name__ == "__main__":
    main()
