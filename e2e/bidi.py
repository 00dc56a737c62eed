"""Debian's Firefox, driven through WebDriver BiDi: what a test of a page needs, and no more."""

import contextlib
import json
import re
import shutil
import subprocess
import tempfile
import time

import websockets.sync.client

# Nothing that the browser asks of its maker's servers; pages are the tests' own.
PREFERENCES = """
user_pref("app.normandy.enabled", false);
user_pref("app.update.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.startup.page", 0);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("extensions.update.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("network.proxy.type", 0);
user_pref("toolkit.telemetry.enabled", false);
"""


class Firefox:
    """One browser with one tab. Ends with its `with`."""

    def __enter__(self):
        self.profile = tempfile.mkdtemp(prefix="berth-firefox-")
        with open(f"{self.profile}/user.js", "w") as preferences:
            preferences.write(PREFERENCES)
        self.open = contextlib.ExitStack()
        self.process = subprocess.Popen(
            ["firefox-esr", "--headless", "--no-remote", "--profile", self.profile, "--remote-debugging-port", "0",
             "--width", "1280", "--height", "800"],
            env={"HOME": self.profile, "PATH": "/usr/bin:/bin", "MOZ_REMOTE_SETTINGS_DEVTOOLS": "0"},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            for line in self.process.stderr:
                if found := re.search(r"WebDriver BiDi listening on (ws://\S+)", line):
                    break
            else:
                raise AssertionError(f"Firefox ended with {self.process.wait()}")
            connection = websockets.sync.client.connect(f"{found[1]}/session", proxy=None, max_size=None)
            self.socket = self.open.enter_context(connection)
            self.number, self.events = 0, []
            self.call("session.new", capabilities={})
            self.call("session.subscribe", events=["log.entryAdded"])
            self.tab = self.call("browsingContext.getTree")["contexts"][0]["context"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.open.close()
        self.process.terminate()
        self.process.wait(timeout=30)
        self.process.stderr.close()
        shutil.rmtree(self.profile, ignore_errors=True)

    def call(self, method, **parameters):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self.socket.recv(timeout=60))
            if answer.get("id") == self.number:
                assert answer["type"] == "success", f"{method}: {answer}"
                return answer["result"]
            self.events.append(answer)

    def visit(self, url):
        self.call("browsingContext.navigate", context=self.tab, url=url, wait="complete")

    def evaluate(self, expression):
        """The value of an expression in the page; of what can be JSON."""
        answer = self.call("script.evaluate", expression=f"JSON.stringify({expression})", target={"context": self.tab},
                           awaitPromise=False)
        assert answer["type"] == "success", answer
        return json.loads(answer["result"].get("value", "null"))

    def wait_until(self, expression, deadline_s=30):
        deadline = time.monotonic() + deadline_s
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, f"{expression}; {self.complaints()}"
            time.sleep(0.05)

    def click(self, x, y):
        self.call("input.performActions", context=self.tab, actions=[
            {"type": "pointer", "id": "mouse", "actions": [
                {"type": "pointerMove", "x": int(x), "y": int(y)}, {"type": "pointerDown", "button": 0},
                {"type": "pointerUp", "button": 0}]}])

    def type(self, text):
        keys = [{"type": kind, "value": letter} for letter in text for kind in ("keyDown", "keyUp")]
        self.call("input.performActions", context=self.tab, actions=[{"type": "key", "id": "keys", "actions": keys}])

    def complaints(self):
        """What the page or its scripts wrote to the console as warnings and errors."""
        return [event["params"]["text"] for event in self.events
                if event["method"] == "log.entryAdded" and event["params"]["level"] in ("warn", "error")]
