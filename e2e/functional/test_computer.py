"""A session of the computer image, used through the official SDK as the protocol's document describes it."""

import io
import json
import re
import time

import pytest
import requests
from agb import CreateSessionParams
from PIL import Image

IMAGE = "agb-computer-use-ubuntu-2204"
SCREEN = (1280, 720)


@pytest.fixture(scope="module")
def session(server):
    agb = server.agb()
    created = agb.create(CreateSessionParams(image_id=IMAGE))
    assert created.success, created.error_message
    yield created.session
    assert agb.delete(created.session).success


@pytest.fixture
def computer(session):
    """The session's computer; the windows that a test leaves open are closed."""
    computer = session.computer
    yield computer
    sh(session, "pkill -9 'chromium|soffice.bin|evince|galculator|mousepad|xarchiver|gpicview|xfce4-terminal|xterm'"
                "; pkill -9 -f '^pcmanfm (%U)?$' || true")
    until(lambda: of(computer.window.list_root_windows()).windows, lambda windows: windows == [])


def of(result):
    assert result.success, result.error_message
    return result


def sh(session, command):
    return of(session.command.execute(command, timeout_ms=60000)).output


def until(ask, wanted):
    deadline = time.monotonic() + 40
    while not wanted(answer := ask()):
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)
    return answer


def windows_of(computer, pid):
    return [window for window in of(computer.window.list_root_windows()).windows if window.pid == pid]


def start(computer, command):
    """Starts an application; its process and its window."""
    process = of(computer.app.start(command)).data[0]
    window = until(lambda: windows_of(computer, process.pid), lambda windows: windows)[0]
    return process, window


def pixels(session, **arguments):
    shot = of(session.computer.screen.beta_take_screenshot(**arguments))
    return Image.open(io.BytesIO(shot.data))


def test_the_image_has_what_a_person_expects_on_a_computer(session, computer):
    apps = {app.name: app.start_cmd for app in of(computer.app.list_installed()).data}
    assert set(apps) == {"Archive manager", "Calculator", "Document viewer", "Files", "Google Chrome", "Image viewer",
                         "LibreOffice Calc", "LibreOffice Writer", "Terminal", "Text editor", "XTerm"}
    assert all("%" not in command for command in apps.values()), apps
    icons = {app["name"]: app["icon"] for app in json.loads(session.call_mcp_tool("get_installed_apps", {}).data)}
    for name, icon in icons.items():
        found = sh(session, f"ls {icon}" if icon.startswith("/") else
                   f"find /usr/share/icons /usr/share/pixmaps -name '{icon}*.[ps]*' | head -1")
        assert found.strip(), (name, icon)
    on_the_desktop = {app.name for app in of(computer.app.list_installed(start_menu=False, desktop=True)).data}
    assert on_the_desktop == {"Google Chrome", "LibreOffice Writer", "LibreOffice Calc", "Terminal", "Files", "Text editor"}


@pytest.mark.parametrize("name, how", [
    ("Archive manager", "pid"), ("Calculator", "name"), ("Document viewer", "command"), ("Files", "pid"),
    ("Google Chrome", "command"), ("Image viewer", "name"), ("LibreOffice Calc", "pid"), ("LibreOffice Writer", "name"),
    ("Terminal", "command"), ("Text editor", "pid")])
def test_an_application_starts_shows_its_window_and_is_stopped(session, computer, name, how):
    command = next(app.start_cmd for app in of(computer.app.list_installed()).data if app.name == name)
    visible = lambda: {process.pid: process.pname for process in of(computer.app.get_visible()).data}
    for _ in range(2):  # The first start is like every other.
        process, window = start(computer, command)
        assert process.pid in visible() and window.title
        # The window that the process shows is the only one: no tips, no questions.
        assert len(of(computer.window.list_root_windows()).windows) == 1
        of({"pid": lambda: computer.app.stop_by_pid(process.pid),
            "name": lambda: computer.app.stop_by_pname(visible()[process.pid]),
            "command": lambda: computer.app.stop_by_cmd(f"kill -9 {process.pid}")}[how]())
        until(visible, lambda known: process.pid not in known)


def test_an_application_that_does_not_hear_is_ended_all_the_same(session, computer):
    sh(session, "printf '#!/bin/sh\\ntrap \"\" TERM\\nexec galculator\\n' > /tmp/deaf && chmod +x /tmp/deaf")
    for stop in (lambda process: computer.app.stop_by_pid(process.pid), lambda process: computer.app.stop_by_pname("galculator")):
        process, _ = start(computer, "/tmp/deaf")
        of(stop(process))
        until(lambda: windows_of(computer, process.pid), lambda windows: windows == [])


