"""TinkerPop 3.7's Gremlin as tables: its words, and which arguments each step takes.

Source: Gremlin.g4 of gremlin-language 3.7.3, as its parser's transition network has it. A signature is the kinds of a step's
arguments in a row; ``*`` after the last one: any number of these, none too.
"""

from __future__ import annotations

ENUMS: dict[str, tuple[str, ...]] = {
    "Barrier": ("normSack",),
    "Cardinality": ("single", "set", "list"),
    "Column": ("keys", "values"),
    "DT": ("second", "minute", "hour", "day"),
    "Direction": ("IN", "OUT", "BOTH", "from", "to"),
    "Merge": ("onCreate", "onMatch", "outV", "inV"),
    "Operator": ("addAll", "and", "assign", "div", "max", "min", "minus", "mult", "or", "sum", "sumLong"),
    "Order": ("incr", "decr", "asc", "desc", "shuffle"),
    "Pick": ("any", "none"),
    "Pop": ("first", "last", "all", "mixed"),
    "Scope": ("local", "global"),
    "T": ("id", "label", "key", "value"),
}
"""Its values by enum; each may be written with its enum before it (``T.id``), or without."""

SAME_AS = {("Direction", "from"): "OUT", ("Direction", "to"): "IN"}
"""Values that have two names."""

LITERAL_ENUMS = ("T", "Cardinality", "Direction", "Merge", "Pick", "DT")
"""Those whose values may stand where any literal may, in the order in which a word is looked for."""

CONSTANTS: dict[str, dict[str, str | int]] = {
    "WithOptions": {
        "tokens": "~tinkerpop.valueMap.tokens", "indexer": "~tinkerpop.index.indexer",
        "none": 0, "ids": 1, "labels": 2, "keys": 4, "values": 8, "all": 15, "list": 0, "map": 1,
    },
    "IO": {
        "reader": "~tinkerpop.io.reader", "writer": "~tinkerpop.io.writer",
        "gryo": "gryo", "graphson": "graphson", "graphml": "graphml",
    },
    "ConnectedComponent": {
        "component": "gremlin.connectedComponentVertexProgram.component",
        "edges": "~tinkerpop.connectedComponent.edges",
        "propertyName": "~tinkerpop.connectedComponent.propertyName",
    },
    "PageRank": {
        "edges": "~tinkerpop.pageRank.edges", "times": "~tinkerpop.pageRank.times",
        "propertyName": "~tinkerpop.pageRank.propertyName",
    },
    "PeerPressure": {
        "edges": "~tinkerpop.peerPressure.edges", "times": "~tinkerpop.peerPressure.times",
        "propertyName": "~tinkerpop.peerPressure.propertyName",
    },
    "ShortestPath": {
        "target": "~tinkerpop.shortestPath.target", "edges": "~tinkerpop.shortestPath.edges",
        "distance": "~tinkerpop.shortestPath.distance", "maxDistance": "~tinkerpop.shortestPath.maxDistance",
        "includeEdges": "~tinkerpop.shortestPath.includeEdges",
    },
}  # fmt: skip
"""Constants of ``with``, by class: what they stand for."""

PREDICATES: dict[str, str] = {
    "eq": "Literal", "neq": "Literal", "lt": "Literal", "lte": "Literal", "gt": "Literal", "gte": "Literal",
    "inside": "Literal Literal", "outside": "Literal Literal", "between": "Literal Literal",
    "within": "Constant*", "without": "Constant*", "not": "Predicate",
    "startingWith": "String", "notStartingWith": "String", "endingWith": "String", "notEndingWith": "String",
    "containing": "String", "notContaining": "String", "regex": "String", "notRegex": "String",
}  # fmt: skip
"""By name: its arguments; all begin with ``P.`` or, those of texts, with ``TextP.``, or with neither."""

TEXT_PREDICATES = frozenset(name for name, arguments in PREDICATES.items() if arguments == "String")

_SCOPE = ("", "Scope")

SOURCE_STEPS: dict[str, tuple[str, ...]] = {
    "withBulk": ("Boolean",),
    "withPath": ("",),
    "withSack": ("Literal", "Literal Operator"),
    "withSideEffect": ("String Literal", "String Literal Operator"),
    "withStrategies": ("Strategy Strategy*",),
    "with": ("String", "String Literal"),
}

