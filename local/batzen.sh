#!/bin/sh
# `batzen` of this checkout, from whatever folder: make copies it to .batzen/venv/bin, which may be put on the PATH.
self=$0
[ -L "$self" ] && self=$(readlink -f -- "$self")
bin=$(cd -- "$(dirname -- "$self")" && pwd) || exit 1
exec "$bin/python" -c '
import sys
sys.path[0] = sys.argv.pop(1)
sys.argv[0] = "batzen"
from batzen.__main__ import main
main()' "${bin%/.batzen/venv/bin}" "$@"
