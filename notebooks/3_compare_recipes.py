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
# # Compare recipes
#
# A recipe is everything that decides a training run beside the data. `compare` trains several of them on the same clips,
# with the same steps, image size, held-out points and seeds, and puts the errors in one table. Here on one tiny clip and
# with very few steps: enough to see how it is done, and far too little to conclude anything.

# %%
import json
from pathlib import Path
from tempfile import mkdtemp

from depthscope.cli import main
from depthscope.recipes import RECIPES

print(*RECIPES, sep=", ")

# %%
work = Path(mkdtemp())
main(f"simulate --out {work}/patients --frames 8 --board-frames 4 --size 160x128 --seed 3 --workers 1 --quiet".split())
clip = next((work / "patients").glob("patient_*/clip_00"))
options = "--steps 8 --seeds 1 --area-px 8000 --batch 2 --quiet"
main(f"compare {clip} --recipes adapt,fast {options} --out {work}/comparison".split())

# %%
from IPython.display import Markdown

Markdown((work / "comparison" / "compare.md").read_text(encoding="utf-8"))

# %% [markdown]
# *Flat wall* is constant depth: what a network that learned nothing scores. `result.json` has every row.

# %%
result = json.loads((work / "comparison" / "result.json").read_text())
for row in result["rows"]:
    print(
        f"{row['recipe']:10} seed {row['seed']}: AbsRel {row['abs_rel']:.3f} per frame, {row['sequence_abs_rel']:.3f} per clip"
    )
