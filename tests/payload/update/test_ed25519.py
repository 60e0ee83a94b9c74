"""The verifier against RFC 8032, against a library on random messages, and against signatures made to fool it."""

from __future__ import annotations

import random

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from oneclick.update.ed25519 import is_valid

ORDER = 2**252 + 27742317777372353535851937790883648493

RFC_8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]
"""Section 7.1: public key, message, signature."""


@pytest.mark.parametrize(("key", "message", "signature"), RFC_8032)
def test_the_vectors_of_the_rfc(key: str, message: str, signature: str) -> None:
    assert is_valid(bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature))
    assert not is_valid(bytes.fromhex(key), bytes.fromhex(message) + b"\0", bytes.fromhex(signature))


def by_the_library(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def test_it_agrees_with_a_library_on_good_and_on_damaged_signatures() -> None:
    chance = random.Random(32)
    for number in range(150):
        secret = Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
        key = secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        message = chance.randbytes(number)
        signature = bytearray(secret.sign(message))
        assert is_valid(key, message, bytes(signature))
        signature[chance.randrange(64)] ^= 1 << chance.randrange(8)
        assert is_valid(key, message, bytes(signature)) == by_the_library(key, message, bytes(signature)) is False


def test_a_second_signature_cannot_be_made_of_a_good_one() -> None:
    key, message, signature = (bytes.fromhex(text) for text in RFC_8032[1])
    scalar = int.from_bytes(signature[32:], "little") + ORDER
    assert not is_valid(key, message, signature[:32] + scalar.to_bytes(32, "little"))


@pytest.mark.parametrize(
    "point",
    [
        (2**255 - 18).to_bytes(32, "little"),  # y of the neutral element, not reduced
        (1 | 1 << 255).to_bytes(32, "little"),  # x = 0 with a sign
        (2).to_bytes(32, "little"),  # on no curve
        b"\xff" * 32,
    ],
)
def test_points_that_no_one_may_encode_are_refused(point: bytes) -> None:
    key, message, signature = (bytes.fromhex(text) for text in RFC_8032[0])
    assert not is_valid(point, message, signature)
    assert not is_valid(key, message, point + signature[32:])


@pytest.mark.parametrize("length", [0, 31, 33, 63, 65, 1000])
def test_wrong_lengths_are_refused(length: int) -> None:
    key, message, signature = (bytes.fromhex(text) for text in RFC_8032[0])
    assert not is_valid(bytes(length), message, signature)
    assert not is_valid(key, message, bytes(length))
