"""Numbers as they are shown: rounded, with their unit, and with the file that each stands in."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

Part = Markup | str | None
"""What a template is given: markup, plain text that it escapes, or nothing."""


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


def joined(*parts: Part, by: str = "") -> Markup:
    """Parts one after the other; plain text is escaped, None is left out."""
    return Markup(by).join(part for part in parts if part is not None)


def phrase(template: str, *parts: Part) -> Markup:
    """A sentence with ``{}`` for each part; plain text is escaped, None leaves nothing."""
    return Markup(template).format(*("" if part is None else part for part in parts))


def plain(part: Part) -> str:
    """The text of some markup, for a title or a terminal."""
    return "" if part is None else Markup(part).striptags() if isinstance(part, Markup) else part


def share(figure: Figure | None) -> Markup | None:
    """A share as percent."""
    return _shown(figure, spoken_share)


def spoken_share(value: int | float) -> str:
    """A share as percent; one too small to matter is not given a power of ten."""
    if 0 < abs(value) < 1e-4:
        return "under 0.01\N{NO-BREAK SPACE}%"
    return f"{significant(100 * value)}\N{NO-BREAK SPACE}%"


def amount(figure: Figure | None, unit: str = "", digits: int = 3) -> Markup | None:
    """A quantity with three digits and its unit."""
    return _shown(figure, lambda value: spoken_amount(value, unit, digits))


def spoken_amount(value: int | float, unit: str = "", digits: int = 3) -> str:
    """A quantity with its unit; one too small to matter is not given a power of ten."""
    if unit and 0 < abs(value) < 1e-4:
        return f"under {with_unit('0.0001', unit)}"
    return with_unit(significant(value, digits), unit)


def whole(figure: Figure | None, unit: str = "") -> Markup | None:
    """A count, with thin spaces between thousands."""
    return _shown(figure, lambda value: with_unit(thousands(value), unit))


def duration(figure: Figure | None) -> Markup | None:
    """Seconds, as people say them."""
    return _shown(figure, spoken_seconds)


def spoken_seconds(seconds: int | float) -> str:
    """Seconds, minutes or hours."""
    if seconds < 100:
        return f"{significant(seconds, 2)}\N{NO-BREAK SPACE}s"
    return f"{seconds / 60:.0f}\N{NO-BREAK SPACE}min" if seconds < 7200 else f"{seconds / 3600:.1f}\N{NO-BREAK SPACE}h"


def thousands(value: int | float) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def with_unit(number: str, unit: str) -> str:
    """A number and its unit, never on two lines."""
    return f"{number}\N{NO-BREAK SPACE}{unit}" if unit else number


def significant(value: int | float, digits: int = 3) -> str:
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
    return thousands(value)


def _shown(figure: Figure | None, spoken: Callable[[int | float], str]) -> Markup | None:
    if figure is None:
        return None
    source = figure.source
    return Markup('<data value="{}" data-from="{}" title="{}">{}</data>').format(
        repr(figure.value), source, source, spoken(figure.value)
    )
