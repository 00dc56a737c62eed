"""The tools of the desktop, through the official SDK where it has them: what they do is read back from inside the session."""

import base64
import io
import json
import time

import pytest
from PIL import Image


@pytest.fixture
def tools(shared):
    class Tools:
        def __getattr__(self, name):
            def call(**arguments):
                done = shared.call_mcp_tool(name, arguments)
                return done.data if done.success else f"error: {done.error_message}"
            return call

    return Tools()


def sh(session, command):
    done = session.command.execute(command, timeout_ms=30000)
    assert done.success, done.error_message
    return done.stdout


def until(ask, wanted):
    deadline = time.monotonic() + 15
    while not wanted(answer := ask()):
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)
    return answer


def windows(tools):
    return json.loads(tools.list_root_windows(timeout_ms=3000))


@pytest.fixture
def terminal(shared, tools):
    """A terminal window that writes what is typed into a file."""
    sh(shared, "rm -f /tmp/typed")
    command = "xterm -title typing -geometry 80x24+60+80 -e 'stty -echo; cat > /tmp/typed'"
    process = json.loads(tools.start_process(command=command))["process_id"]
    found = until(lambda: windows(tools), lambda known: any(window["title"] == "typing" for window in known))
    window = next(window for window in found if window["title"] == "typing")
    # X gives the ids of windows that are gone to new ones, and the window manager may still be at the old one.
    until(lambda: tools.activate_window(window_id=window["window_id"]), lambda text: text == "true")
    until(lambda: tools.get_active_window(), lambda text: str(window["window_id"]) in text)
    until(lambda: sh(shared, "test -e /tmp/typed && echo yes || true"), lambda text: text == "yes\n")
    yield window
    tools.signal_process(process_id=process, signal="KILL")
    until(lambda: windows(tools), lambda known: all(other["window_id"] != window["window_id"] for other in known))


def test_the_screen_is_measured_and_shown(shared, tools):
    size = json.loads(tools.get_screen_size())
    assert size == {"width": 1280, "height": 720, "dpiScalingFactor": 1.0}
    for format, magic in (("png", b"\x89PNG"), ("jpeg", b"\xff\xd8\xff")):
        answer = json.loads(tools.screenshot(format=format))
        picture = base64.b64decode(answer["data"], validate=True)
        assert picture.startswith(magic) and answer["mime_type"] == f"image/{format}" and answer["type"] == "screenshot"
        shown = Image.open(io.BytesIO(picture))
        assert shown.size == (answer["width"], answer["height"]) == (1280, 720)
        assert len(shown.convert("RGB").getcolors(maxcolors=1 << 24)) > 5
    assert "`png`, `jpeg`" in tools.screenshot(format="gif")


def test_a_screenshot_is_what_is_drawn(shared, tools):
    sh(shared, "xsetroot -solid '#123456' 2>/dev/null; xterm -title colour -geometry 20x5+300+300 -bg '#abcdef' -e sleep 30 & ")
    until(lambda: windows(tools), lambda known: any(window["title"] == "colour" for window in known))
    window = next(window for window in windows(tools) if window["title"] == "colour")
    place = (window["absolute_upper_left_x"] + window["width"] - 12, window["absolute_upper_left_y"] + window["height"] - 8)
    tools.move_mouse(x=5, y=5)

    def pixel():
        answer = json.loads(tools.screenshot())
        return Image.open(io.BytesIO(base64.b64decode(answer["data"]))).getpixel(place)

    until(pixel, lambda colour: colour == (0xAB, 0xCD, 0xEF))
    assert tools.close_window(window_id=window["window_id"]) == "true"
    until(lambda: windows(tools), lambda known: all(other["title"] != "colour" for other in known))


@pytest.mark.parametrize("x, y", [(0, 0), (1279, 719), (640, 333)])
def test_the_pointer_is_where_it_was_sent(shared, tools, x, y):
    assert tools.move_mouse(x=x, y=y) == "true"
    assert json.loads(tools.get_cursor_position()) == {"x": x, "y": y}
    assert f"x:{x} y:{y} " in sh(shared, "DISPLAY=:0 xdotool getmouselocation")


def test_clicks_drags_and_wheels_arrive(shared, tools):
    sh(shared, "rm -f /tmp/events; (timeout 60 xev -geometry 300x300+400+100 -name events > /tmp/events 2>/dev/null &)")
    until(lambda: windows(tools), lambda known: any(window["title"] == "events" for window in known))
    window = next(window for window in windows(tools) if window["title"] == "events")
    x, y = window["absolute_upper_left_x"], window["absolute_upper_left_y"]
    assert tools.click_mouse(x=x + 20, y=y + 30, button="right") == "true"
    assert tools.click_mouse(x=x + 21, y=y + 31, button="double_left") == "true"
    assert tools.drag_mouse(from_x=x + 50, from_y=y + 50, to_x=x + 150, to_y=y + 120) == "true"
    assert json.loads(tools.get_cursor_position()) == {"x": x + 150, "y": y + 120}
    assert tools.scroll(x=x + 60, y=y + 60, direction="down", amount=3) == "true"
    seen = until(lambda: sh(shared, "cat /tmp/events"), lambda text: text.count("button 5") >= 6)
    assert seen.count("button 3") == 2 and seen.count("button 1") == 6
    assert "(20,30)" in seen and "(150,120)" in seen
    for wrong, named in [(dict(x=-1, y=0), "`x`"), (dict(x=0, y=10**9), "`y`"), (dict(x=0, y=0, button="fourth"), "`button`")]:
        assert named in tools.click_mouse(**wrong)
    tools.close_window(window_id=window["window_id"])


