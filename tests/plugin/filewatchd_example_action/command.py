"""The command ``filewatchctl seals``: whether sealed files are as they were. It reads seals, so it needs no daemon."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click


@click.command(short_help="Check seals against their files.")
@click.argument("seals", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("files", type=click.Path(exists=True, file_okay=False, path_type=Path))
def seals(seals: Path, files: Path) -> int:
    """Compare each seal in SEALS with its file in FILES; exit code 3 where one differs."""
    broken = [seal.stem for seal in sorted(seals.glob("*.seal")) if not _holds(seal, files / seal.stem)]
    for name in broken:
        click.echo(f"{name!r} isn't as it was sealed")
    return 3 if broken else 0


def _holds(seal: Path, file: Path) -> bool:
    return file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == seal.read_text().strip()
