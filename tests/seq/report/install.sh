#!/bin/bash
# Chromium for the tests of the report. Without it they are skipped, and say so.
command -v chromium >/dev/null && exit 0
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "no Chromium, and no root on Debian to install it"; exit 0; }
apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null || echo "Chromium cannot be installed here"
