"""HTML and SVG as nested calls. Text is escaped unless it was made here, so that no prompt can become a tag."""

from __future__ import annotations

from html import escape

VOID = ("img", "meta")


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
