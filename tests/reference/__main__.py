"""Makes the site: `python -m tests.reference FOLDER`; `make docs` makes it in `.batzen/docs`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.reference.build import write


def main(arguments: list[str]) -> None:
    """Make the site in the folder that is named."""
    if len(arguments) != 1:
        raise SystemExit(__doc__)
    target = Path(arguments[0])
    pages = write(target)
    sys.stdout.write(f"{pages} pages. Open {target / 'index.html'}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
