"""What browsers run is checked like the rest: every script's types, and those of Stripe's script where one meets it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.web.browser import REQUIRED

pytestmark = pytest.mark.web

ROOT: Final = Path(__file__).parents[2]
PROJECT: Final = ROOT / "tests/web/tsconfig.json"
TSC: Final = ROOT / ".batzen/web-node/node_modules/.bin/tsc"


def checked(project: Path) -> str:
    """Return what the compiler says of a project; nothing where all is well."""
    if not TSC.exists() or shutil.which("node") is None:
        (pytest.fail if REQUIRED else pytest.skip)("no TypeScript: make test-web installs it")
    said = subprocess.run([TSC, "-p", project], capture_output=True, text=True, check=False)
    return said.stdout + said.stderr


def test_every_script_has_types_and_the_stand_in_has_stripes_own() -> None:
    assert checked(PROJECT) == ""


@pytest.mark.parametrize(
    ("script", "line", "mutant", "found"),
    [
        ("services/bff/static/card.js", "await elements.submit()", "await elements.send()", "'send'"),
        ("services/bff/static/checkout.js", "stream?.close();", "stream.close();", "'stream' is possibly"),
        ("services/console/static/live.js", "import { say }", "import { tell }", "'tell'"),
        ("sandbox/browser/stripe.js", "async retrievePaymentIntent(", "async retrieved(", "retrievePaymentIntent"),
    ],
)
def test_a_script_that_is_wrong_is_found(tmp_path: Path, script: str, line: str, mutant: str, found: str) -> None:
    (tmp_path / script).parent.mkdir(parents=True)
    text = (ROOT / script).read_text(encoding="utf-8")
    assert line in text
    (tmp_path / script).write_text(text.replace(line, mutant), encoding="utf-8")
    here = PROJECT.read_text(encoding="utf-8").replace("../../", f"{ROOT}/")
    include = f'"include": ["{tmp_path / script}"], "was": ['
    (tmp_path / "tsconfig.json").write_text(here.replace('"include": [', include), encoding="utf-8")

    assert found in checked(tmp_path)
