#!/bin/bash
# SkyPilot in an environment of its own, for tests/test_clusters.py. Without it, that test is skipped, and says so.
cd "$(dirname "$0")/.."
[ -x .venv-skypilot/bin/python ] || python3 -m venv .venv-skypilot
.venv-skypilot/bin/pip install --quiet "skypilot[kubernetes]==0.14.1" || { rm -rf .venv-skypilot; echo "SkyPilot cannot be installed here"; }
