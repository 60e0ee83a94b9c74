"""Jinja templates to the text files a user sees: .bat, .toml, .html."""

from __future__ import annotations

from pathlib import Path

import jinja2

from bundle.errors import UsageError

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"


def _environment(*, escape: bool) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES, encoding="utf-8"),
        undefined=jinja2.StrictUndefined,
        autoescape=escape,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def render_text(template: str, **values: object) -> str:
    """Return ``template`` of the templates folder, filled in; a missing value is an error, not an empty place."""
    try:
        return _environment(escape=".html" in template).get_template(template).render(values)
    except jinja2.TemplateError as error:
        raise UsageError(
            f"templates/{template} cannot be rendered",
            why=f"{type(error).__name__}: {error}",
            do="correct the template or the values it is given",
        ) from error


def write_bat(template: str, target: Path, **values: object) -> None:
    """Render ``template`` to ``target`` as cmd.exe wants it: ASCII, no BOM, CRLF.

    With LF, ``goto`` and ``call`` can miss their labels; with bytes above 127, a Chinese Windows
    reads the lines in code page 936 and breaks them whatever ``chcp`` says.
    """
    text = render_text(template, **values)
    try:
        target.write_bytes(text.replace("\n", "\r\n").encode("ascii"))
    except UnicodeEncodeError as error:
        raise UsageError(
            f"templates/{template} gives a .bat that is not ASCII",
            why=f"{error.object[error.start : error.end]!r} breaks on a Chinese Windows",
            do="let Python print that text",
        ) from error


def write_text(template: str, target: Path, *, newline: str = "\n", **values: object) -> None:
    """Render ``template`` to ``target`` in UTF-8 with ``newline`` line ends."""
    target.write_text(render_text(template, **values), encoding="utf-8", newline=newline)
