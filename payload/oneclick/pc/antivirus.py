"""Which antivirus programs Windows' Security Center knows: they are who takes files away and holds others open.

WMI's ``root\\SecurityCenter2`` tells it as well, but takes COM or a powershell that policies forbid. The service of the
Security Center keeps the same list in the registry, where every user may read it.
"""

from __future__ import annotations

import sys
from typing import Iterable

from oneclick.messages import both
from oneclick.pc.findings import NOTE, OK, Finding

STATE_MASK, STATE_ON = 0xF000, 0x1000
"""Of a product's STATE, WMI's productState: 0x0000 off, 0x1000 on, 0x2000 snoozed, 0x3000 expired."""


def check_antivirus(programs: Iterable[tuple[str, int]]) -> Finding:
    """Name the ``programs`` (display name, STATE); what was removed badly is still listed, so several may be of one."""
    found: dict[str, bool] = {}
    for name, state in programs:
        found[name] = found.get(name, False) or state & STATE_MASK == STATE_ON
    if not found:
        return Finding(NOTE, "doctor.antivirus_none")
    told = [
        both("doctor.antivirus_on" if is_on else "doctor.antivirus_off", name=name) for name, is_on in found.items()
    ]
    chinese, english = zip(*told)
    return Finding(OK, "doctor.antivirus", {"chinese": "、".join(chinese), "english": ", ".join(english)})


def installed() -> list[tuple[str, int]] | None:
    """Return what the Security Center lists as (display name, STATE); None where there is none to ask."""
    if sys.platform == "win32":
        from oneclick.pc import windows

        return windows.antivirus_programs()
    return None
