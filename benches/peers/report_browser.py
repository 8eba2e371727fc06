"""Opens reports in headless Chromium: what is asked of the network, what the console says, how wide the page is on a phone.

    python benches/peers/report_browser.py [--browser chromium] REPORT.html ...

Goals: no request beside the file itself, no console message, no sideways scroll at 375 pixels; ends with 1 where one is missed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

# A page around the report tells its width: the report itself may hold no script.
FRAME = """<!doctype html><meta charset=utf-8><body style="margin:0"><iframe id=f style="width:375px;height:8000px;border:0" src="{url}"></iframe>
<script>onload=()=>{{const d=document.getElementById("f").contentDocument.documentElement;document.title=d.scrollWidth+" "+d.clientWidth}}</script>"""


def chromium(browser, folder, url, *more):
    """What the browser prints, and the addresses that it asked for."""
    log = Path(folder) / "net.json"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile", f"--log-net-log={log}",
               "--allow-file-access-from-files", "--disable-background-networking", "--disable-component-update", "--no-first-run",
               "--enable-logging=stderr", "--v=0", "--dump-dom", *more, url]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    console = [line for line in ran.stderr.splitlines() if "CONSOLE" in line]
    try:
        text = log.read_text()
        events = json.loads(text if text.rstrip().endswith("}") else text.rstrip().rstrip(",") + "]}")["events"]
    except FileNotFoundError:
        events = []
    asked = {event["params"]["url"] for event in events if "url" in event.get("params", {})}
    return ran.stdout, console, sorted(address for address in asked if address.startswith(("http", "ws", "ftp")))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--browser", default="chromium")
    parser.add_argument("reports", nargs="+", type=Path)
    options = parser.parse_args()
    n_missed = 0
    for report in options.reports:
        with tempfile.TemporaryDirectory() as folder:
            url = report.resolve().as_uri()
            page, console, asked = chromium(options.browser, folder, url)
            frame = Path(folder) / "frame.html"
            frame.write_text(FRAME.format(url=url))
            framed, _, _ = chromium(options.browser, folder, frame.as_uri(), "--virtual-time-budget=2000")
            title = framed.split("<title>", 1)[-1].split("</title>", 1)[0] if "<title>" in framed else "0 0"
            width, room = (int(part) for part in title.split())
            # The browser asks for its own updates, with an empty page too.
            _, _, of_browser = chromium(options.browser, folder, "about:blank")
            own = {urlsplit(address).hostname for address in of_browser}
            asked = [address for address in asked if urlsplit(address).hostname not in own]
            is_missed = bool(console or asked or width > room or room == 0 or "<main" not in page)
            n_missed += is_missed
            print(f"{report}: {len(asked)} requests, {len(console)} console messages, {width} pixels on {room}, {report.stat().st_size:,} bytes")
            print("".join(f"  {line}\n" for line in [*console, *asked]), end="")
    sys.exit(1 if n_missed else 0)


if __name__ == "__main__":
    main()
