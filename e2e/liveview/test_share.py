"""What people share in the live view's page: the clipboard, control, the size of the screen, files, each other's pointers."""

import time

import pytest
import requests
from conftest import LIVE, visit, wait_until
from screen import start_terminal, wait_for_file

ALL = ["view", "control", "clipboard-in", "clipboard-out", "files"]
CLIPBOARD = "DISPLAY=:0 xclip -selection clipboard"


def share(server, session, name, rights=tuple(ALL)):
    """The URL of a view of one's own."""
    made = requests.post(f"{server.endpoint}/api/v1/sessions/{session.session_id}/tickets", timeout=30,
                         headers={"Authorization": f"Bearer {server.key}"},
                         json={"rights": list(rights), "name": name})
    assert made.status_code == 200, made.text
    return made.json()["data"]["url"]


def open_view(page, url):
    visit(page, url)
    wait_until(page, LIVE)
    wait_until(page, "!document.querySelector('#toolbar-people').hidden")


def at(page, x, y):
    box = page.locator("canvas").bounding_box()
    return box["x"] + box["width"] * x, box["y"] + box["height"] * y


def wait_for_output(session, command, expected, deadline_s=15):
    deadline = time.monotonic() + deadline_s
    while (output := session.command.execute(command).output) != expected:
        assert time.monotonic() < deadline, f"{command}: {output!r} is not {expected!r}"
        time.sleep(0.1)


def copy_here(page, text):
    """Puts text on this computer's clipboard, as any other page would."""
    other = page.context.new_page()
    other.set_content("<textarea></textarea>")
    other.locator("textarea").fill(text)
    other.locator("textarea").select_text()
    other.keyboard.press("Control+c")
    other.close()
    page.bring_to_front()
    page.locator("#keys").focus()


def paste_here(page):
    """What this computer's clipboard holds."""
    other = page.context.new_page()
    other.set_content("<textarea></textarea>")
    other.locator("textarea").focus()
    other.keyboard.press("Control+v")
    text = other.locator("textarea").input_value()
    other.close()
    page.bring_to_front()
    return text


@pytest.fixture
def another(page):
    """A second person's browser."""
    context = page.context.browser.new_context(viewport={"width": 900, "height": 700})
    yield context.new_page()
    context.close()


def test_a_paste_brings_this_computers_clipboard(session, page):
    open_view(page, session.info().data["resource_url"])
    copy_here(page, "Grüße von hier 🛶")
    page.keyboard.press("Control+v")
    wait_for_output(session, f"{CLIPBOARD} -o", "Grüße von hier 🛶")
    copy_here(page, "second")
    page.keyboard.press("Shift+Insert")
    wait_for_output(session, f"{CLIPBOARD} -o", "second")


def test_a_copy_in_the_session_comes_to_this_computer(session, page):
    open_view(page, session.info().data["resource_url"])
    assert session.command.execute(f"printf 'from the séssion' | {CLIPBOARD} -i > /dev/null 2>&1").success
    wait_until(page, "!document.querySelector('#toolbar-clipboard').hidden")
    page.mouse.click(*at(page, 0.5, 0.5))
    wait_until(page, "!document.querySelector('#toolbar-clipboard').hasAttribute('data-news')")
    assert paste_here(page) == "from the séssion"


def test_without_the_rights_nothing_crosses(server, session, page):
    open_view(page, share(server, session, "Ann", ["view", "control"]))
    assert session.command.execute(f"printf inside | {CLIPBOARD} -i > /dev/null 2>&1").success
    copy_here(page, "outside")
    page.keyboard.press("Control+v")
    page.keyboard.press("Escape")
    wait_until(page, "window.__berth.inputSeqAcknowledged >= 0")
    assert page.locator("#toolbar-clipboard").is_hidden() and page.locator("#toolbar-files").is_hidden()
    assert session.command.execute(f"{CLIPBOARD} -o").output == "inside"
    assert paste_here(page) == "outside"


