"""What Grafana shows.

Here belong the data source plugin (TypeScript), the dashboards as Python, and files of provisioning. Never here: anything that
an agent or a hub needs.
"""
