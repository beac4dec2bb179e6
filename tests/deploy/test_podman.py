"""The images run as the local overlay says: confined, paying, coming back after a crash, ending in order.

It shows that the images and the pods' security go together. How Secrets are wired it does not show: see
`deploy.podman.transform`. Times are printed, not asserted.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from deploy.podman.pods import PROCESSES, Pods, running_pods
from local.connection_file import written
from local.environments import FRONTS
from local.ports import HOST, free_ports
from tests.deploy.confined import breaches
from tests.deploy.images import Images, skip_without
from tests.deploy.rendering import MISSING, kubectl
from tests.deploy.times import took
from tests.eventually import WITHIN_S, eventually
from tests.web.logging_in import OPERATOR, log_in

pytestmark = pytest.mark.deploy

ROOT = Path(__file__).parents[2]
ENDED_IN_ORDER = 0


@pytest.fixture(scope="module")
async def pods(images: Images, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pods]:
    skip_without("podman")
    if kubectl() is None:
        pytest.skip(MISSING)
    begun = time.monotonic()

    def report(step: str, is_done: bool) -> None:
        if is_done:
            took(begun, step)

    async with running_pods(
        tmp_path_factory.mktemp("pods"), ports=free_ports(), store=images.store, report=report
    ) as running:
        yield running


async def paid(pods: Pods, *arguments: str) -> tuple[int, str]:
    """Pay with the command line on this machine; return its exit code and what it printed."""
    stand_in_url = f"http://{HOST}:{pods.ports['sandbox']}"
    async with written(
        pods.folder, addresses=pods.addresses, issuer=pods.issuer, logs=pods.logs, stand_in_url=stand_in_url
    ) as file:
        command = (sys.executable, "-m", "batzen", "--connection", str(file), "pay", *arguments)
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


@pytest.mark.parametrize(
    "arguments", [("--amount", "100.00 CHF"), ("--amount", "80.00 CHF", "--card", "3ds", "--3ds", "succeed")]
)
async def test_payments_succeed(pods: Pods, arguments: tuple[str, ...]) -> None:
    begun = time.monotonic()
    code, output = await paid(pods, *arguments)
    took(begun, f"pay {' '.join(arguments)}")

    assert code == 0, output
    assert "succeeded" in output


@pytest.mark.parametrize("service", PROCESSES)
async def test_a_service_is_confined(pods: Pods, service: str) -> None:
    """By what the kernel says of its process, not by what podman was told."""
    found = await pods.inspect(f"{service}-server")
    said = Path(f"/proc/{found['State']['Pid']}/status").read_text()

    assert breaches(said) == {}
    assert found["HostConfig"]["ReadonlyRootfs"]
    [container] = pods.plan.server(service).document["spec"]["containers"][:1]
    assert f"{found['HostConfig']['Memory'] // 2**20}Mi" == container["resources"]["limits"]["memory"]
    written_to = (
        "import pathlib; pathlib.Path('/tmp/mine').write_text('x'); pathlib.Path('/opt/batzen/mine').write_text('x')"
    )
    refused = await exec_python(pods, service, written_to)
    assert "Read-only file system: '/opt/batzen/mine'" in refused


async def exec_python(pods: Pods, service: str, program: str) -> str:
    """Run a program in a service's container that fails; return its last words."""
    command = pods.store.podman_command("exec", f"{service}-server", "python", "-c", program)
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **pods.store.environ}, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode != 0
    return errors.decode()


@pytest.mark.parametrize("front", FRONTS)
async def test_a_front_answers_browsers(pods: Pods, front: str) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=WITHIN_S) as http:
        answer = await http.get(f"http://127.0.0.1:{pods.ports[front]}/livez")

    assert (answer.status_code, answer.text) == (200, "ok\n")


async def test_an_operator_logs_in(pods: Pods) -> None:
    headers = {"accept": "text/html", "sec-fetch-site": "same-origin"}
    url = f"http://{HOST}:{pods.ports['console']}"
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=WITHIN_S) as browser:
        back = await log_in(browser, OPERATOR)
        page = await browser.get("/payments")

    assert (back.status_code, back.headers["location"]) == (303, "/"), back.text
    assert page.status_code == 200, "who is not logged in is sent to log in"


@pytest.mark.parametrize("service", PROCESSES)
async def test_its_own_probe_says_that_it_is_ready(pods: Pods, service: str) -> None:
    await pods.podman("exec", f"{service}-server", "python", "-m", "services.runtime.process.probe")


@pytest.mark.parametrize("service", PROCESSES)
async def test_version_and_commit_are_in_its_log_and_in_its_figures(pods: Pods, images: Images, service: str) -> None:
    first = json.loads((await pods.podman("logs", f"{service}-server")).splitlines()[0])
    async with httpx.AsyncClient(trust_env=False, timeout=WITHIN_S) as http:
        figures = (await http.get(f"http://127.0.0.1:{pods.ports[f'{service}-metrics']}/metrics")).text

    assert (first["message"], first["commit"]) == ("Starting", images.commit)
    assert f'commit="{images.commit}"' in figures


async def test_each_service_sees_its_own_secrets_and_no_other(pods: Pods) -> None:
    look = "import pathlib; print(sorted(map(str, pathlib.Path('/run/secrets/batzen').glob('*/*'))))"
    seen = {name: await pods.podman("exec", f"{name}-server", "python", "-c", look) for name in PROCESSES}

    assert {name for name, files in seen.items() if "stripe" in files} == {"gateway"}
    assert all("owner-url" not in files for files in seen.values())


@pytest.mark.parametrize("service", PROCESSES)
async def test_a_killed_service_is_back_and_payments_go_on(pods: Pods, service: str) -> None:
    before = (await pods.inspect(f"{service}-server"))["State"]["Pid"]
    begun = time.monotonic()
    await pods.crash(service)

    async def is_another() -> bool:
        pid = (await pods.inspect(f"{service}-server"))["State"]["Pid"]
        return pid not in (0, before)

    await eventually(is_another, within_s=60.0)
    await pods.until_ready(service)
    took(begun, f"{service} killed, and ready again")
    code, output = await paid(pods, "--amount", "10.00 CHF")

    assert code == 0, output


@pytest.mark.parametrize("service", PROCESSES)
async def test_a_service_that_is_asked_to_end_does_so_in_order(pods: Pods, service: str) -> None:
    begun = time.monotonic()
    code = await pods.stop(service)
    took(begun, f"{service} ended, of {pods.plan.server(service).grace_s} s")

    last = json.loads((await pods.podman("logs", "--tail", "1", f"{service}-server")).splitlines()[-1])
    assert code == ENDED_IN_ORDER
    assert last["message"] == "Ended"
    await pods.podman("start", f"{service}-server")
    await pods.until_ready(service)
