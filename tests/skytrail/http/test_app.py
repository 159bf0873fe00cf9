from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Blueprint, Flask
from flask.testing import FlaskClient
from support.netlab import until

from skytrail.errors import AgentAwayError, FilterError
from skytrail.http.app import WAITING, WORKERS, as_asgi, create_app
from skytrail.http.server import serve
from skytrail.settings.tree import Http


def application(ready: Callable[[], dict[str, str | None]] = dict, *blueprints: Blueprint) -> Flask:
    return create_app("agent", lambda: {"version": "1", "flows": 3}, ready, blueprints)


def client(*args: object) -> FlaskClient:
    return application(*args).test_client()  # type: ignore[arg-type]


def test_healthz_says_ok() -> None:
    answer = client().get("/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\n")


def test_readyz_names_what_is_waited_for_and_why() -> None:
    answer = client(lambda: {"flows": None, "otlp": "collector away"}).get("/readyz")
    assert answer.status_code == 503
    assert answer.json == {"ready": False, "waiting": {"otlp": "collector away"}, "parts": ["flows", "otlp"]}
    answer = client(lambda: {"flows": None}).get("/readyz")
    assert answer.status_code == 200
    assert answer.json == {"ready": True, "waiting": {}, "parts": ["flows"]}


def test_status_is_what_the_process_tells() -> None:
    assert client().get("/api/status").json == {"version": "1", "flows": 3}


def test_errors_are_json() -> None:
    answer = client().get("/nowhere")
    assert (answer.status_code, answer.content_type) == (404, "application/json")
    assert answer.json is not None
    assert answer.json["status"] == 404
    answer = client().post("/readyz")
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (FilterError("column 3: expected a port"), 400, "column 3: expected a port"),
        (AgentAwayError("no agent answers"), 503, "no agent answers"),
        (RuntimeError("hunter2"), 500, "internal error"),
    ],
)
def test_error_of_a_handler_becomes_its_status(error: Exception, status: int, message: str) -> None:
    blueprint = Blueprint("failing", __name__)

    @blueprint.get("/fail")
    def fail() -> str:
        raise error

    answer = client(dict, blueprint).get("/fail")
    assert answer.status_code == status
    assert answer.json is not None
    assert answer.json["error"].startswith(message)
    assert "hunter2" not in answer.text


def test_questions_that_take_their_time_keep_no_scrape_waiting() -> None:
    blueprint = Blueprint("slow", __name__)
    refusals: list[str] = []
    began, go_on = threading.Semaphore(0), threading.Event()

    @blueprint.get("/api/v1/slow")
    def slow() -> str:
        began.release()
        go_on.wait(20)
        return "done"

    def ask(path: str) -> int:
        try:
            with urllib.request.urlopen(f"{running.url}{path}", timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            refusals.append(json.loads(error.read())["error"])
            return error.code

    too_many = 8
    with (
        serve(as_asgi(application(dict, blueprint)), "127.0.0.1:0", Http()) as running,
        ThreadPoolExecutor(WAITING + too_many) as pool,
    ):
        asked = [pool.submit(ask, "/api/v1/slow") for _ in range(WAITING + too_many)]
        try:
            for _ in range(WORKERS):
                assert began.acquire(timeout=10)
            until(lambda: len(refusals) == too_many)
            assert [ask(path) for path in ("/healthz", "/readyz", "/api/status")] == [200] * 3
        finally:
            go_on.set()
        assert sorted(one.result() for one in asked) == [200] * WAITING + [503] * too_many
    assert all("ask again" in refusal for refusal in refusals)
