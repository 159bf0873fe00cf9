"""``call()``: services beside the graph. Source: CallStep of TinkerPop 3.7.3, its directory service ``--list`` included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gremlin_api.errors import ILLEGAL_ARGUMENT, UNSUPPORTED, TraversalError
from gremlin_api.interpreter.chain import Flow, Kept, Step
from gremlin_api.interpreter.instructions import Instruction
from gremlin_api.interpreter.run import Run, Service
from gremlin_api.interpreter.steps.family import Build
from gremlin_api.language.errors import nearest
from gremlin_api.language.syntax import Traversal
from gremlin_api.values import Map, Value, Vertex

if TYPE_CHECKING:
    from gremlin_api.interpreter.build import Builder

LIST = "--list"


class Call(Step):
    """What a service tells: of all that comes, asked once."""

    name = "call"
    gathers = True

    def __init__(self, run: Run, service: Service, parameters: Mapping[str, Value], *, begins: bool) -> None:
        super().__init__()
        self._run, self._service, self._parameters, self._begins = run, service, parameters, begins

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """Each of what it tells, from where it belongs to."""
        came = list(upstream)
        self._run.hold(len(came))
        if not came:
            return
        if self._begins:
            for _, value in self._service.call(self._run, self._parameters, None):
                yield came[0].to(value)
            return
        vertices = [one.value for one in came]
        for one in vertices:
            if not isinstance(one, Vertex):
                raise TraversalError("call() asks about vertices: let it follow g.V()…")
        for place, value in self._service.call(self._run, self._parameters, vertices):
            yield came[place].to(value)


class Directory(Step):
    """Which services there are.

    Args:
        services: all of them.
        parameters: ``service``: that one alone; ``verbose``: what each does, and takes.
    """

    name = "call"

    def __init__(self, services: Mapping[str, Service], parameters: Mapping[str, Value]) -> None:
        super().__init__()
        wanted = parameters.get("service")
        names = [name for name in services if wanted in (None, name)]
        self._told: list[Value] = list(names)
        if parameters.get("verbose") is True:
            self._told = [
                Map([("name", name), ("description", services[name].about), ("parameters", list(services[name].takes))])
                for name in names
            ]

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """Each, for all that comes."""
        for one in upstream:
            for value in self._told:
                yield one.to(value)


def _call(builder: Builder, instruction: Instruction) -> Step:
    services = builder.run.services
    if not services:
        raise TraversalError("call() is refused: there are no services here", UNSUPPORTED)
    name, *rest = [builder.value(one) for one in instruction.arguments if not isinstance(one, Traversal)] or [LIST]
    if any(isinstance(one, Traversal) for one in instruction.arguments):
        raise TraversalError("call() takes its parameters as a map, not as a traversal", UNSUPPORTED)
    parameters = {str(key): value for one in rest for key, value in one.items()}
    for modulator in instruction.modulators:
        key, value = (*map(builder.value, modulator.arguments), True)[:2]
        parameters[str(key)] = value
    if name == LIST:
        return Directory(services, parameters)
    service = services.get(name)
    if service is None:
        raise TraversalError(
            f"there is no service '{name}'{nearest(str(name), services)}: g.call() lists them", ILLEGAL_ARGUMENT
        )
    unknown = next((one for one in parameters if one not in service.takes), None)
    if unknown is not None:
        raise TraversalError(
            f"call('{name}') has no parameter '{unknown}': it takes {', '.join(service.takes)}", ILLEGAL_ARGUMENT
        )
    return Call(builder.run, service, parameters, begins=builder.at_source())


STEPS: dict[str, Build] = {"call": _call}
