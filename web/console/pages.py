"""Pages of the console, made of templates."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from web.console.visitor import Visitor

_FOLDER: Final = Path(__file__).parent
STYLE: Final = (_FOLDER / "console.css").read_text("utf-8")
# Nothing runs on a page, and nothing comes from elsewhere.
POLICY: Final = b"default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


class Pages:
    """Makes pages; what a template does not know is an error, and what it shows is escaped."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["moment"] = _moment

    def page(self, name: str, visitor: Visitor | None, values: Mapping[str, Any], status: int = 200) -> HTMLResponse:
        """Make a page.

        Args:
            name: of its template, without the ending.
            visitor: who is signed in, if anybody.
            values: what it shows.
            status: of HTTP.
        """
        template = self._environment.get_template(f"{name}.html")
        return HTMLResponse(template.render(visitor=visitor, **values), status)


def _moment(at: datetime | None) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if at else ""
