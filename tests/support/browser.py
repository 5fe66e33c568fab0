"""Pages in Debian's Chromium, headless and cut off from every network, with all that they complained about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route, sync_playwright

FLAGS = (
    "--headless",
    "--no-sandbox",  # tests run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
TIMEOUT_MS = 10_000


@dataclass
class Pages:
    """Opens pages, each in a context of its own: nothing is kept from one to the next.

    `complaints` are errors and warnings on a console and exceptions that nobody caught, `requests` are what pages
    asked for beside files; none of these got through. Both are of the pages since the last `close`.
    """

    browser: Browser
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, path: Path, fragment: str = "", **options: Any) -> Page:
        """A file of this machine in a new window. `options` are Playwright's for a context: `viewport` as
        {"width": 400, "height": 800}, `color_scheme` "dark", `java_script_enabled` False."""
        context = self.browser.new_context(**options)
        context.set_default_timeout(TIMEOUT_MS)
        context.on("request", self._note)
        context.route("**/*", _let_files_through)
        page = context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        page.goto(path.resolve().as_uri() + (f"#{fragment}" if fragment else ""))
        return page

    def close(self) -> None:
        """Close all windows and forget what they did."""
        for context in self.browser.contexts:
            context.close()
        self.complaints.clear()
        self.requests.clear()

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _note(self, request: Request) -> None:
        if not is_local(request.url):
            self.requests.append(request.url)


@contextmanager
def start_browser(chromium: str) -> Iterator[Pages]:
    """The program of this path with an empty profile, until the end of the block.

    Meanwhile Playwright keeps an event loop in this thread, so that `asyncio.run` fails in it.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        try:
            yield Pages(browser)
        finally:
            browser.close()


def is_local(url: str) -> bool:
    """Whether an address leads to no network."""
    return url.startswith(("file:", "data:", "blob:", "about:"))


def _let_files_through(route: Route) -> None:
    if is_local(route.request.url):
        route.continue_()
    else:
        route.abort()