def test_text_of_any_script_is_typed_as_it_is(shared, tools, terminal):
    line = "The quick brown fox; äöüß éèê ñ 你好世界 こんにちは 안녕하세요 Привет שלום 😀🎉🚀 €£¥ ~`@#$%^&*(){}[]|\\<>?"
    text = (line + "\n") * (1000 // len(line) + 1)
    assert tools.input_text(text=text) == "true"
    assert tools.press_keys(keys=["Ctrl", "d"]) == "true"
    until(lambda: sh(shared, "cat /tmp/typed"), lambda typed: typed == text)


def test_keys_are_held_and_let_go(shared, tools, terminal):
    assert tools.press_keys(keys=["Shift"], hold=True) == "true"
    assert tools.press_keys(keys=["a"]) == "true"
    assert tools.release_keys(keys=["Shift", "Alt"]) == "true"
    for keys in (["b"], ["space"], ["Shift", "c"], ["Enter"]):
        assert tools.press_keys(keys=keys) == "true"
    assert "`nokey`" in tools.press_keys(keys=["Ctrl", "nokey"])
    assert "`keys`" in tools.press_keys(keys=[])
    tools.press_keys(keys=["Ctrl", "d"])
    until(lambda: sh(shared, "cat /tmp/typed").lower(), lambda typed: typed == "ab c\n")


def test_windows_are_changed(shared, tools, terminal):
    id = terminal["window_id"]
    now = lambda: next(window for window in windows(tools) if window["window_id"] == id)
    assert terminal["pname"] == "xterm" and terminal["child_windows"] == []
    before = now()
    assert tools.maximize_window(window_id=id) == "true"
    until(now, lambda window: window["width"] > 1200)
    assert tools.restore_window(window_id=id) == "true"
    until(now, lambda window: window["width"] == before["width"])
    assert tools.resize_window(window_id=id, width=300, height=400) == "true"
    until(now, lambda window: abs(window["width"] - 300) <= 12 and abs(window["height"] - 400) <= 20)
    assert tools.fullscreen_window(window_id=id) == "true"
    until(now, lambda window: (window["width"], window["height"]) == (1280, 720))
    assert tools.restore_window(window_id=id) == "true"
    until(now, lambda window: window["width"] < 1280)
    assert tools.minimize_window(window_id=id) == "true"
    until(lambda: tools.get_active_window(), lambda text: str(id) not in text)
    assert tools.activate_window(window_id=id) == "true"
    until(lambda: tools.get_active_window(), lambda text: str(id) in text)
    for name in ("activate_window", "close_window", "maximize_window"):
        assert "does not exist" in getattr(tools, name)(window_id=1)
    assert "`width`" in tools.resize_window(window_id=id, width=0, height=1)


def test_applications_are_listed_started_and_stopped(shared, tools):
    apps = json.loads(tools.get_installed_apps(start_menu=True, desktop=False, ignore_system_apps=True))
    assert len(apps) >= 4 and all(app["name"] and app["start_cmd"] and "%" not in app["start_cmd"] for app in apps), apps
    assert json.loads(tools.get_installed_apps(start_menu=False, desktop=True))
    editor = next(app for app in apps if "mousepad" in app["start_cmd"])
    visible = lambda: {app["pid"]: app for app in json.loads(tools.list_visible_apps())}

    def start(command):
        process = json.loads(tools.start_app(start_cmd=command))[0]
        assert process["pid"] > 1 and process["pname"] and process["cmdline"]
        return process["pid"]

    assert visible() == {} and windows(tools) == []  # The panel and the desktop are no applications.
    pid = start(editor["start_cmd"] + " %U")
    until(visible, lambda known: pid in known)
    assert tools.stop_app_by_pid(pid=pid) == "true"
    until(visible, lambda known: pid not in known)
    for stop in (lambda pid: tools.stop_app_by_pname(pname="xterm"), lambda pid: tools.stop_app_by_cmd(stop_cmd=f"kill -9 {pid}")):
        pid = start("xterm -e sleep 60")
        until(visible, lambda known: known.get(pid, {}).get("pname") == "xterm")
        assert stop(pid) == "true"
        until(visible, lambda known: pid not in known)
    assert "`pid`" in tools.stop_app_by_pid(pid=-1)
    assert "error" in tools.stop_app_by_pid(pid=999999) and "error" in tools.stop_app_by_pname(pname="no.such*app")
    assert "`start_cmd`" in tools.start_app(start_cmd=" ")
    sh(shared, "echo 'echo started > /tmp/script-ran' > /tmp/app.sh")
    start("bash /tmp/app.sh")
    until(lambda: sh(shared, "cat /tmp/script-ran 2>/dev/null || true"), lambda text: text == "started\n")
