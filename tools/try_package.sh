#!/usr/bin/env bash
# Builds sdist and wheel, looks into the sdist, and installs both, each in a fresh environment without our constraints.
#
#   tools/try_package.sh            in dist/
#   TORCH=torch==2.13.0+cpu PYTHONS="python3.11 python3.12" tools/try_package.sh
#
# PYTHONS: interpreters to try (default: python3). TORCH: what to install first (default: torch).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

rm -rf dist
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/build"
"$work/build/bin/pip" install --quiet --disable-pip-version-check build twine
"$work/build/bin/python" -m build       # the wheel is made from the sdist, as by whoever packs it again
"$work/build/bin/twine" check --strict dist/*

large=$(tar -tvzf dist/*.tar.gz | awk '$3 > 1000000 && tolower($6) ~ /\.(png|jpe?g|gif|svg|mp4|tiff?)$/ {print $6, $3}')
[ -z "$large" ] || { echo "pictures over 1 MB in the sdist: $large"; exit 1; }

for python in ${PYTHONS:-python3}; do
    for file in dist/*.whl dist/*.tar.gz; do
        echo "$python, $(basename "$file"), $(stat -c %s "$file") bytes"
        tools/try_wheel.sh "$python" "$file"
    done
done
