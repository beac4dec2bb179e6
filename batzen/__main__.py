"""`python -m batzen`, and `batzen` where it is installed: the command line, if what it needs is there."""

from __future__ import annotations

import sys
from importlib.util import find_spec


def main() -> None:
    """Run the command line."""
    if any(find_spec(name) is None for name in ("typer", "rich")):
        sys.exit("The command line is an extra: pip install 'batzen[cli]'")
    from batzen.cli.app import main as run  # noqa: PLC0415 what it imports may not be there

    run()


if __name__ == "__main__":
    main()