SPAWN_STEPS: dict[str, tuple[str, ...]] = {
    "V": ("Literal*",),
    "E": ("Literal*",),
    "inject": ("Literal*",),
    "union": ("Traversal*",),
    "addV": ("", "String", "Traversal"),
    "addE": ("String", "Traversal"),
    "mergeV": ("Map?", "Traversal"),
    "mergeE": ("Map?", "Traversal"),
    "io": ("String",),
    "call": ("", "String", "String Map", "String Traversal", "String Map Traversal"),
}

STEPS: dict[str, tuple[str, ...]] = {
    "V": ("Literal*",),
    "E": ("Literal*",),
    "addE": ("String", "Traversal"),
    "addV": ("", "String", "Traversal"),
    "mergeV": ("", "Map?", "Traversal"),
    "mergeE": ("", "Map?", "Traversal"),
    "aggregate": ("Scope String", "String"),
    "all": ("Predicate",),
    "and": ("Traversal*",),
    "any": ("Predicate",),
    "as": ("String String?*",),
    "asDate": ("",),
    "asString": _SCOPE,
    "barrier": ("Barrier", "", "Integer"),
    "both": ("String?*",),
    "bothE": ("String?*",),
    "bothV": ("",),
    "branch": ("Traversal",),
    "by": (
        "", "Order", "Function", "Function Order", "String", "String Order", "Traversal", "Traversal Order",
    ),
    "call": ("String", "String Map", "String Traversal", "String Map Traversal"),
    "cap": ("String String?*",),
    "choose": (
        "Function", "Predicate Traversal", "Predicate Traversal Traversal", "Traversal", "Traversal Traversal",
        "Traversal Traversal Traversal",
    ),
    "coalesce": ("Traversal*",),
    "coin": ("Float",),
    "combine": ("Literal",),
    "concat": ("Traversal Traversal*", "String?*"),
    "conjoin": ("String",),
    "connectedComponent": ("",),
    "constant": ("Literal",),
    "count": _SCOPE,
    "cyclicPath": ("",),
    "dateAdd": ("DT Integer",),
    "dateDiff": ("Traversal", "Date"),
    "dedup": ("Scope String?*", "String?*"),
    "difference": ("Literal",),
    "disjunct": ("Literal",),
    "drop": ("",),
    "element": ("",),
    "elementMap": ("String?*",),
    "emit": ("", "Predicate", "Traversal"),
    "fail": ("", "String"),
    "filter": ("Predicate", "Traversal"),
    "flatMap": ("Traversal",),
    "fold": ("", "Literal Operator"),
    "format": ("String",),
    "from": ("String", "Vertex", "Traversal"),
    "group": ("", "String"),
    "groupCount": ("", "String"),
    "has": (
        "String?", "String? Predicate", "String? Traversal", "String? Literal", "String? String? Predicate",
        "String? String? Literal", "T Predicate", "T Traversal", "T Literal",
    ),
    "hasId": ("Predicate", "Literal Literal*"),
    "hasKey": ("Predicate", "String? String?*"),
    "hasLabel": ("Predicate", "String? String?*"),
    "hasNot": ("String?",),
    "hasValue": ("Predicate", "Literal Literal*"),
    "id": ("",),
    "identity": ("",),
    "in": ("String?*",),
    "inE": ("String?*",),
    "inV": ("",),
    "index": ("",),
    "inject": ("Literal*",),
    "intersect": ("Literal",),
    "is": ("Predicate", "Literal"),
    "key": ("",),
    "lTrim": _SCOPE,
    "label": ("",),
    "length": _SCOPE,
    "limit": ("Scope Integer", "Integer"),
    "local": ("Traversal",),
    "loops": ("", "String"),
    "map": ("Traversal",),
    "match": ("Traversal*",),
    "math": ("String",),
    "max": _SCOPE,
    "mean": _SCOPE,
    "merge": ("Literal",),
    "min": _SCOPE,
    "none": ("",),
    "not": ("Traversal",),
    "option": (
        "Predicate Traversal", "Merge Traversal", "Merge Map?", "Merge Map? Cardinality", "Traversal", "Literal Traversal",
    ),
    "optional": ("Traversal",),
    "or": ("Traversal*",),
    "order": _SCOPE,
    "otherV": ("",),
    "out": ("String?*",),
    "outE": ("String?*",),
    "outV": ("",),
    "pageRank": ("", "Float"),
    "path": ("",),
    "peerPressure": ("",),
    "product": ("Literal",),
    "profile": ("", "String"),
    "project": ("String String?*",),
    "properties": ("String?*",),
    "property": (
        "Cardinality Map?", "Map?", "Cardinality Literal Literal Literal*", "Literal Literal Literal*",
    ),
    "propertyMap": ("String?*",),
    "rTrim": _SCOPE,
    "range": ("Scope Integer Integer", "Integer Integer"),
    "read": ("",),
    "repeat": ("String Traversal", "Traversal"),
    "replace": ("String? String?", "Scope String? String?"),
    "reverse": ("",),
    "sack": ("Operator", ""),
    "sample": ("Scope Integer", "Integer"),
    "select": ("Column", "Pop String", "Pop String String String?*", "Pop Traversal", "String", "String String String?*",
               "Traversal"),
    "shortestPath": ("",),
    "sideEffect": ("Traversal",),
    "simplePath": ("",),
    "skip": ("Scope Integer", "Integer"),
    "split": ("String?", "Scope String?"),
    "store": ("String",),
    "subgraph": ("String",),
    "substring": ("Integer", "Scope Integer", "Integer Integer", "Scope Integer Integer"),
    "sum": _SCOPE,
    "tail": ("", "Scope", "Scope Integer", "Integer"),
    "timeLimit": ("Integer",),
    "times": ("Integer",),
    "to": ("Direction String?*", "String", "Vertex", "Traversal"),
    "toE": ("Direction String?*",),
    "toLower": _SCOPE,
    "toUpper": _SCOPE,
    "toV": ("Direction",),
    "tree": ("", "String"),
    "trim": _SCOPE,
    "unfold": ("",),
    "union": ("Traversal*",),
    "until": ("Predicate", "Traversal"),
    "value": ("",),
    "valueMap": ("FixedBoolean String?*", "String?*"),
    "values": ("String?*",),
    "where": ("Predicate", "String Predicate", "Traversal"),
    "with": ("WithKey", "WithKey WithValue"),
    "write": ("",),
}  # fmt: skip

