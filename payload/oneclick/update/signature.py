"""Whose release is this? Signatures in minisign's format, so that anybody's ``minisign -V`` reads them too.

A public key is ``base64("Ed" + id + key)``, a signature file four lines: a comment nobody signed, ``base64(algorithm +
id + signature)``, a trusted comment, and the signature of both. The trusted comment says ``file:NAME``, so that no
signature of one file passes for another's. Source: https://jedisct1.github.io/minisign/

A key is followed by its successors: ``key-<id>.pub``, signed by the key with that id, names the next one.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Callable, Optional

from oneclick.errors import OneClickError
from oneclick.update.ed25519 import is_valid

ENDING = ".minisig"
"""Of the file beside a file that holds its signature."""
SIGNED_SUFFIXES = (ENDING, ".pub")
"""Of the files that ``require_signed`` may ask for."""
_PURE, _PREHASHED = b"Ed", b"ED"
_MOST_SUCCESSORS = 8

Find = Callable[[str], Optional[bytes]]
"""File name -> content, None where there is no such file."""


@dataclass(frozen=True)
class PublicKey:
    """What a release is checked with."""

    number: bytes
    """Eight bytes that tell keys apart."""
    key: bytes

    @property
    def successor_file(self) -> str:
        """Name of the file that names the key after this one; the number as minisign shows it."""
        return f"key-{self.number[::-1].hex().upper()}.pub"


def read_public_key(text: str) -> PublicKey:
    """Read a key: its line of base64, or a whole ``.pub`` file. ValueError where it is none."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("untrusted comment:")]
    data = base64.b64decode(lines[0] if len(lines) == 1 else "", validate=True)
    if len(data) != 42 or data[:2] != _PURE:
        raise ValueError("no public key of minisign")
    return PublicKey(data[2:10], data[10:])


def require_signed(name: str, data: bytes, own: PublicKey, find: Find) -> None:
    """Raise OneClickError unless ``data`` is the file ``name`` as the owner of the key ``own`` signed it.

    ``find`` gives the signature ``name.minisig`` and the files of successors that lie beside it.
    """
    signature = find(name + ENDING)
    if signature is None:
        raise OneClickError("update.not_signed", name=name)
    key, number = own, _parse(name, signature)[1]
    for _ in range(_MOST_SUCCESSORS):
        if key.number == number:
            break
        key = _successor(key, find, name)
    _require(name, data, signature, key)


def _successor(key: PublicKey, find: Find, signed: str) -> PublicKey:
    name = key.successor_file
    data, signature = find(name), find(name + ENDING)
    if data is None or signature is None:
        raise OneClickError("update.foreign_key", name=signed)
    _require(name, data, signature, key)
    try:
        return read_public_key(data.decode("utf-8"))
    except ValueError as error:
        raise OneClickError("update.foreign_key", name=signed) from error


def _require(name: str, data: bytes, signature: bytes, key: PublicKey) -> None:
    algorithm, number, made, comment, of_comment = _parse(name, signature)
    message = data if algorithm == _PURE else hashlib.blake2b(data).digest()
    right = number == key.number and is_valid(key.key, message, made) and is_valid(key.key, made + comment, of_comment)
    if not right or f"file:{name}" not in re.split(r"\s+", comment.decode("utf-8", "replace")):
        raise OneClickError("update.wrong_signature", name=name)


def _parse(name: str, signature: bytes) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """Return (algorithm, key number, signature, trusted comment, signature of both)."""
    try:
        _, line, comment, last = (signature.rstrip(b"\r\n").replace(b"\r\n", b"\n")).split(b"\n")
        head, of_comment = base64.b64decode(line, validate=True), base64.b64decode(last, validate=True)
        prefix = b"trusted comment: "
        if len(head) != 74 or head[:2] not in (_PURE, _PREHASHED) or not comment.startswith(prefix):
            raise ValueError("no signature of minisign")
    except ValueError as error:
        raise OneClickError("update.wrong_signature", name=name) from error
    return head[:2], head[2:10], head[10:], comment[len(prefix) :], of_comment


def version_key(version: str) -> tuple[int, ...]:
    """Return what versions are ordered by: ``1.10.0`` comes after ``1.9``. ValueError for all but dotted numbers."""
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9}){0,5}", version):
        raise ValueError(f"version {version!r}")
    numbers = [int(part) for part in version.split(".")]
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)
