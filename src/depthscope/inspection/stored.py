"""The verdict that is stored with a sequence."""

from pathlib import Path

from depthscope.errors import BadInputError


def checked_verdict(folder: Path, accept_rejected: bool) -> str:
    """What the verdict stored with a sequence says, in words; "" where it was accepted.

    Raises:
        BadInputError: It was not accepted, and `accept_rejected` is not set.
    """
    from depthscope.workspace import read_result

    stored = read_result(folder) if (folder / "result.json").is_file() else {}
    if "accepted" not in stored:
        return f"{folder} carries no verdict; `depthscope inspect {folder}` gives one"
    if stored["accepted"]:
        return ""
    outcome = stored.get("outcome", "refused")
    reason = next(iter(stored.get("reasons") or ["no reason is stored"]))
    if accept_rejected:
        return f"{folder}: the verdict is '{outcome}' ({reason}); trained on all the same, as told"
    raise BadInputError(
        f"{folder}: the verdict on its structure from motion is '{outcome}' ({reason})",
        "an accepted sequence",
        "leave it out, reconstruct it again, or say --accept-rejected",
    )
