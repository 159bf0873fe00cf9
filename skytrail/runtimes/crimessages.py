"""The messages of the Kubernetes CRI (``runtime.v1``) that are used, made from a table: no compiler, no generated files.

Source: https://github.com/kubernetes/cri-api, pkg/apis/runtime/v1/api.proto. Fields that are not in the table are passed
over, as protobuf does with fields it does not know.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "runtime.v1"
_TYPES = {"string": 9, "int64": 3, "uint32": 13, "int32": 5, "bool": 8, "bytes": 12}  # FieldDescriptorProto.Type
_MESSAGE = 11
_OPTIONAL, _REPEATED = 1, 3  # FieldDescriptorProto.Label

READY = 0
"""PodSandboxState.SANDBOX_READY."""
RUNNING, EXITED = 1, 2
"""ContainerState.CONTAINER_RUNNING, CONTAINER_EXITED."""
RUNNING_TASK, PAUSED_TASK = 2, 4
"""containerd's Status, api/types/task/task.proto: RUNNING, PAUSED."""

MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "VersionRequest": {"version": (1, "string")},
    "VersionResponse": {"runtime_name": (2, "string"), "runtime_version": (3, "string")},
    "ContainerStateValue": {"state": (1, "int32")},
    "ContainerFilter": {"id": (1, "string"), "state": (2, "ContainerStateValue")},
    "ListContainersRequest": {"filter": (1, "ContainerFilter")},
    "ContainerMetadata": {"name": (1, "string"), "attempt": (2, "uint32")},
    "ImageSpec": {"image": (1, "string"), "user_specified_image": (18, "string")},
    "Container": {
        "id": (1, "string"),
        "pod_sandbox_id": (2, "string"),
        "metadata": (3, "ContainerMetadata"),
        "image": (4, "ImageSpec"),
        "image_ref": (5, "string"),
        "state": (6, "int32"),
        "created_at": (7, "int64"),
        "labels": (8, "map"),
    },
    "ListContainersResponse": {"containers": (1, "repeated Container")},
    "PodSandboxStateValue": {"state": (1, "int32")},
    "PodSandboxFilter": {"id": (1, "string"), "state": (2, "PodSandboxStateValue")},
    "ListPodSandboxRequest": {"filter": (1, "PodSandboxFilter")},
    "PodSandboxMetadata": {"name": (1, "string"), "uid": (2, "string"), "namespace": (3, "string"), "attempt": (4, "uint32")},
    "PodSandbox": {
        "id": (1, "string"),
        "metadata": (2, "PodSandboxMetadata"),
        "state": (3, "int32"),
        "created_at": (4, "int64"),
        "labels": (5, "map"),
    },
    "ListPodSandboxResponse": {"items": (1, "repeated PodSandbox")},
    "ContainerStatusRequest": {"container_id": (1, "string"), "verbose": (2, "bool")},
    "ContainerStatus": {
        "id": (1, "string"),
        "started_at": (5, "int64"),
        "finished_at": (6, "int64"),
        "image": (8, "ImageSpec"),
        "image_ref": (9, "string"),
    },
    "ContainerStatusResponse": {"status": (1, "ContainerStatus"), "info": (2, "map")},
    "PodSandboxStatusRequest": {"pod_sandbox_id": (1, "string"), "verbose": (2, "bool")},
    "PodSandboxStatusResponse": {"info": (2, "map")},
    # containerd's own: api/services/events/v1/events.proto, api/events/task.proto, and protobuf's well-known types
    "SubscribeRequest": {"filters": (1, "repeated string")},
    "Timestamp": {"seconds": (1, "int64"), "nanos": (2, "int32")},
    "Any": {"type_url": (1, "string"), "value": (2, "bytes")},
    "Envelope": {"timestamp": (1, "Timestamp"), "namespace": (2, "string"), "topic": (3, "string"), "event": (4, "Any")},
    "TaskExit": {"container_id": (1, "string"), "id": (2, "string"), "exited_at": (5, "Timestamp")},
    # its services of namespaces, tasks and containers; names are ours where the CRI has the same
    "NamespacesRequest": {"filter": (1, "string")},
    "Namespace": {"name": (1, "string")},
    "NamespacesResponse": {"namespaces": (1, "repeated Namespace")},
    "TasksRequest": {"filter": (1, "string")},
    "Task": {"container_id": (1, "string"), "id": (2, "string"), "pid": (3, "uint32"), "status": (4, "int32")},
    "TasksResponse": {"tasks": (1, "repeated Task")},
    "TaskContainersRequest": {"filters": (1, "repeated string")},
    "TaskContainer": {"id": (1, "string"), "labels": (2, "map"), "image": (3, "string"), "created_at": (8, "Timestamp")},
    "TaskContainersResponse": {"containers": (1, "repeated TaskContainer")},
}
"""Fields by message: number and type. ``map`` is from text to text; an enumeration is read as the int32 that it is sent as.
The package of a message is nowhere in its bytes."""

METHODS = {
    name: f"/{_PACKAGE}.RuntimeService/{name}"
    for name in ("Version", "ListContainers", "ListPodSandbox", "ContainerStatus", "PodSandboxStatus")
} | {
    "Namespaces": "/containerd.services.namespaces.v1.Namespaces/List",
    "Tasks": "/containerd.services.tasks.v1.Tasks/List",
    "TaskContainers": "/containerd.services.containers.v1.Containers/List",
}
"""The calls: each takes a message ``<name>Request`` and gives a ``<name>Response``."""

EVENTS = "/containerd.services.events.v1.Events/Subscribe"
"""containerd's own: from SubscribeRequest to a stream of Envelope."""


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="skytrail/runtimes/cri.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add(message, field, number, kind)
    return file


def _add(message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str) -> None:
    field = message.field.add(name=name, number=number, label=_OPTIONAL)
    if kind in _TYPES:
        field.type = _TYPES[kind]  # type: ignore[assignment] # the same
        return
    if kind.removeprefix("repeated ") in _TYPES:
        field.type, field.label = _TYPES[kind.removeprefix("repeated ")], _REPEATED  # type: ignore[assignment] # the same
        return
    field.type = _MESSAGE  # type: ignore[assignment] # the same
    if kind == "map":
        entry = message.nested_type.add(name="".join(word.title() for word in name.split("_")) + "Entry")
        entry.options.map_entry = True
        _add(entry, "key", 1, "string")
        _add(entry, "value", 2, "string")
        kind = f"repeated {message.name}.{entry.name}"
    if kind.startswith("repeated "):
        field.label = _REPEATED  # type: ignore[assignment] # the same
    field.type_name = f".{_PACKAGE}.{kind.removeprefix('repeated ')}"


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()  # our own: another library may know the whole of the CRI
    pool.AddSerializedFile(_file().SerializeToString())
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in MESSAGES}


CLASSES = _classes()
"""The messages' classes, by name."""
