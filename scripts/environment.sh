#!/bin/sh
# Makes .venv from a lock file and installs elanus into it, editable. Needs a Python from 3.11 on, nothing else.
#
# usage: scripts/environment.sh serve|dev
#
# PYTHON names the interpreter to use; without it the first fitting one of python3, python3.13 ... python3.11.
# The stamp .venv/.serve or .venv/.dev is written last; the Makefile comes here only when it is older than the
# lock file, so an environment that is complete is never looked at again.
set -eu
cd "$(dirname "$0")/.."

fits() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if fits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    there=$(${PYTHON:-python3} --version 2>&1 || true)
    echo "elanus needs Python 3.11 or newer; ${PYTHON:-python3} is: ${there:-not there}." >&2
    echo "Install a newer Python, or name one: make serve PYTHON=/path/to/python3.12" >&2
    exit 1
}

kind=${1:-}
case $kind in
    serve) lock=requirements.lock ;;
    dev) lock=requirements-dev.lock ;;
    *)
        echo "usage: scripts/environment.sh serve|dev" >&2
        exit 2
        ;;
esac

if ! { [ -x .venv/bin/python ] && fits .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1; }; then
    python=$(find_python)
    echo "making .venv with $("$python" --version)"
    rm -rf .venv
    if ! "$python" -m venv .venv; then
        echo "'$python -m venv' failed; on Debian and Ubuntu the package python3-venv is missing." >&2
        exit 1
    fi
fi

rm -f .venv/.serve .venv/.dev
echo "installing what $lock pins; with a slow connection or disk that takes some minutes"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
# hatchling is among the pinned packages: building needs no network.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
touch .venv/.serve
[ "$kind" = serve ] || touch .venv/.dev
