"""The action ``checksum``: an index of checksums that tells damage from change."""

from __future__ import annotations

from filewatchd.actions.base import Context
from filewatchd.actions.checksum import documents
from filewatchd.actions.checksum.action import Checksum
from filewatchd.actions.checksum.endpoints import ENDPOINTS
from filewatchd.actions.checksum.options import Options as Options
from filewatchd.actions.checksum.options import check as check
from filewatchd.actions.checksum.options import needs as needs
from filewatchd.actions.checksum.options import own_files as own_files
from filewatchd.actions.checksum.options import rule_defaults as rule_defaults

name = "checksum"
endpoints = (*ENDPOINTS, *documents.ENDPOINTS)


def open(options: Options, ctx: Context) -> Checksum:  # noqa: A001 - the protocol's word
    """The action, opened."""
    return Checksum(options, ctx)
