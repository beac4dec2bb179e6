"""Which kinds of objects there are, by which API; others are a mistake, or a line more here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from jsonschema import Draft202012Validator

from tests.deploy.crd_schemas import SCHEMAS
from tests.deploy.manifests import Manifests, called, dig
from tests.deploy.policy.rule import rule

BUILT_IN: Final = {
    ("v1", "Namespace"),
    ("v1", "ServiceAccount"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("apps/v1", "Deployment"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
    ("policy/v1", "PodDisruptionBudget"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
}
VALIDATORS: Final = {api: Draft202012Validator(schema) for api, schema in SCHEMAS.items()}
_VALIDATED: Final[dict[str, list[str]]] = {}
"""What was validated already: a mutation changes one object."""


@rule
def kinds_are_known(manifests: Manifests) -> Iterator[str]:
    for one in manifests.documents:
        api = (one.get("apiVersion"), one.get("kind"))
        if api not in BUILT_IN and api not in SCHEMAS:
            yield f"{called(one)} is of {api[0]}"


@rule
def operators_objects_have_their_form(manifests: Manifests) -> Iterator[str]:
    for one in manifests.documents:
        validator = VALIDATORS.get((one.get("apiVersion", ""), one.get("kind", "")))
        if validator is None:
            continue
        key = repr(one)
        if key not in _VALIDATED:
            _VALIDATED[key] = [f"{error.json_path}: {error.message[:160]}" for error in validator.iter_errors(one)]
        yield from (f"{called(one)} {fault}" for fault in _VALIDATED[key])


@rule
def certificates_are_short_lived_and_say_who(manifests: Manifests) -> Iterator[str]:
    for pod in manifests.servers if manifests.is_cluster else []:
        service = pod.service
        one = next((o for o in manifests.of("Certificate") if dig(o, "spec", "secretName") == f"{service}-tls"), {})
        spec = one.get("spec", {})
        life, renewed = spec.get("duration"), spec.get("renewBefore")
        if (life, renewed) != ("24h", "8h"):
            yield f"{service}: its certificate lives {life} and is renewed {renewed} before"
        if dig(spec, "privateKey", "rotationPolicy") != "Always":
            yield f"{service}: its key is kept when its certificate is renewed"
        if not {"server auth", "client auth"} <= set(spec.get("usages", [])):
            yield f"{service}: its certificate is not for both sides"
        if spec.get("uris") != [f"spiffe://batzen/ns/batzen/sa/{service}"]:
            yield f"{service}: its certificate says it is {spec.get('uris')}"
        if service not in spec.get("dnsNames", []):
            yield f"{service}: its certificate lacks the name that callers dial"
