"""Who comes in, what their cookie is worth, and what other sites can make a browser do: nothing."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.web.conftest import Browser, Story
from web import session


async def test_a_page_asks_to_sign_in_and_leads_back(browser: Browser, story: Story) -> None:
    answer = await browser.get(f"/conversations/{story.id}?vue=non-lues")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/connexion?suite=/conversations/{story.id}%3Fvue%3Dnon-lues"
    await browser.get(answer.headers["location"])
    entered = await browser.post("/connexion", {"persona": "nadia", "suite": f"/conversations/{story.id}"})
    assert entered.headers["location"] == f"/conversations/{story.id}"
    assert (await browser.get(f"/conversations/{story.id}")).status_code == 200


async def test_a_token_signs_in_even_when_it_was_pasted_in_pieces(browser: Browser) -> None:
    await browser.get("/connexion")
    answer = await browser.post("/connexion", {"jeton": " jeton-\nnadia "})
    cookie = next(one for one in answer.headers.get_list("set-cookie") if one.startswith(session.COOKIE))
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie  # plain http on the test machine


async def test_over_https_a_cookie_is_secure_and_bound_to_this_very_host(browser: Browser) -> None:
    browser.http.base_url = "https://hub.test"
    await browser.get("/connexion")
    visitor = browser.http.cookies[f"__Host-{session.VISITOR}"]
    form = {"csrf": session.derived(visitor), "jeton": "jeton-nadia"}
    answer = await browser.http.post("/connexion", data=form, headers={"Origin": "https://hub.test"})
    made = [one for one in answer.headers.get_list("set-cookie") if "Max-Age=0" not in one]
    assert [one.partition("=")[0] for one in made] == [f"__Host-{session.COOKIE}"]
    assert {"Secure", "HttpOnly", "Path=/"} <= set(made[0].split("; "))
    assert "Domain" not in made[0]
    assert (await browser.get("/")).status_code == 200
    csrf = session.derived(browser.http.cookies[f"__Host-{session.COOKIE}"])
    left = await browser.http.post("/deconnexion", data={"csrf": csrf}, headers={"Origin": "https://hub.test"})
    assert (left.status_code, left.headers["location"]) == (303, "/connexion")
    gone = next(one for one in left.headers.get_list("set-cookie") if one.startswith(f"__Host-{session.COOKIE}="))
    assert {"Secure", "Max-Age=0", "Path=/"} <= set(gone.split("; "))  # else a browser would not take it


async def test_over_https_a_bare_cookie_is_not_read(browser: Browser) -> None:
    """Another host of the domain, or somebody on the network, may have set it."""
    browser.http.base_url = "https://hub.test"
    browser.sign_in("nadia")
    assert (await browser.get("/")).status_code == 303
    browser.http.cookies.set(session.VISITOR, "theirs", domain="hub.test")
    form = {"csrf": session.derived("theirs"), "jeton": "jeton-nadia"}
    answer = await browser.http.post("/connexion", data=form, headers={"Origin": "https://hub.test"})
    assert answer.status_code == 403


def test_pages_read_cookies_under_the_name_that_fits() -> None:
    pages = [one for one in Path(session.__file__).parent.rglob("*.py") if one.name != "session.py"]
    assert [one.name for one in pages if "request.cookies" in one.read_text()] == []


@pytest.mark.parametrize("token", ["inconnu", "", "jeton-logiciel"])
async def test_a_token_that_is_not_a_persons_is_refused_in_words(browser: Browser, token: str) -> None:
    await browser.get("/connexion")
    answer = await browser.post("/connexion", {"jeton": token})
    assert answer.status_code == 401
    assert "n'est pas reconnu" in answer.text.replace("&#39;", "'")
    assert session.COOKIE not in browser.http.cookies


@pytest.mark.parametrize(
    "back", ["https://ailleurs.example/", "//ailleurs.example", "/\\ailleurs.example", "ailleurs", "/a\nb"]
)
def test_sign_in_never_leads_to_another_site(back: str) -> None:
    assert session.way_back(back) == "/"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://ailleurs.example"},
        {"Origin": "null"},
        {"Origin": "http://hub.test", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://hub.test", "Sec-Fetch-Site": "same-site"},
        {},
    ],
)
async def test_another_site_changes_nothing(nadia: Browser, story: Story, headers: dict[str, str]) -> None:
    form = {"csrf": session.derived("jeton-nadia"), "etat": "a-traiter"}
    answer = await nadia.http.post(f"/conversations/{story.id}/etat", data=form, headers=headers)
    assert answer.status_code == 403
    assert story.record.task(story.header, story.nadia)["status"] == "requested"


async def test_a_form_without_its_token_changes_nothing(nadia: Browser, story: Story) -> None:
    form = {"csrf": "autre", "etat": "a-traiter"}
    answer = await nadia.http.post(f"/conversations/{story.id}/etat", data=form, headers={"Origin": "http://hub.test"})
    assert answer.status_code == 403
    assert "rechargez la page" in answer.text


async def test_a_sign_in_form_of_another_browser_is_refused(browser: Browser) -> None:
    form = {"csrf": session.derived("autre navigateur"), "jeton": "jeton-nadia"}
    answer = await browser.http.post("/connexion", data=form, headers={"Origin": "http://hub.test"})
    assert answer.status_code == 403


async def test_signing_out_ends_the_session_and_its_token(nadia: Browser, story: Story) -> None:
    answer = await nadia.post("/deconnexion")
    assert (answer.status_code, answer.headers["location"]) == (303, "/connexion")
    assert "jeton-nadia" not in story.record.tokens
    assert (await nadia.get("/")).headers["location"] == "/connexion?suite=/"


async def test_an_ended_session_tells_the_script_and_forgets_the_cookie_on_pages(nadia: Browser, story: Story) -> None:
    story.record.tokens.clear()
    answer = await nadia.get("/fragments/boite", headers={"Hub-Script": "1"})
    assert answer.status_code == 401
    assert answer.json()["texte"]
    assert (await nadia.get("/")).status_code == 303
    assert session.COOKIE not in nadia.http.cookies


async def test_every_answer_states_the_security_headers(nadia: Browser, story: Story) -> None:
    for path in ("/", f"/conversations/{story.id}", "/connexion", "/nulle-part", "/static/x/app.css"):
        headers = (await nadia.get(path)).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


async def test_pages_hold_no_inline_script_or_style(nadia: Browser, story: Story) -> None:
    for path in ("/", f"/conversations/{story.id}", "/connexion"):
        page = (await nadia.get(path)).text
        assert "<style" not in page
        assert " style=" not in page
        assert " onclick=" not in page
        assert "http://" not in page.replace("http://www.w3.org", "")


async def test_pages_with_health_data_are_not_kept_and_static_files_are(nadia: Browser) -> None:
    page = await nadia.get("/")
    assert page.headers["cache-control"] == "no-store"
    sheet = page.text.partition('rel="stylesheet" href="')[2].partition('"')[0]
    assert "immutable" in (await nadia.get(sheet)).headers["cache-control"]
    assert (await nadia.get("/static/ancien/app.css")).headers["cache-control"] == "no-cache"
    assert (await nadia.get("/static/x/absent.css")).status_code == 404


async def test_an_unexpected_failure_gives_a_code_to_quote_and_no_detail(
    nadia: Browser, story: Story, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    story.record.held[story.header]["topic"] = "pas un objet"
    answer = await nadia.get("/")
    assert answer.status_code == 500
    assert "Code à donner à l'assistance" in answer.text
    assert answer.headers["x-request-id"] in answer.text
    assert "AttributeError" not in answer.text


async def test_the_demo_says_so_and_only_the_demo_has_tiles(browser: Browser, story: Story) -> None:
    assert "données fictives" in (await browser.get("/connexion")).text
    from web import app, fhir

    real = app.build(fhir.in_process(story.record.app()), story.record, story.record)
    import httpx

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=real), base_url="http://hub.test") as http:
        page = (await http.get("/connexion")).text
        form = {"csrf": session.derived(http.cookies[session.VISITOR]), "persona": "nadia"}
        answer = await http.post("/connexion", data=form, headers={"Origin": "http://hub.test"})
    assert "fictives" not in page
    assert "Nadia" not in page
    assert answer.status_code == 401
