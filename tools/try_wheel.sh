#!/usr/bin/env bash
# Installs a wheel (or an sdist) in a fresh environment, as a user does, and computes the depth of one image.
#
#   tools/try_wheel.sh python3.12 dist/depthscope-0.1.0-py3-none-any.whl
#
# TORCH: what is installed first, to choose a build (default: torch). KEEP: a folder for the environment, which then stays.
set -euo pipefail
python=${1:?usage: tools/try_wheel.sh PYTHON FILE}
file=$(realpath "${2:?usage: tools/try_wheel.sh PYTHON FILE}")
work=${KEEP:-$(mktemp -d)}
[ -n "${KEEP:-}" ] || trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/venv"
bin=$work/venv/bin
start=$SECONDS
"$bin/pip" install --quiet --disable-pip-version-check "${TORCH:-torch}" "$file"
echo "installed in $((SECONDS - start)) s, $(du -sm "$work/venv" | cut -f1) MB on disk"
"$bin/pip" check
cd "$work"                               # away from the source
"$bin/depthscope" --version
"$bin/python" - <<'PYTHON'
import importlib.resources

import numpy as np

import depthscope as ds

rows, columns = np.mgrid[:240, :320]
image = np.stack([np.hypot(rows - 120, columns - 160) % 97 + 90] * 3, -1).astype(np.uint8)
found = ds.depth(image)
assert found.depth.shape == found.image.shape[:2] and (found.depth > 0).any(), found.depth
found.show().save("frame.png")
assert importlib.resources.files("depthscope").joinpath("py.typed").is_file()
PYTHON
"$bin/depthscope" depth frame.png --no-video --out depth --json
"$bin/depthscope" run --help > /dev/null
"$bin/depthscope" completion bash > /dev/null
echo "$("$bin/python" --version): $(basename "$file") works"
