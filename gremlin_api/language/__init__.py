"""Query text → traversal and back: tokens, the grammars as tables, the parsers, the renderer. Nothing here runs a query."""
