"""Somebody without an account gets one: by a form, a mail and an agent, or at once by their card."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from mapping import systems
from tests import running

PERSON = "Jeanne.Martin@orange.example"


@dataclass
class Visitor:
    """What a browser does on the public pages."""

    http: httpx.Client
    page: str = ""
    seen: list[httpx.Response] = field(default_factory=list)

    def get(self, path: str) -> httpx.Response:
        answer = self.http.get(path)
        self.page = answer.text
        return answer

    def post(self, path: str, **form: Any) -> httpx.Response:
        """The form of the page that is open."""
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', self.page))
        origin = {"Origin": str(self.http.base_url).rstrip("/")}
        answer = self.http.post(path, data={**hidden, **form}, headers=origin)
        self.page = answer.text
        return answer

    def ask(self, number: str = "", mail: str = PERSON, **more: str) -> str:
        """The tracking path of a new request."""
        self.get("/compte/demande" if number else "/compte/demande?sans-numero")
        if number:
            assert self.post("/compte/demande", number=number).status_code == 200
        terms = re.findall(r'name="terms" type="checkbox" value="([^"]+)"', self.page)[0]
        answer = self.post("/compte/demande", mail=mail, terms=terms, **more)
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])

    def stage(self, path: str) -> str:
        assert self.get(path).status_code == 200
        return re.findall(r'id="etape">([^<]+)<', self.page)[0]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[running.Region]:
    folder, port = tmp_path_factory.mktemp("accounts"), running.free_port()
    hub = running.Hub(
        folder / "hub",
        mail_smtp_port=str(port),
        notice_smtp_port=str(port),
        accounts_contact="05 65 00 00 00",
        sign_in_rate="0",
    )
    operator = running.Operator(folder / "operator", smtp_port=port, hub_smtp=int(hub.ports["smtp"]), outside=True)
    yield running.Region(hub, operator)
    operator.stop()
    assert hub.stop() == 0


@pytest.fixture
def visitor(place: running.Region) -> Iterator[Visitor]:
    with httpx.Client(base_url=f"http://127.0.0.1:{place.hub.ports['http']}", timeout=30.0) as http:
        yield Visitor(http)


def letters(place: running.Region, address: str, count: int = 1) -> list[str]:
    """The texts of the mails of an address, the newest last."""

    def there() -> list[Any]:
        found = place.operator.mails(address)
        return found if len(found) >= count else []

    mails = running.wait_for(there, seconds=20, what=f"{count} mails to {address}")
    texts = [str(place.operator.read(address, one["id"])["text"]) for one in mails]
    return sorted(texts, key=lambda one: one.count("acceptée"))


def link(text: str, kind: str) -> str:
    return re.findall(rf"http://127\.0\.0\.1:\d+(/compte/{kind}/[A-Za-z0-9_-]+)", text)[0]


def task_of(place: running.Region, mail: str) -> dict[str, Any]:
    """The request of an address, as an agent reads it."""
    with place.hub.client("--persona", "claire") as claire:
        found = running.resources(claire.get("/Task?code=account-request").json(), "Task")
    return next(one for one in found if any(value["valueString"] == mail.lower() for value in one.get("input", ())))


def results(task: dict[str, Any]) -> dict[str, str]:
    return {
        one["type"]["coding"][0]["code"]: one["valueCodeableConcept"]["coding"][0]["code"] for one in task["output"]
    }


STAGES = {
    "mail": "Adresse à confirmer",
    "review": "En cours de vérification",
    "approved": "Acceptée",
    "refused": "Refusée",
}


def same(place: running.Region, visitor: Visitor, tracking: str, mail: str) -> str:
    """The stage, which is the same on the page and in the record (ACC-05)."""
    code = str(task_of(place, mail)["businessStatus"]["coding"][0]["code"])
    assert visitor.stage(tracking) == STAGES[code]
    return code


def decide(place: running.Region, id: str, who: str = "claire", **said: Any) -> httpx.Response:
    parts = [{"name": name, "valueString": one} for name, value in said.items() for one in _several(value)]
    with place.hub.client("--persona", who) as client:
        return client.post(f"/Task/{id}/$decide-account", json={"resourceType": "Parameters", "parameter": parts})


def _several(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def test_a_known_number_leaves_an_address_and_the_terms_to_type(place: running.Region, visitor: Visitor) -> None:
    mail = "nadia.roux@laposte.example"
    began = time.monotonic()
    visitor.get("/compte/demande")
    answer = visitor.post("/compte/demande", number="99 700 000 018")
    assert answer.status_code == 200, answer.text
    assert "Nadia Roux" in visitor.page
    assert "infirmière libérale, Cabinet des Embergues" in visitor.page
    typed = re.findall(r'<(?:input|select|textarea) id="([a-z]+)"', visitor.page)
    assert typed == ["mail", "terms"]
    tracking = visitor.ask("99700000018", mail)
    assert same(place, visitor, tracking, mail) == "mail"
    assert "05 65 00 00 00" in visitor.page
    confirm = link(letters(place, mail)[0], "confirmer")
    assert link(letters(place, mail)[0], "suivi") == tracking
    visitor.get(confirm)
    assert same(place, visitor, tracking, mail) == "mail"  # looking is not confirming: mail programs look
    visitor.get(confirm)
    assert visitor.post(confirm).headers["location"] == tracking
    assert same(place, visitor, tracking, mail) == "review"
    assert time.monotonic() - began < 120
    task = task_of(place, mail)
    assert results(task) == {
        "identity": "todo",
        "profession": "passed",
        "registration": "passed",
        "structure": "passed",
        "mail": "passed",
    }
    for one in task["output"]:
        said = {extension["url"] for extension in one["extension"]}
        assert said == {systems.CHECK_TIME, systems.CHECK_SOURCE}
    visitor.get(confirm)
    assert "C'est déjà fait" in visitor.page.replace("&#39;", "'")


def test_an_agent_approves_what_they_have_verified(place: running.Region, visitor: Visitor) -> None:
    tracking = visitor.ask(
        mail=PERSON,
        given="Jeanne",
        family="Martin",
        profession="autre",
        other="assistante sociale",
        structure="CCAS, Rodez",
    )
    task = task_of(place, PERSON)
    early = decide(
        place, task["id"], decision="approve", verified=["identity", "profession", "registration", "structure"]
    )
    assert early.status_code == 422  # nobody has proved the address
    visitor.get(link(letters(place, PERSON.lower())[0], "confirmer"))
    visitor.post(link(letters(place, PERSON.lower())[0], "confirmer"))
    assert same(place, visitor, tracking, PERSON) == "review"
    some = decide(place, task["id"], decision="approve", verified=["identity"])
    assert some.status_code == 422
    assert "profession, registration, structure" in some.text
    everything = ["identity", "profession", "registration", "structure"]
    done = decide(place, task["id"], decision="approve", verified=everything)
    assert done.status_code == 200, done.text
    assert done.json()["owner"]["reference"] == "PractitionerRole/claire"
    assert same(place, visitor, tracking, PERSON) == "approved"
    assert decide(place, task["id"], decision="refuse", explanation="trop tard, déjà décidé").status_code == 409
    text = letters(place, PERSON.lower(), 2)[-1]
    assert "Jeanne Martin" in visitor.get(link(text, "activer")).text  # where they set how they sign in
    with place.hub.client("--persona", "karim") as karim:  # the directory has them, without their address
        person = karim.get("/Practitioner?family=Martin").json()
        role = karim.get(f"/{done.json()['focus']['reference']}").json()
    assert person["total"] == 1 or len(person["entry"]) == 1
    assert "orange.example" not in str(person) + str(role)
    assert (role["active"], role["code"][0]["text"]) == (True, "assistante sociale")


def test_a_refusal_is_explained(place: running.Region, visitor: Visitor) -> None:
    mail = "x.inconnu@free.example"
    more = {"given": "X", "family": "Inconnu", "profession": "60", "structure": "nulle part"}
    tracking = visitor.ask("10009999999", mail, **more)
    task = task_of(place, mail)
    assert decide(place, task["id"], decision="refuse").status_code == 422
    why = "Votre numéro n'est pas celui d'une infirmière."
    assert decide(place, task["id"], decision="refuse", explanation=why).status_code == 200
    assert same(place, visitor, tracking, mail) == "refused"
    assert why in visitor.page.replace("&#39;", "'")
    text = letters(place, mail, 2)
    assert any(tracking in one and why not in one for one in text)
    with place.hub.client("--persona", "karim") as karim:
        assert "entry" not in karim.get("/Practitioner?family=Inconnu").json()  # what was typed stayed in the request


def test_requests_are_for_agents_alone(place: running.Region, visitor: Visitor) -> None:
    mail = "secret@free.example"
    tracking = visitor.ask("99700000034", mail)
    task = task_of(place, mail)
    for who in ("nadia", "karim", "lgc"):
        with place.hub.client("--persona", who) as client:
            assert client.get(f"/Task/{task['id']}").status_code == 404
            assert "entry" not in client.get("/Task?code=account-request").json()
            assert "entry" not in client.get("/Task?code=account-notice").json()
            assert (
                client.post("/Task", json={k: v for k, v in task.items() if k not in ("id", "meta")}).status_code == 403
            )
        assert decide(place, task["id"], who, decision="refuse", explanation="je ne suis pas agent").status_code == 404
    with place.hub.client("--persona", "claire") as claire:
        assert claire.put(f"/Task/{task['id']}", json={**task, "status": "completed"}).status_code == 403
        assert claire.delete(f"/Task/{task['id']}").status_code == 403
        held = claire.get(f"/Task/{task['id']}").text + claire.get("/Task?code=account-notice").text
    assert tracking.rpartition("/")[2] not in held  # only digests
    assert visitor.get(f"/compte/suivi/{task['identifier'][0]['value']}").status_code == 404
    assert visitor.get(f"/compte/suivi/{task['id']}").status_code == 404


def test_an_address_that_has_an_account_is_answered_by_mail_alone(place: running.Region, visitor: Visitor) -> None:
    """The pages are the same, whoever's the address is."""
    running.wait_for(lambda: place.operator.mails(PERSON.lower()), what="the account of the test above")
    known = visitor.ask("99700000026", PERSON)
    assert visitor.stage(known) == "Adresse à confirmer"
    page = re.sub(r"suivi/[A-Za-z0-9_-]+|value=\"[^\"]+\"", "", visitor.page)
    other = visitor.ask("99700000026", "jenny.martin@orange.example")
    assert visitor.stage(other) == "Adresse à confirmer"
    assert re.sub(r"suivi/[A-Za-z0-9_-]+|value=\"[^\"]+\"", "", visitor.page) == page
    text = next(one for one in letters(place, PERSON.lower(), 3) if "déjà celle d'un compte" in one)
    assert "/compte/confirmer/" not in text


