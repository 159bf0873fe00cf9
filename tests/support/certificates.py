"""Certificates of a test's own authority, as settings take them."""

from __future__ import annotations

from pathlib import Path

from skytrail.pki import Authority
from skytrail.settings.tree import Wire


class Pki:
    """An authority in a folder.

    Args:
        folder: where it is made.
    """

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder, force=True)
        self.authority.init()

    def hub(self, *names: str, days: int = 1) -> Wire:
        """Settings of a hub of these names."""
        return self._wire(self.authority.hub(names or ["localhost", "127.0.0.1"], days))

    def server(self, *names: str, days: int = 1) -> Wire:
        """Settings of who has a certificate of HTTPS for these names."""
        return self._wire(self.authority.server(names, days))

    def agent(self, *hosts: str, days: int = 1) -> Wire:
        """Settings of an agent of a host, and of its former names."""
        return self._wire(self.authority.agent(hosts, days))

    def _wire(self, path: Path) -> Wire:
        ca = self.authority.folder / "ca.crt"
        return Wire(tls_cert=str(path), tls_key=str(path.with_suffix(".key")), tls_ca=str(ca))

    @property
    def crl(self) -> str:
        """Path of what is revoked."""
        return str(self.authority.folder / "ca.crl")
