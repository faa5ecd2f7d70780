# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # First depth
#
# Depth of a single endoscopic image by the weights that ship: no training, no camera, no motion. Here the image is of a
# simulated patient, so that the true depth is known; with your own image, begin at "Depth".

# %%
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

import depthscope as ds
from depthscope.cli import main

work = Path(mkdtemp())
patients = work / "patients"
main(
    [
        "simulate",
        "--out",
        str(patients),
        "--frames",
        "3",
        "--board-frames",
        "4",
        "--seed",
        "3",
        "--split",
        "test",
        "--workers",
        "1",
        "--quiet",
    ]
)
clip = next(patients.glob("patient_*/clip_00"))
image = sorted((clip / "images").iterdir())[1]

# %% [markdown]
# ## Depth
#
# `ds.depth` takes a path, a PIL image or an array. Near is bright; black is outside the content area.

# %%
found = ds.depth(image)
found.show()

# %% [markdown]
# Depth is *relative*: right up to one factor. `std` is what the network thinks of its own error.

# %%
inside = found.depth > 0
print(found.unit, found.depth.shape, found.depth.dtype)
print(f"depth from {found.depth[inside].min():.2f} to {found.depth[inside].max():.2f}")
print(f"typical standard deviation {np.median(found.std[inside] / found.depth[inside]):.1%}")

# %% [markdown]
# ## With a camera
#
# A known lens tells the network the ray of every pixel, and makes a cloud of points possible.

# %%
known = ds.depth(image, camera=clip / "camera.yaml")
cloud = known.cloud(stride=4)
print(len(cloud.points), "points; the first:", [round(value, 3) for value in cloud.points[0].tolist()])

# %% [markdown]
# ## How good is it?
#
# The simulator knows the depth of every pixel. After one factor for the frame, the mean relative error is:

# %%
import cv2

truth = cv2.imread(str(clip / "depth" / f"{image.stem}.tiff"), cv2.IMREAD_UNCHANGED)
truth = cv2.resize(truth, known.depth.shape[::-1], interpolation=cv2.INTER_NEAREST)
for name, one in (("without a camera", found), ("with a camera", known)):
    both = (one.depth > 0) & (truth > 0)
    scaled = one.depth * np.median(truth[both] / one.depth[both])
    print(f"{name}: {np.mean(np.abs(scaled - truth)[both] / truth[both]):.1%}")
flat = np.median(truth[both])
print(f"a flat wall: {np.mean(np.abs(flat - truth)[both] / truth[both]):.1%}")

# %% [markdown]
# One frame of one simulated patient proves nothing about yours. *Beware* in the manual says what not to conclude.