def test_control_is_asked_for_and_given(server, session, page, another):
    open_view(page, share(server, session, "Ann"))
    start_terminal(session)
    page.mouse.click(*at(page, 0.5, 0.5))
    wait_until(page, "document.querySelector('#people-state').textContent === 'You have control'")
    open_view(another, share(server, session, "Bob"))
    another.mouse.click(*at(another, 0.4, 0.4))
    another.keyboard.type("not this ")
    wait_until(another, "document.querySelector('#hint').textContent.startsWith('Ann has control')")
    assert another.evaluate("window.__berth.inputSeq") == 0
    another.get_by_role("button", name="Ask for it").click()
    wait_until(page, "document.querySelector('#request').textContent.includes('Bob asks for control')")
    page.locator("#request-give").click()
    wait_until(another, "document.querySelector('#people-state').textContent === 'You have control'")
    another.mouse.click(*at(another, 0.5, 0.5))
    another.keyboard.type("but this")
    another.keyboard.press("Enter")
    assert wait_for_file(session, "/tmp/typed") == "but this\n"
    # Ann sees where Bob's pointer is.
    another.mouse.move(*at(another, 0.25, 0.5))
    wait_until(page, "document.querySelector('.peer-name')?.textContent === 'Bob'")
    wait_until(page, "Math.abs(parseFloat(document.querySelector('.peer').style.left) - 25) < 1")


def test_who_may_only_look_watches(server, session, page):
    open_view(page, share(server, session, "Ann", ["view"]))
    page.mouse.click(*at(page, 0.5, 0.5))
    wait_until(page, "document.querySelector('#hint').textContent === 'You are watching'")
    assert page.evaluate("window.__berth.inputSeq") == 0


def test_the_screen_takes_the_size_of_the_window(session, page):
    open_view(page, session.info().data["resource_url"])
    page.set_viewport_size({"width": 1001, "height": 641})
    page.keyboard.press("Control+Alt+Shift+M")
    page.locator("#toolbar-screen").click()
    page.locator("#screen-match").click()
    wait_until(page, "window.__berth.width === 1000 && window.__berth.height === 640")
    wait_for_output(session, "DISPLAY=:0 xdotool getdisplaygeometry", "1000 640\n")
    page.set_viewport_size({"width": 1100, "height": 700})
    wait_until(page, "window.__berth.width === 1100 && window.__berth.height === 700")


def test_files_go_in_and_come_out(session, page):
    open_view(page, session.info().data["resource_url"])
    page.keyboard.press("Control+Alt+Shift+M")
    page.locator("#toolbar-files").click()
    page.locator("#files-picker").set_input_files(
        [{"name": name, "mimeType": "text/plain", "buffer": name.encode()} for name in ("Grüße & mehr.txt", "b.txt")])
    wait_until(page, "document.querySelectorAll('.upload[data-over]:not([data-failed])').length === 2")
    link = page.locator("#files-list a", has_text="Grüße & mehr.txt")
    with page.expect_download() as download:
        link.click()
    assert download.value.suggested_filename == "Grüße & mehr.txt"
    with open(download.value.path(), encoding="utf-8") as file:
        assert file.read() == "Grüße & mehr.txt"


def test_the_agent_is_seen_and_can_be_relieved(session, page):
    open_view(page, session.info().data["resource_url"])
    # The agent's pointer is drawn where it is.
    assert session.computer.mouse.move(640, 360).success
    wait_until(page, "document.querySelector('.peer-name')?.textContent === 'Agent'")
    wait_until(page, "Math.abs(parseFloat(document.querySelector('.peer').style.left) - 50) < 1")
    page.keyboard.press("Control+Alt+Shift+M")
    page.locator("#toolbar-people").click()
    page.get_by_role("button", name="Take over from the agent").click()
    wait_until(page, "document.querySelector('#takeover').textContent.includes('You have taken over')")
    assert not session.computer.mouse.move(1, 1).success
    page.locator("#takeover button").click()
    wait_until(page, "document.querySelector('#takeover').hidden")
    assert session.computer.mouse.move(1, 1).success
