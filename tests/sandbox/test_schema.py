"""The schema derived from the installed client, and our checker against one we did not write."""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import stripe
from jsonschema import Draft202012Validator

from sandbox import schema
from sandbox.derive import derive, package_folder, versions
from sandbox.operations import OPERATIONS
from sandbox.schema import RESOURCE_OF, ApiSchema

_REFERENCE = os.environ.get("BATZEN_STRIPE_REFERENCE")


@cache
def _schema() -> ApiSchema:
    return ApiSchema(derive(package_folder()))


def _by_jsonschema(resource: str, value: Any) -> list[str]:
    """Return the complaints of an independent implementation."""
    text = json.dumps(_schema().schemas).replace('"$ref": "', '"$ref": "#/$defs/')
    root = {"$ref": f"#/$defs/{resource}", "$defs": json.loads(text)}
    return [error.message for error in Draft202012Validator(root).iter_errors(value)]


def test_it_is_the_version_the_client_sends() -> None:
    package, api = versions(package_folder())

    assert package == stripe.VERSION
    assert _schema().api_version == api == stripe.api_version


def test_every_modelled_operation_and_parameter_exists_at_stripe() -> None:
    for operation in OPERATIONS:
        request = _schema().operations[operation.name]["request"]
        properties = _schema().resolve(request)["properties"] if request else {}
        unknown = {name.split(".")[0] for name in operation.modelled} - set(properties)
        assert not unknown, f"{operation.name}: {unknown}"


def test_every_resource_has_a_schema() -> None:
    assert set(RESOURCE_OF.values()) <= set(_schema().schemas)


def test_a_second_load_reads_the_cache_and_gets_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    first = schema.load()
    cached = list(tmp_path.rglob("*.json"))
    second = schema.load()

    assert len(cached) == 1
    assert first.schemas == second.schemas
    assert first.operations == second.operations


def test_a_broken_cache_is_derived_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    schema.load()
    next(tmp_path.rglob("*.json")).write_text("{")

    assert schema.load().schemas == _schema().schemas


_REVERSAL: dict[str, Any] = {
    "id": "trr_1",
    "object": "transfer_reversal",
    "amount": 5,
    "balance_transaction": None,
    "created": 1,
    "currency": "chf",
    "metadata": {"a": "b"},
    "source_refund": "re_1",
    "transfer": "tr_1",
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"amount": "5"},
        {"amount": True},
        {"amount": None},
        {"object": "transfer"},
        {"bogus": 1},
        {"metadata": {"a": 1}},
        {"metadata": None},
        {"balance_transaction": {"id": "txn_1"}},
        {"transfer": 5},
        {"transfer": None},
    ],
)
def test_our_checker_agrees_with_jsonschema(change: dict[str, Any]) -> None:
    value = _REVERSAL | change

    ours = list(_schema().breaches({"$ref": "TransferReversal"}, value))

    assert bool(ours) == bool(_by_jsonschema("TransferReversal", value))
    assert bool(ours) == bool(change) or change == {"metadata": None}


@pytest.mark.parametrize("name", sorted(_REVERSAL))
def test_our_checker_misses_what_jsonschema_misses(name: str) -> None:
    value = {key: item for key, item in _REVERSAL.items() if key != name}

    ours = list(_schema().breaches({"$ref": "TransferReversal"}, value))

    assert bool(ours) == bool(_by_jsonschema("TransferReversal", value))


WITHOUT_SAMPLE = {"application", "capability", "confirmation_token", "payout", "radar.early_fraud_warning", "topup"}
OLDER_THAN_THE_CLIENT = {"dispute": [".evidence_details.submission_method: missing"]}
"""What Stripe's sample objects lack of what its client has by now."""


@pytest.mark.skipif(_REFERENCE is None, reason="BATZEN_STRIPE_REFERENCE does not name Stripe's own sample objects")
@pytest.mark.parametrize("name", sorted(RESOURCE_OF.keys() - WITHOUT_SAMPLE))
def test_stripes_own_samples_conform(name: str) -> None:
    sample = json.loads((Path(str(_REFERENCE)) / "fixtures.json").read_text())["resources"][name]

    assert list(_schema().breaches({"$ref": RESOURCE_OF[name]}, sample)) == OLDER_THAN_THE_CLIENT.get(name, [])
