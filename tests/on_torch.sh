#!/usr/bin/env bash
# The fast tests on another release of torch, and with another Python: bash tests/on_torch.sh 2.11.0 [PYTHON] [words of pytest]
# Makes the environment .venv-torch-VERSION-pyPYTHON from the project's constraints, with torch alone replaced. PyPI's torch for
# Linux is the CUDA build, of about 5 GB; it needs no GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$1 python=${2:-python3}
env=.venv-torch-$version-py$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if [ ! "$env/installed" -nt constraints.txt ] || [ ! "$env/installed" -nt pyproject.toml ]; then
  "$python" -m venv "$env"
  { grep -v '^torch==' constraints.txt; echo "torch==$version"; } >"$env/constraints.txt"
  "$env/bin/pip" install --quiet --constraint "$env/constraints.txt" --editable ".[dev]"
  touch "$env/installed"
fi
"$env/bin/python" -c 'import sys, torch; print("Python", sys.version.split()[0], "torch", torch.__version__)'
exec "$env/bin/pytest" -q -n 2 -m "not slow and not slurm and not gpu" "${@:3}"
