"""Recordings of a session's screen: made by a command and by a setting, played in a browser, exported to WebM."""

import functools
import http.server
import json
import os
import signal
import stat
import struct
import subprocess
import threading
import time

import conftest
import pytest
import requests
from agb.session_params import CreateSessionParams
from conftest import IMAGE, visit, wait_until
from screen import HASH_OF_THE_CANVAS, HASH_OF_THE_SCREEN

until = functools.partial(conftest.until, deadline_s=30)

# Noise and flat areas, in a window: what tiles and video have to show.
DRAW = """
import random
from PIL import Image, ImageDraw
random.seed(7)
image = Image.new("RGB", (400, 300))
image.putdata([(random.randrange(256), random.randrange(256), random.randrange(256)) for _ in range(400 * 300)])
ImageDraw.Draw(image).rectangle((10, 10, 200, 100), fill=(200, 30, 40))
image.save("/tmp/shown.png")
"""


def records(path):
    """Kind, time and payload of each record."""
    data = path.read_bytes()
    assert data[:8] == b"BERTHRC\x01"
    at, found = 8, []
    while at + 13 <= len(data):
        length, kind, moment = struct.unpack_from("<IBQ", data, at)
        found.append((kind, moment, data[at + 13:at + 13 + length]))
        at += 13 + length
    return found


def quiet_size(path):
    """The file's size, once it has not grown for three seconds."""
    size, since, deadline = -1, time.monotonic(), time.monotonic() + 60
    while time.monotonic() - since < 3:
        assert time.monotonic() < deadline, "the file grows and grows"
        if path.exists() and path.stat().st_size != size:
            size, since = path.stat().st_size, time.monotonic()
        time.sleep(0.1)
    return size


def hash_of_the_screen(session):
    run = session.code.run(HASH_OF_THE_SCREEN, "python")
    assert run.success, run.error_message
    return int(run.logs.stdout[0])


def act(session):
    """A terminal that scrolls, then a picture; both move much. The panel stops: its clock would change the last picture."""
    until(lambda: session.command.execute("pkill -STOP tint2").success, "the panel never came")
    assert session.code.run(DRAW, "python").success
    done = session.command.execute(
        "export DISPLAY=:0; xterm -geometry 100x40+50+50 -e 'seq 1 20000; touch /tmp/scrolled; sleep 1000' "
        "> /dev/null 2>&1 & for n in $(seq 300); do test -e /tmp/scrolled && exit 0; sleep 0.1; done; exit 1",
        timeout_ms=40000)
    assert done.success, done.error_message
    shown = session.command.execute(
        "export DISPLAY=:0; gpicview /tmp/shown.png > /dev/null 2>&1 & "
        "DISPLAY=:0 timeout 10 xdotool search --sync --onlyvisible --name shown.png", timeout_ms=15000)
    assert shown.success, shown.error_message


def last_picture(session, path):
    """The screen's hash when the recording has all of it."""
    for _ in range(5):
        before = hash_of_the_screen(session)
        quiet_size(path)
        if hash_of_the_screen(session) == before:
            return before
    raise AssertionError("the screen changes and changes")


@pytest.fixture
def player(server, page):
    """Plays a recording in the browser."""
    processes = []

    def play(path):
        process = subprocess.Popen([server.berth, "recording", "play", path], stdout=subprocess.PIPE, text=True)
        processes.append(process)
        visit(page, process.stdout.readline().strip())
        wait_until_played(page)
        return page

    yield play
    for process in processes:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def wait_until_played(page, expression="true"):
    wait_until(page, f"Boolean(window.__berthPlayer) && window.__berthPlayer.settled && {expression}", 40)


def seek(page, time_ms):
    page.evaluate(f"window.__berthPlayer.seek({time_ms})")
    wait_until_played(page)


@pytest.fixture
def recording(server, session, tmp_path):
    """A recording by hand of a session that draws; the hash of its last picture."""
    path = tmp_path / "by-hand.berthrec"
    command = [server.berth, "session", "--endpoint", server.endpoint, "--api-key", server.key, "record",
               session.session_id, "-o", path]
    recorder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(path.exists, "no recording began")
    act(session)
    wanted = last_picture(session, path)
    recorder.send_signal(signal.SIGINT)
    out, error = recorder.communicate(timeout=20)
    assert recorder.returncode == 0 and out.strip() == str(path), error
    return path, wanted


