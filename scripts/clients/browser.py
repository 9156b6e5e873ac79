"""Segment's analytics-next in a headless Chromium, on a page of another site, through a proxy that loses answers.

    browser.py PAGE LOSSY SERVICE     with WRITE_KEY and READ_KEY
"""

import json
import os
import sys
import time
import urllib.parse
import urllib.request

from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

page, lossy, service = sys.argv[1:]
options = webdriver.ChromeOptions()
for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
    options.add_argument(argument)
options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
chromium = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
try:
    chromium.get(f"{page}?{urllib.parse.urlencode({'host': lossy.removeprefix('http://'), 'key': os.environ['WRITE_KEY']})}")
    WebDriverWait(chromium, 20).until(lambda _: chromium.title != "Analytics")
    assert chromium.title == "sent", chromium.title
    end = time.monotonic() + 60
    while True:
        reading = urllib.request.Request(f"{service}/api/events/user/browser", headers={"x-api-key": os.environ["READ_KEY"]})
        with urllib.request.urlopen(reading) as answer:
            events = json.load(answer)["events"]
        if len(events) == 22 or time.monotonic() > end:
            break
        time.sleep(0.2)
    kinds = sorted({event["eventType"] for event in events})
    assert len(events) == 22 and kinds == ["Bought", "identify", "page"], (len(events), kinds, chromium.get_log("browser"))
finally:
    chromium.quit()
