"""Fingers, the keyboard in full screen, and input methods: what they make of the page is read back from inside the session."""

import re

import pytest
from conftest import opened, until
from screen import start_terminal, wait_for_file

# A terminal that reports the mouse as xterm does: `<button;column;row`, then `M` for a press or a move, `m` for a release.
WATCH_THE_MOUSE = r"""
import os, subprocess
script = r"stty raw -echo; printf '\033[?1003h\033[?1006h'; touch /tmp/ready; cat > /tmp/mouse"
subprocess.Popen(["xterm", "-b", "0", "-geometry", "200x50+0+0", "-e", "sh", "-c", script],
                 env={**os.environ, "DISPLAY": ":0"})
"""
LEFT, RIGHT, MOVED, WHEEL_UP, WHEEL_DOWN = 0, 2, 32, 64, 65


class Fingers:
    """Fingers on the screen of a page, at parts of the session's screen."""

    def __init__(self, page):
        self.page, self.cdp = page, page.context.new_cdp_session(page)

    def _send(self, what, *places):
        box = self.page.locator("canvas").bounding_box()
        points = [{"x": box["x"] + box["width"] * x, "y": box["y"] + box["height"] * y, "id": n}
                  for n, (x, y) in enumerate(places)]
        self.cdp.send("Input.dispatchTouchEvent", {"type": what, "touchPoints": points})

    def down(self, *places):
        self._send("touchStart", *places)

    def move(self, *places):
        self._send("touchMove", *places)

    def up(self):
        self._send("touchEnd")

    def tap(self, *places):
        self.down(*places)
        self.up()


def mouse(session):
    """What the terminal was told of the mouse: (button, column, row, whether it went down)."""
    read = session.file.read("/tmp/mouse").content or ""
    found = re.findall(r"<(\d+);(\d+);(\d+)([Mm])", read)
    return [(int(button), int(column), int(row), how == "M") for button, column, row, how in found]


def presses(session):
    return [(button, down) for button, _, _, down in mouse(session) if button & (MOVED | WHEEL_UP) == 0]


@pytest.fixture
def touched(session, browser):
    """A session with a terminal that watches the mouse, and a page of a device with a touch screen and no mouse."""
    context = browser.new_context(viewport={"width": 1000, "height": 600}, has_touch=True, is_mobile=True)
    page = opened(context.new_page(), session.info().data["resource_url"])
    assert session.code.run(WATCH_THE_MOUSE, "python").success
    until(lambda: session.command.execute("test -e /tmp/ready").success, "the terminal never came")
    # The first tap may come before the terminal's window does.
    fingers = Fingers(page)

    def heard():
        fingers.tap((0.5, 0.5))
        return presses(session)

    until(heard, "no tap was heard")
    fingers.tap((0.25, 0.5))
    until(lambda: quiet(session), "the taps were not over")
    assert session.command.execute("truncate -s 0 /tmp/mouse").success
    yield page, fingers
    context.close()


def quiet(session):
    """What was pressed is let go."""
    downs = [down for _, down in presses(session)]
    return downs and downs.count(True) == downs.count(False)


def pointer(session):
    """Where the session's pointer is, in parts of its screen."""
    found = session.command.execute("DISPLAY=:0 xdotool getmouselocation").output
    x, y = re.match(r"x:(\d+) y:(\d+)", found).groups()
    return int(x) / 1280, int(y) / 720


def test_a_tap_clicks_where_it_is(session, touched):
    _, fingers = touched
    fingers.tap((0.3, 0.4))
    until(lambda: quiet(session), "the tap never arrived")
    assert presses(session) == [(LEFT, True), (LEFT, False)]
    assert pointer(session) == pytest.approx((0.3, 0.4), abs=0.004)


def test_a_long_press_and_a_tap_of_two_fingers_click_right(session, touched):
    _, fingers = touched
    fingers.down((0.3, 0.4))
    until(lambda: quiet(session), "the long press never arrived")
    fingers.up()
    fingers.tap((0.5, 0.5), (0.6, 0.5))
    until(lambda: len(presses(session)) == 4, "the tap of two fingers never arrived")
    assert presses(session) == [(RIGHT, True), (RIGHT, False)] * 2
    assert pointer(session) == pytest.approx((0.55, 0.5), abs=0.004)


