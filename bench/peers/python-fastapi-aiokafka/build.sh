#!/usr/bin/env bash
# Makes .venv with the newest Python found. requirements.lock, once written, fixes the versions.
set -euo pipefail
cd "$(dirname "$0")"
python=$(find "${PYENV_ROOT:-$HOME/.pyenv}"/versions -path "*/3.1[3-9]*/bin/python3" 2>/dev/null | sort -V | tail -1 || true)
[ -x .venv/bin/python ] || "${python:-python3}" -m venv .venv
wanted=requirements.txt; [ -f requirements.lock ] && wanted=requirements.lock
nice -n 10 .venv/bin/pip install -q --disable-pip-version-check --only-binary :all: -r "$wanted"
[ -f requirements.lock ] || .venv/bin/pip freeze >requirements.lock
