"""Dashboards as code: ``make dashboards`` writes what they give to ``json/``.

Here belong one module for each dashboard, and ``panels``: what they have in common. Never here: a query in a panel that nobody
bounds (``top`` does, or labels of which there are few), a unit that the metric does not have.
"""
