"""Authorities and certificates that tests make for themselves, as a health PKI gives them to structures."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

LGC = "CN=lgc.example,OU=318751275100020,O=Cabinet d'essai,ST=Paris (75),C=FR"
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Made:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def write(self, folder: Path, name: str, *more: Made) -> tuple[str, str]:
        """The two files, certificate (with those in between) and key, as clients want them."""
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_bytes(self.pem + b"".join(one.pem for one in more))
        key.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return str(certificate), str(key)


@dataclass
class Authority:
    """An authority of its own, or below another."""

    name: str = "AC d'essai"
    above: Authority | None = None
    made: Made = field(init=False)

    def __post_init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name.from_rfc4514_string(f"CN={self.name},O=Essai,C=FR")
        by = self.above.made if self.above else None
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = (
            _begun(subject, by.certificate.subject if by else subject, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(_named_by(by.key if by else key), critical=False)
        )
        self.made = Made(builder.sign(by.key if by else key, hashes.SHA256()), key)

    def gives(
        self,
        subject: str = LGC,
        *,
        dns: tuple[str, ...] = (),
        to: timedelta = DAY,
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
        addresses: tuple[str, ...] = (),
    ) -> Made:
        """A certificate that ends after `to`."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _begun(x509.Name.from_rfc4514_string(subject), self.made.certificate.subject, key, to)
        builder = builder.add_extension(_named_by(self.made.key), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        names = [x509.DNSName(one) for one in dns]
        names += [x509.IPAddress(ipaddress.ip_address(one)) for one in addresses]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return Made(builder.sign(self.made.key, hashes.SHA256()), key)

    def revokes(self, *revoked: Made, to: timedelta = DAY) -> bytes:
        """Its list, in PEM."""
        now = datetime.now(UTC)
        begun = x509.CertificateRevocationListBuilder().issuer_name(self.made.certificate.subject)
        begun = begun.last_update(now - 2 * DAY).next_update(now + to)
        for one in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(one.certificate.serial_number)
            begun = begun.add_revoked_certificate(entry.revocation_date(now - DAY).build())
        return begun.sign(self.made.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def self_signed(subject: str = LGC) -> Made:
    """What anybody can make for themselves."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string(subject)
    return Made(_begun(name, name, key).sign(key, hashes.SHA256()), key)


def _named_by(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, to: timedelta = DAY
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    begun = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    begun = begun.serial_number(x509.random_serial_number())
    return begun.not_valid_before(now - 2 * DAY).not_valid_after(now + to)
