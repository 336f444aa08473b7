"""Keys that seals are made with: ed25519, as PEM files that `openssl pkey` reads as well."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from typing import TYPE_CHECKING

from filewatchd.errors import FatalError
from filewatchd.extras import lacks

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_LARGEST = 16 * 1024


def needed() -> None:
    """See that the extra is there.

    Raises:
        FatalError: it isn't.
    """
    if (lack := lacks("seal")) is not None:
        raise FatalError(f"{lack[0]}; {lack[1]}")


def make(path: str) -> bytes:
    """Make a key: ``path``, mode 0600, and ``path.pub``. Returns the public one's 32 bytes.

    Raises:
        FatalError: one of the files is there already (73), or can't be written.
    """
    needed()
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    public = key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
    if os.path.lexists(f"{path}.pub"):
        raise FatalError(f"{path}.pub is there already; name another file", exit_code=73)
    _write(path, private, 0o600)
    _write(f"{path}.pub", public, 0o644)
    return key.public_key().public_bytes_raw()


def _write(path: str, data: bytes, mode: int) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise FatalError(f"{path} is there already; name another file", exit_code=73) from None
    except OSError as error:
        raise FatalError(f"{path} can't be made: {error.strerror}") from error
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)


def private_key(path: str) -> Ed25519PrivateKey:
    """The key in a file that nobody else may read.

    Raises:
        FatalError: others may read it (77), or it is no such key.
    """
    needed()
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    data = _read(path, private=True)
    try:
        key = s.load_pem_private_key(data, None)
    except (ValueError, TypeError) as error:
        raise FatalError(f"{path} is no private key without a passphrase: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise FatalError(f"{path} is no ed25519 key; make one with `filewatchctl index seal --new-key FILE`")
    return key


def public_key(path: str) -> bytes:
    """The 32 bytes of a public key's file.

    Raises:
        FatalError: it is none.
    """
    needed()
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = s.load_pem_public_key(_read(path, private=False))
    except ValueError as error:
        raise FatalError(f"{path} is no public key: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise FatalError(f"{path} is no ed25519 key")
    return key.public_bytes_raw()


def is_signed(key: bytes, statement: str, signature: bytes) -> bool:
    """Whether a statement has this key's signature."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, statement.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


def fingerprint(key: bytes) -> str:
    """A public key in few characters, as ssh writes it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def _read(path: str, *, private: bool) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise FatalError(f"{path} can't be read: {error.strerror}") from error
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise FatalError(f"{path} is no regular file")
        if private and found.st_mode & 0o077:
            raise FatalError(f"others may read {path}; chmod 600 it, if nobody has read it", exit_code=77)
        if private and found.st_uid not in (0, os.geteuid()):
            raise FatalError(f"{path} belongs to uid {found.st_uid}, who could read it", exit_code=77)
        return os.read(fd, _LARGEST)
    finally:
        os.close(fd)
