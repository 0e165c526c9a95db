#!/bin/sh
# Pins the dependencies of pyproject.toml, with hashes, for every Python and platform the project supports.
# Needs uv. The files name no package index: pip asks the one that the machine is configured for.
#
# usage: scripts/lock.sh [--upgrade]
set -eu
cd "$(dirname "$0")/.."

pin() {
    output=$1
    shift
    uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-header --no-annotate --output-file "$output" "$@"
}

pin requirements.lock --group build "$@"
# What the server runs on is the same version in both files.
pin requirements-dev.lock --group dev --constraint requirements.lock "$@"
