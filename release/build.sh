#!/usr/bin/env bash
# Build and check all that a release has, and publish nothing: make release.
#
# dist/ then holds the source distribution and the wheel, an SBOM (CycloneDX) of the environment that
# the wheel was tested in, and SHA256SUMS. Publishing is somebody's decision: README has no address.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/.release/tools/bin
version=$("$tools/python" -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')

if [ -n "$(git status --porcelain --untracked-files=no)" ]; then
    echo "release: the working tree has changes; commit them first" >&2
    exit 1
fi
rm -rf dist build
# From what is committed, and not from files that lie around.
mkdir -p .release/source
rm -rf .release/source && mkdir .release/source
git archive HEAD | tar -x -C .release/source
"$tools/python" -m build --outdir dist .release/source
"$tools/twine" check --strict dist/*
"$tools/python" release/check_contents.py dist
"$tools/python" release/wheel_test.py "dist/phenomae-$version-py3-none-any.whl" .release/wheel
"$tools/cyclonedx-py" environment .release/wheel/environment/bin/python --pyproject pyproject.toml \
    --output-reproducible --output-format JSON --output-file "dist/phenomae-$version.cdx.json" --validate
(cd dist && sha256sum -- * > SHA256SUMS && cat SHA256SUMS)
echo "release: phenomae $version is in dist/; nothing was published"