TERMINAL_STEPS: dict[str, tuple[str, ...]] = {
    "explain": ("",),
    "hasNext": ("",),
    "iterate": ("",),
    "next": ("", "FixedInteger"),
    "toBulkSet": ("",),
    "toList": ("",),
    "toSet": ("",),
    "tryNext": ("",),
}

STRATEGIES: dict[str, dict[str, str]] = {
    "EdgeLabelVerificationStrategy": {"throwException": "Boolean", "logWarning": "Boolean"},
    "PartitionStrategy": {
        "includeMetaProperties": "Boolean", "writePartition": "String", "partitionKey": "String", "readPartitions": "Strings",
    },
    "ProductiveByStrategy": {"productiveKeys": "Strings"},
    "ReadOnlyStrategy": {},
    "ReservedKeysVerificationStrategy": {"keys": "Strings", "throwException": "Boolean", "logWarning": "Boolean"},
    "SeedStrategy": {"seed": "Integer"},
    "SubgraphStrategy": {
        "vertices": "Traversal", "edges": "Traversal", "vertexProperties": "Traversal", "checkAdjacentVertices": "Boolean",
    },
}  # fmt: skip
"""Their arguments, by name."""

BARE_STRATEGIES = frozenset({"ReadOnlyStrategy", "ProductiveByStrategy"})
"""Those that may be named alone, without ``new`` and brackets."""

KEYWORDS = frozenset(
    {"g", "__", "new", "true", "false", "null", "NaN", "Infinity", "tx", "begin", "commit", "rollback", "toString", "datetime"}
    | {"Vertex", "ReferenceVertex", "negate"}
    | {value for values in ENUMS.values() for value in values}
    | PREDICATES.keys() | SOURCE_STEPS.keys() | SPAWN_STEPS.keys() | STEPS.keys() | TERMINAL_STEPS.keys() | CONSTANTS.keys()
    | {name for names in CONSTANTS.values() for name in names}
    | STRATEGIES.keys() | {name for names in STRATEGIES.values() for name in names}
)  # fmt: skip
"""Words that are no variable's name."""
