"""HTML and SVG as nested calls. Text is escaped unless it was made here, so that no prompt can become a tag."""

from __future__ import annotations

from html import escape

from aquatint.style import CSS

VOID = ("img", "meta")
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Of every page: it loads nothing and runs no script, and the browser holds it to that."""


class Markup(str):
    """Text that is HTML already."""


def element(tag: str, *children: str | None, **attributes: object) -> Markup:
    """One element; children that are None or empty are left out. `class_` is class, other underscores are hyphens."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(str(value))}"' for name, value in attributes.items() if value not in (None, "")
    )
    return Markup(f"<{tag}{written}>") if tag in VOID else Markup(f"<{tag}{written}>{joined(*children)}</{tag}>")


def joined(*children: str | None) -> Markup:
    return Markup("".join(child if isinstance(child, Markup) else escape(child) for child in children if child))


def document(title: str, *parts: Markup, css: str = "") -> str:
    """A whole page in the house's style, with `css` after it."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(CSS + css)),
    )
    return joined(Markup("<!doctype html>\n"), element("html", head, element("body", element("main", *parts)), lang="en"), Markup("\n"))
