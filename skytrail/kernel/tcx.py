"""Which BPF programs are attached to an interface by TCX (Linux 6.6): bpf(2)'s BPF_PROG_QUERY, which needs no library."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

_SYS_BPF = {"x86_64": 321, "aarch64": 280}  # asm/unistd.h
_PROG_QUERY = 16  # enum bpf_cmd
_ATTACH_TYPES = {"ingress": 46, "egress": 47}  # BPF_TCX_INGRESS, BPF_TCX_EGRESS of enum bpf_attach_type
_MOST = 64  # BPF_MPROG_MAX
_ATTR = struct.Struct("=IIIIQII")  # union bpf_attr.query: ifindex, attach type, two flags, where the IDs go, how many
_ATTR_BYTES = 64
_LACKING = frozenset({errno.EINVAL, errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENODEV})
"""An older kernel, one without TCX, no privilege, an interface that is gone."""

_libc = ctypes.CDLL(None, use_errno=True)


def tcx_programs(ifindex: int) -> list[tuple[str, int]]:
    """Programs at an interface of the calling thread's namespace: direction (``ingress``, ``egress``) and ID, in their order.

    Raises:
        OSError: the kernel refuses for another reason than that it has none.
    """
    found: list[tuple[str, int]] = []
    for direction, attach_type in _ATTACH_TYPES.items():
        ids = (ctypes.c_uint32 * _MOST)()
        head = _ATTR.pack(ifindex, attach_type, 0, 0, ctypes.addressof(ids), _MOST, 0)
        attr = ctypes.create_string_buffer(head, _ATTR_BYTES)
        number = _SYS_BPF.get(platform.machine())
        if number is None or _libc.syscall(number, _PROG_QUERY, attr, _ATTR_BYTES) < 0:
            error = ctypes.get_errno() if number else errno.ENOSYS
            if error in _LACKING:
                return found
            raise OSError(error, os.strerror(error))
        count = _ATTR.unpack_from(attr.raw)[5]
        found += [(direction, ids[place]) for place in range(min(count, _MOST))]
    return found
