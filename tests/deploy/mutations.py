"""Faults planted in the rendered manifests of production, one at a time: each has to be caught by some layer.

Those below `BLIND` were written down from what goes wrong elsewhere, without looking at the rules.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final

from tests.deploy.manifests import POD_PATHS, dig, name_of
from tests.deploy.rendering import Document

Change = Callable[["Planted"], object]


class Planted:
    """A copy of the documents to spoil."""

    def __init__(self, documents: list[Document]) -> None:
        self.documents = [*documents]
        self._own: list[Document] = []

    def __call__(self, kind: str, name: str) -> Document:
        """Return an object, which may be changed."""
        found = next(one for one in self.documents if one["kind"] == kind and name_of(one) == name)
        if not any(found is one for one in self._own):
            copied = copy.deepcopy(found)
            self.documents[self.documents.index(found)] = copied
            self._own.append(copied)
            return copied
        return found

    def spec(self, name: str, kind: str = "Deployment") -> Document:
        """Return the spec of the pods of an object."""
        return dig(self(kind, name), *POD_PATHS[kind])["spec"]

    def container(self, name: str, kind: str = "Deployment") -> Document:
        return self.spec(name, kind)["containers"][0]

    def env(self, name: str, setting: str, value: object, kind: str = "Deployment") -> None:
        """Set a setting of a container."""
        entries = [one for one in self.container(name, kind)["env"] if one["name"] != setting]
        self.container(name, kind)["env"] = [*entries, {"name": setting, "value": value}]

    def volume(self, name: str, volume: str, kind: str = "Deployment") -> Document:
        return next(one for one in self.spec(name, kind)["volumes"] if one["name"] == volume)

    def config(self) -> Document:
        """Return the ConfigMap that all servers read."""
        names = [name_of(one) for one in self.documents if one["kind"] == "ConfigMap"]
        return self("ConfigMap", next(name for name in names if name.startswith("settings")))

    def remove(self, kind: str, name: str) -> None:
        self.documents.remove(self(kind, name))

    def add(self, document: Document) -> None:
        self.documents.append(document)


def put(value: Any, *path: str | int, to: object) -> None:
    """Set what is at the end of a path."""
    *there, last = path
    dig(value, *there)[last] = to


def drop(value: Any, *path: str | int) -> None:
    """Take away what is at the end of a path."""
    *there, last = path
    del dig(value, *there)[last]


RULED: Final[dict[str, Change]] = {
    # references
    "a Secret misspelt": lambda p: put(p.volume("status", "database"), "secret", "secretName", to="status-databse"),
    "a ConfigMap misspelt": lambda p: put(p.container("status"), "envFrom", 0, "configMapRef", "name", to="setting"),
    "an ExternalSecret left out": lambda p: p.remove("ExternalSecret", "gateway-tokens"),
    "a key of a Secret misspelt": lambda p: p.env(
        "gateway", "STRIPE_API_KEY_FILE", "/run/secrets/batzen/stripe/apikey"
    ),
    "a file that is not mounted": lambda p: p.env("pricing", "BATZEN_JWKS", "/etc/batzen/jwks.json"),
    "an account misspelt": lambda p: put(p.spec("pricing"), "serviceAccountName", to="pricin"),
    "another's account": lambda p: put(p.spec("pricing"), "serviceAccountName", to="gateway"),
    "a scaler of nothing": lambda p: put(
        p("HorizontalPodAutoscaler", "status"), "spec", "scaleTargetRef", "name", to="statuses"
    ),
    "two scalers of one": lambda p: put(
        p("HorizontalPodAutoscaler", "status"), "spec", "scaleTargetRef", "name", to="pricing"
    ),
    "a budget of nothing": lambda p: put(
        p("PodDisruptionBudget", "gateway"), "spec", "selector", "matchLabels", "app.kubernetes.io/name", to="gatway"
    ),
    "a budget left out": lambda p: p.remove("PodDisruptionBudget", "orchestrator"),
    "a Service of nothing": lambda p: put(
        p("Service", "pricing"), "spec", "selector", "app.kubernetes.io/name", to="prices"
    ),
    "a Service of migrations, too": lambda p: drop(
        p("Service", "status"), "spec", "selector", "app.kubernetes.io/component"
    ),
    "a route to nothing": lambda p: put(
        p("HTTPRoute", "webhooks"), "spec", "rules", 0, "backendRefs", 0, "name", to="gateway-webhook"
    ),
    "a monitor of another port": lambda p: put(
        p("PodMonitor", "status"), "spec", "podMetricsEndpoints", 0, "port", to="metric"
    ),
    "an issuer misspelt": lambda p: put(p("Certificate", "status"), "spec", "issuerRef", "name", to="batzn"),
    "backups of nothing": lambda p: put(
        p("ScheduledBackup", "status-database"), "spec", "cluster", "name", to="status-db"
    ),
    "a name twice": lambda p: p.add(copy.deepcopy(p("Service", "status"))),
    # ports
    "a probe of another port": lambda p: put(p.container("status"), "readinessProbe", "grpc", "port", to=7003),
    "a liveness probe that asks for readiness": lambda p: put(
        p.container("gateway"), "livenessProbe", "grpc", "service", to="readiness"
    ),
    "a probe of a service that is not": lambda p: put(
        p.container("gateway"), "startupProbe", "grpc", "service", to="start"
    ),
    "a target port that is not declared": lambda p: put(
        p("Service", "gateway-webhooks"), "spec", "ports", 0, "targetPort", to="webhook"
    ),
    "a gRPC Service with an address": lambda p: drop(p("Service", "status"), "spec", "clusterIP"),
    "a headless Service with another port": lambda p: put(p("Service", "status"), "spec", "ports", 0, "port", to=80),
    "a listener on loopback": lambda p: p.env("pricing", "BATZEN_LISTEN", "127.0.0.1:7002"),
    "a listener on another's port": lambda p: p.env("pricing", "BATZEN_LISTEN", "0.0.0.0:7003"),
    "a peer by another port": lambda p: p.env("orchestrator", "BATZEN_PRICING_ADDRESS", "dns:///pricing:7003"),
    "a peer without dns:///": lambda p: p.env("orchestrator", "BATZEN_STATUS_ADDRESS", "status:7003"),
    "a public gRPC port": lambda p: put(p("Service", "orchestrator"), "spec", "type", to="LoadBalancer"),
    "a route by prefix": lambda p: put(
        p("HTTPRoute", "webhooks"), "spec", "rules", 0, "matches", 0, "path", "type", to="PathPrefix"
    ),
    "a route without a method": lambda p: drop(p("HTTPRoute", "webhooks"), "spec", "rules", 0, "matches", 0, "method"),
    # pods
    "root": lambda p: put(p.spec("status"), "securityContext", "runAsNonRoot", to=False),
    "another user": lambda p: put(p.spec("status"), "securityContext", "runAsUser", to=1000),
    "a root that can be written": lambda p: put(
        p.container("gateway"), "securityContext", "readOnlyRootFilesystem", to=False
    ),
    "capabilities kept": lambda p: drop(p.container("gateway"), "securityContext", "capabilities"),
    "any system call": lambda p: put(p.spec("pricing"), "securityContext", "seccompProfile", "type", to="Unconfined"),
    "the host's network": lambda p: put(p.spec("pricing"), "hostNetwork", to=True),
    "a token of the API server": lambda p: drop(p.spec("orchestrator"), "automountServiceAccountToken"),
    "no memory limit": lambda p: drop(p.container("status"), "resources", "limits", "memory"),
    "no CPU asked for": lambda p: drop(p.container("status"), "resources", "requests", "cpu"),
    "a quantity that is none": lambda p: put(p.container("status"), "resources", "limits", "memory", to="768MB"),
    "more asked for than the limit": lambda p: put(p.container("status"), "resources", "requests", "memory", to="1Gi"),
    "a /tmp that may grow": lambda p: drop(p.volume("gateway", "tmp"), "emptyDir", "sizeLimit"),
    # availability
    "grace shorter than the drain": lambda p: put(p.spec("gateway"), "terminationGracePeriodSeconds", to=30),
    "a front that closes what is silent": lambda p: p.env("bff", "BATZEN_PARTING_S", "75"),
    "a front killed while it waits": lambda p: p.env("bff", "BATZEN_PARTING_S", "90"),
    "no preStop": lambda p: drop(p.container("status"), "lifecycle"),
    "a start that may not wait": lambda p: put(p.container("status"), "startupProbe", "failureThreshold", to=10),
    "a rollout that takes first": lambda p: put(
        p("Deployment", "status"), "spec", "strategy", "rollingUpdate", to={"maxUnavailable": 1, "maxSurge": 0}
    ),
    "replicas together": lambda p: drop(p.spec("status"), "topologySpreadConstraints"),
    "a spread that counts old pods": lambda p: drop(p.spec("status"), "topologySpreadConstraints", 0, "matchLabelKeys"),
    "a spread over hosts that take nobody": lambda p: drop(
        p.spec("status"), "topologySpreadConstraints", 0, "nodeTaintsPolicy"
    ),
    "a budget of nobody": lambda p: put(p("PodDisruptionBudget", "status"), "spec", "maxUnavailable", to=0),
    "one replica": lambda p: put(p("HorizontalPodAutoscaler", "status"), "spec", "minReplicas", to=1),
    "a scaler without its own figure": lambda p: drop(p("HorizontalPodAutoscaler", "status"), "spec", "metrics", 1),
    "a scaler that shrinks at once": lambda p: drop(
        p("HorizontalPodAutoscaler", "status"), "spec", "behavior", "scaleDown"
    ),
    "a database that acknowledges alone": lambda p: drop(
        p("Cluster", "status-database"), "spec", "postgresql", "synchronous"
    ),
    # secrets
    "another's database": lambda p: put(p.volume("status", "database"), "secret", "secretName", to="gateway-database"),
    "the owner's URL in a server": lambda p: put(
        p.volume("pricing", "database"), "secret", "secretName", to="pricing-database-owner"
    ),
    "Stripe's key in another": lambda p: p.spec("orchestrator")["volumes"].append(
        {"name": "stripe", "secret": {"secretName": "stripe", "optional": False, "defaultMode": 288}}
    ),
    "a secret in the environment": lambda p: p.container("gateway")["env"].append(
        {"name": "STRIPE_API_KEY", "valueFrom": {"secretKeyRef": {"name": "stripe", "key": "api-key"}}}
    ),
    "a secret by subPath": lambda p: put(p.container("gateway"), "volumeMounts", 1, "subPath", to="jwks.json"),
    "a Secret written down": lambda p: p.add(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "extra", "namespace": "batzen"},
            "stringData": {"password": "batzen"},
        }
    ),
    "a password in a URL": lambda p: p.env(
        "pricing", "BATZEN_RUNTIME_DATABASE_URL", "postgresql+asyncpg://batzen:batzen@pricing-database-rw/batzen"
    ),
    "the owner's password for the role that serves": lambda p: put(
        p("ExternalSecret", "status-database"), "spec", "data", 0, "remoteRef", "property", to="owner-password"
    ),
    "another's secret in the store": lambda p: put(
        p("ExternalSecret", "status-database"), "spec", "data", 0, "remoteRef", "key", to="batzen/gateway/database"
    ),
    # network
    "nothing denied": lambda p: p.remove("NetworkPolicy", "default-deny"),
    "egress free": lambda p: put(p("NetworkPolicy", "default-deny"), "spec", "egress", to=[{}]),
    "ingress not denied": lambda p: put(p("NetworkPolicy", "default-deny"), "spec", "policyTypes", to=["Egress"]),
    "an edge left out": lambda p: drop(p("NetworkPolicy", "orchestrator"), "spec", "egress", 1),
    "an edge too many": lambda p: p("NetworkPolicy", "gateway")["spec"]["egress"].append(
        {
            "to": [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "status"}}}],
            "ports": [{"port": 7003, "protocol": "TCP"}],
        }
    ),
    "an edge by another port": lambda p: put(
        p("NetworkPolicy", "status"), "spec", "ingress", 0, "ports", 0, "port", to=7002
    ),
    "mails by all": lambda p: put(p("NetworkPolicy", "mails"), "spec", "podSelector", to={}),
    "mails without TLS": lambda p: put(p("NetworkPolicy", "mails"), "spec", "egress", 0, "ports", 0, "port", to=25),
    "a port of receivers left out": lambda p: drop(p("NetworkPolicy", "receivers"), "spec", "egress", 0, "ports", 1),
    "the internet for all": lambda p: put(p("NetworkPolicy", "stripe"), "spec", "podSelector", to={}),
    "the cloud's metadata": lambda p: drop(
        p("NetworkPolicy", "stripe"), "spec", "egress", 0, "to", 0, "ipBlock", "except"
    ),
    "another's database reached": lambda p: put(
        p("NetworkPolicy", "gateway-database"), "spec", "ingress", 0, "from", 0, "podSelector", to={}
    ),
    "payers at the console": lambda p: put(
        p("NetworkPolicy", "console"),
        "spec",
        "ingress",
        0,
        "from",
        0,
        "namespaceSelector",
        to={"matchLabels": {"batzen/pages": "true"}},
    ),
    "the console open to all": lambda p: put(p("NetworkPolicy", "console"), "spec", "ingress", 0, "from", to=[]),
    "a console that may not ask the payers' front": lambda p: drop(p("NetworkPolicy", "console"), "spec", "egress", 1),
    "a payers' front that the console does not reach": lambda p: drop(
        p("NetworkPolicy", "pages"), "spec", "ingress", 1
    ),
    "a front that calls nobody": lambda p: drop(
        p("Deployment", "bff"), "spec", "template", "metadata", "labels", "batzen/caller"
    ),
    # fronts
    "a public console": lambda p: put(p("HTTPRoute", "console"), "spec", "parentRefs", 0, "name", to="public"),
    "a console behind the payers' route": lambda p: put(
        p("HTTPRoute", "pages"), "spec", "rules", 1, "backendRefs", 0, "name", to="console"
    ),
    "payers without a way in": lambda p: p.remove("HTTPRoute", "pages"),
    "streams that a route cuts": lambda p: put(
        p("HTTPRoute", "pages"), "spec", "rules", 1, "timeouts", "request", to="60s"
    ),
    "the old webhook path as it is": lambda p: drop(p("HTTPRoute", "pages"), "spec", "rules", 0, "filters"),
    "the old webhook path to elsewhere": lambda p: put(
        p("HTTPRoute", "pages"),
        "spec",
        "rules",
        0,
        "filters",
        0,
        "urlRewrite",
        "path",
        "replaceFullPath",
        to="/webhooks/stripe/connect",
    ),
    "another front's key": lambda p: put(
        p.volume("bff", "assertions"), "secret", "secretName", to="console-assertions"
    ),
    "a front that other issuers speak to": lambda p: p.env("bff", "BATZEN_FURTHER_ISSUER", "[]"),
    "issuers that are no table": lambda p: p.env("status", "BATZEN_FURTHER_ISSUERS", "bff"),
    # settings
    "a setting misspelt": lambda p: p.env("gateway", "BATZEN_STRIPE_RATES", "25"),
    "a required setting left out": lambda p: drop(p.config(), "data", "BATZEN_TOKEN_AUDIENCE"),
    "a value that is refused": lambda p: p.env("gateway", "BATZEN_STRIPE_RATE", "many"),
    # release
    "the latest tag": lambda p: put(p.container("status"), "image", to="registry.example/batzen:latest"),
    "a tag, no digest": lambda p: put(p.container("status"), "image", to="registry.example/batzen:1.2.3"),
    "two releases at once": lambda p: put(
        p.container("status"), "image", to=f"registry.example/batzen@sha256:{'1' * 64}"
    ),
    "test mode in production": lambda p: put(p.config(), "data", "BATZEN_ENVIRONMENT", to="development"),
    "more gateways than Stripe takes": lambda p: put(
        p("HorizontalPodAutoscaler", "gateway"), "spec", "maxReplicas", to=8
    ),
    "a migration of another release": lambda p: put(
        p("Job", "status-migrate-0001"), "metadata", "name", to="status-migrate"
    ),
    "a migration beside the Deployments": lambda p: drop(
        p("Job", "status-migrate-0001"), "metadata", "annotations", "argocd.argoproj.io/sync-wave"
    ),
    "an account after the migration": lambda p: drop(
        p("ServiceAccount", "status"), "metadata", "annotations", "argocd.argoproj.io/sync-wave"
    ),
    "a contraction by itself": lambda p: put(p("CronJob", "gateway-contract"), "spec", "suspend", to=False),
    "a migration that contracts": lambda p: p.container("gateway-migrate-0006", "Job")["command"].append("--contract"),
    "books compared for nobody knows how long": lambda p: drop(
        p("CronJob", "gateway-reconcile"),
        "spec",
        "jobTemplate",
        "spec",
        "template",
        "spec",
        "containers",
        0,
        "command",
        4,
    ),
    "books that nobody compares": lambda p: p.remove("CronJob", "gateway-reconcile"),
    "books that are compared once a month": lambda p: put(
        p("CronJob", "gateway-reconcile"), "spec", "schedule", to="41 4 1 * *"
    ),
    "history that nobody maintains": lambda p: p.remove("CronJob", "status-maintain"),
    "a namespace that takes anything": lambda p: drop(
        p("Namespace", "batzen"), "metadata", "labels", "pod-security.kubernetes.io/enforce"
    ),
    "a certificate for a year": lambda p: put(p("Certificate", "gateway"), "spec", "duration", to="8760h"),
    "a certificate of another": lambda p: put(
        p("Certificate", "gateway"), "spec", "uris", to=["spiffe://batzen/ns/batzen/sa/orchestrator"]
    ),
}
"""Each belongs to a rule."""

BLIND: Final[dict[str, Change]] = {
    "an API that was removed": lambda p: put(p("PodDisruptionBudget", "status"), "apiVersion", to="policy/v1beta1"),
    "a field misspelt in a Deployment": lambda p: put(p("Deployment", "status"), "spec", "revisionHistorylimit", to=5),
    "a field misspelt in a Cluster": lambda p: put(p("Cluster", "status-database"), "spec", "instance", to=3),
    "a method that is none": lambda p: put(
        p("HTTPRoute", "webhooks"), "spec", "rules", 0, "matches", 0, "method", to="SEND"
    ),
    "a port as text": lambda p: put(p.container("status"), "ports", 0, "containerPort", to="7400"),
    "a label that is a boolean": lambda p: put(p("Service", "status"), "metadata", "labels", "canary", to=True),
    "a value that is a number": lambda p: p.env("gateway", "BATZEN_STRIPE_RATE", 25),
    "a selector other than the labels": lambda p: put(
        p("Deployment", "status"), "spec", "selector", "matchLabels", "app.kubernetes.io/name", to="statuses"
    ),
    "another namespace": lambda p: put(p("Service", "status"), "metadata", "namespace", to="default"),
    "a privileged container": lambda p: put(p.container("status"), "securityContext", "privileged", to=True),
    "the host's files": lambda p: p.spec("status")["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
    "an init container of anybody's": lambda p: put(
        p.spec("status"), "initContainers", to=[{"name": "wait", "image": "busybox", "command": ["sleep", "5"]}]
    ),
    "a sidecar without limits": lambda p: p.spec("status")["containers"].append(
        {"name": "proxy", "image": f"registry.example/proxy@sha256:{'2' * 64}"}
    ),
    "debugging left in": lambda p: p.env("gateway", "STRIPE_API_BASE", "http://127.0.0.1:7200"),
    "crash points left in": lambda p: p.env("orchestrator", "BATZEN_CRASH_FILE", "/tmp/crash"),
    "a shell as command": lambda p: put(p.container("status"), "command", to=["sh", "-c", "python -m services.status"]),
    "the wrong module": lambda p: put(p.container("status"), "command", 2, to="services.pricing"),
    "a server that migrates": lambda p: p.container("status")["command"].append("migrate"),
    "Recreate": lambda p: put(p("Deployment", "orchestrator"), "spec", "strategy", to={"type": "Recreate"}),
    "replicas stated beside the scaler": lambda p: put(p("Deployment", "status"), "spec", "replicas", to=3),
    "a restart for a slow second": lambda p: put(p.container("status"), "livenessProbe", "periodSeconds", to=1),
    "an HTTP probe": lambda p: put(p.container("status"), "livenessProbe", to={"httpGet": {"path": "/", "port": 7400}}),
    "a default egress": lambda p: p("NetworkPolicy", "names")["spec"]["egress"].append({}),
    "an Ingress": lambda p: p.add(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": "api", "namespace": "batzen"},
            "spec": {"defaultBackend": {"service": {"name": "orchestrator", "port": {"number": 7001}}}},
        }
    ),
    "a cluster role for all": lambda p: p.add(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "admin"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": "gateway", "namespace": "batzen"}],
        }
    ),
    "a key in a ConfigMap": lambda p: put(p.config(), "data", "EXTRA", to="sk_live_51H8abcdefghijklmnop"),
    "a password in a ConfigMap": lambda p: put(p.config(), "data", "PGPASSWORD", to="batzen"),
    "a database by no TLS": lambda p: p.env("pricing", "PGSSLMODE", "prefer"),
    "a Cluster of one": lambda p: put(p("Cluster", "gateway-database"), "spec", "instances", to=1),
    "a Cluster without backups": lambda p: p.remove("ScheduledBackup", "pricing-database"),
    "a backup at no time": lambda p: put(p("ScheduledBackup", "pricing-database"), "spec", "schedule", to="daily"),
    "a CronJob at no time": lambda p: put(p("CronJob", "status-maintain"), "spec", "schedule", to="every night"),
    "an ExternalSecret of another store": lambda p: put(
        p("ExternalSecret", "stripe"), "spec", "secretStoreRef", "name", to="default"
    ),
    "a Secret that others may read": lambda p: put(p.volume("gateway", "stripe"), "secret", "defaultMode", to=0o644),
    "a Secret that may be missing": lambda p: put(p.volume("gateway", "stripe"), "secret", "optional", to=True),
    "an expression of no operator": lambda p: put(
        p("NetworkPolicy", "databases"), "spec", "podSelector", "matchExpressions", 0, "operator", to="Exist"
    ),
    "a node port": lambda p: put(p("Service", "gateway-webhooks"), "spec", "type", to="NodePort"),
    "sharing processes": lambda p: put(p.spec("gateway"), "shareProcessNamespace", to=True),
    "the default profile of no AppArmor": lambda p: put(
        p.container("gateway"), "securityContext", "appArmorProfile", to={"type": "Unconfined"}
    ),
    "a priority that is not there": lambda p: put(p.spec("gateway"), "priorityClassName", to="payments"),
    "a node by its name": lambda p: put(p.spec("gateway"), "nodeName", to="node-1"),
    "names from elsewhere": lambda p: put(p.spec("gateway"), "dnsPolicy", to="Default"),
    "an alias for Stripe": lambda p: put(
        p.spec("gateway"), "hostAliases", to=[{"ip": "10.9.9.9", "hostnames": ["api.stripe.com"]}]
    ),
    "a lifecycle by shell": lambda p: put(
        p.container("gateway"), "lifecycle", "preStop", to={"exec": {"command": ["sleep", "10"]}}
    ),
    "unbounded waiting for a rollout": lambda p: put(p("Deployment", "gateway"), "spec", "minReadySeconds", to=600),
    "a paused Deployment": lambda p: put(p("Deployment", "gateway"), "spec", "paused", to=True),
    "a trace of every call": lambda p: p.env("gateway", "BATZEN_TRACE_RATIO", "10"),
    "a proxy for everything": lambda p: p.env("gateway", "HTTPS_PROXY", "http://proxy.example:3128"),
    "a Job that repeats for ever": lambda p: drop(p("Job", "pricing-migrate-0003"), "spec", "activeDeadlineSeconds"),
    "a Service of all addresses": lambda p: put(p("Service", "status"), "spec", "publishNotReadyAddresses", to=True),
    "sticky sessions": lambda p: put(p("Service", "gateway-webhooks"), "spec", "sessionAffinity", to="ClientIP"),
}
"""Written without a rule in mind."""

MUTATIONS: Final = {**RULED, **BLIND}
