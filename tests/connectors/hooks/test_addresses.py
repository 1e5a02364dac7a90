"""Which addresses are never called?"""

from __future__ import annotations

import ipaddress

import pytest

from common import errors
from connectors.hooks import addresses, calling
from tests.receiver import Receiver

INSIDE = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1",
]  # fmt: skip


@pytest.mark.parametrize("text", INSIDE)
def test_an_address_inside_is_not_called(text: str) -> None:
    assert not addresses.Policy().permits(ipaddress.ip_address(text), is_secure=True)


@pytest.mark.parametrize("text", ["93.184.216.34", "2606:2800:220:1::1"])
def test_a_public_address_is_called_by_https_alone(text: str) -> None:
    address = ipaddress.ip_address(text)
    assert addresses.Policy().permits(address, is_secure=True)
    assert not addresses.Policy().permits(address, is_secure=False)


def test_what_the_operator_names_is_called_and_nothing_beside_it() -> None:
    policy = addresses.policy("127.0.0.0/8, 10.1.2.3")
    assert policy.permits(ipaddress.ip_address("127.9.9.9"), is_secure=False)
    assert policy.permits(ipaddress.ip_address("::ffff:127.0.0.1"), is_secure=False)
    assert policy.permits(ipaddress.ip_address("10.1.2.3"), is_secure=True)
    assert not policy.permits(ipaddress.ip_address("10.1.2.4"), is_secure=True)


def test_a_list_that_holds_no_network_is_refused() -> None:
    with pytest.raises(errors.Unreadable, match="somewhere"):
        addresses.policy("127.0.0.0/8 somewhere")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/", "https://", "https://example.org:0/", "https://example.org:99999/", "https://a@example.org/",
        "https://example.org/#a", "https://example.org/a b", "https://exämple.org/", "https://[::1", "https://a\\@b.org/",
        "https://localhost/", "https://a.localhost./", "https://[::1]/", "http://example.org/", "https://127.0.0.1/",
        "https://example.org/" + "a" * 3000,
    ],
)  # fmt: skip
def test_an_address_that_could_lead_inside_or_nowhere_is_refused_when_written(url: str) -> None:
    assert addresses.Policy().refusal(url)


def test_a_public_name_is_accepted_when_written() -> None:
    assert addresses.Policy().refusal("https://example.org:8443/hook?a=b") == ""


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1"])
async def test_what_a_name_leads_to_is_looked_at_when_it_is_called(host: str) -> None:
    receiver = Receiver()
    caller = calling.Caller(addresses.Policy())
    ended = await caller.call("POST", f"https://{host}:{receiver.port}/", seconds=5)
    assert not ended.ok
    assert "interne" in ended.text
    assert receiver.calls == []
    receiver.stop()
