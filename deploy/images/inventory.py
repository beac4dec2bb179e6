"""Runs inside of an image, by its own Python, and prints what is installed there: Debian's packages and Python's.

Nothing of ours or of others is imported: the image that is asked may have neither.
"""

import json
import shutil
import subprocess
from importlib.metadata import distributions
from typing import Any

FORMAT = "${Package}\t${Version}\t${Architecture}\t${source:Package}\n"


def debian() -> list[list[str]]:
    query = shutil.which("dpkg-query")
    if query is None:
        return []  # a base of another kind; the list of parts says nothing of it then
    listed = subprocess.run([query, "--show", f"--showformat={FORMAT}"], check=True, capture_output=True, text=True)
    return sorted(line.split("\t") for line in listed.stdout.splitlines())


def python() -> list[list[str]]:
    found = set()
    for part in distributions():
        said: Any = part.metadata  # its type lacks `get`
        license_ = said.get("License-Expression") or ""
        if not license_:
            names = [name for name in said.get_all("Classifier") or [] if name.startswith("License :: ")]
            license_ = names[-1].rpartition(" :: ")[2] if names else ""
        found.add((said["Name"], part.version, license_))
    return [list(entry) for entry in sorted(found)]


print(json.dumps({"debian": debian(), "python": python()}))
