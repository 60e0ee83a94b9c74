"""Whose release is this: minisign's own files, files made to fool us, and keys that follow each other."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import minisign
import pytest

from bundle.errors import UsageError
from bundle.release.sign import read_signer
from oneclick.errors import OneClickError
from oneclick.update.signature import ENDING, PublicKey, read_public_key, require_signed, version_key

DATA = b'{"name": "latest"}\n'


def make_key(folder: Path, name: str, password: str = "") -> tuple[Path, PublicKey]:
    """Write a secret key and return it with its public half."""
    pair = minisign.KeyPair.generate()
    public = read_public_key(pair.public_key.to_base64().decode())
    if password:
        pair.secret_key.encrypt(password, opslimit=32768, memlimit=1 << 24)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"untrusted comment: a secret of the tests\n" + pair.secret_key.to_base64() + b"\n")
    return path, public


def sign(key: Path, name: str = "latest.json", data: bytes = DATA) -> dict[str, bytes]:
    return read_signer(key, lambda: "").signed(name, data)


def refused(name: str, data: bytes, key: PublicKey, files: dict[str, bytes]) -> str:
    with pytest.raises(OneClickError) as told:
        require_signed(name, data, key, files.get)
    assert all(told.value.both())
    return told.value.key


def test_what_was_signed_is_accepted_and_signing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    path, key = make_key(tmp_path, "a.key")
    require_signed("latest.json", DATA, key, sign(path).get)
    assert sign(path) == sign(path)


def test_the_real_minisign_and_we_read_each_other(tmp_path: Path) -> None:
    program = shutil.which("minisign")
    assert program, "tests/run.py installs it"
    make = [program, "-G", "-W", "-p", "m.pub", "-s", "m.key"]
    subprocess.run(make, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "latest.json").write_bytes(DATA)
    for legacy in ([], ["-l"]):
        command = [program, "-S", *legacy, "-s", "m.key", "-m", "latest.json"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        require_signed("latest.json", DATA, read_public_key((tmp_path / "m.pub").read_text()), files.get)
    ours = sign(tmp_path / "m.key")
    (tmp_path / f"latest.json{ENDING}").write_bytes(ours[f"latest.json{ENDING}"])
    checked = subprocess.run(
        [program, "-V", "-p", "m.pub", "-m", "latest.json"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "Trusted comment: file:latest.json" in checked.stdout


def test_unsigned_changed_renamed_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path, key = make_key(tmp_path / "a", "a.key")
    stranger, _ = make_key(tmp_path / "b", "b.key")
    good = sign(path)
    assert refused("latest.json", DATA, key, {}) == "update.not_signed"
    assert refused("latest.json", DATA + b" ", key, good) == "update.wrong_signature"
    assert refused("latest.json", DATA, key, sign(stranger)) == "update.foreign_key"
    patch = {f"latest.json{ENDING}": sign(path, "patch.json")[f"patch.json{ENDING}"]}
    assert refused("latest.json", DATA, key, patch) == "update.wrong_signature"


@pytest.mark.parametrize("line", range(4))
def test_every_damaged_line_but_the_first_is_refused(tmp_path: Path, line: int) -> None:
    path, key = make_key(tmp_path, "a.key")
    name = f"latest.json{ENDING}"
    lines = sign(path)[name].split(b"\n")
    lines[line] = lines[line].replace(b"a", b"b").replace(b"e", b"f").replace(b"A", b"B")
    files = {name: b"\n".join(lines)}
    if line == 0:
        require_signed("latest.json", DATA, key, files.get)
    else:
        assert refused("latest.json", DATA, key, files) in ("update.wrong_signature", "update.foreign_key")


@pytest.mark.parametrize("text", [b"", b"\n\n\n", b"x" * 10_000, b"a\nb\nc\nd\ne\n", b"\xff\n\xff\n\xff\n\xff\n"])
def test_what_is_no_signature_is_refused(tmp_path: Path, text: bytes) -> None:
    _, key = make_key(tmp_path, "a.key")
    assert refused("latest.json", DATA, key, {f"latest.json{ENDING}": text}) == "update.wrong_signature"


def test_a_key_is_followed_to_its_signed_successors_and_to_no_other(tmp_path: Path) -> None:
    first, old = make_key(tmp_path / "1", "a.key")
    second, middle = make_key(tmp_path / "2", "b.key")
    third, _ = make_key(tmp_path / "3", "c.key")
    for before, key, after, folders in ((first, old, second, "23"), (second, middle, third, "3")):
        public = f"untrusted comment: next\n{read_signer(after, lambda: '').public_key}\n".encode()
        for folder in folders:
            (tmp_path / folder / key.successor_file).write_bytes(public)
            signature = read_signer(before, lambda: "").sign(key.successor_file, public)
            (tmp_path / folder / (key.successor_file + ENDING)).write_bytes(signature)
    require_signed("latest.json", DATA, old, sign(third).get)
    read_signer(third, lambda: "").require_accepted(read_signer(first, lambda: "").public_key, "bundle.json")
    files = sign(third)
    files[old.successor_file] = files[middle.successor_file]  # the right key, but nobody signed it for this place
    assert refused("latest.json", DATA, old, files) == "update.wrong_signature"
    with pytest.raises(UsageError, match="not the one that users' bundles trust"):
        read_signer(first, lambda: "").require_accepted(read_signer(third, lambda: "").public_key, "bundle.json")


def test_a_password_is_asked_only_where_there_is_one_and_a_wrong_one_is_said(tmp_path: Path) -> None:
    path, key = make_key(tmp_path, "a.key", password="geheim")
    signed = read_signer(path, lambda: "geheim").signed("latest.json", DATA)
    require_signed("latest.json", DATA, key, signed.get)
    with pytest.raises(UsageError, match=r"a\.key cannot be used to sign"):
        read_signer(path, lambda: "wrong")
    (tmp_path / "no.key").write_text("hello")
    with pytest.raises(UsageError, match="cannot be used to sign"):
        read_signer(tmp_path / "no.key", lambda: pytest.fail("asked"))


@pytest.mark.parametrize(
    "text", ["", "RW", "hello", "untrusted comment: x", "RWQ" + "A" * 53 + "\n" + "RWQ" + "A" * 53]
)
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^.+$"):
        read_public_key(text)


def test_versions_are_ordered_by_their_numbers() -> None:
    assert version_key("1.9") < version_key("1.10.0") < version_key("2")
    assert version_key("1.0.0") == version_key("1") == version_key("1.0")
    for odd in ("", "1.0rc1", "v1", "1..2", "1.0.0 ", "-1", "1" * 20):
        with pytest.raises(ValueError, match="version"):
            version_key(odd)
