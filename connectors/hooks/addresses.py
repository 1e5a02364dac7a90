"""Which addresses are never called, whoever asks?

Whoever subscribes makes this server open connections. It must not become a way into the operator's network: only
public addresses are called, and those that the operator names (`HUB_HOOKS_ALLOW`). What counts is the address that a
connection goes to, looked at when it is opened: a name that resolves elsewhere a moment later opens nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from common import errors

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_URL = 2048
# IPv6 addresses that carry an IPv4 one: a translator on the way would reach that.
_CARRIERS = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96")))


@dataclass(frozen=True, slots=True)
class Policy:
    """The networks that the operator allows besides the public ones; only there plain http may be used."""

    allow: tuple[Network, ...] = ()

    def names(self, address: Address) -> bool:
        """Did the operator name it?"""
        return any(address.version == one.version and address in one for one in self.allow)

    def permits(self, address: Address, *, is_secure: bool) -> bool:
        """May a connection go there?"""
        plain = _without_mapping(address)
        return self.names(plain) or (is_secure and _is_public(plain))

    def refusal(self, url: str) -> str:
        """What is wrong with an address, in French, as far as can be said without looking it up; "" when nothing is."""
        try:
            parts = split(url)
        except errors.Unreadable as problem:
            return problem.message
        if parts.scheme == "http" and not self.allow:
            return "seul https est appelé"
        host = (parts.hostname or "").rstrip(".").lower()
        literal = _literal("127.0.0.1" if host == "localhost" or host.endswith(".localhost") else host)
        if literal and not self.permits(literal, is_secure=parts.scheme == "https"):
            return "cette adresse n'est pas appelée : réseau interne, ou http hors des réseaux autorisés"
        return ""


def policy(text: str) -> Policy:
    """From a list of networks: `127.0.0.0/8, 10.1.2.3`. Raises Unreadable naming the one that is none."""
    found = []
    for one in text.replace(",", " ").split():
        try:
            found.append(ipaddress.ip_network(one, strict=False))
        except ValueError:
            raise errors.Unreadable(f"hooks_allow: {one} is no network", at="hooks_allow") from None
    return Policy(tuple(found))


def split(url: str) -> SplitResult:
    """The parts of an http(s) address without a user or a fragment. Raises Unreadable."""
    if len(url) > MOST_URL or not url.isascii() or any(one <= " " or one == "\x7f" for one in url):
        raise errors.Unreadable("adresse illisible : caractères interdits ou plus de 2048 caractères")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise errors.Unreadable("adresse illisible") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise errors.Unreadable("adresse attendue : https://…")
    if parts.username is not None or parts.fragment or "\\" in url:
        raise errors.Unreadable("adresse sans nom d'utilisateur ni fragment : mettez les secrets dans channel.header")
    return parts


def parsed(addresses: Sequence[str]) -> list[Address]:
    """Resolved addresses as values; a scope (`%eth0`) never leads outside."""
    return [found for one in addresses if (found := _literal(one))]


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _without_mapping(address: Address) -> Address:
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and any(address in one for one in _CARRIERS):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved
