"""The live view over plain HTTP at an address that is not the browser's own machine: no secure context."""

import random
import subprocess

import pytest
from agb import CreateSessionParams
from conftest import IMAGE, LIVE, visit, wait_until
from screen import use


@pytest.fixture
def lan_address():
    """An address of this machine as a neighbour would see it, from the range for documentation."""
    address = f"192.0.2.{random.randrange(1, 255)}"
    # Which interface it is on makes no difference to a browser.
    subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    try:
        yield address
    finally:
        subprocess.run(["ip", "address", "delete", f"{address}/32", "dev", "lo"], check=True)


def test_the_page_works_without_a_secure_context(new_server, page, lan_address):
    server = new_server("--pool", "0", host=lan_address)
    agb = server.agb()
    session = agb.create(CreateSessionParams(image_id=IMAGE)).session
    url = session.info().data["resource_url"]
    assert url.startswith(f"http://{lan_address}:")
    said = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    visit(page, url)
    wait_until(page, LIVE)
    assert page.evaluate("isSecureContext") is False
    use(session, page)
    # What the page would have with TLS is not missed aloud.
    seen = page.inner_text("body").lower()
    assert not any(word in seen for word in ("https", "secure", "not supported", "unavailable", "not available")), seen
    assert page.locator("#overlay").is_hidden()
    assert said == []
    assert agb.delete(session).success
    server.stop_for_good()
