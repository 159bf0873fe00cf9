"""What iproute2 says of all namespaces of a host, as JSON: run by its path, on that host."""

from __future__ import annotations

import json
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from support.graphoracle import expected_graph


def main() -> None:
    picture = expected_graph("")
    print(json.dumps({"nodes": [[*place, node] for place, node in picture.nodes.items()], "edges": sorted(picture.edges)}))


if __name__ == "__main__":
    main()
