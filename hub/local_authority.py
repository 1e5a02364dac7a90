"""Where does the certificate come from when the operator has none yet?

From an authority of this installation, made at first start in the data folder (`tls/`): it is put into the devices of
the people who work here, once, and they are asked nothing any more. It can vouch for the names and private networks of
this place and for nothing else, whoever gets hold of its key. Keys are their owner's alone to read.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_AUTHORITY_DAYS, _SERVER_DAYS, _RENEW_DAYS = 3650, 397, 30
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "::1/128", "fc00::/7", "fe80::/10")
_EARLIER = timedelta(hours=1)  # for clocks that are behind


def authority(data: Path) -> Path:
    """The certificate that devices have to know."""
    return data / "tls" / "authority.pem"


def files(data: Path) -> tuple[Path, Path]:
    """The server's certificate and its key."""
    return data / "tls" / "server.pem", data / "tls" / "server.key"


def prepare(data: Path, names: Sequence[str], now: datetime) -> bool:
    """Make what is missing, ends soon or does not name all of `names` (machines and addresses); was there anything?

    An authority that may not vouch for these names is replaced.
    """
    (data / "tls").mkdir(mode=0o700, parents=True, exist_ok=True)
    above, its_key, server = authority(data), authority(data).with_suffix(".key"), files(data)
    if not (_fit(above, its_key) and _permits(_read(above), names, now)):
        certificate, key = _made_authority(names, now)
        _write(its_key, _private(key))
        _write(above, certificate.public_bytes(Encoding.PEM))
    found = _read(above)
    if _fit(*server) and _is_good(_read(server[0]), found, names, now):
        return False
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _made_server(names, key, (found, _key(its_key)), now)
    _write(server[1], _private(key))
    _write(server[0], certificate.public_bytes(Encoding.PEM))
    return True


def _fit(certificate: Path, key: Path) -> bool:
    """Are both there, and of each other? Somebody may have stopped us between the two."""
    there = certificate.exists() and key.exists()
    return there and _read(certificate).public_key() == _key(key).public_key()


def _permits(found: x509.Certificate, names: Sequence[str], now: datetime) -> bool:
    permitted = found.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or []
    machines = {one.value for one in permitted if isinstance(one, x509.DNSName)}
    networks = [one.value for one in permitted if isinstance(one, x509.IPAddress)]
    wanted, addresses = _split(names)
    return (
        found.not_valid_after_utc > now + timedelta(days=_SERVER_DAYS)
        and machines >= set(wanted)
        and all(any(one in network for network in networks) for one in addresses)  # type: ignore[operator]
    )


def _is_good(found: x509.Certificate, above: x509.Certificate, names: Sequence[str], now: datetime) -> bool:
    said = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    there = {*said.get_values_for_type(x509.DNSName), *map(str, said.get_values_for_type(x509.IPAddress))}
    try:
        found.verify_directly_issued_by(above)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, another is made
        return False
    return found.not_valid_after_utc > now + timedelta(days=_RENEW_DAYS) and there >= set(names)


def _made_authority(names: Sequence[str], now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    machines, addresses = _split(names)
    networks = [ipaddress.ip_network(one) for one in _PRIVATE]
    networks += [ipaddress.ip_network(one) for one in addresses if not any(one in network for network in networks)]
    permitted: list[x509.GeneralName] = [x509.DNSName(one) for one in machines]
    permitted += [x509.IPAddress(one) for one in networks]
    subject = _named(f"Spico Hub {now:%Y-%m-%d} {x509.random_serial_number() & 0xFFFF:04x}")
    builder = _begun(subject, subject, key.public_key(), (now, _AUTHORITY_DAYS))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs=True), critical=True)
    builder = builder.add_extension(x509.NameConstraints(permitted, None), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return builder.sign(key, hashes.SHA256()), key


def _made_server(
    names: Sequence[str],
    key: ec.EllipticCurvePrivateKey,
    above: tuple[x509.Certificate, ec.EllipticCurvePrivateKey],
    now: datetime,
) -> x509.Certificate:
    machines, addresses = _split(names)
    said: list[x509.GeneralName] = [x509.DNSName(one) for one in machines]
    said += [x509.IPAddress(one) for one in addresses]
    found, signing = above
    subject = _named(machines[0] if machines else str(addresses[0]))
    builder = _begun(subject, found.subject, key.public_key(), (now, _SERVER_DAYS))
    builder = builder.add_extension(x509.SubjectAlternativeName(said), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    its_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key())
    return builder.add_extension(its_key, critical=False).sign(signing, hashes.SHA256())


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lasting: tuple[datetime, int]
) -> x509.CertificateBuilder:
    """`lasting`: from when, for how many days."""
    now, days = lasting
    begun = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    begun = begun.serial_number(x509.random_serial_number()).not_valid_before(now - _EARLIER)
    return begun.not_valid_after(now + timedelta(days=days))


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _split(names: Sequence[str]) -> tuple[list[str], list[ipaddress.IPv4Address | ipaddress.IPv6Address]]:
    """The names of machines, and the addresses."""
    machines, addresses = [], []
    for one in names:
        try:
            addresses.append(ipaddress.ip_address(one))
        except ValueError:
            machines.append(one)
    return machines, addresses


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, content: bytes) -> None:
    draft = path.with_suffix(".tmp")
    mode = 0o600 if path.suffix == ".key" else 0o644
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        os.fsync(file.fileno())
    draft.replace(path)


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())
