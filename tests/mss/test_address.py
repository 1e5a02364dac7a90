"""Addresses and reply tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import errors
from mss import address

SECRET = b"secret of the tests"
MAILBOX = "conv@hub.example"


def test_a_token_is_short_stable_and_the_same_only_for_the_same_member() -> None:
    token = address.token(SECRET, "Communication/1", "PractitionerRole/2")
    assert token == address.token(SECRET, "Communication/1", "PractitionerRole/2")
    others = [
        address.token(SECRET, "Communication/1", "PractitionerRole/3"),
        address.token(SECRET, "Communication/2", "PractitionerRole/2"),
        address.token(b"another", "Communication/1", "PractitionerRole/2"),
    ]
    assert len({token, *others}) == 4
    assert len(token) == address.TOKEN_LENGTH


@given(st.text(), st.text(), st.text(), st.text())
def test_two_pairs_never_share_a_token_because_their_letters_meet(a: str, b: str, c: str, d: str) -> None:
    same = (a, b) == (c, d)
    encoded = [one.encode("utf-8", "ignore").decode() for one in (a, b, c, d)]
    if [a, b, c, d] == encoded:
        assert (address.token(SECRET, a, b) == address.token(SECRET, c, d)) == same


def test_a_token_says_nothing_about_people() -> None:
    assert "delmas" not in address.token(SECRET, "Communication/delmas", "Patient/jeanne")


def test_a_reply_address_gives_its_token_back_in_any_case() -> None:
    token = address.token(SECRET, "c", "m")
    reply = address.reply_address(MAILBOX, token)
    assert reply == f"conv+{token}@hub.example"
    assert address.token_of(reply, MAILBOX) == token
    assert address.token_of(reply.upper(), MAILBOX) == token
    assert address.token_of(f'"conv+{token}"@HUB.example.', MAILBOX) == token


@pytest.mark.parametrize(
    "recipient",
    [
        "conv@hub.example",
        "conv+@hub.example",
        "conv+court@hub.example",
        "conv+abcdefgh2345672!@hub.example",
        "conv+abcdefgh23456789@hub.example",
        "conv+abcdefgh234567220@hub.example",
        "autre+abcdefgh23456722@hub.example",
        "conv+abcdefgh23456722@hub.example.evil",
        "conv+abcdefgh23456722@evil.example",
        "conv+abcdefgh23456722",
        "",
        "conv+abcdefgh23456722@hub.example\r\nBcc: x@y",
    ],
)
def test_what_cannot_be_one_of_our_tokens_is_none(recipient: str) -> None:
    assert address.token_of(recipient, MAILBOX) is None


def test_a_sub_address_belongs_to_its_mailbox() -> None:
    assert address.is_of("CONV+anything@hub.example", MAILBOX)
    assert address.is_of("conv@hub.example", MAILBOX)
    assert not address.is_of("conversation@hub.example", MAILBOX)


@pytest.mark.parametrize(
    "recipient",
    ["conv@hub.example", "CONV@HUB.EXAMPLE", " Conv@Hub.Example. ", "conv+a+b@hub.example", "conv+@hub.example",
     "Conv+ABCDEFGH23456722@hub.example", '"conv+x"@hub.example', '"CONV"@hub.example'],
)  # fmt: skip
def test_our_own_mailbox_is_recognised_in_any_case_and_with_any_sub_address(recipient: str) -> None:
    assert address.is_of(recipient, MAILBOX)
    assert address.is_of(recipient, MAILBOX.upper())


@pytest.mark.parametrize(
    "recipient",
    ["con@hub.example", "conv.x@hub.example", "conv-x@hub.example", "x+conv@hub.example", "conv@sub.hub.example",
     "conv@hub.example.evil", "conv@hub.example@evil.example", "+conv@hub.example", "conv", ""],
)  # fmt: skip
def test_what_only_looks_like_our_mailbox_is_not_ours(recipient: str) -> None:
    assert not address.is_of(recipient, MAILBOX)


@pytest.mark.parametrize(
    ("given_as", "expected"),
    [
        (" Paul.Lefebvre@Demo.MSSante.FR ", "paul.lefebvre@demo.mssante.fr"),
        ("paul@hôpital.example", "paul@xn--hpital-ixa.example"),
        ("paul@hub.example.", "paul@hub.example"),
        ("279035121518989@patient.mssante.fr", "279035121518989@patient.mssante.fr"),
        ("rené@hub.example", "rené@hub.example"),
        ("rene\u0301@hub.example", "rené@hub.example"),
        ('"paul lefebvre"@hub.example', '"paul lefebvre"@hub.example'),
        ("a@[192.0.2.1]", "a@[192.0.2.1]"),
    ],
)
def test_two_spellings_of_a_mailbox_become_one(given_as: str, expected: str) -> None:
    assert address.normalise(given_as) == expected


@pytest.mark.parametrize(
    "text",
    ["", "paul", "@x.fr", "paul@", "a b@x.fr", "a@b\r\nBcc: x@y", "a@b c", "a@-x.fr", "a,b@x.fr", "a@x..fr", "a\0@x.fr",
     f"{'a' * 129}@x.fr", f"a@{'x' * 254}", "a@\u202ex.fr"],
)  # fmt: skip
def test_what_is_not_an_address_is_refused(text: str) -> None:
    with pytest.raises(errors.Invalid):
        address.normalise(text)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("paul@x.fr", [("paul@x.fr", "")]),
        ("Paul Lefebvre <paul@x.fr>", [("paul@x.fr", "Paul Lefebvre")]),
        ('"Lefebvre, Paul" <paul@x.fr>, anne@y.fr', [("paul@x.fr", "Lefebvre, Paul"), ("anne@y.fr", "")]),
        ("paul@x.fr (Paul (Dr) Lefebvre)", [("paul@x.fr", "Paul (Dr) Lefebvre")]),
        ('"moi@banque.fr" <autre@x.fr>', [("autre@x.fr", "moi@banque.fr")]),
        ("Equipe: a@x.fr, B <b@x.fr>;", [("a@x.fr", ""), ("b@x.fr", "B")]),
        ("undisclosed-recipients:;", []),
        ("<@relais.fr,@b.fr:paul@x.fr>", [("paul@x.fr", "")]),
        ("Paul <paul@x.fr", [("paul@x.fr", "Paul")]),
        ('"Paul \\"Popaul\\" L" <paul@x.fr>', [("paul@x.fr", 'Paul "Popaul" L')]),
        ("pas une adresse, <>, @, a@b", [("a@b", "")]),
        ('"unclosed <paul@x.fr>', []),
    ],
)
def test_an_address_list_is_read_as_mail_programs_write_it(header: str, expected: list[tuple[str, str]]) -> None:
    assert [(found.address, found.name) for found in address.parse(header)] == expected


@given(st.text())
def test_any_header_can_be_read(header: str) -> None:
    for found in address.parse(header):
        assert address.normalise(found.address) == found.address


@given(st.text())
def test_a_safe_text_is_one_line_without_controls(text: str) -> None:
    safe = address.safe(text)
    assert safe == " ".join(safe.split())
    assert len(safe) <= 200
    assert safe.isprintable() or not safe


def test_the_return_address_of_a_delivery_tells_it_and_only_it() -> None:
    made = address.return_address("conv@hub.example", b"secret", "0jx4zsw3v2k8c-0000000000001")
    assert address.delivery_of(made.upper(), "conv@hub.example", b"secret") == "0jx4zsw3v2k8c-0000000000001"
    assert address.token_of(made, "conv@hub.example") is None
    for other in ("conv@hub.example", made.replace("001.", "002."), made.replace("+r.", "+s."), "x", ""):
        assert address.delivery_of(other, "conv@hub.example", b"secret") is None
    assert address.delivery_of(made, "conv@hub.example", b"other") is None
    assert address.return_address("a" * 50 + "@hub.example", b"secret", "0jx4zsw3v2k8c") == "a" * 50 + "@hub.example"


@pytest.mark.parametrize(
    "matricule", ["279035121518989", "146026322000196", "1 46 02 63 220 001 96", "299092A12345640"]
)
def test_a_citizens_address_is_their_matricule(matricule: str) -> None:
    made = address.citizen(matricule)
    assert made == matricule.replace(" ", "").lower() + "@patient.mssante.fr"
    assert address.is_citizen(made.upper())


@pytest.mark.parametrize("matricule", ["", "279035121518988", "2790351215189", "27903512151898X", "x" * 15, "٢" * 15])
def test_a_matricule_with_a_wrong_key_is_refused(matricule: str) -> None:
    with pytest.raises(errors.Invalid, match="matricule"):
        address.citizen(matricule)
