#!/usr/bin/env bash
# pythons.sh UV STATE: runs the quick tests on each Python newer than 3.11 that this machine has, on PATH or of pyenv.
set -euo pipefail
uv=$1 state=$2 found=0
quick=(tests/runtime/test_logs.py tests/runtime/test_settings.py tests/runtime/test_shutdown.py tests/runtime/test_server.py
  tests/gateway/test_domain.py tests/gateway/test_signature.py tests/gateway/test_webhook_port.py tests/gateway/test_stripe_http.py
  tests/orchestrator/test_rules.py tests/status/test_rules.py tests/pricing/test_worked_examples.py)
for version in 3.12 3.13 3.14; do
  for python in "$(command -v "python$version" || true)" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
    # What pyenv puts on PATH is there and does not run.
    [ -x "$python" ] && "$python" -c "import sys; sys.exit(sys.version_info[:2] != (${version/./, }))" 2>/dev/null || continue
    found=1
    echo "The quick tests on Python $version"
    [ -x "$state/py$version/bin/python" ] || "$uv" venv --quiet --python "$python" "$state/py$version"
    "$uv" pip install --quiet --python "$state/py$version/bin/python" --require-hashes -r requirements/dev.txt
    "$state/py$version/bin/python" -m pytest -q "${quick[@]}"
    break
  done
done
[ $found = 1 ] || echo "No further Python is here: the quick tests ran on one."
