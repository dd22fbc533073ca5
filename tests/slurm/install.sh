#!/usr/bin/env bash
# SLURM and munge from Debian, for the tests, where we are root and they are missing. No daemon is started.
set -euo pipefail
command -v slurmctld munged >/dev/null && exit 0
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "slurm-test: not root on Debian; its tests will skip"; exit 0; }
export RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive  # RUNLEVEL=1 keeps the packages' scripts from starting their services
packages="munge slurmctld slurmd slurm-client iproute2 util-linux"
install="apt-get install -y -qq --no-install-recommends $packages"
$install >/dev/null 2>&1 || { apt-get update -qq && $install >/dev/null; }
