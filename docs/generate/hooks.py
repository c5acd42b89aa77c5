"""What mkdocs builds the pages with: the pages of the root folder, the generated parts, and the pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from docs.generate import command_line, deltas, dialects, errors, events, limits, routes, settings, telemetry
from docs.generate.fields import fields_of

ROOT = Path(__file__).parents[2]

PARTS = {
    "command line": command_line.reference,
    "deltas": deltas.reference,
    "dialects": dialects.reference,
    "errors": errors.reference,
    "events": events.reference,
    "limits": limits.reference,
    "metrics": telemetry.metrics,
    "problems": routes.problems,
    "routes": routes.routes,
    "settings": settings.reference,
    "spans": telemetry.spans,
}
"""What takes the place of `<!-- generated: NAME -->` in a page."""

ROOT_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
"""By file: the page that the site has of it."""

_PICTURE = re.compile(r"^!\[[^\]]*\]\((?:\.\./)?(pictures/\w+\.svg)\)$", re.MULTILINE)
_UP = re.compile(rf"\]\(((?:\.\./)*)\.\./({'|'.join(ROOT_PAGES)})".replace(".md", r"\.md"))
_PART = re.compile(r"<!-- generated: ([a-z ]+) -->")
_FIELDS = re.compile(r"<!-- fields of ([\w.]+) -->")


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages of the root folder."""
    for name, page in ROOT_PAGES.items():
        files.append(File.generated(config, page, content=_moved((ROOT / name).read_text("utf-8"))))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Puts in the generated parts, and the pictures themselves, so that they follow the page's colours. What leads to
    a page of the root folder leads to the site's."""
    markdown = _UP.sub(lambda found: f"]({found[1]}{ROOT_PAGES[found[2]]}", markdown)
    markdown = _PART.sub(lambda found: PARTS[found[1]](), markdown)
    markdown = _FIELDS.sub(lambda found: fields_of(found[1]), markdown)
    return _PICTURE.sub(lambda found: _drawing(ROOT / "docs" / found[1]), markdown)


def _moved(text: str) -> str:
    """The links of a page of the root folder, from where it is in the site. The licence is no page."""
    for name, page in ROOT_PAGES.items():
        text = text.replace(f"]({name})", f"]({page})")
    return text.replace("](docs/", "](").replace("[LICENSE](LICENSE)", "LICENSE")


def _drawing(path: Path) -> str:
    return f'<div class="picture">\n{path.read_text("utf-8").strip()}\n</div>'
