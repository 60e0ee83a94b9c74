"""The calls of ``pc/windows.py`` with a Windows Python: what they answer, and that none is typed wrongly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bundle.windows.wine import WinePrefix, usable_locale
from tests.support.wine import whole_python

pytestmark = pytest.mark.wine
ROOT = Path(__file__).resolve().parents[3]
ASK = r"""
import json, os, sys
from pathlib import Path
sys.path[:0] = [sys.argv[1]]
from oneclick.errors import OneClickError
from oneclick.messages import windows_language
from oneclick.files import is_being_written, reading
from oneclick.pc import antivirus, machine, windows
from oneclick.port import ports

model = Path("model.bin")
model.write_bytes(b"ggml")
none_listed = antivirus.installed()
said = {"free": is_being_written(model)}
with model.open("r+b"):
    said["written to"] = is_being_written(model)
with model.open("rb"):
    said["read"] = is_being_written(model)
handle = windows.kernel32.CreateFileW(str(model), windows.wintypes.DWORD(0x80000000), 0, None, 3, 0, None)
try:
    with reading(model):
        model.open("rb")
except OneClickError as error:
    said["exclusive"] = error.key
windows.kernel32.CloseHandle(windows.wintypes.HANDLE(handle))
said["gone"] = is_being_written(Path("none.bin"))
said["native machine"] = windows.native_machine()
said["is arm"] = machine.cpu().is_arm
long = Path("a folder with a long name")
long.mkdir()
short = windows.ctypes.create_unicode_buffer(1000)
windows.kernel32.GetShortPathNameW(str(long), short, 1000)
said["short"] = short.value
said["long"] = windows.long_path(short.value)
said["no such"] = windows.long_path("C:\\no\\such~1")
said["program"] = windows.program_of(os.getpid())
said["language"] = windows_language() in ("zh", "en")
said["kind"] = machine.disk(Path.cwd()).kind
with ports.listen("127.0.0.1", 0) as listener:
    port = listener.getsockname()[1]
    said["ours"] = [ports.is_listened_on(port), ports.is_listened_on(port, only_ipv6=True)]
import winreg
for number, (name, state) in enumerate([("360 杀毒", 0x41000), ("Defender", 0x60100), ("", 0), ("odd", "?")]):
    with winreg.CreateKey(winreg.HKEY_LOCAL_MACHINE, windows.ANTIVIRUS_KEY + "\\{%d}" % number) as key:
        winreg.SetValueEx(key, "DISPLAYNAME", 0, winreg.REG_SZ, name)
        kind = winreg.REG_DWORD if isinstance(state, int) else winreg.REG_SZ
        winreg.SetValueEx(key, "STATE", 0, kind, state)
said["before"] = none_listed
said["antivirus"] = antivirus.installed()
print("SAID " + json.dumps(said))
"""


def test_windows_answers_what_is_asked(tmp_path: Path) -> None:
    whole_python(tmp_path / "python")
    (tmp_path / "ask.py").write_text(ASK, encoding="utf-8")
    (tmp_path / "work").mkdir()
    with WinePrefix.temporary(locale=usable_locale()) as prefix:
        command = [tmp_path / "python" / "python.exe", tmp_path / "ask.py", ROOT / "payload"]
        program = prefix.start([str(part) for part in command], cwd=tmp_path / "work")
        assert program.wait() == 0, program.output
    (line,) = [line for line in program.output.splitlines() if line.startswith("SAID ")]
    said = json.loads(line[5:])
    short = said.pop("short")
    assert "~" in short
    assert said == {
        "free": False,
        "written to": True,
        "read": False,
        "exclusive": "model.held",
        "gone": False,
        "native machine": 0x8664,
        "is arm": False,
        "long": "a folder with a long name",
        "no such": "C:\\no\\such~1",
        "program": "python.exe",
        "language": True,
        "kind": "fixed",
        "ours": [True, False],
        "before": [],
        "antivirus": [["360 杀毒", 0x41000], ["Defender", 0x60100], ["odd", 0]],
    }
