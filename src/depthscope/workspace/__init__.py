"""Folders of results: held by one process, written whole or not at all, with their figures and where they came from."""

from depthscope.workspace.atomic import (
    atomic_file,
    atomic_folder,
    empty,
    flush_folder,
    is_temporary,
    put_in_place,
    remove,
    scratch_folder,
    sweep,
    temporary,
    write_bytes,
    write_text,
)
from depthscope.workspace.hold import check_outside, holding
from depthscope.workspace.process import die_with_parent, owner
from depthscope.workspace.results import (
    RECORDED_VERSIONS,
    REFUSALS,
    content_hash,
    read_result,
    telling_write_errors,
    versions,
    write_provenance,
    write_result,
    writing_folder,
)

__all__ = [
    "RECORDED_VERSIONS",
    "REFUSALS",
    "atomic_file",
    "atomic_folder",
    "check_outside",
    "content_hash",
    "die_with_parent",
    "empty",
    "flush_folder",
    "holding",
    "is_temporary",
    "owner",
    "put_in_place",
    "read_result",
    "remove",
    "scratch_folder",
    "sweep",
    "telling_write_errors",
    "temporary",
    "versions",
    "write_bytes",
    "write_provenance",
    "write_result",
    "write_text",
    "writing_folder",
]
