"""The live view in Debian's Chromium: what a person does reaches the session, what happens there reaches the person."""

import time

import pytest
import requests
from conftest import IMAGE, LIVE, visit, wait_until
from screen import start_terminal, wait_for_file, wait_until_equal


def open_view(page, session):
    url = session.info().data["resource_url"]
    visit(page, url)
    wait_until(page, LIVE)
    return url


@pytest.fixture
def terminal(session, page):
    """An open view with an xterm that fills the screen, and what is typed into it in /tmp/typed."""
    open_view(page, session)
    start_terminal(session)
    page.wait_for_timeout(500)
    box = page.locator("canvas").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    return session


def test_the_socket_opens_while_the_scripts_are_on_their_way(session, page):
    """It is the script in the page itself that opens it, which the policy names by its hash."""
    sockets, held, refused = [], [], []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.on("console", lambda message: refused.append(message.text) if "Content Security" in message.text else None)
    page.route("**/assets/*.js", lambda route: route.continue_() if sockets else held.append(route))
    url = session.info().data["resource_url"]
    with page.expect_websocket():
        page.goto(url, wait_until="commit")
    for route in held:
        route.continue_()
    wait_until(page, LIVE)
    assert held and len(sockets) == 1 and not refused, (held, sockets, refused)


def test_typed_text_arrives_in_the_session(terminal, page):
    page.keyboard.type("hello Berth, 1 + 1 = 2; {[(<|>)]}", delay=5)
    page.keyboard.press("Enter")
    assert wait_for_file(terminal, "/tmp/typed") == "hello Berth, 1 + 1 = 2; {[(<|>)]}\n"


def test_characters_outside_ascii_arrive(terminal, page):
    page.keyboard.insert_text("Grüße, Ñandú, Ωmega")
    page.keyboard.press("Enter")
    assert wait_for_file(terminal, "/tmp/typed") == "Grüße, Ñandú, Ωmega\n"


def test_shortcuts_reach_the_program(terminal, page):
    page.keyboard.type("line")
    page.keyboard.press("Enter")
    assert wait_for_file(terminal, "/tmp/typed") == "line\n"
    page.keyboard.press("Control+d")
    deadline = time.monotonic() + 10
    while terminal.command.execute("pgrep xterm").success and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not terminal.command.execute("pgrep xterm").success


def test_mouse_buttons_wheel_and_drag_arrive(session, page):
    open_view(page, session)
    watch = """
import os, subprocess
os.environ["DISPLAY"] = ":0"
watch = subprocess.Popen("exec stdbuf -oL xinput test-xi2 --root > /tmp/events 2>&1", shell=True)
"""
    if not session.command.execute("command -v xinput").success:
        watch = watch.replace("xinput test-xi2 --root", "xev -root -event button -event mouse")
    assert session.code.run(watch, "python").success
    box = page.locator("canvas").bounding_box()

    def at(x, y):
        return box["x"] + box["width"] * x, box["y"] + box["height"] * y

    wait_for_file(session, "/tmp/events") if "xinput" in watch else page.wait_for_timeout(500)
    page.mouse.move(*at(0.5, 0.5))
    page.mouse.click(*at(0.5, 0.5))
    page.mouse.click(*at(0.5, 0.5), button="right")
    page.keyboard.press("Escape")
    page.mouse.move(*at(0.3, 0.3))
    page.mouse.wheel(0, 240)
    page.wait_for_timeout(500)
    location = session.command.execute("DISPLAY=:0 xdotool getmouselocation 2>/dev/null || true").output
    if location:
        x, y = (int(part.split(":")[1]) for part in location.split()[:2])
        assert abs(x - 0.3 * 1280) <= 2 and abs(y - 0.3 * 720) <= 2


def test_the_pointer_has_the_shape_that_the_session_gives_it(terminal, page):
    box = page.locator("canvas").bounding_box()
    cursor = "getComputedStyle(document.querySelector('canvas')).cursor"
    page.mouse.move(box["x"] + 300, box["y"] + 300)
    wait_until(page, f"{cursor}.startsWith('url(')")
    over_the_terminal = page.evaluate(cursor)
    page.mouse.move(box["x"] + box["width"] - 30, box["y"] + box["height"] - 20)
    wait_until(page, f"{cursor} !== {over_the_terminal!r}")


def test_the_picture_is_exact(session, page):
    """Noise, text and flat areas, in a window: after it settles the canvas equals the screen, pixel for pixel."""
    open_view(page, session)
    draw = """
import random
from PIL import Image, ImageDraw
random.seed(7)
image = Image.new("RGB", (400, 300))
image.putdata([(random.randrange(256), random.randrange(256), random.randrange(256)) for _ in range(400 * 300)])
draw = ImageDraw.Draw(image)
draw.rectangle((10, 10, 200, 100), fill=(200, 30, 40))
draw.text((20, 40), "exact to the pixel", fill="white")
image.save("/tmp/shown.png")
"""
    assert session.code.run(draw, "python").success
    shown = session.command.execute(
        "DISPLAY=:0 nohup gpicview /tmp/shown.png > /dev/null 2>&1 & "
        "DISPLAY=:0 timeout 10 xdotool search --sync --onlyvisible --name shown.png", timeout_ms=15000)
    assert shown.success, shown.error_message
    wait_until_equal(session, page.evaluate)


def test_the_page_reconnects_when_the_server_restarts(new_server, page):
    from agb import CreateSessionParams

    server = new_server("--pool", "0")
    session = server.agb().create(CreateSessionParams(image_id=IMAGE)).session
    open_view(page, session)
    server.kill()
    wait_until(page, "window.__berth.state === 'reconnecting'")
    server.start()
    wait_until(page, LIVE)
    assert server.agb().delete(session).success
    wait_until(page, "window.__berth.state === 'ended'")
    assert "released by its owner" in page.inner_text("body")


def test_an_expired_url_is_refused_with_the_way_to_a_new_one(new_server, page):
    from agb import CreateSessionParams

    server = new_server("--pool", "0", "--view-url-ttl", "4")
    session = server.agb().create(CreateSessionParams(image_id=IMAGE)).session
    url = open_view(page, session)
    wait_until(page, "window.__berth.state === 'ended'")
    assert "session.info()" in page.inner_text("body")
    refused = requests.get(url)
    assert refused.status_code == 410 and "session.info()" in refused.text
    stream = requests.get(url.split("?")[0] + "ws", headers={
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
    assert stream.status_code == 400 and "expired" in stream.json()["message"]
    assert open_view(page, session) != url
    assert server.agb().delete(session).success


def test_a_ticket_that_never_was_is_refused(server):
    refused = requests.get(f"{server.endpoint}/view/nonsense/")
    assert refused.status_code == 404 and "not valid" in refused.text
    assert refused.headers["referrer-policy"] == "no-referrer"


def test_a_page_of_another_site_cannot_open_the_stream(session):
    url = session.info().data["resource_url"].split("?")[0] + "ws"
    refused = requests.get(url, headers={
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": "https://evil.example"})
    assert refused.status_code == 400 and "another site" in refused.json()["message"]


def test_the_page_loads_nothing_from_elsewhere(session, page):
    hosts = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2] if "//" in request.url else "data"))
    open_view(page, session)
    assert len(hosts - {"data"}) == 1, hosts
