"""What a browser may do for a page: nothing from elsewhere, and no script but those that the page was made with.

Pages are made with a mark where the nonce of their scripts stands, which is drawn anew in each process, so that nothing
in a case's files can hold it. `sealed` puts the nonce in: of a file one that follows from its content, since the same
case makes the same file; of a page that is served one for each answer.
"""

import hashlib
import secrets

MARK = secrets.token_hex(16)
"""Stands for the nonce until a page is sealed."""

EMBEDDED, SERVED, BESIDE = "data:", "'self' data:", "'self' file: data:"
"""Where pictures may come from: the page itself; its server too; or the files beside a page that is opened as one."""


def policy(images: str = EMBEDDED, nonce: str = MARK) -> str:
    """The Content-Security-Policy of a page, as its ``meta`` element holds it.

    Args:
        images: Where pictures may come from.
        nonce: Of its scripts.
    """
    return (
        f"default-src 'none'; img-src {images}; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; "
        "base-uri 'none'; form-action 'none'"
    )


def header(images: str, nonce: str) -> str:
    """The same as a server sends it; that no page may frame this one can only be said there."""
    return f"{policy(images, nonce)}; frame-ancestors 'none'"


def sealed(page: str, nonce: str = "") -> str:
    """The page with a nonce in place of the mark.

    Args:
        page: As it was made.
        nonce: The nonce; without it one that follows from the content.
    """
    nonce = nonce or hashlib.sha256(page.replace(MARK, "").encode()).hexdigest()[:32]
    return page.replace(MARK, nonce)
