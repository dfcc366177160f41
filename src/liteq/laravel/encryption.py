"""What Laravel's `encrypt()` writes, and back: jobs that are ShouldBeEncrypted, with APP_KEY.

The ciphers come from the package `cryptography`: pip install "liteq[laravel]".
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
from collections.abc import Sequence
from typing import NamedTuple

from liteq.errors import UnreadablePayload
from liteq.laravel.phpserialize import dumps, loads

_SIZES = {"AES-128-CBC": 16, "AES-256-CBC": 32, "AES-128-GCM": 16, "AES-256-GCM": 32}  # of keys
_BLOCK = 16  # bytes; a CBC iv takes as many, and so does a GCM tag
_GCM_IV = 12


class Encrypter:
    """Encrypts with `key`; decrypts with it, or with the first of `previous` that fits.

    A key is raw bytes, or the text of APP_KEY: Base64 after `base64:`, else the characters
    themselves. `cipher` is the application's `app.cipher`. Raises ValueError for another cipher
    than AES-128 or AES-256 with CBC or GCM, or a key whose length is not the cipher's, and
    ImportError where `cryptography` is missing.
    """

    def __init__(
        self, key: str | bytes, previous: Sequence[str | bytes] = (), cipher: str = "AES-256-CBC"
    ) -> None:
        self._cipher = cipher.upper()  # as Laravel, which takes either case
        if self._cipher not in _SIZES:
            raise ValueError(f"cipher={cipher!r} is none of Laravel's: {', '.join(_SIZES)}")
        self._gcm = self._cipher.endswith("GCM")
        self._keys = [_raw(key, self._cipher, "APP_KEY")]
        self._keys += [_raw(each, self._cipher, "a previous key") for each in previous]
        _need_cryptography()

    def encrypt(self, text: bytes) -> str:
        """What `Crypt::encryptString()` gives: Base64 of JSON with iv, value, mac and tag."""
        key = self._keys[0]
        tag = b""
        if self._gcm:
            iv = os.urandom(_GCM_IV)
            value, tag = _gcm_sealed(key, iv, text)
        else:
            iv = os.urandom(_BLOCK)
            value = _cbc_sealed(key, iv, text)
        said = {"iv": _b64(iv), "value": _b64(value)}
        said["mac"] = "" if self._gcm else _mac(key, said["iv"] + said["value"])
        said["tag"] = _b64(tag)
        return _b64(json.dumps(said, separators=(",", ":")).encode())

    def decrypt(self, token: str) -> bytes:
        """What was encrypted. Raises UnreadablePayload: no such token, or no key that fits."""
        sealed = _parts(token, gcm=self._gcm)
        for key in self._keys:
            found = _gcm_opened(key, sealed) if self._gcm else _cbc_opened(key, sealed)
            if found is not None:
                return found
        raise UnreadablePayload(
            f"APP_KEY does not fit: the text was encrypted with another key or changed since "
            f"({len(self._keys)} tried); where the key was changed, give the earlier ones "
            "as well (APP_PREVIOUS_KEYS)"
        )

    def encrypt_job(self, command: str | bytes) -> str:
        """`data.command` of an encrypted job; `command` is the job as serialize()d text."""
        return self.encrypt(dumps(command))  # Laravel's encrypt() serializes the text once more

    def decrypt_job(self, token: str) -> bytes:
        """The job as serialize()d text, from `data.command`. Raises UnreadablePayload."""
        text = self.decrypt(token)
        command = loads(text, limit=len(text))
        if isinstance(command, str):
            return command.encode()
        if isinstance(command, bytes):
            return command
        raise UnreadablePayload(
            f"decrypted to a {type(command).__name__}, where a job's text belongs"
        )


class _Sealed(NamedTuple):
    """The parts of a token; what the mac is of stays as it was written."""

    iv: bytes
    value: bytes
    mac: str
    tag: bytes
    signed: str


def _raw(key: str | bytes, cipher: str, which: str) -> bytes:
    """The key's bytes, as many as the cipher takes. The messages never show the key."""
    raw = key.encode() if isinstance(key, str) else key
    if raw.startswith(b"base64:"):
        try:
            raw = base64.b64decode(raw[7:], validate=True)
        except binascii.Error as exc:
            raise ValueError(f"{which} is not Base64 after `base64:`; copy it from .env") from exc
    if len(raw) != _SIZES[cipher]:
        raise ValueError(
            f"{which} has {len(raw)} bytes, and {cipher} takes {_SIZES[cipher]}; "
            "give it with its `base64:` as in .env, and the application's cipher"
        )
    return raw


def _parts(token: str, *, gcm: bool) -> _Sealed:
    try:
        said = json.loads(base64.b64decode(token, validate=True))
        iv, value, mac = (said[name] + "" for name in ("iv", "value", "mac"))  # text, or TypeError
        sealed = _Sealed(
            base64.b64decode(iv, validate=True),
            base64.b64decode(value, validate=True),
            mac,
            base64.b64decode(said.get("tag") or "", validate=True),  # none before Laravel 8.54
            iv + value,
        )
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise UnreadablePayload(
            f"no encrypted text of Laravel's, Base64 of JSON with iv, value and mac: {token[:40]!r}"
        ) from exc
    if len(sealed.iv) != (_GCM_IV if gcm else _BLOCK):
        raise UnreadablePayload(
            f"encrypted with another cipher: its iv has {len(sealed.iv)} bytes; "
            "give the application's own (app.cipher)"
        )
    return sealed


def _mac(key: bytes, signed: str) -> str:
    return hmac.new(key, signed.encode(), hashlib.sha256).hexdigest()


def _cbc_sealed(key: bytes, iv: bytes, text: bytes) -> bytes:
    from cryptography.hazmat.primitives import padding
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    pad = padding.PKCS7(8 * _BLOCK).padder()
    does = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return does.update(pad.update(text) + pad.finalize()) + does.finalize()


def _cbc_opened(key: bytes, sealed: _Sealed) -> bytes | None:
    """The text; None where the key does not fit. The mac goes first, so no padding is told on."""
    from cryptography.hazmat.primitives import padding
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    if not hmac.compare_digest(_mac(key, sealed.signed).encode(), sealed.mac.encode()):
        return None
    does = Cipher(algorithms.AES(key), modes.CBC(sealed.iv)).decryptor()
    pad = padding.PKCS7(8 * _BLOCK).unpadder()
    try:
        text = does.update(sealed.value) + does.finalize()
        return pad.update(text) + pad.finalize()
    except ValueError:  # signed with the key, and yet nothing that was encrypted
        return None


def _gcm_sealed(key: bytes, iv: bytes, text: bytes) -> tuple[bytes, bytes]:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    both = AESGCM(key).encrypt(iv, text, None)
    return both[:-_BLOCK], both[-_BLOCK:]


def _gcm_opened(key: bytes, sealed: _Sealed) -> bytes | None:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(sealed.tag) != _BLOCK:  # as Laravel asks
        return None
    try:
        return AESGCM(key).decrypt(sealed.iv, sealed.value + sealed.tag, None)
    except InvalidTag:
        return None


def _need_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as exc:
        raise ImportError(
            'encrypted jobs need the package cryptography: pip install "liteq[laravel]"'
        ) from exc


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
