"""sbom.cdx.json: the components of a bundle for programs that look for known holes (CycloneDX 1.6)."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component as CdxComponent
from cyclonedx.model.component import ComponentType
from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from bundle.contents.component import Component, Provenance
from bundle.errors import AuditFailed

NAME = "sbom.cdx.json"

_TYPES = {
    "python": ComponentType.PLATFORM,
    "model": ComponentType.MACHINE_LEARNING_MODEL,
    "payload": ComponentType.APPLICATION,
}


def write_sbom(tree: Path, provenance: Provenance) -> Path:
    """Write ``tree``/sbom.cdx.json, validated against the official schema; the same bytes for the same components."""
    bom = Bom()
    for component in provenance.components:
        if component.kind == "payload":
            bom.metadata.component = _component(component)
        else:
            bom.components.add(_component(component))
    if bom.metadata.component is not None:
        bom.register_dependency(bom.metadata.component, bom.components)
    data = json.loads(JsonV1Dot6(bom).output_as_string())
    # The library stamps the time and a random number; both are optional and would make every build another file.
    data["metadata"].pop("timestamp", None)
    data.pop("serialNumber", None)
    text = json.dumps(data, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    validate_sbom(text)
    path = tree / NAME
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def validate_sbom(text: str) -> None:
    """Raise AuditFailed with the first violation of the CycloneDX schema in ``text``."""
    problem = _validator().validate_str(text)
    if problem is not None:
        raise AuditFailed(f"{NAME} is not valid", why=str(problem)[:500], do="correct the component it names")


@functools.cache
def _validator() -> JsonStrictValidator:
    return JsonStrictValidator(SchemaVersion.V1_6)  # reading the schemas takes a second


def _component(component: Component) -> CdxComponent:
    homepage = [ExternalReference(type=ExternalReferenceType.WEBSITE, url=XsUri(component.homepage))]
    return CdxComponent(
        name=component.name,
        version=component.version or None,
        type=_TYPES.get(component.kind, ComponentType.LIBRARY),
        bom_ref=f"{component.kind}:{component.name}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=component.sha256)] if component.sha256 else None,
        licenses=[_licence(component.licence)] if component.licence else None,
        purl=_package_url(component),
        external_references=homepage if component.homepage else None,
        properties=[Property(name="source", value=component.source)] if component.source else None,
    )


def _licence(text: str) -> DisjunctiveLicense | LicenseExpression:
    """An SPDX id or expression where ``text`` is one, else its words."""
    licence = LicenseFactory().make_from_string(text)
    # A single LicenseRef is a valid expression to the library and not to the schema's reader of ids: keep it a name.
    if isinstance(licence, LicenseExpression) and text.startswith("LicenseRef-") and " " not in text:
        return DisjunctiveLicense(name=text)
    return licence


def _package_url(component: Component) -> PackageURL | None:
    """Where package databases know the component, so that scanners find its holes."""
    version = re.sub(r"^in \S+ ", "", component.version) or None
    if component.kind in ("package", "engine"):
        name = re.sub(r"[-_.]+", "-", component.name).lower()
        return PackageURL(type="pypi", name=name, version=version)
    if component.kind == "web" and component.source.startswith("npm: "):
        full, number = component.source.split()[1:3]
        namespace, _, name = full.rpartition("/")
        return PackageURL(type="npm", namespace=namespace or None, name=name, version=number)
    if component.kind == "python":
        return PackageURL(type="generic", name="python", version=version)
    return None
