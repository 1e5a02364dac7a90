"""Is a document refused that is about somebody else, or that may not go where it should?"""

from __future__ import annotations

import pytest

from mapping import er7, refusals, systems, v2_checks, v2_document
from tests.builders_hl7 import TEST_INS, Person, Wishes, a_cda, a_pdf, an_mdm

PAUL = ("899700000026", "LEFEBVRE", "Paul", "paul.lefebvre@demo.mssante.fr")
PATIENT = (TEST_INS, "DELMAS", "JEANNE", f"{TEST_INS}@patient.mssante.fr")


def document(person: Person, inside: Person) -> v2_document.Document:
    raw = an_mdm(person=person, content=a_cda("DOC-MSG0001", person=inside))
    return v2_document.read(er7.read(raw), ins_authorities=systems.INS_WITH_TEST)


def mailing(*yes: str, recipients: tuple[tuple[str, str, str, str], ...] = ()) -> v2_checks.Mailing:
    raw = an_mdm(wishes=Wishes(yes=frozenset(yes), recipients=recipients))
    return v2_checks.mailing(v2_document.read(er7.read(raw)))


@pytest.mark.parametrize(
    "inside",
    [
        Person(),
        Person(local=""),
        Person(ins="", local="IPP000117"),
        Person(family="DELMAS-ROUX", birth_date="19480101"),  # numbers decide when there are some in common
        Person(ins="", local="", birth_date="19480512"),
        Person(ins="", local="", birth_date=""),
        Person(ins="248051220200199", ins_domain=systems.INS_NIA),  # a NIA and the NIR that followed it
    ],
)
def test_the_same_person_passes(inside: Person) -> None:
    v2_checks.identity(document(Person(), inside))


@pytest.mark.parametrize(
    ("inside", "at"),
    [
        (Person(ins="248051220200199"), "PID-3"),
        (Person(ins="248051220200199", ins_domain=systems.INS_NIR), "PID-3"),
        (Person(local="IPP000999"), "PID-3"),
        (Person(ins="", local="", birth_date="19480513"), "PID-7"),
    ],
)
def test_another_person_is_refused_with_904(inside: Person, at: str) -> None:
    with pytest.raises(refusals.PatientMismatch) as refused:
        v2_checks.identity(document(Person(), inside))
    assert (refused.value.at, refused.value.hl7, refused.value.hl7_application) == (at, "207", "904")


def test_the_billing_number_of_a_parent_is_not_compared() -> None:
    raw = an_mdm(content=a_cda("DOC-MSG0001", person=Person(ins="248051220200199", ins_domain=systems.INS_NIR)))
    raw = raw.replace(f"&{systems.INS_TEST}&ISO^INS".encode(), f"&{systems.INS_NIR}&ISO^NH".encode())
    v2_checks.identity(v2_document.read(er7.read(raw)))


def test_an_ins_that_was_not_accepted_is_still_compared() -> None:
    with pytest.raises(refusals.PatientMismatch):
        v2_checks.identity(document(Person(reliability="PROV"), Person(ins="248051220200199")))


def test_a_document_without_a_header_cannot_be_compared() -> None:
    raw = an_mdm(content=a_pdf().replace(b"%PDF", b"%PDF")).replace(b"^text^XML^", b"^application^pdf^")
    v2_checks.identity(v2_document.read(er7.read(raw)))


def test_each_recipient_gets_a_mail_only_when_its_route_says_so() -> None:
    both = (PAUL, PATIENT)
    assert mailing(recipients=both) == v2_checks.Mailing((), ())
    assert [one.mssante for one in mailing("DESTMSSANTEPS", recipients=both).professionals] == [PAUL[3]]
    assert mailing("DESTMSSANTEPS", recipients=both).patients == ()
    assert [one.mssante for one in mailing("DESTMSSANTEPAT", recipients=both).patients] == [PATIENT[3]]


@pytest.mark.parametrize(
    ("yes", "recipients"),
    [
        (("DESTMSSANTEPS", "MASQUE_PS"), (PAUL,)),
        (("DESTMSSANTEPAT", "INVISIBLE_PATIENT"), (PATIENT,)),
        (("DESTMSSANTEPS",), (PATIENT,)),
        (("DESTMSSANTEPAT",), (PAUL,)),
        (("DESTMSSANTEPS",), ()),
    ],
)
def test_a_route_that_a_label_forbids_or_that_leads_nowhere_is_refused(
    yes: tuple[str, ...], recipients: tuple[tuple[str, str, str, str], ...]
) -> None:
    with pytest.raises(refusals.RoutingForbidden):
        mailing(*yes, recipients=recipients)


def test_a_masked_document_may_go_to_the_patient_alone() -> None:
    assert mailing("DESTMSSANTEPAT", "MASQUE_PS", recipients=(PATIENT,)).patients


def test_the_first_profiles_may_leave_the_recipients_out_and_it_is_counted() -> None:
    document = v2_document.read(er7.read(an_mdm(wishes=Wishes(yes=frozenset({"DESTMSSANTEPS"})))))
    found = v2_checks.mailing(document, profile="1.2^CISIS_CDA_HL7_V1")
    assert found.professionals == ()
    assert [one.code for one in found.tolerances] == ["no-recipient"]
