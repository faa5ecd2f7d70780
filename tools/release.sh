#!/usr/bin/env bash
# A release: builds sdist and wheel, tries both in fresh environments, and tags.
#
#   tools/release.sh 0.2.0             builds and checks
#   tools/release.sh 0.2.0 --tag       also tags the commit; uploading is left to you: twine upload dist/*
#
# PYTHONS: interpreters to try (default: python3). TORCH: what to install first (default: torch).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=${1:?usage: tools/release.sh VERSION [--tag]}
test -z "$(git status --porcelain)" || { echo "the working tree has changes"; exit 1; }
for place in pyproject.toml CITATION.cff src/depthscope/__init__.py conda/meta.yaml; do
    grep -q "version.*[\"' ]$version\b" "$place" || { echo "$place does not name version $version"; exit 1; }
done
grep -q "^## \[$version\]" CHANGELOG.md || { echo "CHANGELOG.md has no section [$version]"; exit 1; }

tools/try_package.sh
ls -l dist
if [ "${2:-}" = --tag ]; then
    git tag -a "v$version" -m "depthscope $version"
    echo "tagged v$version; now: git push --tags && twine upload dist/*"
fi
