"""The browser of the tests hears a page complain, and lets it reach nothing but files."""

from __future__ import annotations

from pathlib import Path

from tests.support.browser import Pages, is_local

PAGE = """<!doctype html><meta charset=utf-8><title>it</title><p id=told>nothing</p>
<script>
document.getElementById("told").textContent = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
</script>"""
NOISY = """<!doctype html><meta charset=utf-8><title>it</title>
<script>console.error("oh"); console.log("fine")</script><script>nobody.there()</script>
<img src="http://localhost:9/image.png">"""


def test_a_quiet_page_opens_as_asked(pages: Pages, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(PAGE)
    assert pages.open(tmp_path / "page.html").inner_text("#told") == "light"
    assert pages.open(tmp_path / "page.html", color_scheme="dark").inner_text("#told") == "dark"
    assert pages.open(tmp_path / "page.html", java_script_enabled=False).inner_text("#told") == "nothing"


def test_complaints_and_requests_are_heard(browser: Pages, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(NOISY)
    browser.open(tmp_path / "page.html")
    assert [complaint for complaint in browser.complaints if "oh" in complaint] == ["error: oh"]
    assert any("nobody" in complaint for complaint in browser.complaints)
    assert browser.requests == ["http://localhost:9/image.png"]
    browser.close()
    assert (browser.complaints, browser.requests, browser.browser.contexts) == ([], [], [])


def test_only_files_are_local() -> None:
    assert is_local("file:///tmp/report.html") and not is_local("https://localhost/file:")
