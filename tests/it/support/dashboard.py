"""The dashboard in a real Chromium, as an operator uses it.

usage: dashboard.py URL DIR [CERT KEY]

Loads the overview, creates DIR/loaded and waits there for DIR/name: a file with a name that a certificate was
issued for meanwhile, which has to appear without a reload. Then, without a client certificate, the rest: search,
a certificate's story, the keyboard, a phone, no script, and what axe says. Prints `ok` at the end.
"""

import pathlib
import sys
import time

from playwright.sync_api import sync_playwright

AXE = pathlib.Path(__file__).resolve().parents[3] / "target/clients/npm/node_modules/axe-core/axe.min.js"

url, home, *certificate = sys.argv[1:]
home = pathlib.Path(home)
wrong = []


def context(browser, **more):
    if certificate:
        more["client_certificates"] = [{"origin": url, "certPath": certificate[0], "keyPath": certificate[1]}]
    made = browser.new_context(ignore_https_errors=True, locale="en-GB", **more)
    made.set_default_timeout(20_000)
    made.add_init_script(
        "addEventListener('securitypolicyviolation', (e) => console.error('CSP ' + e.violatedDirective + ' ' + e.blockedURI));"
    )
    return made


def watched(context):
    page = context.new_page()
    page.on("console", lambda said: said.type in ("error", "warning") and wrong.append(said.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    return page


def loads_and_follows(page):
    page.goto(url + "/dashboard")
    assert page.get_by_role("heading", name="If the CA stopped now").is_visible()
    page.locator("#live[data-state=on]").wait_for()
    page.evaluate("window.same = true")
    (home / "loaded").touch()
    while not (home / "name").exists():
        page.wait_for_timeout(50)
    name = (home / "name").read_text()
    page.locator("#activity").get_by_role("link", name=name).first.wait_for()
    assert page.evaluate("window.same"), "the page was loaded again"
    return name


def keyboard(page):
    page.goto(url + "/dashboard")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.id === 'main'")


def search_to_story(page, name):
    page.get_by_role("link", name="Search").click()
    page.get_by_role("searchbox").fill(name)
    page.keyboard.press("Enter")
    page.get_by_role("link", name=name).first.click()
    page.get_by_role("heading", name="How it came to be").wait_for()
    story = page.locator("main").inner_text()
    for words in ("proved by http-01", "Key SHA-256", "ACME, acme"):
        assert words in story, (words, story)


def axe(page):
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run().then((it) => it.violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.html).join(' ')))")
    assert not found, (page.url, found)


def phone(browser, paths):
    narrow = watched(context(browser, viewport={"width": 390, "height": 800}, color_scheme="dark"))
    for path in paths:
        narrow.goto(path)
        assert narrow.evaluate("document.documentElement.scrollWidth") <= 390, path
        axe(narrow)


def without_script(browser, name):
    page = watched(context(browser, java_script_enabled=False))
    page.goto(url + "/dashboard")
    assert name in page.locator("#activity").inner_text()


with sync_playwright() as playwright:
    # The tests may run as root.
    browser = playwright.chromium.launch(
        executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    )
    page = watched(context(browser, viewport={"width": 1280, "height": 900}, color_scheme="light"))
    name = loads_and_follows(page)
    if not certificate:
        axe(page)
        keyboard(page)
        search_to_story(page, name)
        axe(page)
        story = page.url
        page.go_back()
        axe(page)
        phone(browser, [url + "/dashboard", page.url, story])
        without_script(browser, name)
    # Long enough for a stream to end and to begin again.
    time.sleep(0.2)
    browser.close()

assert not wrong, wrong
print("ok")
