#!/usr/bin/env bash
# Make .venv and install this project with what it takes to develop it: `make` calls this when pyproject.toml is newer.
#
#   PYTHON=python3.12 .ci/install.sh      with that Python instead of the first good one
#
# Needs no root. Where the screen libraries of a desktop (libGL, libglib) are missing, OpenCV without windows is put in the
# place of the one with windows: docs/decisions/0002-opencv-without-gui.md.
set -euo pipefail
cd "$(dirname "$0")/.."

usable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

choose_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if usable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    local found
    found=$("${PYTHON:-python3}" --version 2>/dev/null) || found="not there"
    echo "Python 3.11 or newer is needed, ${PYTHON:-python3} is $found; install one or name it: make PYTHON=python3.12" >&2
    return 1
}

pip() { .venv/bin/python -m pip --disable-pip-version-check "$@"; }

install_project() {
    echo "Installing into .venv: some 3 GB on the first time, most of it torch."
    # What is downloaded shows, what is there already does not; errors come by another channel and always show.
    pip install -e '.[dev]' | { grep --line-buffered -E '^ *(Downloading|Successfully)' || true; } | cut -c 1-120
}

# Prints the error of an import; nothing where it succeeds.
failure_of_import() { .venv/bin/python -c "import $1" 2>&1 >/dev/null | tail -n 1; }

mend_opencv() {
    local error version
    error=$(failure_of_import cv2 || true)
    [ -n "$error" ] || return 0
    if [[ $error != *"cannot open shared object file"* ]]; then
        echo "OpenCV does not import: $error" >&2
        return 1
    fi
    version=$(.venv/bin/python -c 'from importlib.metadata import version as v; print(v("opencv-python"))')
    echo "OpenCV cannot open its windows here (${error#ImportError: }): taking opencv-python-headless $version instead."
    pip uninstall -q -y opencv-python
    # Both wheels own the folder cv2, so the second must be written out even where pip believes that it is there.
    pip install -q --no-deps --force-reinstall "opencv-python-headless==$version"
    error=$(failure_of_import cv2 || true)
    if [ -n "$error" ]; then
        echo "OpenCV without windows does not import either: $error; please report this with the name of the system" >&2
        return 1
    fi
}

python=$(choose_python)
if [ -e .venv/bin/python ] && ! usable .venv/bin/python; then
    echo "The Python in .venv is broken or older than 3.11; remove the folder .venv and try again" >&2
    exit 1
fi
.venv/bin/python -m pip --version >/dev/null 2>&1 || "$python" -m venv .venv  # one that works is kept
install_project
mend_opencv
touch .venv/installed
