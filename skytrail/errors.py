"""The exception tree. Each message is one line that names the cause and the remedy.

SkytrailError
├── UsageError            the caller's words are wrong (exit status 2)
│   ├── SettingsError     a key or a value of the settings
│   └── FilterError       a flow filter that does not parse
└── RunError              the words are right, the world is not (exit status 1)
    ├── NotSupportedError this kernel or host lacks something
    ├── LoadError         a BPF object was refused; carries the verifier's log
    ├── AttachError       a capture point could not be attached
    ├── CaptureFileError  a file of packets that cannot be read
    ├── ListenError       an address that cannot be listened on, or must not be
    ├── AgentAwayError    no agent answers
    └── BusyError         too many ask at once
"""

from __future__ import annotations


class SkytrailError(Exception):
    """Base of all errors of ours; ``exit_status`` is what the command line ends with."""

    exit_status = 1


class UsageError(SkytrailError):
    """The caller's words are wrong."""

    exit_status = 2


class SettingsError(UsageError):
    """A key or a value of the settings is wrong; names the nearest known key."""


class FilterError(UsageError):
    """A flow filter that does not parse; names the column and what was expected."""


class RunError(SkytrailError):
    """The words are right, the world is not."""


class NotSupportedError(RunError):
    """This kernel or host lacks something.

    Args:
        feature: what is missing, in words.
        remedy: what to do about it.
    """

    def __init__(self, feature: str, remedy: str) -> None:
        super().__init__(f"{feature}: {remedy}")
        self.feature = feature
        self.remedy = remedy


class LoadError(RunError):
    """A BPF object was refused by the kernel or the loader.

    Args:
        summary: one line.
        log: the verifier's whole log, shown with ``-v`` only.
    """

    def __init__(self, summary: str, log: str = "") -> None:
        super().__init__(summary)
        self.log = log


class AttachError(RunError):
    """A capture point could not be attached."""


class CaptureFileError(RunError):
    """A file of packets that cannot be read; names the file and the offset."""


class ListenError(RunError):
    """An address that cannot be listened on, or must not be without TLS and authentication."""


class BusyError(RunError):
    """Too many ask at once; the same will do later."""


class AgentAwayError(RunError):
    """No agent answers at the address asked."""
