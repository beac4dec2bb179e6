"""The HTTP face: Stripe's API under /v1, the 3-D Secure page under /3ds, the controls under /_control.

One request runs through: key → route → fault → parameters → idempotency → operation → expansion → answer. An operation
never awaits, so what it does is one step; waiting (latency, pauses) happens before it, holding an answer back after it.
"""

import asyncio
import json
import time
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox import accounts, answers, forms, intents
from sandbox.errors import ApiError, not_modelled
from sandbox.exchange import Answer, Call, cut_off, disconnected, read, reset, send_answer, text_of
from sandbox.faults import LATE, SILENT, Fault, Kind
from sandbox.idempotency import Record, fingerprint
from sandbox.operations import Operation
from sandbox.state import Account, Sandbox
from sandbox.world import Cause, Object, World

_ENTER = "post /v1/test_helpers/confirmation_tokens"
"""What the stand-in for Stripe.js makes of what a payer entered."""
_BROWSER_OPERATIONS = (
    "get /v1/payment_intents/{intent}",
    "post /v1/payment_intents/{intent}/confirm",
    "get /v1/setup_intents/{intent}",
    "post /v1/setup_intents/{intent}/confirm",
    _ENTER,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a request asks for, once it is understood."""

    call: Call
    account: Account
    world: World
    operation: Operation
    ids: tuple[str, ...]
    params: dict[str, Any]
    by_browser: bool


class Api:
    """The ASGI application."""

    def __init__(self, sandbox: Sandbox, *, rest: ASGIApp) -> None:
        self.sandbox = sandbox
        self.stopping = asyncio.Event()
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(("/v1/", "/v2/")):
            await self._rest(scope, receive, self._kept(scope, send))
            return
        began = time.perf_counter()
        call = await read(scope, receive)
        answer = await self._answer(call)
        if call.method != "GET":
            self.sandbox.changed()
        self.sandbox.keep()
        if answer.fault is not None and answer.fault.kind is Kind.RESET:
            await reset(send, receive)
        elif answer.fault is not None and answer.fault.kind is Kind.TIMEOUT:
            await self._hold(send, receive)
        elif answer.fault is not None and answer.fault.kind is Kind.CUT_OFF:
            await cut_off(send, receive, answer, request_id=call.request_id)
        else:
            date = formatdate(self.sandbox.clock.seconds(), usegmt=True)
            answer = replace(answer, headers={"Date": date, **answer.headers})
            await send_answer(send, answer, request_id=call.request_id)
        said = f"{call.path} {call.encoded.decode(errors='replace')}"
        self.sandbox.metrics.note(call.template, time.perf_counter() - began, said=said)

    def _kept(self, scope: Scope, send: Send) -> Send:
        """Have on the disk what a page or a control did before it is answered."""

        async def keep_first(message: Message) -> None:
            if message["type"] == "http.response.start":
                if scope.get("method") != "GET":
                    self.sandbox.changed()
                self.sandbox.keep()
            await send(message)

        return keep_first

    async def _answer(self, call: Call) -> Answer:
        try:
            return await self._dispatch(call)
        except ApiError as refusal:
            return _refused(call, refusal)

    async def _dispatch(self, call: Call) -> Answer:
        raw = forms.read(text_of(call.encoded))
        secret_key, by_browser = _key(call, raw)
        if secret_key in self.sandbox.revoked_keys:
            raise ApiError("Expired API Key provided.", status=401, code="api_key_expired")
        self._check_version(call)
        operation, ids = self.sandbox.router.find(call.method, call.path)
        call.template = f"{call.method} {operation.name.split(' ', 1)[1]}"
        fault = self.sandbox.faults.strike(
            call.method,
            path=call.path,
            template=call.template.split(" ", 1)[1],
            account=call.headers.get("stripe-account", ""),
        )
        if fault is not None and _comes_first(fault):
            return _faulty(call, fault)
        if by_browser:
            account = self._account_of(ids[0] if ids else "", operation, raw)
        else:
            account = self.sandbox.account(secret_key)
        world = _world_of(call, account, operation)
        params = self.sandbox.schema.decode(operation.name, raw)
        operation.check_modelled(params)
        print_of = fingerprint(call.path, call.encoded)
        key = call.idempotency_key
        if key is not None and (seen := account.keys.seen(key, fingerprint=print_of)) is not None:
            return self._replay(call, seen, fault)
        task = Task(
            call=call,
            account=account,
            world=world,
            operation=operation,
            ids=ids,
            params=params,
            by_browser=by_browser,
        )
        if key is None:
            return (await self._execute(task, fault))[0]
        record = account.keys.begin(key, fingerprint=print_of)
        try:
            answer, kept = await self._execute(task, fault)
            if kept is not None:
                record.status, record.body = kept.status, kept.body
        finally:
            if record.status is None:
                account.keys.forget(key)  # it did not execute after all
        return answer

    async def _execute(self, task: Task, fault: Fault | None) -> tuple[Answer, Answer | None]:
        """Run an operation and what is to go wrong with it; returns what to send and what an idempotency key keeps."""
        await self._wait(fault)
        if fault is None or fault.kind in LATE:
            return self._run(task)
        faulty = _faulty(task.call, fault)
        if not fault.after:
            return faulty, faulty if fault.is_stored else None
        answer, kept = self._run(task)
        if fault.kind in SILENT:
            return replace(answer, fault=fault), kept
        return faulty, faulty if fault.is_stored else kept

    def _run(self, task: Task) -> tuple[Answer, Answer | None]:
        """Run an operation in one step; returns its answer, and the same once more if an idempotency key keeps it."""
        call, world = task.call, task.world
        world.balance.mature(world.clock.now())
        world.cause = Cause(request_id=call.request_id, idempotency_key=call.idempotency_key)
        expand = task.params.pop("expand", [])
        try:
            result = task.operation.run(world, task.params, *task.ids)
            if expand:
                result = answers.expand(world, self.sandbox.schema, result, expand)
        except ApiError as refusal:
            answer = _refused(call, refusal)
            return answer, None if refusal.status == 501 else answer
        finally:
            world.cause = Cause()
        if task.by_browser:
            result = intents.public(result)
        elif self.sandbox.settings.check_answers and (breaches := self._breaches(result)):
            problem = f"The sandbox's own answer breaks the schema: {'; '.join(breaches)}"
            answer = _refused(call, ApiError(problem, status=500, type="api_error"))
            return answer, answer
        answer = Answer(status=200, body=_json(result), headers={})
        return answer, answer

    def _breaches(self, result: Object) -> list[str]:
        rows = result["data"] if result["object"] == "list" else [result]
        return [breach for row in rows for breach in self.sandbox.schema.resource_breaches(row)]

    def _replay(self, call: Call, record: Record, fault: Fault | None) -> Answer:
        if fault is not None and fault.kind not in SILENT | LATE:
            return _faulty(call, fault)
        headers = {"Idempotent-Replayed": "true"}
        cut = fault if fault is not None and fault.kind in SILENT else None
        return Answer(status=record.status or 500, body=record.body, headers=headers, fault=cut)

    def _account_of(self, intent_id: str, operation: Operation, raw: dict[str, Any]) -> Account:
        """Return the account a browser's call is for: its publishable key must come with the intent's secret."""
        if operation.name not in _BROWSER_OPERATIONS:
            raise ApiError("This API call cannot be made with a publishable API key.", status=403)
        given = raw.pop("client_secret", None)
        if operation.name == _ENTER:  # of a group of elements: whose account it is follows from its intent
            intent_id = str(given).partition("_secret_")[0]
        for account in self.sandbox.accounts.values():
            intent = account.world.find(intent_id)
            if intent is not None and given == intent.get("client_secret"):
                # A browser follows redirects through Stripe.js, which says so itself.
                if operation.name.endswith("/confirm"):
                    raw.setdefault("use_stripe_sdk", "true")
                return account
        raise ApiError(f"No such intent: '{intent_id}'", status=404, code="resource_missing", param="intent")

    def _check_version(self, call: Call) -> None:
        version = call.headers.get("stripe-version", self.sandbox.schema.api_version)
        if version != self.sandbox.schema.api_version:
            raise ApiError(f"The sandbox speaks API version {self.sandbox.schema.api_version} only, not {version}.")

    async def _wait(self, fault: Fault | None) -> None:
        if self.sandbox.latency_s:
            await self._until(asyncio.sleep(self.sandbox.latency_s))
        if fault is not None and fault.kind is Kind.SLOW:
            await self._until(asyncio.sleep(fault.seconds))
        if fault is not None and fault.kind is Kind.PAUSE:
            with self.sandbox.pause() as resumed:
                await self._until(resumed.wait())

    async def _hold(self, send: Send, receive: Receive) -> None:
        """Keep the connection open without a word until the client gives up."""
        await self._until(disconnected(receive))
        if self.stopping.is_set():
            await reset(send, receive)

    async def _until(self, waiting: Coroutine[Any, Any, object]) -> None:
        """Wait for something, or for the end of the process."""
        tasks = [asyncio.ensure_future(waiting), asyncio.ensure_future(self.stopping.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()


def _key(call: Call, raw: dict[str, Any]) -> tuple[str, bool]:
    """Return the API key and whether it is a browser's publishable one; raises 401."""
    scheme, _, credentials = call.headers.get("authorization", "").partition(" ")
    key = credentials.strip() if scheme.lower() == "bearer" else ""
    key = key or str(raw.pop("key", ""))
    if key.startswith("pk_test_"):
        return key, True
    if key.startswith(("sk_test_", "rk_test_")) and len(key) > len("sk_test_"):
        return key, False
    if not key:
        raise ApiError("You did not provide an API key.", status=401)
    if key.startswith(("sk_live_", "rk_live_", "pk_live_")):
        raise ApiError("The sandbox takes test keys only; this is a live key.", status=401)
    raise ApiError(f"Invalid API Key provided: {key[:8]}****", status=401)


def _world_of(call: Call, account: Account, operation: Operation) -> World:
    """Return what a call is about: the platform's own, or what the connected account that it names has."""
    connected = call.headers.get("stripe-account")
    if connected is None or connected == account.world.account_id:
        return account.world
    if not operation.of_connected:
        raise not_modelled(f"{operation.name.upper()} on behalf of a connected account")
    accounts.retrieve(account.world, {}, connected)
    return account.world.connected[connected]


def _refused(call: Call, refusal: ApiError) -> Answer:
    return Answer(
        status=refusal.status, body=_json(refusal.body(request_id=call.request_id)), headers=dict(refusal.headers)
    )


def _comes_first(fault: Fault) -> bool:
    """Whether it strikes ahead of the idempotency layer: Stripe says it before it looks at what was asked."""
    return not (fault.after or fault.is_stored or fault.kind in {Kind.SERVER_ERROR, *SILENT, *LATE})


def _faulty(call: Call, fault: Fault) -> Answer:
    """Return what is answered in place of what is true."""
    if fault.raw_body is None:
        return replace(_refused(call, fault.error()), fault=fault)
    headers = {**fault.error().headers, "Content-Type": fault.content_type}
    return Answer(status=fault.raw_status, body=fault.raw_body, headers=headers, fault=fault)


def _json(value: Object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
