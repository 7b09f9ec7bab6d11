#!/bin/sh
# Installs Chromium for the tests in a browser, from Debian's packages, if there is none. Where that can't be done it
# says so, and the tests that need it fail and say so again: they are never left out in silence.
for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
explain() {
  echo "No Chromium: $1. The tests in tests/browser will fail until one is installed (Debian: apt-get install chromium)." >&2
  exit 0
}
command -v apt-get >/dev/null 2>&1 || explain "there is no apt-get here to install it with"
sudo=""
if [ "$(id -u)" != 0 ]; then
  sudo -n true 2>/dev/null || explain "installing it needs root"
  sudo="sudo -n"
fi
# apt steps down to a user who must be able to write there.
TMPDIR=/var/tmp
export TMPDIR
echo "Installing Chromium for the tests in a browser ..."
$sudo apt-get update -qq || explain "the lists of packages can't be had"
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends chromium >/dev/null ||
  explain "apt-get could not install it"
