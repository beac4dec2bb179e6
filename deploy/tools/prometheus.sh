#!/bin/sh
# prometheus.sh [FOLDER]: puts prometheus, promtool and amtool into FOLDER/usr/bin, from the packages of a Debian or Ubuntu machine.
# Needs neither root nor a daemon, and installs nothing: the packages are unpacked. FOLDER is .batzen/tools unless it is given.
set -eu
folder=$(mkdir -p "${1:-.batzen/tools}" && cd "${1:-.batzen/tools}" && pwd)
command -v apt-get > /dev/null || { echo "No apt-get here: take prometheus and alertmanager from their releases." >&2; exit 1; }
mkdir -p "$folder/packages"
cd "$folder/packages"
apt-get download --quiet prometheus prometheus-alertmanager
for package in ./*.deb; do dpkg -x "$package" "$folder"; done
rm -r "$folder/packages"
for program in prometheus promtool amtool; do "$folder/usr/bin/$program" --version 2>&1 | head -1; done
