"""Pages of docs/ that say what the code declares: ``python -m skytrail.cli.pages`` writes them all.

Only what is read off tables and parsers belongs here; what explains is written by hand, in docs/.
"""
