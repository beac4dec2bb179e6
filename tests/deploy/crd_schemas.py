"""The fields of other projects' objects that we use, and nothing else: a field that is not here is a misspelt one.

Written by hand after the projects' references; whoever uses a further field adds it.
"""

from __future__ import annotations

from typing import Any, Final

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string", "minLength": 1}
FLAG: Final[Schema] = {"type": "boolean"}
NAME: Final[Schema] = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"}
LABELS: Final[Schema] = {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1}
SIZE: Final[Schema] = {"type": "string", "pattern": r"^[0-9]+(Mi|Gi|Ti)$"}
DURATION: Final[Schema] = {"type": "string", "pattern": r"^([0-9]+(h|m|s|ms))+$"}


def one_of(*words: str) -> Schema:
    return {"enum": [*words]}


def number(least: int, most: int = 1_000_000) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


def several(item: Schema, least: int = 1) -> Schema:
    return {"type": "array", "items": item, "minItems": least}


def of(required: str = "", /, **properties: Schema) -> Schema:
    """Return the schema of an object with these fields and no others; `required` names those that must be there."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": required.split(),
    }


def top(version: str, kind: str, spec: Schema) -> Schema:
    metadata = of("name namespace", name=NAME, namespace=NAME, labels=LABELS, annotations=LABELS)
    return of(
        "apiVersion kind metadata spec",
        apiVersion={"const": version},
        kind={"const": kind},
        metadata=metadata,
        spec=spec,
    )


REF: Final = of("name", name=NAME)
KEY: Final = of("name key", name=NAME, key=TEXT)
SCALING: Final = of(
    "stabilizationWindowSeconds policies",
    stabilizationWindowSeconds=number(0, 3_600),
    policies=several(of("type value periodSeconds", type=one_of("Pods"), value=number(1), periodSeconds=number(1))),
)

POD_MONITOR: Final = of(
    "selector podMetricsEndpoints",
    jobLabel=TEXT,
    selector=of("matchLabels", matchLabels=LABELS),
    sampleLimit=number(1),
    podMetricsEndpoints=several(
        of(
            "port path interval",
            port=TEXT,
            path={"const": "/metrics"},
            interval=DURATION,
            scrapeTimeout=DURATION,
            relabelings=several(of("sourceLabels targetLabel", sourceLabels=several(TEXT), targetLabel=TEXT)),
        )
    ),
)
PROMETHEUS_RULE: Final = of(
    "groups",
    groups=several(
        of(
            "name rules",
            name=TEXT,
            interval=DURATION,
            rules=several(
                {
                    "oneOf": [
                        of(
                            "alert expr labels annotations",
                            alert=TEXT,
                            expr=TEXT,
                            **{"for": {"type": "string", "pattern": r"^([0-9]+(d|h|m|s))+$"}},
                            keep_firing_for={"type": "string"},
                            labels=LABELS,
                            annotations=LABELS,
                        ),
                        of("record expr", record=TEXT, expr=TEXT, labels=LABELS),
                    ]
                }
            ),
        )
    ),
)
CLUSTER: Final = of(
    "imageCatalogRef instances postgresql bootstrap managed storage affinity resources plugins",
    imageCatalogRef=of(
        "apiGroup kind name major",
        apiGroup={"const": "postgresql.cnpg.io"},
        kind=one_of("ImageCatalog", "ClusterImageCatalog"),
        name=NAME,
        major=number(15, 18),
    ),
    instances=number(1, 9),
    postgresql=of(
        "synchronous parameters",
        synchronous=of(
            "method number dataDurability",
            method=one_of("any", "first"),
            number=number(1, 8),
            dataDurability=one_of("required", "preferred"),
            failoverQuorum=FLAG,
        ),
        parameters=LABELS,
    ),
    bootstrap=of(
        "initdb",
        initdb=of(
            "encoding database owner secret",
            encoding={"const": "UTF8"},
            database=TEXT,
            owner=TEXT,
            secret=REF,
            postInitApplicationSQL=several(TEXT),
        ),
    ),
    managed=of(
        "roles",
        roles=several(
            of(
                "name ensure login passwordSecret",
                name=TEXT,
                ensure=one_of("present", "absent"),
                login=FLAG,
                passwordSecret=REF,
            )
        ),
    ),
    storage=of("size", size=SIZE, storageClass=NAME),
    walStorage=of("size", size=SIZE, storageClass=NAME),
    primaryUpdateStrategy=one_of("unsupervised", "supervised"),
    primaryUpdateMethod=one_of("switchover", "restart"),
    switchoverDelay=number(1, 3_600),
    affinity=of(
        "enablePodAntiAffinity topologyKey podAntiAffinityType",
        enablePodAntiAffinity=FLAG,
        topologyKey=TEXT,
        podAntiAffinityType=one_of("required", "preferred"),
    ),
    seccompProfile=of("type", type=one_of("RuntimeDefault")),
    resources=of("requests limits", requests=LABELS, limits=LABELS),
    plugins=several(of("name parameters", name=TEXT, isWALArchiver=FLAG, parameters=LABELS)),
)
SCHEDULED_BACKUP: Final = of(
    "schedule cluster method",
    schedule={"type": "string", "pattern": r"^(\S+ ){5}\S+$"},
    immediate=FLAG,
    backupOwnerReference=one_of("none", "self", "cluster"),
    cluster=REF,
    method=one_of("plugin"),
    pluginConfiguration=of("name", name=TEXT),
)
OBJECT_STORE: Final = of(
    "retentionPolicy configuration",
    retentionPolicy={"type": "string", "pattern": r"^[1-9][0-9]*[dwm]$"},
    configuration=of(
        "destinationPath s3Credentials",
        destinationPath={"type": "string", "pattern": "^s3://"},
        endpointURL=TEXT,
        s3Credentials=of("accessKeyId secretAccessKey", accessKeyId=KEY, secretAccessKey=KEY),
        wal=of(compression=one_of("gzip", "zstd", "lz4", "snappy")),
        data=of(compression=one_of("gzip", "snappy")),
    ),
)
ISSUER_REF: Final = of(
    "group kind name", group={"const": "cert-manager.io"}, kind=one_of("Issuer", "ClusterIssuer"), name=NAME
)
CERTIFICATE: Final = of(
    "secretName duration renewBefore privateKey usages issuerRef",
    secretName=NAME,
    duration=DURATION,
    renewBefore=DURATION,
    isCA=FLAG,
    commonName=TEXT,
    privateKey=of(
        "algorithm size rotationPolicy",
        algorithm=one_of("ECDSA", "Ed25519", "RSA"),
        size=number(256, 4_096),
        rotationPolicy=one_of("Always", "Never"),
    ),
    usages=several(one_of("digital signature", "server auth", "client auth", "cert sign", "crl sign")),
    uris=several({"type": "string", "pattern": r"^spiffe://[a-z0-9.-]+(/[A-Za-z0-9._-]+)+$"}),
    dnsNames=several(NAME),
    issuerRef=ISSUER_REF,
)
ISSUER: Final = {
    "oneOf": [of("selfSigned", selfSigned=of()), of("ca", ca=of("secretName", secretName=NAME))],
}
REMOTE: Final = of("key property", key=TEXT, property=TEXT)
EXTERNAL_SECRET: Final = of(
    "secretStoreRef target",
    refreshInterval=DURATION,
    secretStoreRef=of("kind name", kind=one_of("ClusterSecretStore", "SecretStore"), name=NAME),
    target=of(
        "name creationPolicy deletionPolicy",
        name=NAME,
        creationPolicy=one_of("Owner", "Orphan", "Merge"),
        deletionPolicy=one_of("Retain", "Delete"),
        template=of("data", type=one_of("kubernetes.io/basic-auth", "Opaque"), data=LABELS),
    ),
    data=several(of("secretKey remoteRef", secretKey=TEXT, remoteRef=REMOTE)),
    dataFrom=several(of("extract", extract=of("key", key=TEXT))),
)
HTTP_ROUTE: Final = of(
    "parentRefs hostnames rules",
    parentRefs=several(
        of(
            "group kind name namespace sectionName",
            group={"const": "gateway.networking.k8s.io"},
            kind=one_of("Gateway"),
            name=NAME,
            namespace=NAME,
            sectionName=NAME,
        )
    ),
    hostnames=several(NAME),
    rules=several(
        of(
            "matches backendRefs",
            filters=several(
                of(
                    "type urlRewrite",
                    type=one_of("URLRewrite"),
                    urlRewrite=of(
                        "path",
                        path=of(
                            "type replaceFullPath",
                            type=one_of("ReplaceFullPath"),
                            replaceFullPath={"type": "string", "pattern": "^/"},
                        ),
                    ),
                )
            ),
            timeouts=of("request", request=DURATION),
            matches=several(
                of(
                    "path",
                    path=of(
                        "type value",
                        type=one_of("Exact", "PathPrefix", "RegularExpression"),
                        value={"type": "string", "pattern": "^/"},
                    ),
                    method=one_of("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"),
                )
            ),
            backendRefs=several(
                of("kind name port", group={"const": ""}, kind=one_of("Service"), name=NAME, port=number(1, 65_535))
            ),
        )
    ),
)
CPU_TRIGGER: Final = of(
    "type metricType metadata",
    type=one_of("cpu"),
    metricType=one_of("Utilization", "AverageValue"),
    metadata=of("value", value=TEXT),
)
PROMETHEUS_TRIGGER: Final = of(
    "type metricType metadata",
    type=one_of("prometheus"),
    metricType=one_of("Value", "AverageValue"),
    metadata=of("serverAddress query threshold", serverAddress=TEXT, query=TEXT, threshold=TEXT),
)
SCALED_OBJECT: Final = of(
    "scaleTargetRef minReplicaCount maxReplicaCount triggers",
    scaleTargetRef=of("apiVersion kind name", apiVersion=TEXT, kind=one_of("Deployment"), name=NAME),
    minReplicaCount=number(0),
    maxReplicaCount=number(1),
    pollingInterval=number(1, 600),
    fallback=of(
        "failureThreshold replicas",
        failureThreshold=number(1),
        replicas=number(1),
        behavior=one_of("static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"),
    ),
    advanced=of(
        "horizontalPodAutoscalerConfig",
        horizontalPodAutoscalerConfig=of(
            "behavior", name=NAME, behavior=of("scaleDown scaleUp", scaleDown=SCALING, scaleUp=SCALING)
        ),
    ),
    triggers=several({"oneOf": [CPU_TRIGGER, PROMETHEUS_TRIGGER]}),
)

SCHEMAS: Final[dict[tuple[str, str], Schema]] = {
    (version, kind): top(version, kind, spec)
    for version, kind, spec in (
        ("monitoring.coreos.com/v1", "PodMonitor", POD_MONITOR),
        ("monitoring.coreos.com/v1", "PrometheusRule", PROMETHEUS_RULE),
        ("postgresql.cnpg.io/v1", "Cluster", CLUSTER),
        ("postgresql.cnpg.io/v1", "ScheduledBackup", SCHEDULED_BACKUP),
        ("barmancloud.cnpg.io/v1", "ObjectStore", OBJECT_STORE),
        ("cert-manager.io/v1", "Certificate", CERTIFICATE),
        ("cert-manager.io/v1", "Issuer", ISSUER),
        ("external-secrets.io/v1", "ExternalSecret", EXTERNAL_SECRET),
        ("gateway.networking.k8s.io/v1", "HTTPRoute", HTTP_ROUTE),
        ("keda.sh/v1alpha1", "ScaledObject", SCALED_OBJECT),
    )
}
"""By apiVersion and kind."""
