"""What a person sees and does on a session's screen, seen from inside the session."""

import time

# One number for all pixels, computed alike in the page and in the session.
HASH_OF_THE_CANVAS = """(() => {
  const canvas = document.querySelector('canvas')
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
  let hash = 0
  for (let i = 0; i < data.length; i += 4)
    hash = (Math.imul(hash, 31) + (data[i] << 16 | data[i + 1] << 8 | data[i + 2])) >>> 0
  return hash
})()"""

HASH_OF_THE_SCREEN = """
import numpy as np
from PIL import ImageGrab
pixels = np.asarray(ImageGrab.grab(xdisplay=":0").convert("RGB")).astype(np.uint32)
values = (pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]).ravel()
hash_ = 0
for value in values.tolist():
    hash_ = (hash_ * 31 + value) & 0xffffffff
print(hash_)
"""


def wait_until_equal(session, evaluate, deadline_s=20):
    """Waits until the page's canvas is the session's screen, pixel for pixel."""
    deadline = time.monotonic() + deadline_s
    while True:
        # The panel's clock may tick between the two, so they are compared until they were taken of one moment.
        run = session.code.run(HASH_OF_THE_SCREEN, "python")
        assert run.success, run.error_message
        if int(run.logs.stdout[0]) == evaluate(HASH_OF_THE_CANVAS):
            return
        assert time.monotonic() < deadline, "the canvas never equalled the screen"


def wait_for_file(session, path, deadline_s=15):
    """The content of a file that a program in the session is about to write."""
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        read = session.file.read(path)
        if read.success and read.content:
            return read.content
        time.sleep(0.1)
    raise AssertionError(f"{path} was not written")


def start_terminal(session):
    """An xterm that fills the screen; what is typed into it is in /tmp/typed after Enter."""
    started = session.command.execute(
        "DISPLAY=:0 nohup xterm -geometry 200x60+0+0 -e sh -c 'touch /tmp/ready; cat > /tmp/typed' "
        "> /dev/null 2>&1 & for n in $(seq 100); do test -e /tmp/ready && break; sleep 0.1; done; "
        # Else a click may still reach what is below it.
        "DISPLAY=:0 timeout 10 xdotool search --sync --onlyvisible --class xterm windowactivate --sync",
        timeout_ms=25000)
    assert started.success, started.error_message


def use(session, page):
    """Looks at the screen in a Playwright page whose view is live, and types; both arrive."""
    wait_until_equal(session, page.evaluate)
    start_terminal(session)
    page.wait_for_timeout(500)
    box = page.locator("canvas").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.keyboard.type("typed here")
    page.keyboard.press("Enter")
    assert wait_for_file(session, "/tmp/typed") == "typed here\n"