def test_files_open_with_what_fits(session, computer):
    sh(session, "mkdir -p /tmp/kinds && cd /tmp/kinds && echo '<title>A page</title>' > a.html && printf 'a,b\\n1,2\\n' > a.csv"
                " && echo text > a.txt && python3 -c 'import matplotlib; matplotlib.use(\"Agg\"); import matplotlib.pyplot as p;"
                " p.plot([1]); p.savefig(\"a.pdf\"); p.savefig(\"a.png\")'")
    fits = {"html": "chromium", "pdf": "evince", "png": "gpicview", "txt": "mousepad"}
    for ending, program in fits.items():
        of(computer.app.start(f"xdg-open /tmp/kinds/a.{ending}"))
        until(lambda: [window.pname for window in of(computer.window.list_root_windows()).windows],
              lambda names: program in names)
    for ending, entry in (("odt", "writer"), ("docx", "writer"), ("ods", "calc"), ("xlsx", "calc"), ("csv", "calc")):
        kind = sh(session, f"xdg-mime query filetype a.{ending} 2>/dev/null; touch /tmp/kinds/b.{ending};"
                           f" xdg-mime query default $(python3 -c 'import mimetypes; mimetypes.add_type("
                           f"\"text/csv\", \".csv\"); print(mimetypes.guess_type(\"b.{ending}\")[0])')")
        assert f"libreoffice-{entry}.desktop" in kind, (ending, kind)


