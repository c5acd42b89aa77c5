"""The pages: the log to look at, at `/`, and the routes to read about, at `/docs`.

The page is what `page/dist` has, which is built from `page/source` and committed: see docs/explanation/page.md. It has
no rights of its own: it asks the routes, with the token that whoever looks has.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from turnlog.infrastructure.server.static_files import static_file

DOCS_PAGE = Path(__file__).with_name("docs.html")
DIST = Path(__file__).with_name("page") / "dist"

_FRONT = "index.html"
_FILES: Mapping[str, str] = {
    _FRONT: "text/html; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
}
_EVERYWHERE = {"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}
_NO_FRAMES = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_STRICT = "default-src 'none'; connect-src 'self'; script-src 'self'; style-src 'self'; img-src data:"
_INLINE = "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_PAGE_HEADERS = {
    **_EVERYWHERE,
    "Content-Security-Policy": f"{_STRICT}; require-trusted-types-for 'script'; {_NO_FRAMES}",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_DOCS_HEADERS = {**_EVERYWHERE, "Content-Security-Policy": f"{_INLINE}; {_NO_FRAMES}"}


def add_pages(app: FastAPI) -> None:
    """Adds them to an application."""

    @app.get("/", include_in_schema=False)
    async def front(request: Request) -> Response:
        return _answer(request, _FRONT)

    @app.get("/page/{name}", include_in_schema=False)
    async def file(request: Request, name: str) -> Response:
        return _answer(request, name)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(DOCS_PAGE.read_text("utf-8"), headers=_DOCS_HEADERS)


def _answer(request: Request, name: str) -> Response:
    if name not in _FILES:
        raise HTTPException(404)
    return static_file(DIST / name, _FILES[name], request.headers.get("if-none-match"), _PAGE_HEADERS)
