"""The page's files: served one by one, or all in one file with a result, which needs no server."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from settings import UserError

_STATIC: Final = Path(__file__).with_name("static")
_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
FILES: Final = {
    "/" if name == "index.html" else f"/{name}": (_STATIC / name, _TYPES[Path(name).suffix])
    for name in (
        *("index.html", "style.css", "view.js", "live.js"),
        *("vendor/uPlot.iife.min.js", "vendor/uPlot.min.css"),
    )
}
"""File and media type of each path."""
_POLICY: Final = (
    "default-src 'none'; script-src {scripts}; style-src {styles}; connect-src {connect}; "
    "img-src data:; base-uri 'none'; form-action 'none'"
)
_OWN: Final = "'self'"
HEADERS: Final = (
    (
        "content-security-policy",
        _POLICY.format(scripts=_OWN, styles=_OWN, connect=_OWN) + "; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
)
"""Of each answer: the browser loads nothing from another host, and shows the page in no frame."""


def write_page(path: Path, content: Mapping[str, Any]) -> None:
    """Write one file that shows a result.

    Args:
        path: of the file.
        content: what static/report.js shows.

    Raises:
        UserError: the file cannot be written.
    """
    # In HTML, only < could end the element that holds the result.
    data = json.dumps(content).replace("<", "\\u003c")
    style = "".join(map(_read, ("vendor/uPlot.min.css", "style.css")))
    # One script cannot import from another, so the modules become one.
    modules = "".join(map(_read, ("view.js", "report.js")))
    module = re.sub(r"^(import .*|export )", "", modules, flags=re.MULTILINE)
    scripts = (_read("vendor/uPlot.iife.min.js"), module)
    policy = _POLICY.format(scripts=_hashes(*scripts), styles=_hashes(style), connect="'none'")
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<style>{style}</style>\n"
        f"<script>{scripts[0]}</script>\n"
        f'<script type="application/json" id="result">{data}</script>\n'
        f'<script type="module">{module}</script>\n'
    )
    page = re.sub(
        r"<!-- files -->.*<!-- end -->", lambda _: head, _read("index.html"), flags=re.DOTALL
    )
    try:
        path.write_text(page, "utf-8")
    except OSError as error:
        raise UserError(f"--page {path}: {error.strerror}.") from None


def _read(name: str) -> str:
    return (_STATIC / name).read_text("utf-8")


def _hashes(*texts: str) -> str:
    digests = (hashlib.sha256(text.encode()).digest() for text in texts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
