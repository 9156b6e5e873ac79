"""Uses Swagger UI of a service as a person would, in a headless Chromium.

    swagger.py ADDRESS OPERATION STATUS [PICTURE]

Opens ADDRESS/swagger, tries OPERATION (`<tag>-<operationId>`) out with the document's own example, and fails unless
the answer has that STATUS, no other address was asked, and the browser had nothing to complain about.
"""

import json
import sys

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE = 20  # seconds


def browser() -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,1900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))


def asked(chromium: webdriver.Chrome) -> list[str]:
    """Every address that the page has asked."""
    messages = (json.loads(entry["message"])["message"] for entry in chromium.get_log("performance"))
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


def main(address: str, operation: str, status: str, picture: str | None = None) -> None:
    chromium = browser()
    try:
        wait = WebDriverWait(chromium, PATIENCE)

        def find(css: str):
            return wait.until(lambda page: page.find_element(By.CSS_SELECTOR, css))

        chromium.get(f"{address}/swagger")
        block = f"#operations-{operation}"
        find(f"{block} .opblock-summary-control").click()
        find(f"{block} .try-out__btn").click()
        find(f"{block} .execute").click()
        answered = find(f"{block} .live-responses-table .response .response-col_status").text.split()[0]
        assert answered == status, f"{operation} was answered {answered}, not {status}"

        outside = [url for url in asked(chromium) if not url.startswith((f"{address}/", "data:"))]
        assert not outside, f"other addresses were asked: {outside}"
        complaints = [entry["message"] for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"]
        assert not complaints, f"the browser complains: {complaints}"
        if picture:
            chromium.execute_script("arguments[0].scrollIntoView()", find(block))
            chromium.save_screenshot(picture)
        print(f"{chromium.title}: {operation} in Swagger UI: {answered}")
    finally:
        chromium.quit()


if __name__ == "__main__":
    main(*sys.argv[1:])
