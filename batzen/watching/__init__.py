"""Watching many payments over one stream. `Client.watch` is the way in; `watcher.py` puts it together.

`backlog.py`, `topic.py`, `session.py`, `watch_registry.py`, `optimism.py` and `seen.py` decide and know nothing of
networks; `stream_connection.py`, `polling.py` and `reading.py` speak to the server.
"""

from batzen.watching.backlog import as_transition
from batzen.watching.connection import Connection, ConnectionState
from batzen.watching.figures import Figures
from batzen.watching.limits import WatchLimits
from batzen.watching.optimism import Kind, Update
from batzen.watching.reading import Reader
from batzen.watching.watcher import Expected, Watcher, WatchOptions

__all__ = [
    "Connection",
    "ConnectionState",
    "Expected",
    "Figures",
    "Kind",
    "Reader",
    "Update",
    "WatchLimits",
    "WatchOptions",
    "Watcher",
    "as_transition",
]
