"""The hub's route of hosts: DELETE /api/v1/hosts/HOST forgets one."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import Conflict, NotFound

from topology.remote.forgetting import Forgetting, InTheWayError, UnknownHostError


def hosts_blueprint(forgetting: Forgetting) -> Blueprint:
    """The route; the host is a name or a TID."""
    blueprint = Blueprint("hosts", __name__)

    @blueprint.delete("/api/v1/hosts/<path:host>")
    def forget(host: str) -> ResponseReturnValue:
        try:
            return jsonify(asdict(forgetting.forget(host)))
        except UnknownHostError as error:
            raise NotFound(str(error)) from error
        except InTheWayError as error:
            raise Conflict(str(error)) from error

    return blueprint
