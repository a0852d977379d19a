"""Pages in a browser."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.environment import skip_outside_ci
from tests.product import Product

pytestmark = pytest.mark.slow

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]


@pytest.fixture
def page() -> Iterator[Page]:
    if not CHROMIUM.exists():
        skip_outside_ci("no Chromium at /usr/bin/chromium; CHROMIUM names another place")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page()
        yield page
        browser.close()


def test_staff_sign_in_and_open_a_content_item(page: Page, product: Product):
    password = re.search(r"admin / (\S+)", product.start())[1]
    problems: list[str] = []
    page.goto(product.address)
    page.click("text=Admin")
    page.fill("input[name=username]", "admin")
    page.fill("input[name=password]", password)
    page.click("button:has-text('Login')")
    page.wait_for_url("**/#/")
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: message.type == "error" and problems.append(message.text))

    page.click("text=Generation Status")
    page.wait_for_selector("div.table_wrapper tbody tr")
    page.click("#app a[href='#/content/']:visible, #app a[href='#/content']:visible")
    page.wait_for_selector("text=Roma: l'arte della faccia annoiata")
    assert page.is_visible("text=Export CSV")
    for change in ("Add Row", "Delete"):
        assert not page.is_visible(f"text={change}")

    page.click("text=Roma: l'arte della faccia annoiata")
    page.wait_for_selector("textarea[name=text_content]")
    assert len(page.input_value("textarea[name=text_content]")) > 500
    assert not page.is_visible("text=Save")
    assert problems == []
