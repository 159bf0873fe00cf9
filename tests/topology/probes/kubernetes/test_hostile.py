"""A server that says what no API server does: nothing crashes, ends or grows; what can be read is, the rest is counted."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.kubelab import KubeLab
from support.netlab import until

from topology.probes.kubernetes import connection, probe, source

Make = Callable[..., KubeLab]
Json = dict[str, Any]


def pod(name: str, **more: Any) -> Json:
    return {"metadata": {"name": name, "uid": name, "namespace": "ns", "resourceVersion": "5", **more}}


class Served:
    """What a server answers to lists and watches of pods; each watch is another one of these, the last one stays.

    Attributes:
        pages: bodies of lists, by their ``continue``; with a slash and a ``limit`` for questions with that alone.
        watches: what each watch is answered: a status, and lines.
        breaks: watches break off, and do not end in good order.
        newest: the version there is, where only that is asked for.
    """

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {"": b'{"metadata": {"resourceVersion": "1"}, "items": null}'}
        self.watches: list[tuple[int, list[bytes]]] = []
        self.versions: list[str] = []
        self.lists = 0
        self.limits: list[int] = []
        self.newest = 0
        self.breaks = False
        self.ended = threading.Event()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        query = {key: values[0] for key, values in parse_qs(urlsplit(handler.path).query).items()}
        if "PartialObjectMetadataList" in handler.headers["Accept"]:
            handler.send_response(200)
            handler.end_headers()
            handler.wfile.write(b'{"metadata": {"resourceVersion": "%d"}}' % self.newest)
            return
        if "watch" not in query:
            self.lists += 1
            page = query.get("continue", "")
            self.limits.append(int(query["limit"]))
            body = self.pages.get(f"{page}/{query['limit']}", self.pages[page])
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)
            return
        self.versions.append(query["resourceVersion"])
        stays = len(self.watches) < 1
        status, lines = self.watches.pop(0) if self.watches else (200, [])
        handler.send_response(status)
        handler.send_header("Connection", "close")
        if self.breaks and status == 200:
            handler.send_header("Transfer-Encoding", "chunked")
            lines = [b"%x\r\n%s\r\n" % (len(one), one) for one in lines]
        handler.end_headers()
        for line in lines:
            handler.wfile.write(line)
        handler.wfile.flush()
        if stays:
            self.ended.wait(20)


@pytest.fixture
def served() -> Iterator[tuple[Served, str]]:
    made = Served()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made, f"http://127.0.0.1:{server.server_address[1]}"
    made.ended.set()
    server.shutdown()
    server.server_close()


def place_of(folder: Path, url: str) -> Path:
    path = folder / "config"
    contexts = [{"name": "a", "context": {"cluster": "a", "user": "a"}}]
    clusters, users = [{"name": "a", "cluster": {"server": url}}], [{"name": "a", "user": {}}]
    told = {"current-context": "a", "contexts": contexts, "clusters": clusters, "users": users}
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **told}))
    return path


def line(type_: str, given: Any) -> bytes:
    return json.dumps({"type": type_, "object": given}).encode() + b"\n"


def names(graph: KubeLab) -> set[str]:
    return {said["Name"] for said in graph.graph()[0].values() if said["Type"] == "pod"}


def test_what_cannot_be_read_is_counted_and_the_rest_is_seen(tmp_path: Path, lab: Make, served: tuple[Served, str]) -> None:
    server, url = served
    items = [pod("a"), 7, {"metadata": None}, {"metadata": {"name": "x"}}, pod("b"), {**pod("bad"), "spec": {"nodeName": 5}}]
    server.pages[""] = json.dumps({"metadata": {"continue": "next"}, "items": items}).encode()
    server.pages["next"] = json.dumps({"metadata": {"resourceVersion": "3"}, "items": [pod("c")]}).encode()
    garbage = [
        b"\n",
        b"no json\n",
        b"{}\n",
        b'{"type": 5, "object": 6}\n',
        b"\xff\xfe\n",
        line("ADDED", 7),
        line("OTHER", pod("o")),
    ]
    server.watches = [(200, [*garbage, line("ADDED", pod("d")), line("DELETED", pod("a")), line("DELETED", pod("never"))])]
    graph = lab(place_of(tmp_path, url), kinds=("pod",))
    until(lambda: graph.probe.active and names(graph) == {"b", "c", "d", "o"}, 20)
    source = graph.probe.sources["pod"]
    assert source.counters.malformed >= 4 + 4
    assert (source.counters.lists, server.lists) == (1, 2)


@pytest.mark.parametrize(
    "trouble",
    [
        (410, [b'{"message": "too old"}']),
        (200, [line("ERROR", {"code": 410, "message": "too old"})]),
        (200, [line("ERROR", {"code": 504, "message": "lost"})]),
    ],
)
def test_what_the_server_has_forgotten_is_listed_anew(
    tmp_path: Path, lab: Make, served: tuple[Served, str], trouble: tuple[int, list[bytes]]
) -> None:
    server, url = served
    server.pages[""] = json.dumps({"metadata": {"resourceVersion": "3"}, "items": [pod("a")]}).encode()
    server.watches = [trouble, (200, [])]
    graph = lab(place_of(tmp_path, url), kinds=("pod",))
    until(lambda: server.lists == 2 and graph.probe.failure is None, 20)
    assert graph.probe.active


@pytest.mark.parametrize(
    "trouble", [(500, [b"<html>"]), (401, [b"{}"]), (429, []), (200, [line("ERROR", {"code": 500, "message": "x"})]), (302, [])]
)
def test_another_error_is_told_and_the_watch_goes_on_where_it_was(
    tmp_path: Path, lab: Make, served: tuple[Served, str], trouble: tuple[int, list[bytes]]
) -> None:
    server, url = served
    bookmark = line("BOOKMARK", {"metadata": {"resourceVersion": "9"}})
    server.watches = [(200, [bookmark]), trouble, (200, [line("ADDED", pod("late"))])]
    graph = lab(place_of(tmp_path, url), kinds=("pod",))
    until(lambda: names(graph) == {"late"}, 20)
    assert server.lists == 1
    assert server.versions == ["1", "9", "9"]


def test_a_watch_that_was_there_and_breaks_is_taken_up_at_once_however_often(
    tmp_path: Path, lab: Make, served: tuple[Served, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, url = served
    server.breaks = True
    server.watches = [(200, [line("BOOKMARK", {"metadata": {"resourceVersion": str(at)}})]) for at in range(2, 8)]
    server.watches += [(500, [])] * 3 + [(200, [line("ADDED", pod("late"))])]
    waits: list[tuple[str, float]] = []
    failed = source.KindSource._failed

    def noted(self: source.KindSource, reason: str, waited: float) -> float:
        waits.append((reason.rpartition(": ")[2], waited))
        return failed(self, reason, waited)

    monkeypatch.setattr(source.KindSource, "_failed", noted)
    graph = lab(place_of(tmp_path, url), kinds=("pod",))
    until(lambda: names(graph) == {"late"}, 20)
    broken = [waited for reason, waited in waits if "500" not in reason]
    assert len(broken) >= 6, waits
    assert set(broken) == {0.0}, waits
    refused = [waited for reason, waited in waits if "500" in reason]
    assert len(refused) == 3, waits
    assert refused == sorted(set(refused)), "what is refused waits longer each time"


def test_a_line_without_end_is_given_up(
    tmp_path: Path, lab: Make, served: tuple[Served, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_LONGEST", 100_000)
    server, url = served
    server.watches = [(200, [b"x" * 300_000]), (200, [line("ADDED", pod("late"))])]
    graph = lab(place_of(tmp_path, url), kinds=("pod",))
    until(lambda: names(graph) == {"late"}, 20)
    assert server.lists == 1


def test_a_page_that_is_too_long_is_asked_for_in_smaller_ones(
    tmp_path: Path, lab: Make, served: tuple[Served, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_LONGEST", 100_000)
    server, url = served
    server.pages[""] = json.dumps({"metadata": {}, "items": [pod("never", labels={"a": "x" * 200_000})]}).encode()
    server.pages["/31"] = json.dumps({"metadata": {"continue": "next"}, "items": [pod("a"), pod("b")]}).encode()
    server.pages["next"] = json.dumps({"metadata": {"resourceVersion": "3"}, "items": [pod("c")]}).encode()
    graph = lab(place_of(tmp_path, url), kinds=("pod",))
    until(lambda: graph.probe.active and names(graph) == {"a", "b", "c"}, 20)
    assert server.limits == [500, 125, 31, 31]


def test_a_server_whose_pages_are_all_too_long_is_told(
    tmp_path: Path, lab: Make, served: tuple[Served, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_LONGEST", 100_000)
    server, url = served
    server.pages[""] = b'{"items": [' + b" " * 2_000_000
    graph = lab(place_of(tmp_path, url), kinds=("pod",))
    until(lambda: server.limits[:6] == [500, 125, 31, 7, 1, 500], 20)
    until(lambda: graph.probe.failure == "an answer of more than 100000 bytes", 20)
    server.pages[""] = b'{"metadata": {"resourceVersion": "1"}, "items": null}'
    until(lambda: graph.probe.active and graph.probe.failure is None, 20)


def listed(*some: Json) -> bytes:
    return json.dumps({"metadata": {"resourceVersion": "3"}, "items": some}).encode()


def app(name: str, size: int = 0) -> Json:
    return pod(name, labels={"app": "web", "size": "x" * size})


@pytest.mark.parametrize(
    ("bound", "most", "word", "fit", "more"),
    [
        ("_MOST", 3, "more than 3", app("c"), app("d")),
        ("_MOST_BYTES", 10_000, "more than 10,000 bytes of", app("c", 5000), app("d", 5000)),
        ("_MOST_BYTES", 10_000, "more than 10,000 bytes of", app("c", 5000), app("c", 15_000)),
    ],
)
def test_more_than_is_followed_is_left_out_and_said(
    tmp_path: Path, lab: Make, served: tuple[Served, str], monkeypatch: pytest.MonkeyPatch, bound: str, most: int, word: str,
    fit: Json, more: Json,
) -> None:  # fmt: skip
    monkeypatch.setattr(source, bound, most)
    monkeypatch.setattr(source, "_ASK_AGAIN", 0.2)
    server, url = served
    server.pages[""] = listed(app("a"), app("b"), fit, more)
    graph = lab(place_of(tmp_path, url), kinds=("pod",))
    said = f"there are {word} pods: leave them out of kubernetes.kinds"
    until(lambda: graph.probe.words() == [said], 20)
    until(lambda: graph.probe.active and graph.probe.failure is None and server.lists > 3, 20)
    assert (names(graph), graph.probe.counts()) == (set(), {}), "what was listed of them is kept"
    server.watches = [(200, [line("MODIFIED", fit), line("MODIFIED", more)]), (200, [])]
    server.pages[""] = listed(app("a"), app("b"), fit)
    until(lambda: names(graph) == {"a", "b", "c"}, 20)
    until(lambda: graph.probe.words() == [], 20)
    assert server.watches == []


def test_what_changes_all_the_time_is_not_too_much(
    tmp_path: Path, lab: Make, served: tuple[Served, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_MOST_BYTES", 5000)
    monkeypatch.setattr(source, "_MOST", 1)
    server, url = served
    lines = [line("ADDED", app("a", 2000))]
    for size in range(2000, 4000, 100):
        lines += [line("MODIFIED", app("a", size)), line("DELETED", app("a", size)), line("ADDED", app("a", size))]
    server.watches = [(200, [*lines, line("DELETED", app("a")), line("ADDED", app("last", 4500))])]
    graph = lab(place_of(tmp_path, url), kinds=("pod",))
    until(lambda: names(graph) == {"last"}, 20)
    assert (server.lists, graph.probe.words()) == (1, [])


def test_a_queue_holds_no_more_bytes_than_it_may(
    tmp_path: Path, lab: Make, served: tuple[Served, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "_LARGEST_QUEUE", 10_000)
    server, url = served
    server.pages[""] = listed(*(app(f"p{number}", 4000) for number in range(50)))
    graph = lab(place_of(tmp_path, url), kinds=("pod",))
    deepest = []
    take = graph.probe._take

    def taken(came: list[source.Seen]) -> bool:
        deepest.append(sum(len(one.put or b"") for one in came))
        return take(came)

    monkeypatch.setattr(graph.probe, "_take", taken)
    until(lambda: len(names(graph)) == 50, 20)
    assert max(deepest) < 10_000 + 5000


def test_numbers_that_no_object_has_are_counted(tmp_path: Path, lab: Make, served: tuple[Served, str]) -> None:
    server, url = served
    ports = [{"containerPort": 10**30}]
    server.pages[""] = listed({**app("bad"), "spec": {"containers": [{"name": "m", "ports": ports}]}}, app("good"))
    graph = lab(place_of(tmp_path, url), kinds=("pod",))
    until(lambda: graph.probe.active and names(graph) == {"good"}, 20)
    assert graph.probe.sources["pod"].counters.malformed == 1
