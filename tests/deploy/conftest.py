"""What tests of the deployment share."""

from __future__ import annotations

import pytest

from tests.deploy.images import Images, make_images, skip_without
from tests.deploy.times import TOOK


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in TOOK:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def images() -> Images:
    skip_without("buildah", "podman", "mmdebstrap")
    return make_images()
