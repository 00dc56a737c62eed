"""The session's sound: what a program plays is heard in the page, as it was, and nothing is sent that nobody hears."""

import functools

import conftest
import pytest
from conftest import opened

until = functools.partial(conftest.until, deadline_s=20)

# Before the speakers, what the page plays goes through an analyser.
LISTEN = """
window.AudioContext = class extends AudioContext {
  createBufferSource() {
    const source = super.createBufferSource()
    if (!window.heard) {
      window.heard = new AnalyserNode(this, { fftSize: 16384, smoothingTimeConstant: 0 })
      window.heard.connect(this.destination)
    }
    source.connect(window.heard)
    return source
  }
}
"""

# The loudest frequency, and how loud it is in dB; nothing before anything was played.
LOUDEST = """(() => {
  if (!window.heard) return null
  const bins = new Float32Array(heard.frequencyBinCount)
  heard.getFloatFrequencyData(bins)
  const at = bins.reduce((best, value, n) => (value > bins[best] ? n : best), 0)
  return [at * heard.context.sampleRate / heard.fftSize, bins[at]]
})()"""

# Through the desktop's sound server, as its programs play.
PLAY = """
import math, os, struct, subprocess
samples = b"".join(struct.pack("<hh", *[int(12000 * math.sin(2 * math.pi * {hertz} * n / 48000))] * 2)
                   for n in range(int(48000 * {seconds})))
open("/tmp/tone", "wb").write(samples)
if os.path.exists("/tmp/over"):
    os.remove("/tmp/over")
subprocess.Popen("pacat --raw --rate=48000 --channels=2 --format=s16le /tmp/tone && touch /tmp/over", shell=True)
"""


@pytest.fixture
def sounds(page):
    """The packets of sound that the page was sent, with when they came."""
    packets = []

    def watch(socket):
        socket.on("framereceived", lambda frame: packets.append(bytes(frame[5:]))
                  if isinstance(frame, bytes) and frame[:1] == b"\x09" else None)

    page.on("websocket", watch)
    return packets


def turn(page, on):
    page.mouse.move(640, 3)
    page.get_by_role("button", name="Turn the sound on" if on else "Turn the sound off").click()


def listens(session):
    return session.command.execute("pgrep -x parec").success


def start_playing(session, hertz, seconds):
    run = session.code.run(PLAY.format(hertz=hertz, seconds=seconds), "python")
    assert run.success, run.error_message


def wait_until_over(session):
    until(lambda: session.command.execute("test -e /tmp/over").success, "the tone never ended")


def play(session, hertz, seconds):
    start_playing(session, hertz, seconds)
    wait_until_over(session)


def test_a_tone_is_heard_as_it_is_played_and_silence_is_not_sent(session, page, sounds):
    page.add_init_script(LISTEN)
    opened(page, session.info().data["resource_url"])
    turn(page, on=True)
    until(lambda: listens(session), "nobody listens in the session")
    assert sounds == [], "silence was sent"

    for hertz in (440, 1500):
        start_playing(session, hertz, 6)

        def heard():
            frequency, loud = page.evaluate(LOUDEST) or (0, -200)
            return abs(frequency - hertz) < 6 and loud > -40

        until(heard, f"{hertz} Hz were not heard: {page.evaluate(LOUDEST)}, {len(sounds)} packets")
        assert sounds and all(0 < len(packet) < 1276 for packet in sounds)
        wait_until_over(session)
        until(lambda: (page.evaluate(LOUDEST) or (0, -200))[1] < -80, "it was never silent again")

    # Silent again: somebody still listens in the session, and nothing is sent any more.
    def silent():
        count = len(sounds)
        page.wait_for_timeout(1000)
        return len(sounds) == count

    until(silent, "silence is sent")
    assert listens(session)

    # Off: nobody listens in the session any more, whatever is played there.
    turn(page, on=False)
    until(lambda: not listens(session), "somebody still listens in the session")
    count = len(sounds)
    play(session, 440, 1)
    assert len(sounds) == count


def test_who_does_not_ask_for_sound_is_sent_none(session, page, sounds):
    opened(page, session.info().data["resource_url"])
    play(session, 440, 1)
    assert sounds == [] and not listens(session)
