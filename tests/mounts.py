"""A folder as Kubernetes mounts a Secret: files are links through `..data`, which is pointed elsewhere for new ones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


class Mount:
    """Files under `folder` that are replaced all at once."""

    def __init__(self, folder: Path, files: Mapping[str, str | bytes]) -> None:
        self.folder = folder
        self._generation = 0
        folder.mkdir(parents=True)
        self.replace(files)

    def path(self, name: str) -> Path:
        return self.folder / name

    def replace(self, files: Mapping[str, str | bytes]) -> None:
        """Put a new content in the place of the old; a name that is not in it is gone."""
        self._generation += 1
        made = self.folder / f"..{self._generation:04}"
        made.mkdir()
        for name, content in files.items():
            (made / name).write_bytes(content.encode() if isinstance(content, str) else content)
            link = self.folder / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")
        self._point_at(made.name)

    def put_back(self) -> None:
        """Show the very files again that were there before the last replacement."""
        self._point_at(f"..{self._generation - 1:04}")

    def _point_at(self, name: str) -> None:
        temporary = self.folder / "..data_tmp"
        temporary.symlink_to(name)
        os.replace(temporary, self.folder / "..data")
