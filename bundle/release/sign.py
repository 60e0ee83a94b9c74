"""Sign what users' programs trust: ``latest.json``, ``SHA256SUMS`` and patches, in minisign's format.

The secret is a file that ``minisign -G`` made. Beside it may lie ``key-<id>.pub`` with ``key-<id>.pub.minisig``: this
secret's public key, signed by the one before it (``minisign -S -s OLD.key -m key-<id>.pub``, the id being the old
key's). They are published too, so that bundles with the old key accept the new one. Signatures name no time: signing
again gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundle.errors import UsageError
from oneclick.errors import OneClickError
from oneclick.update.signature import ENDING, read_public_key, require_signed

if TYPE_CHECKING:
    from minisign import SecretKey


@dataclass(frozen=True, kw_only=True)
class Signer:
    """A secret key, ready to sign, and the files that lead old bundles to it."""

    secret: SecretKey
    public_key: str
    """One line of base64, as a recipe names it."""
    successors: dict[str, bytes]
    """File name -> content."""

    def sign(self, name: str, data: bytes) -> bytes:
        """Return the signature file of ``data``, which is published as ``name``."""
        comment = f"signature of {name}"
        signature = self.secret.sign(data, trusted_comment=f"file:{name}", untrusted_comment=comment)
        return bytes(signature) + b"\n"

    def signed(self, name: str, data: bytes) -> dict[str, bytes]:
        """Return what lies beside the file ``name``: its signature, and the successors (file name -> content)."""
        return {name + ENDING: self.sign(name, data), **self.successors}

    def require_accepted(self, public_key: str, where: str) -> None:
        """Raise UsageError unless bundles with ``public_key`` accept what this signer signs."""
        try:
            files = self.signed("probe", b"")
            require_signed("probe", b"", read_public_key(public_key), files.get)
        except (OneClickError, ValueError) as error:
            raise UsageError(
                "this key is not the one that users' bundles trust",
                why=f"{where} says public_key = {public_key!r}, the key is {self.public_key!r}",
                do="take the right key, or put its successor's files beside it (see docs/release.md)",
            ) from error


def require_signer(signer: Signer | None, bundle: Mapping[str, Any]) -> None:
    """Raise UsageError unless programs with this ``bundle.json`` will accept what is made with ``signer``."""
    public_key = str(bundle.get("release", {}).get("public_key", ""))
    if signer and public_key:
        signer.require_accepted(public_key, "bundle.json")
    elif public_key:
        raise UsageError(
            "this release has to be signed",
            why="its bundle carries a public key, so users' programs take no unsigned update",
            do="give the secret key with --key, or in the environment variable SIGNING_KEY",
        )


def read_signer(path: Path, password: Callable[[], str]) -> Signer:
    """Read the secret key at ``path``; ``password`` is asked only where the key has one.

    Raises UsageError where the file is no key, or the password is wrong.
    """
    import minisign

    try:
        secret = minisign.SecretKey.from_file(path)
        if secret.is_encrypted():
            secret.decrypt(password())
        public_key = secret.get_public_key().to_base64().decode()
    except (OSError, ValueError, minisign.Error) as error:
        raise UsageError(
            f"{path.name} cannot be used to sign",
            why=str(error),
            do="give the secret key that `minisign -G` made, and its password",
        ) from error
    beside = {file.name: file.read_bytes() for file in sorted(path.parent.glob("key-*.pub*"))}
    return Signer(secret=secret, public_key=public_key, successors=beside)
