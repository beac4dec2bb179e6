"""The checker of documented reasons reads contracts as people do, and misses what nobody heard."""

from __future__ import annotations

import logging

from tests.heard import Listener, documented, unheard

CONTRACT = """
service LightService {
  // Turns it on.
  //
  // Errors:
  // - `NOT_FOUND` / `LAMP_NOT_FOUND`: there is none,
  //   not even `OTHER` here.
  // - `FAILED_PRECONDITION` / `BROKEN`, `NO_POWER`; metadata `volts`.
  rpc TurnOn(TurnOnRequest) returns (TurnOnResponse);

  // Turns it off.
  //
  // Errors: as TurnOn.
  rpc TurnOff(TurnOffRequest) returns (TurnOffResponse);
}
"""


def test_the_reasons_of_each_rpc_are_read() -> None:
    reasons = {"LAMP_NOT_FOUND", "BROKEN", "NO_POWER"}
    assert documented(CONTRACT) == {
        (f"LightService/{rpc}", reason) for rpc in ("TurnOn", "TurnOff") for reason in reasons
    }


def test_a_refusal_is_noted_and_an_answer_is_not() -> None:
    listener = Listener()
    for fields in ({"method": "/batzen.light.v1.LightService/TurnOn", "reason": "BROKEN"}, {"method": "/a.B/C"}):
        record = logging.LogRecord("batzen.calls", logging.INFO, "", 0, "call", (), None)
        record.__dict__["fields"] = fields
        listener.handle(record)
    assert listener.heard == {("LightService/TurnOn", "BROKEN")}


def test_what_nobody_heard_is_named() -> None:
    missing = unheard(set())
    assert "OrchestratorService/CapturePayment / CAPTURE_NOT_REPEATABLE" in missing
    heard = {("OrchestratorService/CapturePayment", "CAPTURE_NOT_REPEATABLE")}
    assert len(unheard(heard)) == len(missing) - 1