def test_a_form_that_was_sent_twice_is_one_request(place: running.Region, visitor: Visitor) -> None:
    mail = "deux.fois@free.example"
    visitor.get("/compte/demande?sans-numero")
    page = visitor.page
    terms = re.findall(r'name="terms" type="checkbox" value="([^"]+)"', page)[0]
    form = {"given": "A", "family": "B", "profession": "60", "structure": "ici", "mail": mail, "terms": terms}
    first = visitor.post("/compte/demande", **form).headers["location"]
    visitor.page = page
    assert visitor.post("/compte/demande", **form).headers["location"] == first
    with place.hub.client("--persona", "claire") as claire:
        found = running.resources(claire.get("/Task?code=account-request").json(), "Task")
    assert sum(any(value["valueString"] == mail for value in one.get("input", ())) for one in found) == 1


@pytest.mark.parametrize(
    ("form", "wrong"),
    [
        ({"mail": "secretariat@cabinet.example"}, ["mail"]),
        ({"mail": ""}, ["mail"]),
        ({"family": "", "profession": ""}, ["family", "profession"]),
        ({"terms": ""}, ["terms"]),
        ({"terms": "0"}, ["terms"]),
        ({"structure": "x" * 121}, ["structure"]),
        ({"given": "A\u0007"}, ["given"]),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(visitor: Visitor, form: dict[str, str], wrong: list[str]) -> None:
    visitor.get("/compte/demande?sans-numero")
    terms = re.findall(r'name="terms" type="checkbox" value="([^"]+)"', visitor.page)[0]
    whole = {"given": "A", "family": "B", "profession": "60", "structure": "ici", "mail": "a@b.fr", "terms": terms}
    answer = visitor.post("/compte/demande", **{**whole, **form})
    assert answer.status_code == 422
    assert re.findall(r'class="wrong" id="([a-z]+)-erreur"', answer.text) == wrong
    assert 'value="A' in answer.text  # nothing is lost


def test_a_number_of_no_form_is_refused_and_another_site_asks_for_nothing(visitor: Visitor) -> None:
    visitor.get("/compte/demande")
    assert visitor.post("/compte/demande", number="12").status_code == 422
    assert "ni d" in visitor.page
    assert visitor.post("/compte/demande", csrf="x", number="99700000018").status_code == 403


def test_nobody_fills_the_mailbox_of_somebody_else(place: running.Region, visitor: Visitor) -> None:
    mail = "victime@free.example"
    tracking = visitor.ask("99700000034", mail)
    for _ in range(8):
        visitor.get(tracking)
        assert visitor.post(f"{tracking}/courriel").status_code == 303
    letters(place, mail, 5)
    time.sleep(1.5)
    assert len(place.operator.mails(mail)) == 5


def late(place: running.Region, mail: str) -> str:
    """The id of a request, as if its working day were over."""
    task = task_of(place, mail)
    ended = {**task, "restriction": {"period": {"end": "2026-01-05T10:00:00Z"}}}
    with place.hub.client("--system") as system:
        assert system.put(f"/Task/{task['id']}", json=ended).status_code == 200
    return str(task["id"])


def test_the_queue_of_the_agent(place: running.Region, visitor: Visitor) -> None:
    mail = "paul.queue@free.example"
    tracking = visitor.ask("99700000026", mail)
    confirm = link(letters(place, mail)[0], "confirmer")
    visitor.get(confirm)
    visitor.post(confirm)
    with httpx.Client(base_url=visitor.http.base_url, timeout=30.0) as http:
        agent = Visitor(http)
        agent.get("/connexion")
        assert agent.post("/connexion", persona="claire").status_code == 303
        assert agent.get("/comptes/demandes").status_code == 200
        assert "Paul Lefebvre" in agent.page
        assert "Délai médian" in agent.page
        assert 'class="overdue"' not in agent.page
        id = late(place, mail)
        assert agent.get("/comptes/demandes").status_code == 200
        assert len(re.findall(r'class="overdue">demandé il y a [^<]+, en retard<', agent.page)) == 1
        assert agent.post(f"/comptes/demandes/{id}", decision="approve").status_code == 422
        assert "vérifications qui manquent" in agent.page.lower()
        done = agent.post(f"/comptes/demandes/{id}", decision="approve", verified="identity")
        assert done.status_code == 303, done.text
        assert agent.get("/comptes/demandes").status_code == 200
        assert mail not in agent.page
    assert same(place, visitor, tracking, mail) == "approved"
    with httpx.Client(base_url=visitor.http.base_url, timeout=30.0) as http:
        other = Visitor(http)
        other.get("/connexion")
        other.post("/connexion", persona="karim")
        assert other.get("/comptes/demandes").status_code == 403


def test_a_mailbox_of_the_directory_proves_who_reads_it(place: running.Region, visitor: Visitor) -> None:
    mail = "paul.lefebvre@demo.mssante.fr"
    visitor.ask("99700000026", mail)

    def asked() -> list[str]:
        return [one for one in letters(place, mail) if "/compte/confirmer/" in one]

    confirm = link(running.wait_for(asked, what="the mail in the MSSanté mailbox")[0], "confirmer")
    visitor.get(confirm)
    visitor.post(confirm)
    assert results(task_of(place, mail))["identity"] == "passed"


@pytest.mark.servers
def test_it_is_the_same_with_two_processes_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    port, mail = running.free_port(), "anne.petit@free.example"
    more = {"mail_smtp_port": str(port), "notice_smtp_port": str(port), "workers": "2"}
    hub = running.Hub(tmp_path / "hub", database=postgres_url, **more)
    operator = running.Operator(tmp_path / "operator", smtp_port=port, hub_smtp=int(hub.ports["smtp"]), outside=True)
    there = running.Region(hub, operator)
    with httpx.Client(base_url=f"http://127.0.0.1:{hub.ports['http']}", timeout=30.0) as http:
        visitor = Visitor(http)
        tracking = visitor.ask("99700000034", mail)
        confirm = link(letters(there, mail)[0], "confirmer")
        visitor.get(confirm)
        assert visitor.post(confirm).headers["location"] == tracking
        done = decide(there, task_of(there, mail)["id"], decision="approve", verified="identity")
        assert done.status_code == 200, done.text
        assert same(there, visitor, tracking, mail) == "approved"
        assert link(letters(there, mail, 2)[-1], "activer")
    operator.stop()
    assert hub.stop() == 0