def test_a_recording_by_hand_plays_and_exports(server, recording, player, page):
    path, wanted = recording
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kinds = [kind for kind, _, _ in records(path)]
    assert kinds[:3] == [1, 2, 3] and kinds[-1] == 5 and 4 not in kinds
    assert path.read_bytes()[-8:] == b"BERTHEND"

    player(path)
    size = page.evaluate("window.__berthPlayer.size")
    assert size == {"width": 1280, "height": 720}
    duration = page.evaluate("window.__berthPlayer.duration")
    seek(page, duration)
    assert page.evaluate(HASH_OF_THE_CANVAS) == wanted, "the last picture is that of the screen"
    seek(page, duration / 3)
    assert page.evaluate(HASH_OF_THE_CANVAS) != wanted
    seek(page, duration)
    assert page.evaluate(HASH_OF_THE_CANVAS) == wanted
    # It plays by itself, fast and over what stands still, to the same end.
    seek(page, 0)
    page.select_option("#speed", "8")
    page.click("#play")
    wait_until_played(page, "!window.__berthPlayer.playing")
    assert page.evaluate("window.__berthPlayer.time") == duration
    assert page.evaluate(HASH_OF_THE_CANVAS) == wanted

    # What is there is not replaced.
    again = subprocess.run([server.berth, "session", "--endpoint", server.endpoint, "--api-key", server.key, "record",
                            "s-nothing", "-o", path], capture_output=True, text=True)
    assert again.returncode == 3, again.stderr

    video = path.with_suffix(".webm")
    done = subprocess.run([server.berth, "recording", "export", path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.strip() == str(video), done.stderr
    assert stat.S_IMODE(video.stat().st_mode) == 0o600
    plays(page, video, duration)


def plays(page, video, duration):
    """Chromium plays a video to its end, and seeks in it."""
    folder = functools.partial(http.server.SimpleHTTPRequestHandler, directory=video.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), folder) as files:
        threading.Thread(target=files.serve_forever, daemon=True).start()
        (video.parent / "video.html").write_text(f"<video muted src='{video.name}'></video>")
        visit(page, f"http://127.0.0.1:{files.server_port}/video.html")
        wait_until(page, "document.querySelector('video').readyState >= 2 || document.querySelector('video').error")
        assert page.evaluate("document.querySelector('video').error") is None
        shown = page.evaluate("(v => [v.videoWidth, v.videoHeight, v.duration])(document.querySelector('video'))")
        assert shown[:2] == [1280, 720] and abs(shown[2] * 1000 - duration) < 500
        page.evaluate(f"document.querySelector('video').currentTime = {duration / 1000 - 0.5}")
        page.evaluate("(v => { v.playbackRate = 4; return v.play() })(document.querySelector('video'))")
        wait_until(page, "document.querySelector('video').ended")
        files.shutdown()


def test_the_setting_records_what_is_used_with_its_tool_calls(new_server, tmp_path, page, browser):
    folder = tmp_path / "recordings"
    server = new_server("--pool", "1", "--record", folder, "--idle-timeout", "3600")
    agb = server.agb()
    created = agb.create(CreateSessionParams(image_id=IMAGE))
    assert created.success, created.error_message
    session = created.session
    path = folder / f"{session.session_id}.berthrec"
    try:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert session.command.execute("echo before").success
        assert not path.exists(), "no desktop was started, so there is nothing to record"
        running = session.command.execute("pgrep Xvfb | wc -l")
        assert running.stdout.strip() == "0", "the recorder starts no desktop"

        assert session.call_mcp_tool("get_screen_size", {}).success
        until(path.exists, "no recording began")
        assert session.command.execute("echo 'the word'").success
        assert not session.call_mcp_tool("read_file", {"path": "/nowhere"}).success
        streamed = session.code.run("print('streamed ' * 10000)\n'a ' + 'result'", "python", stream_beta=True)
        assert streamed.success, streamed.error_message
        assert not session.code.run("1 / 0", "python", stream_beta=True).success
        act(session)
        wanted = last_picture(session, path)
        size = quiet_size(path)
        assert detail(server, session.session_id)["viewers"] == 0, "a recorder is no viewer"

        # The server restarts: the recording goes on in the same file.
        server.stop()
        assert path.stat().st_size > size and path.read_bytes()[-8:] == b"BERTHEND"
        server.start()
        assert session.call_mcp_tool("get_screen_size", {}).success
        until(lambda: path.read_bytes()[-8:] != b"BERTHEND" and path.stat().st_size > size, "it does not go on")
        assert last_picture(session, path) == wanted
    finally:
        assert agb.delete(session).success
    until(lambda: path.read_bytes()[-8:] == b"BERTHEND", "the recording has no end")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = records(path)
    assert [kind for kind, _, _ in found].count(2) >= 2, "a segment for each start of the server"
    assert [moment for _, moment, _ in found] == sorted(moment for _, moment, _ in found)
    calls = [json.loads(payload) for kind, _, payload in found if kind == 4]
    said = next(call for call in calls if "the word" in call["arguments"])
    assert said["name"] == "shell" and "the word" in said["output"] and not said["failed"]
    assert any(call["name"] == "read_file" and call["failed"] for call in calls)
    assert not any("before" in call["arguments"] for call in calls)
    printed = [call for call in calls if call["name"] == "run_code" and "streamed" in call["arguments"]]
    assert len(printed) == 1, "a run on a stream is told of once"
    assert printed[0]["output"].startswith("streamed streamed") and not printed[0]["failed"]
    assert len(printed[0]["output"]) == 16 << 10 and printed[0]["cut"] > 90_000 - (16 << 10)
    divided = next(call for call in calls if "1 / 0" in call["arguments"])
    assert divided["failed"] and "ZeroDivisionError" in divided["output"]

    process = subprocess.Popen([server.berth, "recording", "play", path], stdout=subprocess.PIPE, text=True)
    try:
        visit(page, process.stdout.readline().strip())
        wait_until_played(page)
        seek(page, page.evaluate("window.__berthPlayer.duration"))
        assert page.evaluate(HASH_OF_THE_CANVAS) == wanted
        assert page.locator(".call").count() == len(calls)
        assert "the word" in page.locator("#calls").inner_text()
        page.locator(".call-head").first.click()
        wait_until_played(page)
        page.screenshot(path=os.environ.get("BERTH_SHOT", str(tmp_path / "player.png")))
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


MOVING = ("DISPLAY=:0 setsid xterm -geometry 100x40 -e 'while :; do head -c 3000 /dev/urandom | base64; sleep 0.1; done' "
          "> /dev/null 2>&1 &")


def detail(server, session_id):
    """All that is known of a session, without using it."""
    answer = requests.get(f"{server.endpoint}/api/v1/sessions/{session_id}", timeout=20,
                          headers={"Authorization": f"Bearer {server.key}"})
    return answer.json()["data"]


def test_an_unused_session_is_released_though_it_is_recorded(new_server, tmp_path):
    """Something moves all the time, and nobody uses the session; the recorder has opened a second view by then."""
    folder = tmp_path / "recordings"
    server = new_server("--pool", "1", "--record", folder, "--idle-timeout", "45")
    session = server.agb().create(CreateSessionParams(image_id=IMAGE)).session
    path = folder / f"{session.session_id}.berthrec"
    assert session.call_mcp_tool("get_screen_size", {}).success
    assert session.command.execute(MOVING).success
    until(lambda: detail(server, session.session_id)["idleSeconds"] >= 35, "the recorder counts as use", deadline_s=90)
    assert detail(server, session.session_id)["viewers"] == 0
    until(lambda: detail(server, session.session_id)["status"] == "FINISH", "the recorder counts as use", deadline_s=60)
    assert detail(server, session.session_id)["end"]["reason"] == "idle"
    until(lambda: path.read_bytes()[-8:] == b"BERTHEND", "it has no end")
    kinds = [kind for kind, _, _ in records(path)]
    assert kinds.count(2) >= 2, "one segment in half a minute of movement is too few"


def test_a_recording_has_a_limit(new_server, tmp_path):
    folder = tmp_path / "recordings"
    server = new_server("--pool", "1", "--record", folder, "--record-max-bytes", "1048576")
    agb = server.agb()
    session = agb.create(CreateSessionParams(image_id=IMAGE)).session
    path = folder / f"{session.session_id}.berthrec"
    assert session.call_mcp_tool("get_screen_size", {}).success
    assert session.command.execute(MOVING).success
    until(lambda: path.exists() and path.read_bytes()[-8:] == b"BERTHEND", "it has no end", deadline_s=90)
    size = path.stat().st_size
    assert size < (1 << 20) + (1 << 19)
    last = [json.loads(payload) for kind, _, payload in records(path) if kind == 4][-1]
    assert last["kind"] == "note" and "limit of 1 MiB" in last["text"]
    assert session.call_mcp_tool("get_screen_size", {}).success, "the session goes on"
    assert agb.delete(session).success
    assert path.stat().st_size == size


def test_old_recordings_are_removed(new_server, tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    two_days_ago = time.time() - 2 * 24 * 3600
    for name in ("s-old.berthrec", "mine.berthrec", "s-old.webm"):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (two_days_ago, two_days_ago))
    (folder / "s-new.berthrec").write_bytes(b"x")
    new_server("--pool", "0", "--record", folder, "--record-keep-days", "1")
    until(lambda: not (folder / "s-old.berthrec").exists(), "it was kept")
    assert {path.name for path in folder.iterdir()} == {"mine.berthrec", "s-old.webm", "s-new.berthrec"}


def test_recordings_are_removed_by_hand_and_nothing_else_is(server, tmp_path):
    recording, text = tmp_path / "a.berthrec", tmp_path / "b.berthrec"
    recording.write_bytes(b"BERTHRC\x01")
    text.write_text("a letter")
    remove = [server.berth, "recording", "rm", recording]
    refused = subprocess.run([*remove, text], capture_output=True, text=True)
    assert refused.returncode != 0 and "b.berthrec" in refused.stderr and recording.exists() and text.exists()
    done = subprocess.run(remove, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == str(recording) and not recording.exists()


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 512 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k,mode=700", "none", folder], check=True)
    yield folder
    # The server has ended its recordings by then, or will never write here again.
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_told_of_and_harms_no_other_recording(new_server, small_disk):
    server = new_server("--pool", "1", "--record", small_disk)
    agb, start = server.agb(), server.log_size()
    session = agb.create(CreateSessionParams(image_id=IMAGE)).session
    path = small_disk / f"{session.session_id}.berthrec"
    assert session.call_mcp_tool("get_screen_size", {}).success
    until(path.exists, "no recording began")
    assert detail(server, session.session_id)["recording"] == "recording"
    assert session.command.execute(MOVING).success
    until(lambda: detail(server, session.session_id)["recording"] == "failed", "nothing is told", deadline_s=60)
    shown = subprocess.run([server.berth, "session", "--endpoint", server.endpoint, "--api-key", server.key, "info",
                            session.session_id], capture_output=True, text=True)
    assert "recording" in shown.stdout and "failed" in shown.stdout, shown
    # The session goes on, no second attempt is made, and the log says it once.
    assert session.call_mcp_tool("get_screen_size", {}).success
    told = [line for line in server.log_since(start).splitlines() if f"session {session.session_id} is not recorded" in line]
    assert len(told) == 1 and "No space left" in told[0], told
    # What was written is whole records.
    found = records(path)
    assert sum(13 + len(payload) for _, _, payload in found) + 8 == path.stat().st_size
    assert found[0][0] == 1 and found[-1][0] != 5
    assert agb.delete(session).success
    assert subprocess.run([server.berth, "recording", "rm", path]).returncode == 0

    session = agb.create(CreateSessionParams(image_id=IMAGE)).session
    assert session.call_mcp_tool("get_screen_size", {}).success
    path = small_disk / f"{session.session_id}.berthrec"
    until(lambda: path.exists() and path.stat().st_size and 3 in [kind for kind, _, _ in records(path)],
          "no other recording began")
    assert detail(server, session.session_id)["recording"] == "recording"
    assert agb.delete(session).success
    until(lambda: path.read_bytes()[-8:] == b"BERTHEND", "it has no end")


def test_a_recording_by_hand_outlives_the_server_and_ends_with_the_session(new_server, tmp_path):
    server = new_server("--pool", "1")
    agb = server.agb()
    session = agb.create(CreateSessionParams(image_id=IMAGE)).session
    path = tmp_path / "by-hand.berthrec"
    command = [server.berth, "session", "--endpoint", server.endpoint, "--api-key", server.key, "--json", "record",
               session.session_id, "-o", path]
    recorder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def segments():
        return path.exists() and path.stat().st_size > 0 and [kind for kind, _, _ in records(path)].count(2)

    until(lambda: segments() == 1, "no recording began")
    server.stop()
    server.start()
    until(lambda: segments() == 2, "it does not go on")
    assert agb.delete(session).success
    out, error = recorder.communicate(timeout=30)
    assert recorder.returncode == 0, error
    told = json.loads(out)
    assert told["bytes"] == path.stat().st_size and path.read_bytes()[-8:] == b"BERTHEND"
