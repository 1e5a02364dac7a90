"""What does the certificate prove that came with a request?

RFC 8705. A software may show a certificate of the structure that it works for (IGC-Santé, ORG AUTH_CLI) in place of a
key: its subject says who that is, and its thumbprint binds a token to it, so that a stolen token opens nothing without
the certificate's key. That the other end holds that key was seen in the TLS handshake, by us or by a proxy in front of
us. Here is looked at what is to be seen again later: its authority, its times, whether it was revoked.
"""

from __future__ import annotations

import base64
import binascii
import contextvars
import hashlib
import hmac
import re
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from common import clock, errors
from common.events import Events, emit

_AGAIN_SECONDS = 3600  # a chain that was good is looked at again
_MOST_KNOWN = 2048


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that came with a request. It proves something only when `wrong` is empty.

    `thumbprint` is RFC 8705's `x5t#S256`; `subject` is as `subject()` writes it; `dns` are its names of machines.
    `wrong` says in English and ASCII why it is not to be believed.
    """

    thumbprint: str
    subject: str = ""
    dns: tuple[str, ...] = ()
    wrong: str = ""


# What came with the request that is being answered. Whoever listens sets it for each request, also to None.
presented: contextvars.ContextVar[Certificate | None] = contextvars.ContextVar("presented", default=None)


def proves(thumbprint: str) -> bool:
    """Did the certificate of that thumbprint come with this request, and is it good?"""
    came = presented.get()
    return came is not None and not came.wrong and hmac.compare_digest(came.thumbprint, thumbprint)


def thumbprint(der: bytes) -> str:
    """RFC 8705 section 3.1: base64url of the SHA-256 digest."""
    return _text(hashlib.sha256(der).digest())


def is_thumbprint(said: str, thumbprint: str) -> bool:
    """Does somebody else's `x5t#S256` mean this certificate?

    Some write the base64 of the digest in hexadecimal digits (samples of the ANS do), in either alphabet of base64.
    """
    try:
        found = base64.b64decode(said.rstrip("=").translate(_URL_SAFE) + "=" * (-len(said.rstrip("=")) % 4), "-_")
        digest = bytes.fromhex(found.decode("ascii")) if len(found) == 2 * hashlib.sha256().digest_size else found
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(_text(digest), thumbprint)


def subject(text: str) -> str:
    """A distinguished name (RFC 4514) as it is compared: same case, no double blanks. Raises Unreadable."""
    try:
        return _normal(x509.Name.from_rfc4514_string(text))
    except ValueError:
        raise errors.Unreadable(
            "sujet du certificat : attendu comme CN=…,OU=…,O=…,C=FR (RFC 4514)", at="subject"
        ) from None


class Trust:
    """Certificates of the `authorities` in a file of PEM blocks. `revoked` is a file of their lists (CRL), PEM or DER.

    A new list is read by itself. Once there is a list, an authority without a current one proves nothing. Raises
    Unreadable for files that hold none.
    """

    def __init__(self, authorities: Path, revoked: Path | None, now: clock.Clock) -> None:
        try:
            self._authorities = x509.load_pem_x509_certificates(authorities.read_bytes())
        except (OSError, ValueError):
            raise errors.Unreadable(f"{authorities} : certificats PEM attendus", at="tls_client_ca") from None
        self._now = now
        self._revoked = Revoked(revoked, self._authorities) if revoked else None
        self._verified = lru_cache(_MOST_KNOWN)(self._verify)

    def look(self, der: bytes, chain: Sequence[bytes] = (), *, is_verified: bool) -> Certificate:
        """What a certificate proves now. `is_verified`: our own handshake has seen that an authority of ours gave it.

        `chain` are certificates in between, any order. Raises nothing.
        """
        try:
            leaf, bare = _read(der)
        except (ValueError, UnsupportedAlgorithm):
            return Certificate("", wrong="the certificate cannot be read")
        wrong = "" if is_verified else self._verified(der, tuple(chain), int(self._now().timestamp() // _AGAIN_SECONDS))
        wrong = wrong or self._over(leaf)
        return Certificate(bare.thumbprint, bare.subject, bare.dns, wrong) if wrong else bare

    def _over(self, leaf: x509.Certificate) -> str:
        now = self._now()
        if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
            return "the certificate has expired or is not valid yet"
        return self._revoked.why(leaf, now) if self._revoked else ""

    def _verify(self, der: bytes, chain: tuple[bytes, ...], hour: int) -> str:
        policy = verification.PolicyBuilder().store(verification.Store(self._authorities)).time(self._now())
        policy = policy.extension_policies(ca_policy=_OF_AUTHORITIES, ee_policy=_OF_CLIENTS)
        try:
            between = [x509.load_der_x509_certificate(one) for one in chain]
            policy.build_client_verifier().verify(_read(der)[0], between)
        except (verification.VerificationError, ValueError, UnsupportedAlgorithm):
            return "no authority that is known here gave this certificate"
        return ""


class Revoked:
    """The lists in a file, read again when it changes."""

    def __init__(self, path: Path, authorities: Sequence[x509.Certificate]) -> None:
        self._path = path
        self._authorities = authorities
        self._seen: object = None
        self._lists: list[x509.CertificateRevocationList] = []
        self._told = -float(_AGAIN_SECONDS)
        self._look()

    def why(self, leaf: x509.Certificate, now: datetime) -> str:
        """Why this certificate proves nothing, "" when it is not revoked."""
        try:
            self._look()
        except errors.Unreadable:
            self._tell(leaf.issuer)
            return "the revocation list cannot be read"
        ours = [one for one in self._lists if one.issuer == leaf.issuer]
        current = [one for one in ours if one.next_update_utc is None or one.next_update_utc >= now]
        if not current:
            self._tell(leaf.issuer)
            return "there is no current revocation list of this authority"
        if any(one.get_revoked_certificate_by_serial_number(leaf.serial_number) for one in ours):
            return "the certificate is revoked"
        return ""

    def _tell(self, authority: x509.Name) -> None:
        """Once an hour: nobody signs in any more, and the operator alone can help."""
        if time.monotonic() - self._told >= _AGAIN_SECONDS:
            self._told = time.monotonic()
            emit(Events.IDN_040, authority=authority.rfc4514_string())

    def _look(self) -> None:
        """Raises Unreadable."""
        try:
            state = self._path.stat()
            if (seen := (state.st_mtime_ns, state.st_size, state.st_ino)) == self._seen:
                return
            self._lists = [one for one in _lists(self._path.read_bytes()) if self._is_signed(one)]
        except (OSError, ValueError):
            raise errors.Unreadable(f"{self._path} : listes de révocation attendues", at="tls_client_crl") from None
        self._seen = seen

    def _is_signed(self, found: x509.CertificateRevocationList) -> bool:
        keys = [one.public_key() for one in self._authorities if one.subject == found.issuer]
        return any(found.is_signature_valid(key) for key in keys)  # type: ignore[arg-type]


def _lists(data: bytes) -> list[x509.CertificateRevocationList]:
    end = b"-----END X509 CRL-----"
    if end not in data:
        return [x509.load_der_x509_crl(data)]
    return [x509.load_pem_x509_crl(one + end) for one in data.split(end)[:-1]]


@lru_cache(_MOST_KNOWN)
def _read(der: bytes) -> tuple[x509.Certificate, Certificate]:
    leaf = x509.load_der_x509_certificate(der)
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        dns = tuple(one.lower() for one in names.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        dns = ()
    return leaf, Certificate(thumbprint(leaf.public_bytes(Encoding.DER)), _normal(leaf.subject), dns)


def _normal(name: x509.Name) -> str:
    """RFC 4514, with values as they are compared (X.520 caseIgnoreMatch): case, width, double blanks do not count."""
    return ",".join("+".join(sorted(_part(one) for one in each)) for each in reversed(name.rdns))


def _part(part: x509.NameAttribute[str | bytes]) -> str:
    value = part.value if isinstance(part.value, str) else part.value.hex()
    folded = " ".join(unicodedata.normalize("NFKC", value).casefold().split())
    # Escaped after it was folded: a wide comma becomes one, and must not look like the end of a value.
    return f"{part.rfc4514_attribute_name}={_SPECIAL.sub(_ESCAPED, folded)}"


def _for_clients(policy: verification.Policy, leaf: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    if usage is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise ValueError("not for clients")


def _text(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


_SPECIAL, _ESCAPED = re.compile(r"[\\,+=]"), r"\\\g<0>"
_URL_SAFE = str.maketrans("+/", "-_")
# A certificate of a structure needs no name of a machine, which the rules of web servers want.
_OF_CLIENTS = verification.ExtensionPolicy.permit_all().may_be_present(
    x509.ExtendedKeyUsage, verification.Criticality.AGNOSTIC, _for_clients
)
_OF_AUTHORITIES = verification.ExtensionPolicy.webpki_defaults_ca()
