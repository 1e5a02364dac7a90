"""The list of conversations: what each line says, and how many questions it costs."""

from __future__ import annotations

from datetime import timedelta

from tests.web import fake_record
from tests.web.conftest import Browser, Story
from web import names


async def test_a_line_says_who_about_whom_what_and_when(nadia: Browser, story: Story) -> None:
    story.record.message(story.header, story.paul, "Passez à l'alginate.\nMerci", ago=timedelta(minutes=5))
    page = (await nadia.get("/")).text
    assert "Plaie au talon" in page
    assert "VIDAL Rose, née le 03/02/1935 (91 ans)" in page
    assert "Dr Paul Lefebvre&nbsp;: Passez à l&#39;alginate. Merci" in page
    assert "aujourd&#39;hui 14:00" in page
    assert 'data-unread="1"' in page
    assert "Non lu</span>" in page


async def test_unread_and_to_handle_are_independent_marks(nadia: Browser, story: Story) -> None:
    story.record.message(story.header, story.paul, "Encore une question")
    story.record.task(story.header, story.nadia)["status"] = "in-progress"
    page = (await nadia.get("/")).text
    assert '<span class="mark todo">À traiter</span>' in page
    assert 'class="line unread"' in page


async def test_views_are_searches_of_the_record(nadia: Browser, story: Story) -> None:
    assert "Tout est lu" in (await nadia.get("/?vue=non-lues")).text
    assert "Rien à traiter" in (await nadia.get("/?vue=a-traiter")).text
    story.record.message(story.header, story.paul, "Nouveau")
    assert "Plaie au talon" in (await nadia.get("/?vue=non-lues")).text


async def test_an_urgent_conversation_and_a_closed_one_say_so(nadia: Browser, story: Story) -> None:
    urgent = story.record.conversation("Chute", story.nadia, priority="urgent")
    closed = story.record.conversation("Ancien suivi", story.nadia)
    story.record.message(urgent, story.nadia, "Au sol")
    story.record.message(closed, story.nadia, "Fini")
    story.record.held[closed]["status"] = "completed"
    page = (await nadia.get("/")).text
    assert page.count('<span class="mark urgent">Urgent</span>') == 1
    assert page.count('<span class="mark">Close</span>') == 1


async def test_a_withdrawn_last_message_is_not_shown_by_its_text(nadia: Browser, story: Story) -> None:
    story.record.message(story.header, story.paul, "secret retiré", status="entered-in-error")
    page = (await nadia.get("/")).text
    assert "secret retiré" not in page
    assert "Message retiré" in page


async def test_the_list_goes_on_over_pages_and_shows_each_conversation_once(nadia: Browser, story: Story) -> None:
    for number in range(60):
        header = story.record.conversation(f"Suivi {number:02}", story.nadia)
        story.record.message(header, story.nadia, "RAS", ago=timedelta(days=1, minutes=number))
    first = (await nadia.get("/")).text
    following = first.partition('id="plus-anciennes" href="')[2].partition('"')[0].replace("&amp;", "&")
    second = (await nadia.get(following)).text
    titles = [f"Suivi {number:02}" for number in range(60)] + ["Plaie au talon"]
    assert all((title in first) + (title in second) == 1 for title in titles)
    assert "plus-anciennes" not in second


async def test_a_long_list_costs_few_questions(nadia: Browser, story: Story) -> None:
    for number in range(40):
        header = story.record.conversation(f"Suivi {number}", story.nadia, story.claire, patient="Patient/rose")
        story.record.message(header, story.claire, "RAS")
    story.record.asked.clear()
    await nadia.get("/")
    assert len(story.record.asked) <= 5


async def test_an_empty_inbox_says_what_will_come(browser: Browser, story: Story) -> None:
    story.record.person("karim", "Karim", "Benali", "assistant social")
    browser.sign_in("karim")
    assert "Aucune conversation pour l'instant" in (await browser.get("/")).text


async def test_titles_and_names_are_text(nadia: Browser, story: Story) -> None:
    header = story.record.conversation("<script>alert(1)</script>", story.nadia)
    story.record.message(header, story.nadia, "<img src=x onerror=alert(1)>")
    page = (await nadia.get("/")).text
    assert "<script>alert" not in page
    assert "<img" not in page


async def test_others_conversations_are_not_listed(nadia: Browser, story: Story) -> None:
    other = story.record.conversation("Pas pour Nadia", story.claire, story.paul)
    story.record.message(other, story.claire, "Entre nous")
    assert "Pas pour Nadia" not in (await nadia.get("/")).text
    assert names.code(story.record.task(other, story.claire)["code"], names.TASK) == "inbox"


async def test_the_professions_of_the_national_table_are_spelled(nadia: Browser, story: Story) -> None:
    coded = {"coding": [{"system": names.PROFESSION, "code": "60"}]}
    person = {"resourceType": "Practitioner", "id": "lea", "gender": "female", "qualification": [{"code": coded}]}
    story.record.put({**person, "name": [{"family": "Gal", "given": ["Léa"]}]})
    story.record.message(story.header, "Practitioner/lea", "Bonjour")
    page = (await nadia.get(f"/conversations/{story.id}")).text
    assert "<strong>Léa Gal</strong>, infirmière" in page


def test_the_stand_in_counts_in_paris_time() -> None:
    assert fake_record.NOW.hour == 13
