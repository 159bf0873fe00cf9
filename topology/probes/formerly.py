"""Which probes there were at the last start: what was told by those that are not any more is taken back. Files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
import structlog

_log = structlog.get_logger(__name__)


def read_names(path: Path) -> set[str]:
    """Names that are kept in a file; none, where it is not there or cannot be read."""
    try:
        return set(msgspec.json.decode(path.read_bytes(), type=list[str]))
    except FileNotFoundError:
        return set()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        _log.warning("probes_of_before_not_known", path=str(path), error=str(error))
        return set()


def keep_names(path: Path, names: Iterable[str]) -> None:
    """Keep them for the next start; where that cannot be, it is said."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(sorted(names)))
    except OSError as error:
        _log.warning("probes_not_remembered", path=str(path), error=str(error), remedy="set state_dir")
