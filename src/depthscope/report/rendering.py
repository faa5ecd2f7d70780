"""Pages from templates (Jinja2): whatever a case's files say is escaped, and a name that is not given is an error."""

from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from depthscope.report.policy import MARK


@cache
def environment(package: str) -> Environment:
    """The templates of a package, after which those of the report are looked for."""
    packages = dict.fromkeys((package, "depthscope.report"))
    made = Environment(
        loader=ChoiceLoader([PackageLoader(name, "templates") for name in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(version=version("depthscope"), nonce=MARK, asset=asset)
    return made


def rendered(name: str, /, **values: Any) -> Markup:
    """A template of the report, filled in."""
    return Markup(environment("depthscope.report").get_template(name).render(**values))


def asset(name: str, package: str = "depthscope.report") -> Markup:
    """A style sheet or script that the page carries, as it is."""
    return Markup(files(package).joinpath("assets", name).read_text(encoding="utf-8"))
