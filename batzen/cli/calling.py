"""The loop, the client, and the end of a command that asks the services something."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from batzen.cli.connection import AddressRefused, Connection, NotConnected
from batzen.cli.journey import StillRunning
from batzen.cli.output import Exit
from batzen.cli.pages import PageNotCompleted
from batzen.cli.program import program
from batzen.cli.refusing import exit_code, fail, tell
from batzen.cli.session import Session
from batzen.client import Client
from batzen.errors import BatzenError


def outcome(
    session: Session,
    work: Callable[[Client, Connection], Awaitable[Exit]],
    *,
    given: Mapping[str, Any],
    as_json: bool,
) -> Exit:
    """Run `work` with a client, tell what failed, and return how the command ends. `given`: what it was called with."""

    async def run() -> Exit:
        connection = session.connect()
        async with connection.client() as client:
            return await work(client, connection)

    try:
        code = asyncio.run(run())
    except NotConnected as error:
        fail({"code": "NOT_CONNECTED", "message": str(error)}, [str(error)], as_json=as_json)
        code = Exit.USAGE if isinstance(error, AddressRefused) else Exit.UNREACHABLE
    except BatzenError as error:
        tell(error, as_json=as_json, given=given)
        code = exit_code(error)
    except PageNotCompleted as error:
        fail({"code": "PAGE_NOT_COMPLETED", "message": str(error)}, [str(error)], as_json=as_json)
        code = Exit.NOT_AS_WANTED
    except TimeoutError as error:
        payment_id = error.payment_id if isinstance(error, StillRunning) else "PAYMENT_ID"
        message = f"It is not decided yet. It goes on without us: {program()} watch {payment_id} --until-settled"
        fail({"code": "STILL_RUNNING", "message": message}, [message], as_json=as_json)
        code = Exit.NOT_AS_WANTED
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    return code
