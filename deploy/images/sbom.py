"""Lists the parts of an image as CycloneDX: standard input has them as `deploy.images.parts` collects them.

Run by the Python of `.batzen/sbom`, which has the library for it (requirements/sbom.txt) and nothing of the suite. The
same image gives the same list. Ends with 1 if the list does not hold to CycloneDX's own schema.
"""

from __future__ import annotations

import json
import sys
import uuid
from datetime import datetime
from typing import Any

from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation import make_schemabased_validator
from packageurl import PackageURL


def bill(parts: dict[str, Any]) -> Bom:
    """Return the list of what is in the image."""
    image = parts["image"]
    whole = Component(
        type=ComponentType.CONTAINER,
        name=image["name"],
        version=image["version"],
        bom_ref=image["name"],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=image["id"])],
        properties=[Property(name="batzen:commit", value=image["commit"])],
    )
    components = [*map(wheel, parts["python"]), *(package(entry, parts["distribution"]) for entry in parts["debian"])]
    listed = Bom(components=components, serial_number=uuid.uuid5(uuid.NAMESPACE_OID, image["id"]))
    listed.metadata.component = whole
    listed.metadata.timestamp = datetime.fromisoformat(image["committed"])
    listed.register_dependency(whole, components)
    return listed


def wheel(entry: dict[str, str]) -> Component:
    """Return a Python package, with the hash of the wheel that it was installed from."""
    url = PackageURL(type="pypi", name=entry["name"], version=entry["version"])
    return Component(
        type=ComponentType.LIBRARY,
        name=entry["name"],
        version=entry["version"],
        purl=url,
        bom_ref=str(url),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=entry["sha256"])],
        licenses=[LicenseFactory().make_from_string(entry["license"])] if entry["license"] else [],
    )


def package(entry: dict[str, str], distribution: str) -> Component:
    """Return a package of Debian."""
    qualifiers = {"arch": entry["architecture"], "distro": distribution, "upstream": entry["source"]}
    url = PackageURL(
        type="deb", namespace="debian", name=entry["name"], version=entry["version"], qualifiers=qualifiers
    )
    return Component(
        type=ComponentType.LIBRARY, name=entry["name"], version=entry["version"], purl=url, bom_ref=str(url)
    )


def main() -> str | None:
    """Write the list; return what is wrong with it, if anything is."""
    text = make_outputter(bill(json.load(sys.stdin)), OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)
    wrong = make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_6).validate_str(text)
    if wrong is not None:
        return f"The list of parts does not hold to its schema: {wrong}"
    sys.stdout.write(text + "\n")
    return None


if __name__ == "__main__":
    sys.exit(main())
