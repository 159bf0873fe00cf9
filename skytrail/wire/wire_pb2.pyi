from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Greeting(_message.Message):
    __slots__ = ("oldest", "newest", "release", "host", "tid", "outbox", "clock", "connection")
    OLDEST_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    TID_FIELD_NUMBER: _ClassVar[int]
    OUTBOX_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_FIELD_NUMBER: _ClassVar[int]
    oldest: int
    newest: int
    release: str
    host: str
    tid: str
    outbox: str
    clock: int
    connection: int
    def __init__(self, oldest: _Optional[int] = ..., newest: _Optional[int] = ..., release: _Optional[str] = ..., host: _Optional[str] = ..., tid: _Optional[str] = ..., outbox: _Optional[str] = ..., clock: _Optional[int] = ..., connection: _Optional[int] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("version", "release", "clock", "taken", "received", "session")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    TAKEN_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    version: int
    release: str
    clock: int
    taken: int
    received: int
    session: str
    def __init__(self, version: _Optional[int] = ..., release: _Optional[str] = ..., clock: _Optional[int] = ..., taken: _Optional[int] = ..., received: _Optional[int] = ..., session: _Optional[str] = ...) -> None: ...

class Reports(_message.Message):
    __slots__ = ("reports", "clock", "ahead")
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    AHEAD_FIELD_NUMBER: _ClassVar[int]
    reports: _containers.RepeatedCompositeFieldContainer[Numbered]
    clock: int
    ahead: int
    def __init__(self, reports: _Optional[_Iterable[_Union[Numbered, _Mapping]]] = ..., clock: _Optional[int] = ..., ahead: _Optional[int] = ...) -> None: ...

class Numbered(_message.Message):
    __slots__ = ("number", "report", "more", "shift")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    SHIFT_FIELD_NUMBER: _ClassVar[int]
    number: int
    report: bytes
    more: bool
    shift: int
    def __init__(self, number: _Optional[int] = ..., report: _Optional[bytes] = ..., more: bool = ..., shift: _Optional[int] = ...) -> None: ...

class Taken(_message.Message):
    __slots__ = ("number", "clock", "sent", "received")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    SENT_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    number: int
    clock: int
    sent: int
    received: int
    def __init__(self, number: _Optional[int] = ..., clock: _Optional[int] = ..., sent: _Optional[int] = ..., received: _Optional[int] = ...) -> None: ...

class Question(_message.Message):
    __slots__ = ("number", "body", "timeout_ms", "most_bytes", "cancelled")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    MOST_BYTES_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    number: int
    body: bytes
    timeout_ms: int
    most_bytes: int
    cancelled: bool
    def __init__(self, number: _Optional[int] = ..., body: _Optional[bytes] = ..., timeout_ms: _Optional[int] = ..., most_bytes: _Optional[int] = ..., cancelled: bool = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("number", "part", "last", "failure")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    number: int
    part: bytes
    last: bool
    failure: str
    def __init__(self, number: _Optional[int] = ..., part: _Optional[bytes] = ..., last: bool = ..., failure: _Optional[str] = ...) -> None: ...

class Known(_message.Message):
    __slots__ = ("session", "number")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    session: str
    number: int
    def __init__(self, session: _Optional[str] = ..., number: _Optional[int] = ...) -> None: ...

class Changes(_message.Message):
    __slots__ = ("session", "number", "whole", "more", "body")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    session: str
    number: int
    whole: bool
    more: bool
    body: bytes
    def __init__(self, session: _Optional[str] = ..., number: _Optional[int] = ..., whole: bool = ..., more: bool = ..., body: _Optional[bytes] = ...) -> None: ...

class Meeting(_message.Message):
    __slots__ = ("oldest", "newest", "release", "session", "clock", "received")
    OLDEST_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    oldest: int
    newest: int
    release: str
    session: str
    clock: int
    received: int
    def __init__(self, oldest: _Optional[int] = ..., newest: _Optional[int] = ..., release: _Optional[str] = ..., session: _Optional[str] = ..., clock: _Optional[int] = ..., received: _Optional[int] = ...) -> None: ...

class Inquiry(_message.Message):
    __slots__ = ("body", "hosts", "all_but", "timeout_ms", "most_bytes")
    BODY_FIELD_NUMBER: _ClassVar[int]
    HOSTS_FIELD_NUMBER: _ClassVar[int]
    ALL_BUT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    MOST_BYTES_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    hosts: _containers.RepeatedScalarFieldContainer[str]
    all_but: bool
    timeout_ms: int
    most_bytes: int
    def __init__(self, body: _Optional[bytes] = ..., hosts: _Optional[_Iterable[str]] = ..., all_but: bool = ..., timeout_ms: _Optional[int] = ..., most_bytes: _Optional[int] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("tid", "part", "last", "failure", "host", "dropped", "below")
    TID_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    BELOW_FIELD_NUMBER: _ClassVar[int]
    tid: str
    part: bytes
    last: bool
    failure: str
    host: str
    dropped: bool
    below: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, tid: _Optional[str] = ..., part: _Optional[bytes] = ..., last: bool = ..., failure: _Optional[str] = ..., host: _Optional[str] = ..., dropped: bool = ..., below: _Optional[_Iterable[str]] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("source", "observed", "nodes", "edges", "gone", "whole", "volatile", "late")
    class VolatileEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    VOLATILE_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    source: Source
    observed: int
    nodes: _containers.RepeatedCompositeFieldContainer[Node]
    edges: _containers.RepeatedCompositeFieldContainer[Edge]
    gone: _containers.RepeatedScalarFieldContainer[str]
    whole: bool
    volatile: _containers.ScalarMap[str, bytes]
    late: int
    def __init__(self, source: _Optional[_Union[Source, _Mapping]] = ..., observed: _Optional[int] = ..., nodes: _Optional[_Iterable[_Union[Node, _Mapping]]] = ..., edges: _Optional[_Iterable[_Union[Edge, _Mapping]]] = ..., gone: _Optional[_Iterable[str]] = ..., whole: bool = ..., volatile: _Optional[_Mapping[str, bytes]] = ..., late: _Optional[int] = ...) -> None: ...

class Source(_message.Message):
    __slots__ = ("probe", "host", "service", "tid")
    PROBE_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    TID_FIELD_NUMBER: _ClassVar[int]
    probe: str
    host: str
    service: str
    tid: str
    def __init__(self, probe: _Optional[str] = ..., host: _Optional[str] = ..., service: _Optional[str] = ..., tid: _Optional[str] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ("tid", "metadata", "volatile", "enriches")
    TID_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    VOLATILE_FIELD_NUMBER: _ClassVar[int]
    ENRICHES_FIELD_NUMBER: _ClassVar[int]
    tid: str
    metadata: bytes
    volatile: bytes
    enriches: bool
    def __init__(self, tid: _Optional[str] = ..., metadata: _Optional[bytes] = ..., volatile: _Optional[bytes] = ..., enriches: bool = ...) -> None: ...

class Edge(_message.Message):
    __slots__ = ("parent", "child", "relation", "metadata", "key")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    CHILD_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    parent: str
    child: str
    relation: str
    metadata: bytes
    key: str
    def __init__(self, parent: _Optional[str] = ..., child: _Optional[str] = ..., relation: _Optional[str] = ..., metadata: _Optional[bytes] = ..., key: _Optional[str] = ...) -> None: ...
