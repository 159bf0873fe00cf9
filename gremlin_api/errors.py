"""Why a query that was understood could not be answered."""

from __future__ import annotations

from skytrail.errors import RunError

ILLEGAL_ARGUMENT = "java.lang.IllegalArgumentException"
ILLEGAL_STATE = "java.lang.IllegalStateException"
WRONG_TYPE = "java.lang.ClassCastException"
ARITHMETIC = "java.lang.ArithmeticException"
NO_SUCH_ELEMENT = "java.util.NoSuchElementException"
UNSUPPORTED = "java.lang.UnsupportedOperationException"
NULL_POINTER = "java.lang.NullPointerException"
PARSER = "org.apache.tinkerpop.gremlin.language.grammar.GremlinParserException"
UNKNOWN_VARIABLE = "org.apache.tinkerpop.gremlin.language.grammar.VariableResolverException"
UNKNOWN_LABEL = "org.apache.tinkerpop.gremlin.process.traversal.step.Scoping$KeyNotFoundException"
NO_FORM = "org.apache.tinkerpop.gremlin.util.ser.SerializationException"
VERIFICATION = "org.apache.tinkerpop.gremlin.process.traversal.strategy.verification.VerificationException"

_LONGEST = 1000  # characters of a message: parts of a query that it shows may be long


class TraversalError(RunError):
    """A traversal that cannot go on.

    Attributes:
        kind: the class of Java's that a Gremlin Server names in its answer: clients look at it.
    """

    def __init__(self, reason: str, kind: str = ILLEGAL_ARGUMENT) -> None:
        super().__init__(reason if len(reason) <= _LONGEST else f"{reason[:_LONGEST]}…")
        self.kind = kind
