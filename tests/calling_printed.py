"""What docs/calling.md shows of the TypeScript package, as it is compiled and run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / "clients" / "typescript"
FILES: Final = ("examples/pay.ts", "src/calls.ts", "src/errors.ts", "src/watch.ts")


def _block(path: str) -> str:
    return f"```typescript\n{(FOLDER / path).read_text()}```\n"


PRINTED: Final = {f"typescript {Path(path).name}": partial(_block, path) for path in FILES}
"""Name of a printed part → what prints it."""
