"""Dashboards as Grafana reads them: the committed JSON, its queries with the variables' values in them, and who answers.

What Grafana itself and its data sources do to a query before it is sent is written here once more. Sources: Grafana's
``interpolateQueryExpr`` (Prometheus) and, for a hub's, ``src/gremlin`` of our data source.
"""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Values = Mapping[str, str | Sequence[str]]
"""Chosen values of variables; a text stands as it is written, as a value of one's own for All does."""

FOLDER = Path(__file__).parents[2] / "grafana" / "dashboards" / "json"
POINTS = 600  # of a panel: its width in pixels


def dashboards() -> Mapping[str, Json]:
    """The committed ones, by the name of their file."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def panels(dashboard: Json) -> list[Json]:
    """All that show something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


@dataclass(frozen=True)
class Window:
    """A dashboard's range, s since the epoch."""

    start: float
    end: float
    scrape: float  # seconds between two of Prometheus

    @property
    def step(self) -> float:
        return max((self.end - self.start) / POINTS, self.scrape)

    def durations(self) -> Mapping[str, str]:
        """What Grafana's own variables stand for."""
        interval = max(self.step + self.scrape, 4 * self.scrape)
        return {
            "__rate_interval": f"{round(interval * 1000)}ms",
            "__range": f"{round(self.end - self.start)}s",
            "__interval": f"{round(self.step * 1000)}ms",
        }


_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")
_SPECIAL = re.compile(r"[\\^$.*+?()\[\]{}|]")


def for_prometheus(text: str, values: Values, window: Window) -> str:
    """A query as Prometheus gets it."""
    given: Values = {**values, **window.durations()}

    def filled(match: re.Match[str]) -> str:
        value = given[match[1] or match[2]]
        if isinstance(value, str):
            return value
        escaped = [_SPECIAL.sub(r"\\\\\g<0>", one) for one in value]
        return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"

    return _VARIABLE.sub(filled, text)


def for_hub(text: str, values: Values) -> str:
    """A text in Gremlin as a hub gets it: variables stand alone in the literal of a ``Regex`` only."""

    def filled(match: re.Match[str]) -> str:
        value = values[match[1]]
        plain = value if isinstance(value, str) else value[0] if len(value) == 1 else f"({'|'.join(map(re.escape, value))})"
        return "Regex('" + re.sub(r"[\\'\"]", r"\\\g<0>", plain) + "')"

    found = re.sub(r"Regex\('\$(\w+)'\)", filled, text)
    assert "$" not in found, found
    return found


def at(text: str, said: str) -> str:
    """A text about a moment."""
    assert text.startswith("G."), text
    return f"G.At({said}){text[1:]}"


class Asker:
    """Asks as panels do.

    Args:
        prometheus: host and port.
        hub: host and port.
    """

    def __init__(self, prometheus: str, hub: str) -> None:
        self._prometheus, self._hub = prometheus, hub

    def _get(self, host: str, path: str, **arguments: str | list[str]) -> Any:
        url = f"http://{host}{path}?{urllib.parse.urlencode(arguments, doseq=True)}"
        return self._told(url)

    def _told(self, url: str, body: Json | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{url} {body}: {error.code} {error.read().decode()[:500]}") from error

    def api(self, path: str, **arguments: str | list[str]) -> Any:
        """An answer of Prometheus."""
        return self._get(self._prometheus, f"/api/v1/{path}", **arguments)["data"]

    def gremlin(self, text: str) -> Any:
        """An answer of the hub in Skydive's dialect; nothing is an empty list."""
        found = self._told(f"http://{self._hub}/api/topology", {"GremlinQuery": text})
        return [] if found is None else found

    def samples(self, target: Json, values: Values, window: Window) -> list[list[float]]:
        """What Prometheus answers to a panel's query: the values of each series."""
        text = for_prometheus(target["expr"], values, window)
        if target.get("instant"):
            found = self.api("query", query=text, time=f"{window.end:.3f}")["result"]
            return [[float(one["value"][1])] for one in found]
        begin, end = f"{window.start:.3f}", f"{window.end:.3f}"
        found = self.api("query_range", query=text, start=begin, end=end, step=f"{window.step:.3f}")["result"]
        return [[float(value) for _, value in one["values"]] for one in found]

    def answer(self, target: Json, values: Values, window: Window) -> list[Any]:
        """What a hub answers to a panel's query: its rows, of a graph nodes and edges."""
        text = for_hub(target.get("gremlin", ""), values)
        begin, end = round(window.start * 1000), round(window.end * 1000)
        over = f"{end}, {max(1, round(window.end - window.start))}"
        match target["queryType"]:
            case "graph":
                parts = self.gremlin(at(text, str(begin if target["moment"] == "start" else end)))
                return [element for part in parts if part["Edges"] for element in (*part["Nodes"], *part["Edges"])]
            case "table":
                return list(self.gremlin(at(text, str(begin if target["moment"] == "start" else end))))
            case "flows":
                return list(self.gremlin(at(text, over)))
            case "timeseries":
                return [
                    sample
                    for one in self.gremlin(at(text, over))
                    for samples in one.values()
                    for sample in samples
                    if any(sample.get(name) for name in target["metrics"])
                ]
            case "changes" if target["comparison"] == "ends":
                return list(self._get(self._hub, "/api/v1/diff", **{"from": str(begin), "to": str(end)}))
            case "changes":
                return [
                    one
                    for one in self.gremlin(at(text, over))
                    if begin <= one["UpdatedAt"] <= end or begin <= one.get("ArchivedAt", 0) <= end
                ]
            case "path":
                source, destination = (str(values[target[end_][1:]]) for end_ in ("source", "destination"))
                return list(self._get(self._hub, "/api/v1/path", src=source, dst=destination, at=str(end))["Hops"])
        raise AssertionError(target)


def choices(asker: Asker, variable: Json, values: Values, window: Window) -> list[str]:
    """The values that a variable offers."""
    query = variable["query"]
    if "gremlin" in query:
        return sorted({str(one) for one in asker.gremlin(for_hub(query["gremlin"], values))})
    match = re.fullmatch(r"label_values\((.+), (\w+)\)", query["query"])
    assert match, query
    selector = for_prometheus(match[1], values, window)
    found: list[str] = asker.api(f"label/{match[2]}/values", **{"match[]": selector, "start": f"{window.start:.3f}"})
    return found


def variables(dashboard: Json) -> Iterator[Json]:
    """Those that somebody is asked about."""
    return (one for one in dashboard["templating"]["list"] if one["type"] == "query")
