"""The live view in Debian's Firefox: the picture is the session's, what is typed arrives."""

import pytest
from agb import CreateSessionParams
from bidi import Firefox
from conftest import IMAGE, LIVE
from screen import start_terminal, wait_for_file, wait_until_equal

ENTER = "\ue007"


@pytest.fixture(scope="module")
def firefox():
    with Firefox() as firefox:
        yield firefox


def test_the_picture_is_exact_and_keys_arrive(session, firefox):
    firefox.visit(session.info().data["resource_url"])
    firefox.wait_until(LIVE)
    wait_until_equal(session, firefox.evaluate)
    start_terminal(session)
    box = firefox.evaluate("document.querySelector('canvas').getBoundingClientRect()")
    firefox.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    firefox.type("typed in Firefox: {[<|>]}" + ENTER)
    assert wait_for_file(session, "/tmp/typed") == "typed in Firefox: {[<|>]}\n"
    wait_until_equal(session, firefox.evaluate)
    assert firefox.complaints() == []


def test_the_page_connects_again_after_a_restart(new_server, firefox):
    server = new_server("--pool", "0")
    session = server.agb().create(CreateSessionParams(image_id=IMAGE)).session
    firefox.visit(session.info().data["resource_url"])
    firefox.wait_until(LIVE)
    server.kill()
    firefox.wait_until("window.__berth.state === 'reconnecting'")
    server.start()
    firefox.wait_until(LIVE)
    assert server.agb().delete(session).success
    firefox.wait_until("window.__berth.state === 'ended'")
