"""Graphs that a traversal runs on."""