def test_a_finger_drags(session, touched):
    _, fingers = touched
    fingers.down((0.2, 0.2))
    for step in range(1, 11):
        fingers.move((0.2 + step * 0.04, 0.2 + step * 0.03))
    fingers.up()
    until(lambda: quiet(session), "the drag never arrived")
    events = mouse(session)
    (first, *moves, last) = [event for event in events if event[0] != MOVED + 3]
    assert (first[0], first[3]) == (LEFT, True) and (last[0], last[3]) == (LEFT, False), events
    assert moves and all(button == LEFT + MOVED for button, *_ in moves), events
    # From where the finger came down, not from where it was first seen to move.
    assert first[1] / last[1] == pytest.approx(0.2 / 0.6, abs=0.02), events
    assert pointer(session) == pytest.approx((0.6, 0.5), abs=0.004)


def test_two_fingers_scroll(session, touched):
    _, fingers = touched
    for button, sign in ((WHEEL_DOWN, -1), (WHEEL_UP, 1)):
        fingers.down((0.4, 0.5), (0.5, 0.5))
        for step in range(1, 11):
            y = 0.5 + sign * step * 0.04
            fingers.move((0.4, y), (0.5, y))
        fingers.up()
        until(lambda: any(event[0] == button for event in mouse(session)), f"wheel {button} never turned")
    wheels = [event[0] for event in mouse(session) if event[0] & WHEEL_UP]
    # First all one way, then all the other; and nothing was pressed.
    assert wheels == sorted(wheels, reverse=True) and set(wheels) == {WHEEL_UP, WHEEL_DOWN}
    assert presses(session) == []


def test_the_on_screen_keyboard_comes_when_it_is_asked_for(session, touched):
    """Headless Chromium shows no keyboard: what makes a device show one is seen, and what such a keyboard sends arrives."""
    page, fingers = touched
    session.command.execute("pkill xterm; rm -f /tmp/ready")
    start_terminal(session)
    focus(session, "xterm")
    fingers.tap((0.5, 0.5))
    keys = "(() => { const keys = document.querySelector('#keys'); " \
           "return [document.activeElement === keys, keys.inputMode] })()"
    assert page.evaluate(keys) == [True, "none"]
    page.touchscreen.tap(500, 3)
    page.locator("#toolbar-keyboard").tap()
    assert page.evaluate(keys) == [True, "text"]
    cdp = page.context.new_cdp_session(page)
    # Word by word, as these keyboards do: composed, then committed.
    for word in ("Grüße ", "vom ", "Telefon"):
        cdp.send("Input.imeSetComposition", {"text": word.strip(), "selectionStart": 1, "selectionEnd": 1})
        cdp.send("Input.insertText", {"text": word})
    page.keyboard.press("Enter")
    assert wait_for_file(session, "/tmp/typed") == "Grüße vom Telefon\n"
    page.touchscreen.tap(500, 3)
    page.locator("#toolbar-keyboard").tap()
    assert page.evaluate(keys) == [True, "none"]


# Notes what is asked of the browser's keyboard lock; in a headless one there is nothing that it could be seen by.
NOTE_THE_LOCK = """
window.locks = []
const lock = navigator.keyboard.lock.bind(navigator.keyboard)
navigator.keyboard.lock = async (...keys) => {
  await lock(...keys)
  window.locks.push([keys, document.fullscreenElement !== null])
}
"""

# A window that writes down the keys that reach it, and one more to turn to.
WATCH_THE_KEYS = """
import os, subprocess
environment = {**os.environ, "DISPLAY": ":0"}
subprocess.Popen("xterm -T the-other -geometry 20x5+900+500 -e cat", shell=True, env=environment)
subprocess.Popen("exec stdbuf -oL xev -geometry 500x300+20+40 -event keyboard > /tmp/keys", shell=True, env=environment)
"""


def focus(session, name):
    """Turns to the window whose name or class has this in it."""
    turn = f"export DISPLAY=:0; window=$(xdotool search --onlyvisible --name '{name}' || " \
           f"xdotool search --onlyvisible --class '{name}') && xdotool windowactivate --sync ${{window%%[[:space:]]*}} && " \
           f"test \"$(xdotool getactivewindow)\" = \"${{window%%[[:space:]]*}}\""
    until(lambda: session.command.execute(turn).success, f"no window {name} has the keyboard")


