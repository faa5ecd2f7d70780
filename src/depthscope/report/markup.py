"""HTML from Python values: everything that is not marked as HTML is escaped, every number says where it is from."""

import html
import math
from dataclasses import dataclass

VOID = {"img", "input", "br", "meta", "link", "hr", "col"}
"""Elements without an end."""


class Html(str):
    """Text that is HTML already and must not be escaped again."""


Part = Html | str | None


def text(value: object) -> Html:
    """Any value as text; what a file holds never becomes markup."""
    return value if isinstance(value, Html) else Html(html.escape(str(value), quote=True))


def element(name: str, /, *parts: Part, **attributes: str | int | float | bool | None) -> Html:
    """One element.

    Args:
        name: Its name.
        *parts: What it holds; strings are escaped, None is left out.
        **attributes: ``class_`` stands for ``class``, other underscores for hyphens; True is a bare attribute, False
            and None leave it out.
    """
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{html.escape(str(value), quote=True)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{joined(*parts)}</{name}>")


def joined(*parts: Part) -> Html:
    """Parts one after the other."""
    return Html("".join(text(part) for part in parts if part is not None))


@dataclass(frozen=True)
class Figure:
    """A number of a file.

    Attributes:
        value: The number, exactly as it stands in the file.
        file: The file, from the case's folder.
        path: Keys that lead to it there.
    """

    value: int | float
    file: str
    path: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """Where it stands, such as ``surface/result.json#scale_drift``."""
        return f"{self.file}#{'/'.join(self.path)}" if self.path else self.file


def share(figure: Figure | None) -> Html | None:
    """A share as percent."""
    return _shown(figure, spoken_share)


def spoken_share(value: float) -> str:
    """A share as percent; one too small to matter is not given a power of ten."""
    if 0 < abs(value) < 1e-4:
        return "under 0.01\N{NO-BREAK SPACE}%"
    return f"{significant(100 * value)}\N{NO-BREAK SPACE}%"


def amount(figure: Figure | None, unit: str = "") -> Html | None:
    """A quantity with three digits and its unit."""
    return _shown(figure, lambda value: spoken_amount(value, unit))


def spoken_amount(value: float, unit: str = "") -> str:
    """A quantity with its unit; one too small to matter is not given a power of ten."""
    if unit and 0 < abs(value) < 1e-4:
        return f"under {with_unit('0.0001', unit)}"
    return with_unit(significant(value), unit)


def whole(figure: Figure | None, unit: str = "") -> Html | None:
    """A count, with thin spaces between thousands."""
    return _shown(figure, lambda value: with_unit(f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}"), unit))


def duration(figure: Figure | None) -> Html | None:
    """Seconds, as people say them."""
    return _shown(figure, spoken_seconds)


def spoken_seconds(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < 100:
        return f"{significant(seconds, 2)}\N{NO-BREAK SPACE}s"
    return f"{seconds / 60:.0f}\N{NO-BREAK SPACE}min" if seconds < 7200 else f"{seconds / 3600:.1f}\N{NO-BREAK SPACE}h"


def with_unit(number: str, unit: str) -> str:
    """A number and its unit, never on two lines."""
    return f"{number}\N{NO-BREAK SPACE}{unit}" if unit else number


def significant(value: float, digits: int = 3) -> str:
    """A number with so many digits that count, and no power of ten where it can be read without."""
    if not math.isfinite(value):
        return "not finite"
    if value == 0:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    if places > 6:
        return f"{value:.{digits - 1}e}"
    if abs(value) < 10_000:
        return f"{value:.{max(0, places)}f}"
    return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _shown(figure: Figure | None, spoken) -> Html | None:
    if figure is None:
        return None
    return element("data", spoken(figure.value), value=repr(figure.value), data_from=figure.source, title=figure.source)
