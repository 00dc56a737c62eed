"""A first session: code with rich results and live output, shell, files, tools, and a live view.

Needs AGB_ENDPOINT and AGB_API_KEY in the environment (`make up` writes both to `.env`). With --keep the session stays
for its idle time, so that its live view can be opened; otherwise it is deleted at the end.
"""

import os
import sys

os.environ.setdefault("AGB_LOG_LEVEL", "WARNING")  # the SDK logs every call otherwise

from agb import AGB, CreateSessionParams

agb = AGB()

created = agb.create(CreateSessionParams(image_id="agb-code-space-1", labels={"example": "quickstart"}))
if not created.success:
    sys.exit(f"could not create a session: {created.error_message}")
session = created.session
print("session      ", session.session_id)
print("link         ", session.link_url)
print("stream       ", session.ws_url)

# Code. Variables stay; the last expression, tables and figures come back as results.
session.code.run("import pandas as pd\nsales = pd.DataFrame({'city': ['Oslo', 'Lima'], 'units': [12, 30]})", "python")
run = session.code.run("print(sales.units.sum(), 'units')\nsales", "python")
print("stdout       ", run.logs.stdout)
print("table        ", len(run.results[0].html), "characters of HTML")

run = session.code.run("import matplotlib.pyplot as plt\nplt.bar(sales.city, sales.units);", "python")
print("figure       ", next(len(result.png) for result in run.results if result.png), "characters of PNG in base64")

# Live output, while the code runs.
print("live          ", end="")
session.code.run(
    "import time\nfor n in range(3):\n    print(n, flush=True)\n    time.sleep(0.3)",
    "python",
    stream_beta=True,
    on_stdout=lambda chunk: print(repr(chunk), end=" ", flush=True),
)
print()

# Shell and files.
print("shell        ", session.command.execute("uname -sr && whoami").output.split("\n"))
session.file.write("/home/user/hello.txt", "Grüße aus Berth\n")
print("file         ", repr(session.file.read("/home/user/hello.txt").content))

# Tools, by name.
print("tools        ", ", ".join(tool.name for tool in session.list_mcp_tools().tools))
print("tool call    ", session.call_mcp_tool("shell", {"command": "echo called"}).data)

# Recover it by its id, as another program would.
same = agb.get(session.session_id).session
print("recovered    ", same.session_id == session.session_id and same.token == session.token)
print("listed       ", session.session_id in agb.list({"example": "quickstart"}).session_ids)

if "--keep" not in sys.argv:
    agb.delete(session)
    print("deleted      ", agb.get(session.session_id).error_message)
else:
    print("live view    ", session.info().data["resource_url"])