def test_the_browser_keeps_its_sandbox_and_needs_no_network_to_start(session, computer):
    sh(session, "echo '<title>Local</title><body style=\"margin:0;background:#abcdef\">' > /tmp/local.html")
    _, window = start(computer, "chromium file:///tmp/local.html")
    commands = sh(session, "ps -eo args | grep -c '[c]hromium.*--no-sandbox' || true")
    assert commands.strip() == "0"
    until(lambda: windows_of(computer, window.pid)[0].title, lambda title: title.startswith("Local"))
    middle = (window.absolute_upper_left_x + window.width // 2, window.absolute_upper_left_y + window.height // 2)
    until(lambda: pixels(session).convert("RGB").getpixel(middle), lambda colour: colour == (0xAB, 0xCD, 0xEF))


def test_a_window_is_walked_through_its_states(session, computer):
    _, window = start(computer, "xterm -geometry 80x24 -e sleep 600")
    windows, id = computer.window, window.window_id
    now = lambda: next((other for other in of(windows.list_root_windows()).windows if other.window_id == id), None)
    size = lambda: (now().width, now().height)
    first = size()
    of(windows.activate(id))
    until(lambda: windows.get_active_window(), lambda active: active.success and active.window.window_id == id)
    of(windows.focus_mode(True))
    of(windows.focus_mode(False))
    of(windows.minimize(id))
    until(lambda: windows.get_active_window(), lambda active: not active.success or active.window.window_id != id)
    of(windows.maximize(id))
    of(windows.restore(id))
    until(size, lambda size: size == first)
    until(lambda: windows.get_active_window(), lambda active: active.success and active.window.window_id == id)
    of(windows.maximize(id))
    until(size, lambda size: size[0] == SCREEN[0] and size[1] > 600)
    of(windows.restore(id))
    until(size, lambda size: size == first)
    of(windows.resize(id, 300, 500))
    until(size, lambda size: abs(size[0] - 300) <= 12 and abs(size[1] - 500) <= 20)  # Whole characters.
    of(windows.fullscreen(id))
    until(size, lambda size: size == SCREEN)
    of(windows.close(id))
    until(now, lambda window: window is None)


def test_focus_mode_keeps_a_window_in_front_and_the_keyboard_with_it(session, computer):
    stacking = lambda: [int(id, 16) for id in re.findall("0x[0-9a-f]+", sh(
        session, "DISPLAY=:0 xprop -root _NET_CLIENT_LIST_STACKING"))]
    active = lambda: of(computer.window.get_active_window()).window.window_id
    xterm = lambda title: start(computer, f"xterm -T {title} -geometry 90x25+100+100 -e sleep 600")[1].window_id
    assert not computer.window.focus_mode(True).success  # There is nothing to keep.
    kept = xterm("kept")
    until(active, lambda id: id == kept)
    of(computer.window.focus_mode(True))
    opened = xterm("opened")
    assert opened in until(stacking, lambda ids: opened in ids)
    assert active() == kept and stacking()[-1] == kept
    # Whoever wants another window has it; the one that is kept stays in sight.
    of(computer.window.activate(opened))
    until(active, lambda id: id == opened)
    assert stacking()[-1] == kept
    of(computer.window.focus_mode(False))
    last = xterm("last")
    until(active, lambda id: id == last)
    until(stacking, lambda ids: ids[-1] != kept)


@pytest.mark.parametrize("format, magic", [("png", b"\x89PNG\r\n\x1a\n"), ("jpeg", b"\xff\xd8\xff")])
def test_a_screenshot_comes_with_the_screens_size(computer, format, magic):
    shot = of(computer.screen.beta_take_screenshot(format))
    assert shot.data.startswith(magic) and (shot.width, shot.height) == SCREEN
    assert Image.open(io.BytesIO(shot.data)).size == SCREEN


@pytest.mark.parametrize("x, y", [(0, 0), (1279, 719), (640, 333)])
def test_coordinates_are_exact(session, computer, x, y):
    of(computer.mouse.move(x, y))
    assert json.loads(of(computer.mouse.get_position()).data) == {"x": x, "y": y}
    of(computer.mouse.click(x, y, "right"))
    assert json.loads(of(computer.mouse.get_position()).data) == {"x": x, "y": y}
    of(computer.keyboard.press(["Escape"]))


def capture(session):
    taken = session.call_mcp_tool("system_screenshot", {})
    assert taken.success, taken.error_message
    return taken.data


def test_a_picture_has_a_url_for_whoever_knows_it(server, session, computer):
    url = capture(session)
    assert url.startswith(server.endpoint + "/screenshot/")
    answer = requests.get(url, timeout=30)
    assert answer.status_code == 200 and Image.open(io.BytesIO(answer.content)).size == SCREEN
    told = {name.lower(): value for name, value in answer.headers.items()}
    assert told["content-type"] == "image/png" and told["x-content-type-options"] == "nosniff"
    assert told["cache-control"] == "no-store" and told["referrer-policy"] == "no-referrer"
    assert "sandbox" in told["content-security-policy"] and int(told["content-length"]) == len(answer.content)
    assert requests.get(url, timeout=30).content == answer.content
    others = [capture(session) for _ in range(8)]
    assert len({*others, url}) == 9
    gone = requests.get(url, timeout=30)  # Eight newer ones have taken its place.
    assert gone.status_code == 404 and "system_screenshot" in gone.json()["message"]
    assert all(requests.get(other, timeout=30).status_code == 200 for other in others)
    # The address is the one by which the caller reaches the server, and nobody can put another one into the call.
    call = {"sessionId": session.session_id, "name": "system_screenshot", "args": "{}"}
    headers = {"Authorization": f"Bearer {server.key}", "Host": "agents.example:99", "x-pictures-url": "http://evil/"}
    text = requests.post(server.endpoint + "/mcp", json=call, headers=headers, timeout=30).json()["data"]["content"][0]["text"]
    assert text.startswith("http://agents.example:99/screenshot/")


def test_the_picture_of_an_ended_session_is_gone(server):
    agb = server.agb()
    session = of(agb.create(CreateSessionParams(image_id=IMAGE))).session
    url = capture(session)
    of(agb.delete(session))
    answer = requests.get(url, timeout=30)
    assert answer.status_code == 410 and "released" in answer.json()["message"], answer.text


def test_sound_is_there_when_somebody_plays_or_records(session):
    daemon = "pgrep -x pulseaudio > /dev/null"
    assert sh(session, f"{daemon} || echo none") == "none\n"
    of(session.command.execute(
        "python3 - <<'END'\nimport math, struct, wave\nfile = wave.open('/tmp/tone.wav', 'w')\nfile.setparams((2, 2, 48000, 0, 'NONE', ''))\n"
        "for n in range(48000 * 20):\n    file.writeframes(struct.pack('<hh', *[int(12000 * math.sin(n * 440 * 6.2832 / 48000))] * 2))\nEND",
        timeout_ms=60000))
    # Recorded at once: whoever comes first starts the daemon.
    recorded = sh(session, "(paplay /tmp/tone.wav &) ; timeout 4 parec -d @DEFAULT_MONITOR@ --latency-msec=50 --rate=48000 --channels=2 --format=s16le"
                           " > /tmp/heard.raw; pkill paplay; python3 -c \"import array; heard = array.array('h', open('/tmp/heard.raw','rb').read());"
                           " print(len(heard), max(heard))\"")
    count, loudest = map(int, recorded.split())
    assert count > 48000 * 2 and loudest > 10000, recorded
    assert "speakers" in sh(session, "pactl info")
    until(lambda: sh(session, f"{daemon} && echo runs || echo none"), lambda state: state == "none\n")


def test_the_screens_are_listed(session, computer):
    of(computer.screen.get_size())
    assert "1280x720" in sh(session, "xrandr 2>/dev/null")
