"""What stands between a browser and our port: proxies, and who has the port."""

from __future__ import annotations

import urllib.request

from oneclick.folder import BundleFolder
from oneclick.pc.findings import ERROR, OK, WARNING, Finding
from oneclick.port import ports
from oneclick.port.instance import running
from oneclick.settings import Settings


def check_proxy() -> Finding:
    """Name the proxies that Windows and the environment set, and whether 127.0.0.1 goes around them."""
    proxies = {kind: address for kind, address in urllib.request.getproxies().items() if kind != "no"}
    if not proxies:
        return Finding(OK, "doctor.no_proxy")
    shown = "，".join(f"{kind} {address}" for kind, address in sorted(proxies.items()))
    if urllib.request.proxy_bypass("127.0.0.1"):
        return Finding(OK, "doctor.proxy_bypassed", {"proxies": shown})
    return Finding(WARNING, "doctor.proxy", {"proxies": shown})


def check_port(folder: BundleFolder, settings: Settings) -> Finding:
    """Tell whether the port could be taken now, and who has it otherwise."""
    twin = running(folder.running)
    if twin is not None:
        return Finding(OK, "doctor.port_ours", {"url": twin.url})
    try:
        ports.take_port(settings.host, settings.port, fixed=True).close()
    except ports.PortTaken as error:
        owner = error.values.get("owner") or "?"
        severity = ERROR if settings.port_is_fixed else WARNING
        return Finding(severity, "doctor.port_taken", {"port": settings.port, "owner": owner})
    return Finding(OK, "doctor.port_free", {"port": settings.port})
