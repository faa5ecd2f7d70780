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
# # Read a data set and evaluate
#
# `depthscope` recognises COLMAP, JHU, nerfstudio, C3VD, SimCol3D, SCARED, SERV-CT, Hamlyn, EndoSLAM and KITTI by their
# files. Here we write a small sequence as COLMAP text, read it back, and evaluate depth maps against its true depth.

# %%
import json
from pathlib import Path
from tempfile import mkdtemp

from depthscope.cli import main
from depthscope.formats import read_sequence, recognised

work = Path(mkdtemp())
main(f"simulate --out {work}/patients --frames 6 --board-frames 4 --size 160x128 --seed 3 --workers 1 --quiet".split())
clip = next((work / "patients").glob("patient_*/clip_00"))
main(f"convert {clip} --to colmap-text --out {work}/model".split())

# %%
print(recognised(work / "model"))
sequence = read_sequence(work / "model")
print(len(sequence), "frames;", sequence.cameras[0])
print("camera centre of the first frame:", sequence.camera_from_world[0].inverse().translation)

# %% [markdown]
# ## Depth of every frame, by the weights that ship

# %%
main(f"depth {clip} --out {work}/depth --no-video".split())

# %% [markdown]
# ## Errors against the true depth
#
# Two alignments are always given. One factor for each frame tests the shape alone; one factor for the clip also tests that
# the scale stays the same over time.

# %%
main(f"evaluate {work}/depth {clip}/depth --out {work}/evaluation --quiet".split())
found = json.loads((work / "evaluation" / "result.json").read_text())
print("protocol:", found["protocol"])
for alignment, errors in found["alignment"].items():
    print(f"{alignment:18} AbsRel {errors['abs_rel']:.3f}   delta1 {errors['delta1']:.3f}")
print(f"scale drift {found['scale_drift']:.3f}")
