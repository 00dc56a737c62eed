"""Several people in front of one session: control, the clipboard, files, the screen's size, motion, and the agent among them."""

import contextlib
import json

import pytest
import websockets.sync.client
from conftest import LIVE, opened, until, wait_until
from screen import start_terminal, wait_for_file, wait_until_equal

# Version 1, a window of 640 by 480, nothing that it could decode.
HELLO = bytes([1, 1, 128, 2, 224, 1, 0])


def ask(server, method, path, body=None):
    import requests

    answer = requests.request(method, server.endpoint + "/api/v1" + path, json=body,
                              headers={"Authorization": f"Bearer {server.key}"}, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def share(server, session, name, *rights):
    return ask(server, "POST", f"/sessions/{session.session_id}/tickets", {"rights": list(rights), "name": name})["url"]


def viewers(server, session):
    return ask(server, "GET", f"/sessions/{session.session_id}/viewers")


def middle(page):
    box = page.locator("canvas").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def shown(page):
    """The toolbar comes when the pointer is at the upper edge."""
    page.mouse.move(middle(page)[0], 3)
    return page


@pytest.fixture
def desktop(session, page):
    """An open view with an xterm that fills the screen, and the keyboard in it."""
    opened(page, session.info().data["resource_url"])
    start_terminal(session)
    page.mouse.click(*middle(page))
    return session


@pytest.fixture
def other_page(page):
    """A second browser."""
    context = page.context.browser.new_context()
    yield context.new_page()
    context.close()


def test_a_paste_reaches_the_session(session, page):
    opened(page, session.info().data["resource_url"])
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    session.command.execute("DISPLAY=:0 nohup mousepad --disable-server /tmp/pasted > /dev/null 2>&1 &")
    until(lambda: "pasted" in session.call_mcp_tool("list_root_windows", {}).data, "the editor never opened")
    page.mouse.click(*middle(page))
    text = "Grüße 漢字 😀\nand " + "a long line of it; " * 2000
    page.evaluate("text => navigator.clipboard.writeText(text)", text)
    page.keyboard.press("Control+v")

    def saved():
        # The editor fetches what it pastes while it goes on taking keys.
        page.keyboard.press("Control+s")
        return (session.file.read("/tmp/pasted").content or "").rstrip("\n") == text

    until(saved, "the text was never pasted")


def test_a_copy_in_the_session_reaches_the_person(desktop, page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    desktop.command.execute("printf 'kopiert äöü 漢' | DISPLAY=:0 xclip -selection clipboard")
    until(lambda: page.evaluate("navigator.clipboard.readText()") == "kopiert äöü 漢", "the text was never copied")


def test_control_is_asked_for_and_given(desktop, server, page, other_page):
    ann, bob = page, opened(other_page, share(server, desktop, "Bob", "control"))
    ann.keyboard.type("ann ")
    bob.mouse.click(*middle(bob))
    bob.keyboard.type("not heard ")
    shown(bob).click("#toolbar-people")
    bob.get_by_role("button", name="Ask for control").click()
    ann.get_by_role("button", name="Give", exact=True).first.click()
    until(lambda: any(one["name"] == "Bob" and one["control"] for one in viewers(server, desktop)["viewers"]),
          "Bob never had control")
    bob.keyboard.press("Escape")
    bob.mouse.click(*middle(bob))
    bob.keyboard.type("bob")
    bob.keyboard.press("Enter")
    assert wait_for_file(desktop, "/tmp/typed").replace("\x1b", "") == "ann bob\n"


def test_a_crowd_with_a_shared_url_leaves_the_owner_a_place(session, server, page):
    url = "ws" + share(server, session, "crowd", "view")[4:].split("?")[0] + "ws"
    with contextlib.ExitStack() as crowd:
        for place in range(32):
            socket = crowd.enter_context(websockets.sync.client.connect(url, proxy=None, ping_interval=None,
                                                                        close_timeout=0.1))
            try:
                socket.send(HELLO)
                socket.recv(timeout=30)
            except websockets.ConnectionClosed as closed:
                assert closed.rcvd.code == 1013 and "as many viewers" in closed.rcvd.reason
                break
        assert 20 <= place < 31
        opened(page, session.info().data["resource_url"])


def test_who_may_only_look_changes_nothing(desktop, server, page, other_page):
    guest = opened(other_page, share(server, desktop, "Guest", "view"))
    guest.mouse.click(*middle(guest))
    guest.keyboard.type("nothing of this")
    page.keyboard.type("done")
    page.keyboard.press("Enter")
    assert wait_for_file(desktop, "/tmp/typed") == "done\n"
    seen = {one["name"]: one["rights"] for one in viewers(server, desktop)["viewers"]}
    assert seen["Guest"] == ["view"] and "control" in seen[""]


def test_the_agent_is_seen_and_rests_while_a_person_has_taken_over(desktop, page):
    def tool(name, **arguments):
        return desktop.call_mcp_tool(name, arguments)

    assert tool("click_mouse", x=300, y=200, button="left").success
    until(lambda: "Agent" in page.locator("#pointers").inner_text(), "the agent's pointer was never shown")
    page.keyboard.press("a")
    shown(page).click("#toolbar-people")
    page.get_by_role("button", name="Take over").first.click()
    state = until(lambda: (found := json.loads(tool("get_control").data))["taken_over"] and found, "nobody took over")
    assert state["holder"] and state["viewers"] == 1
    refused = tool("click_mouse", x=10, y=10, button="left")
    assert not refused.success and "a person has taken over" in refused.error_message
    assert tool("screenshot", format="png").success
    page.get_by_role("button", name="Give back").first.click()
    assert not json.loads(tool("get_control", wait_ms=10_000).data)["taken_over"]
    assert tool("click_mouse", x=10, y=10, button="left").success


def test_the_screen_matches_the_window(desktop, page):
    page.set_viewport_size({"width": 1000, "height": 640})
    shown(page).click("#toolbar-screen")
    page.click("#screen-match")
    size = "[document.querySelector('canvas').width, document.querySelector('canvas').height]"
    until(lambda: page.evaluate(size) == [1000, 640], "the screen never had the window's size")
    wait_until(page, LIVE)
    wait_until_equal(desktop, page.evaluate)
    assert json.loads(desktop.call_mcp_tool("get_screen_size", {}).data)["width"] == 1000
    page.set_viewport_size({"width": 1400, "height": 800})
    until(lambda: page.evaluate(size) == [1400, 800], "the screen never followed the window")


def test_files_go_in_and_come_out(desktop, page):
    data = page.evaluate_handle("""() => {
      const data = new DataTransfer()
      data.items.add(new File(['brought by hand'], 'note ü.txt'))
      return data
    }""")
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event("#stage", event, {"dataTransfer": data})
    until(lambda: desktop.file.read("/home/user/Desktop/note ü.txt").content == "brought by hand", "the file never came")
    # The panel shows what was sent.
    with page.expect_download() as download:
        page.locator("#files-list").get_by_text("note ü.txt").click()
    assert open(download.value.path()).read() == "brought by hand"


def play_film(session, seconds):
    """A grainy picture that changes 25 times a second, through X itself."""
    player = f"""
import subprocess, time, numpy as np
from PIL import Image
folder = "/tmp/film"
import os; os.makedirs(folder, exist_ok=True)
rng = np.random.default_rng(1)
for n in range(4):
    Image.fromarray(rng.integers(0, 255, (300, 400, 3), dtype=np.uint8)).resize((800, 600), 3).save(f"{{folder}}/{{n}}.png")
film = subprocess.Popen(["bash", "-c", "end=$((SECONDS+{seconds})); while ((SECONDS<end)); do for n in 0 1 2 3; do "
    "hsetroot -fill /tmp/film/$n.png; sleep 0.03; done; done; hsetroot -fill /tmp/film/0.png; touch /tmp/film/over"],
    env={{**os.environ, "DISPLAY": ":0"}})
"""
    run = session.code.run(player, "python")
    assert run.success, run.error_message


def test_motion_is_video_and_exact_when_it_rests(session, page):
    opened(page, session.info().data["resource_url"])
    shown(page).click("#toolbar-screen")
    page.click("#screen-details")
    play_film(session, 4)
    until(lambda: "video" in page.locator("#details-way").inner_text().lower(), "no video was shown", 30)
    until(lambda: session.command.execute("test -e /tmp/film/over").success, "the film never ended", 30)
    wait_until_equal(session, page.evaluate)


# What browsers say of one key on six keyboards: its place, and the character that is on it there.
LAYOUTS = {
    "us": [("KeyY", "y"), ("Digit2", "2"), ("BracketLeft", "["), ("Slash", "/")],
    "german": [("KeyY", "z"), ("Minus", "ß"), ("BracketLeft", "ü"), ("KeyQ", "q")],
    "french": [("KeyQ", "a"), ("Digit2", "é"), ("Semicolon", "m"), ("Digit7", "è")],
    "russian": [("KeyQ", "й"), ("KeyF", "а"), ("Semicolon", "ж"), ("Backquote", "ё")],
    "japanese": [("KeyK", "k"), ("BracketLeft", "@"), ("IntlYen", "\\"), ("Quote", ":")],
    "brazilian": [("Semicolon", "ç"), ("KeyA", "a"), ("IntlRo", "/"), ("BracketRight", "[")],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_characters_of_six_keyboards_arrive(desktop, page, layout):
    for code, key in LAYOUTS[layout]:
        page.evaluate("""([code, key]) => {
          const target = document.querySelector('#keys')
          for (const type of ['keydown', 'keyup'])
            target.dispatchEvent(new KeyboardEvent(type, { code, key, bubbles: true, cancelable: true }))
        }""", [code, key])
    page.keyboard.press("Enter")
    assert wait_for_file(desktop, "/tmp/typed") == "".join(key for _, key in LAYOUTS[layout]) + "\n"
