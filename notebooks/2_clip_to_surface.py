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
# # From a clip to a surface
#
# What `depthscope run` does, stage by stage. For your own video, set `video` and `camera` and delete the simulation. To
# stay quick, this notebook takes the simulator's exact motion in place of structure from motion and trains for a few
# steps only.

# %%
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import depthscope as ds
from depthscope.cli import main
from depthscope.formats import ply, read_sequence
from depthscope.prediction import Recording, load_model, predict
from depthscope.recipes import ADAPT, with_steps
from depthscope.runs import train_recipe

work = Path(mkdtemp())
main(f"simulate --out {work}/patients --frames 12 --board-frames 4 --size 160x128 --seed 3 --workers 1 --quiet".split())
clip = next((work / "patients").glob("patient_*/clip_00"))

# With a video of your own:  main(["reconstruct", "video.mp4", "--camera", "camera.yaml", "--out", str(clip)])

# %% [markdown]
# ## The sequence
#
# Frames, one camera, a motion for each frame, and sparse points with who saw them.

# %%
sequence = read_sequence(clip)
print(len(sequence), "frames,", len(sequence.points), "points,", len(sequence.observations), "observations")
print(sequence.cameras[0])

# %% [markdown]
# ## Training
#
# `ADAPT` starts from the weights that ship. 20 steps show that it works; `run` takes a few hundred.

# %%
recipe = with_steps(ADAPT, 20)
recipe = replace(recipe, supervision=replace(recipe.supervision, area_px=10_000))
result = train_recipe(recipe, [sequence], work / "run", quiet=True)
print(f"{result.steps} steps, AbsRel at held-out points {result.validation['abs_rel']:.3f}")

# %% [markdown]
# ## Depth of every frame, in the unit of the sequence

# %%
model = load_model(work / "run")
maps = list(predict(model, Recording.of_sequence(sequence), scaled=True))
print(maps[0].name, tuple(maps[0].depth.shape), maps[0].unit)
ds.FrameDepth.of(maps[len(maps) // 2]).show()

# %% [markdown]
# ## One surface

# %%
main(f"predict {work}/run {clip} --sequence {clip} --out {work}/depth --clouds 0 --quiet".split())
main(f"fuse {work}/depth {clip} --out {work}/surface --quiet".split())
surface = ply.read(work / "surface" / "surface.ply")
print(len(surface.points), "vertices,", len(surface.faces), "faces")

# %%
from PIL import Image

Image.open(work / "surface" / "surface.jpg")
