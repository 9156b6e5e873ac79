"""Uses Swagger UI of a service as a person would, in a headless Chromium.

    swagger.py ADDRESS OPERATION STATUS [--picture FILE] [--authorize SCHEME=FILE]

Opens ADDRESS/swagger, tries OPERATION (`<tag>-<operationId>`) out with the document's own example, and fails unless
the answer has that STATUS, no other address was asked, and the browser had nothing to complain about. With --authorize
the operation is 401 at first, then the Authorize button takes the credential in FILE for that security scheme, the
answer has that STATUS, and after a logout it is 401 again.
"""

import argparse
import json
import pathlib

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
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


class Page:
    """Swagger UI with one operation opened, to be tried out."""

    def __init__(self, chromium: webdriver.Chrome, address: str, operation: str):
        self.chromium, self.operation = chromium, operation
        self.block = f"#operations-{operation}"
        chromium.get(f"{address}/swagger")
        self.find(f"{self.block} .opblock-summary-control").click()
        self.find(f"{self.block} .try-out__btn").click()

    def wait(self, condition):
        return WebDriverWait(self.chromium, PATIENCE, ignored_exceptions=[StaleElementReferenceException]).until(condition)

    def find(self, css: str):
        return self.wait(lambda page: page.find_element(By.CSS_SELECTOR, css))

    def answers(self, status: str) -> None:
        """Sends the request; the answer must have that status."""
        self.find(f"{self.block} .execute").click()
        seen = []

        def answered(page: webdriver.Chrome) -> bool:
            cell = page.find_element(By.CSS_SELECTOR, f"{self.block} .live-responses-table .response .response-col_status")
            seen.append(cell.text.split()[0])
            return seen[-1] == status

        try:
            self.wait(answered)
        except TimeoutException:
            raise AssertionError(f"{self.operation} was answered {seen[-1:]}, not {status}") from None

    def in_dialog(self, scheme: str, act) -> None:
        """Opens the dialog of the Authorize button, and does something to what it has of that scheme."""
        self.find(".auth-wrapper .authorize").click()

        def container(page: webdriver.Chrome):
            all_of_them = page.find_elements(By.CSS_SELECTOR, ".modal-ux .auth-container")
            return next((it for it in all_of_them if it.find_element(By.CSS_SELECTOR, "h4 code").text == scheme), None)

        act(lambda css: self.wait(lambda page: container(page).find_element(By.CSS_SELECTOR, css)))
        self.find(".modal-ux .btn-done").click()

    def authorize(self, scheme: str, credential: str) -> None:
        def act(find) -> None:
            find("input").send_keys(credential)
            find("button.authorize").click()
            assert find("button.auth:not(.authorize)").text == "Logout", f"{scheme} is not taken"

        self.in_dialog(scheme, act)

    def log_out(self, scheme: str) -> None:
        self.in_dialog(scheme, lambda find: find("button.auth:not(.authorize)").click())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("operation")
    parser.add_argument("status")
    parser.add_argument("--picture")
    parser.add_argument("--authorize")
    given = parser.parse_args()
    chromium = browser()
    try:
        page = Page(chromium, given.address, given.operation)
        how = ""
        if given.authorize:
            scheme, file = given.authorize.split("=", 1)
            page.answers("401")
            page.authorize(scheme, pathlib.Path(file).read_text().strip())
            page.answers(given.status)
            page.log_out(scheme)
            page.answers("401")
            how = f", by Authorize with {scheme}"
        else:
            page.answers(given.status)

        outside = [url for url in asked(chromium) if not url.startswith((f"{given.address}/", "data:"))]
        assert not outside, f"other addresses were asked: {outside}"
        complaints = [entry["message"] for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"]
        if given.authorize:
            complaints = [complaint for complaint in complaints if "status of 401" not in complaint]
        assert not complaints, f"the browser complains: {complaints}"
        if given.picture:
            chromium.execute_script("arguments[0].scrollIntoView()", page.find(page.block))
            chromium.save_screenshot(given.picture)
        print(f"{chromium.title}: {given.operation} in Swagger UI{how}: {given.status}")
    finally:
        chromium.quit()


if __name__ == "__main__":
    main()