def test_in_full_screen_the_system_s_keys_go_to_the_session(session, page):
    """What is proven: full screen asks for the keyboard lock and gets it, and Escape, Meta and Alt+Tab that reach the page
    reach the session and nothing of the page itself. What is not: that Chromium and the desktop around it let these keys
    pass to the page. A headless browser has no desktop, and its keys come from the test."""
    page.add_init_script(NOTE_THE_LOCK)
    opened(page, session.info().data["resource_url"])
    page.mouse.move(640, 3)
    page.click("#toolbar-fullscreen")
    until(lambda: page.evaluate("window.locks.length") == 1, "the keyboard was never locked")
    assert page.evaluate("window.locks") == [[[], True]]

    assert session.code.run(WATCH_THE_KEYS, "python").success
    active = "DISPLAY=:0 xdotool getactivewindow getwindowname"
    focus(session, "the-other")
    focus(session, "Event Tester")
    box = page.locator("canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.1, box["y"] + box["height"] * 0.2)
    page.keyboard.press("Escape")
    page.keyboard.press("Meta")
    page.keyboard.press("F11")

    def keys():
        return re.findall(r"^(KeyPress|KeyRelease) event.*?keysym 0x\w+, (\w+)\)", session.file.read("/tmp/keys").content or "",
                          re.MULTILINE | re.DOTALL)

    wanted = [(how, key) for key in ("Escape", "Super_L", "F11") for how in ("KeyPress", "KeyRelease")]
    until(lambda: [one for one in keys() if one in wanted] == wanted, f"not all keys arrived: {keys()}")
    assert page.evaluate("document.fullscreenElement !== null"), "the page has taken Escape for itself"

    # As long as fingers hold them: the window manager takes the keyboard when it sees Tab, and does not look for an Alt that
    # was let go before.
    page.keyboard.down("Alt")
    page.keyboard.press("Tab", delay=150)
    page.keyboard.up("Alt")
    until(lambda: "Event Tester" not in session.command.execute(active).output, "Alt+Tab turned to no other window")

    page.mouse.move(640, 3)
    page.click("#toolbar-fullscreen")
    until(lambda: page.evaluate("document.fullscreenElement === null"), "full screen never ended")


@pytest.fixture
def composing(session, page):
    """A terminal in the session, and what composes text in the page as an input method does."""
    opened(page, session.info().data["resource_url"])
    start_terminal(session)
    box = page.locator("canvas").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    cdp = page.context.new_cdp_session(page)

    class Composing:
        def key(self, what, key, code):
            # What browsers say of a key that an input method has taken.
            cdp.send("Input.dispatchKeyEvent",
                     {"type": what, "key": key, "code": code, "windowsVirtualKeyCode": 229})

        def shows(self, text):
            cdp.send("Input.imeSetComposition",
                     {"text": text, "selectionStart": len(text), "selectionEnd": len(text)})

        def commits(self, text):
            cdp.send("Input.insertText", {"text": text})

    return Composing()


def test_japanese_is_composed_and_arrives_once(session, page, composing):
    page.keyboard.type("a ")
    for code, shown in [("KeyN", "n"), ("KeyI", "に"), ("KeyH", "にh"), ("KeyO", "にほ"), ("KeyN", "にほn"),
                        ("KeyG", "にほんg"), ("KeyO", "にほんご"), ("Space", "日本語")]:
        composing.key("rawKeyDown", "Process", code)
        composing.shows(shown)
        composing.key("keyUp", code[-1].lower(), code)
    # The Enter that takes the choice is the input method's, and no line of the terminal's.
    composing.key("rawKeyDown", "Process", "Enter")
    composing.commits("日本語")
    composing.key("keyUp", "Enter", "Enter")
    page.keyboard.type(" z")
    page.keyboard.press("Enter")
    assert wait_for_file(session, "/tmp/typed") == "a 日本語 z\n"


def test_a_dead_key_makes_one_letter(session, page, composing):
    for letter in ("é", "É"):
        composing.key("rawKeyDown", "Dead", "Equal")
        composing.shows("´")
        composing.key("keyUp", "Dead", "Equal")
        composing.key("rawKeyDown", letter, "KeyE")
        composing.commits(letter)
        composing.key("keyUp", "e", "KeyE")
    page.keyboard.type("e")
    page.keyboard.press("Enter")
    assert wait_for_file(session, "/tmp/typed") == "éÉe\n"


def test_a_composition_that_is_given_up_leaves_nothing(session, page, composing):
    composing.shows("にほ")
    composing.shows("")
    page.keyboard.type("nothing")
    composing.shows("かな")
    composing.commits("カナ")
    page.keyboard.press("Enter")
    assert wait_for_file(session, "/tmp/typed") == "nothingカナ\n"
