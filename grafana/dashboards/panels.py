"""What dashboards have in common: data sources, variables, queries, panels, links."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    heatmap,
    nodegraph,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import heatmap as heatmaps
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Panel,
    RowPanel,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

HUB = "skytrail-topology-datasource"
"""The type of our own data source, which asks a hub."""

_TAG = "skytrail"
_PROMETHEUS = DataSourceRef("prometheus", "${prometheus}")
_HUB = DataSourceRef(HUB, "${skytrail}")
_POINT = ("instance", "netns", "device")
_REFS = "ABCDEFGH"  # of a panel's queries
_HEIGHT = 8  # rows of the grid; the grid has 24 columns

Limits = Sequence[tuple[float | None, str]]
"""From which value on which colour; the first: from anywhere."""

NONE_IS_GOOD: Limits = ((None, "green"), (1e-9, "red"))
ONE_IS_GOOD: Limits = ((None, "red"), (1, "green"))
SHARE: Limits = ((None, "green"), (0.7, "orange"), (0.9, "red"))

UP_AND_DOWN: Mapping[str, tuple[str, str]] = {"1": ("up", "green"), "0": ("down", "red")}
"""What values are called, and their colours."""


class Query(NamedTuple):
    """A question to Prometheus, and what its series are called."""

    text: str
    legend: str = ""


# -- texts of questions to Prometheus; a metric stands with its selector ----------------------------------------------------


Sum = Callable[[str, str], str]
"""Sums series over all labels but some."""


def added(text: str, by: str = "") -> str:
    """All of them."""
    return f"sum by ({by}) ({text})" if by else f"sum ({text})"


def once(text: str, by: str = "") -> str:
    """Of each host those of one capture point, or interface: the one that saw the most; else a packet counts at each it passes.

    It is the least that there can have been: what passes by other ways of a host is left out.
    """
    labels = by.split(", ") if by else []
    others = [label for label in labels if label not in _POINT]
    at_most = f"max by ({', '.join(['instance', *others])}) ({added(text, ', '.join([*_POINT, *others]))})"
    return at_most if "instance" in labels else added(at_most, by)


def rate(metric: str, by: str = "", how: Sum = added) -> str:
    """Per second, summed over all labels but those of ``by``."""
    return how(f"rate({metric}[$__rate_interval])", by)


def top(metric: str, by: str, count: int = 10, how: Sum = added) -> str:
    """Per second, of the largest over the whole range: so many series at most, the same ones at all its moments."""
    return f"{rate(metric, by, how)} and topk({count}, {how(f'rate({metric}[$__range] @ end())', by)})"


def top_now(metric: str, by: str, count: int = 10) -> str:
    """Of a gauge, those that were the largest in the range."""
    return f"{added(metric, by)} and topk({count}, {added(f'max_over_time({metric}[$__range] @ end())', by)})"


def top_total(metric: str, by: str, count: int = 10, how: Sum = added) -> str:
    """How much the largest grew in the range: for a table."""
    return f"topk({count}, {how(f'increase({metric}[$__range])', by)})"


def quantile(share: float, metric: str, where: str, by: str = "") -> str:
    """A quantile of a histogram."""
    return f"histogram_quantile({share:g}, {buckets(metric, where, by)})"


def buckets(metric: str, where: str, by: str = "") -> str:
    """A histogram's buckets, per second."""
    return rate(f"{metric}_bucket{{{where}}}", f"le, {by}" if by else "le")


def quantiles(metric: str, where: str) -> list[Query]:
    """Median, 95th and 99th percentile."""
    return [Query(quantile(share, metric, where), name) for share, name in ((0.5, "median"), (0.95, "p95"), (0.99, "p99"))]


# -- panels ---------------------------------------------------------------------------------------------------------------

AnyPanel = Builder[Panel]
P = TypeVar("P", timeseries.Panel, stat.Panel, table.Panel, statetimeline.Panel, heatmap.Panel, nodegraph.Panel)


class _HubQuery(Dataquery):
    """A query of our data source, as its ``types.ts`` has it."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields

    def to_json(self) -> Mapping[str, object]:
        """For the encoder."""
        return {**self._fields, "datasource": _HUB}


class _Given(Builder[Dataquery]):
    def __init__(self, query: Dataquery) -> None:
        self._query = query

    def build(self) -> Dataquery:
        return self._query


def _titled(panel: P, title: str, what: str, width: int, height: int, source: DataSourceRef) -> P:
    return panel.title(title).description(what).span(width).height(height).datasource(source)


def _limited(panel: P, limits: Limits) -> P:
    steps = [Threshold(value, colour) for value, colour in limits]
    return panel.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))


def _asked(panel: P, queries: Sequence[Query], shape: PromQueryFormat = PromQueryFormat.TIME_SERIES) -> P:
    for name, (text, legend) in zip(_REFS, queries, strict=False):
        query = prometheus.Dataquery().expr(text).ref_id(name).legend_format(legend).format(shape)
        panel.with_target(query.instant() if shape is PromQueryFormat.TABLE else query.range())
    return panel


def lines(
    title: str,
    what: str,
    unit: str,
    *queries: Query,
    width: int = 12,
    height: int = _HEIGHT,
    stacked: bool = False,
    limits: Limits = (),
    links: Sequence[dashboard.DashboardLink] = (),
) -> timeseries.Panel:
    """Series over time, with their last, mean and largest values; with limits, from which on it is bad."""
    legend = common.VizLegendOptions().show_legend(True).display_mode(shapes.LegendDisplayMode.TABLE)
    legend.placement(shapes.LegendPlacement.BOTTOM).calcs(["lastNotNull", "mean", "max"]).sort_by("Max").sort_desc(True)
    tooltip = common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI).sort(shapes.SortOrder.DESCENDING)
    panel = _titled(timeseries.Panel(), title, what, width, height, _PROMETHEUS).unit(unit).legend(legend).tooltip(tooltip)
    panel.min(0).fill_opacity(30 if stacked else 10).show_points(shapes.VisibilityMode.AUTO).data_links(list(links))
    if stacked:
        panel.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL).group("A"))
    if limits:
        _limited(panel, limits)
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(shapes.GraphThresholdsStyleMode.DASHED))
    return _asked(panel, queries)


def each(title: str, what: str, unit: str, metric: str, by: str, *, stacked: bool = False) -> timeseries.Panel:
    """Of a counter, per second, or a gauge all series, of which there are few, called by their labels ``by``."""
    text = rate(metric, by) if _counts(metric) else added(metric, by)
    return lines(title, what, unit, Query(text, _called(by)), stacked=stacked)


def largest(
    title: str,
    what: str,
    unit: str,
    metric: str,
    by: str,
    *,
    how: Sum = added,
    stacked: bool = False,
    links: Sequence[dashboard.DashboardLink] = (),
) -> timeseries.Panel:
    """The same of the ten series with the most."""
    text = top(metric, by, how=how) if _counts(metric) else top_now(metric, by)
    return lines(title, what, unit, Query(text, _called(by)), stacked=stacked, links=links)


def _counts(metric: str) -> bool:
    return metric.partition("{")[0].endswith("_total")


def _called(by: str) -> str:
    return " ".join(f"{{{{{label}}}}}" for label in by.split(", "))


def number(
    title: str, what: str, unit: str, text: str, *, width: int = 4, height: int = 4, limits: Limits = ((None, "blue"),)
) -> stat.Panel:
    """One number, with how it was."""
    panel = _titled(stat.Panel(), title, what, width, height, _PROMETHEUS).unit(unit)
    panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS)).graph_mode(shapes.BigValueGraphMode.AREA)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    return _asked(_limited(panel, limits), [Query(text)])


def rows(
    title: str,
    what: str,
    columns: Mapping[str, tuple[str, str]],
    *,
    labels: Mapping[str, str],
    width: int = 12,
    height: int = _HEIGHT,
    links: Mapping[str, dashboard.DashboardLink] | None = None,
) -> table.Panel:
    """A table of Prometheus.

    Args:
        title: of the panel.
        what: its description.
        columns: by their titles, query and unit; the first one orders the table.
        labels: what they are called as columns.
        width: of the panel.
        height: of the panel.
        links: of columns, by their titles.
    """
    panel = _titled(table.Panel(), title, what, width, height, _PROMETHEUS).filterable(True)
    queries = [Query(text) for text, _ in columns.values()]
    _asked(panel, queries, PromQueryFormat.TABLE)
    values = [f"Value #{_REFS[at]}" if len(columns) > 1 else "Value" for at in range(len(columns))]
    names = {**labels, **dict(zip(values, columns, strict=True))}
    order = {name: at for at, name in enumerate(names)}
    panel.with_transformation(DataTransformerConfig("merge", options={}))
    organised = {"excludeByName": {"Time": True}, "renameByName": names, "indexByName": order}
    panel.with_transformation(DataTransformerConfig("organize", options=organised))
    for name, (_, unit) in columns.items():
        panel.override_by_name(name, [DynamicConfigValue("unit", unit)])
    for name, link in (links or {}).items():
        panel.override_by_name(name, [DynamicConfigValue("links", [link.build()])])
    return panel.sort_by([common.TableSortByFieldState().display_name(next(iter(columns))).desc(True)])


def states(
    title: str,
    what: str,
    query: Query,
    names: Mapping[str, tuple[str, str]] = UP_AND_DOWN,
    *,
    width: int = 12,
    height: int = _HEIGHT,
) -> statetimeline.Panel:
    """When each was in which state."""
    panel = _titled(statetimeline.Panel(), title, what, width, height, _PROMETHEUS)
    panel.mappings([ValueMap({value: ValueMappingResult(text, colour) for value, (text, colour) in names.items()})])
    panel.show_value(shapes.VisibilityMode.NEVER).merge_values(True).row_height(0.8)
    return _asked(panel, [query])


def spread(title: str, what: str, unit: str, text: str, *, width: int = 12, height: int = _HEIGHT) -> heatmap.Panel:
    """A histogram over time; ``text``: its :func:`buckets`."""
    panel = _titled(heatmap.Panel(), title, what, width, height, _PROMETHEUS).calculate(False)
    panel.y_axis(heatmap.YAxisConfig().unit(unit)).cell_values(heatmap.CellValues().unit("cps"))
    colours = heatmap.HeatmapColorOptions().mode(heatmaps.HeatmapColorMode.SCHEME).scheme("Spectral").steps(64).reverse(False)
    panel.color(colours.exponent(0.5)).show_legend().mode(shapes.TooltipDisplayMode.SINGLE)
    return _asked(panel, [Query(text, "{{le}}")], PromQueryFormat.HEATMAP)


# -- panels of a hub --------------------------------------------------------------------------------------------------------


def graph(
    title: str, what: str, gremlin: str, *, moment: str = "end", width: int = 24, height: int = 14, **more: str
) -> nodegraph.Panel:
    """Nodes and edges; ``moment``: of the range, ``start`` or ``end``."""
    panel = _titled(nodegraph.Panel(), title, what, width, height, _HUB)
    return panel.with_target(_of_hub("graph", gremlin=gremlin, moment=moment, **more))


def listing(
    title: str,
    what: str,
    gremlin: str,
    *,
    moment: str = "end",
    width: int = 12,
    height: int = _HEIGHT,
    units: Mapping[str, str] | None = None,
) -> table.Panel:
    """A table of what a hub answers."""
    return _hub_table(title, what, width, height, units or {}, _of_hub("table", gremlin=gremlin, moment=moment))


def flows(title: str, what: str, *gremlin: str, width: int = 24, height: int = 10, by: str = "") -> table.Panel:
    """Flows with packets in the range, of all the texts together, each once; the largest of the column ``by`` first."""
    asked = [_of_hub("flows", gremlin=one, moment="range", ref=ref) for one, ref in zip(gremlin, _REFS, strict=False)]
    panel = _hub_table(title, what, width, height, {}, *asked)
    if len(asked) > 1:
        panel.with_transformation(DataTransformerConfig("merge", options={}))
    return panel.sort_by([common.TableSortByFieldState().display_name(by).desc(True)]) if by else panel


def changes(title: str, what: str, gremlin: str, comparison: str, *, width: int = 12, height: int = 10) -> table.Panel:
    """``each`` change in the range of what the text finds, or what of the whole graph is otherwise at its ``ends``."""
    query = _of_hub("changes", gremlin=gremlin, comparison=comparison, edges=True)
    return _hub_table(title, what, width, height, {}, query)


def way(title: str, what: str, source: str, destination: str, *, width: int = 12, height: int = 10) -> table.Panel:
    """The way of a packet by the graph."""
    query = _of_hub("path", source=source, destination=destination, moment="end", view="table")
    return _hub_table(title, what, width, height, {}, query)


class Counted(NamedTuple):
    """A question to a hub for a counter over time, and what its series are called."""

    gremlin: str
    metric: str
    legend: str


def hub_lines(title: str, what: str, unit: str, *counters: Counted, width: int = 12, height: int = _HEIGHT) -> timeseries.Panel:
    """Counters of elements or flows, per second."""
    panel = lines(title, what, unit, width=width, height=height).datasource(_HUB)
    for ref, (gremlin, metric, legend) in zip(_REFS, counters, strict=False):
        panel.with_target(_of_hub("timeseries", gremlin=gremlin, metrics=[metric], legend=legend, ref=ref))
    return panel


def _hub_table(
    title: str, what: str, width: int, height: int, units: Mapping[str, str], *queries: Builder[Dataquery]
) -> table.Panel:
    panel = _titled(table.Panel(), title, what, width, height, _HUB).filterable(True)
    for query in queries:
        panel.with_target(query)
    for name, unit in units.items():
        panel.override_by_name(name, [DynamicConfigValue("unit", unit)])
    return panel


def _of_hub(kind: str, ref: str = "A", **fields: object) -> Builder[Dataquery]:
    return _Given(_HubQuery({"refId": ref, "queryType": kind, **fields}))


# -- variables, links, dashboards ---------------------------------------------------------------------------------------------

Variable = Builder[VariableModel]


def labels_of(name: str, label: str, title: str, metric: str) -> dashboard.QueryVariable:
    """A variable of a label's values; all of them may be chosen: that is any text then, none among them.

    Args:
        name: of the variable.
        label: whose values it takes.
        title: what people read.
        metric: of the label, with its selector.
    """
    query: dict[str, object] = {"query": f"label_values({metric}, {label})", "refId": name}
    return _several(_chosen(name, title, query, _PROMETHEUS))


def answers_of(name: str, title: str, gremlin: str, *, several: bool = False) -> dashboard.QueryVariable:
    """A variable of what a hub answers."""
    found = _chosen(name, title, {"refId": name, "gremlin": gremlin}, _HUB)
    return _several(found) if several else found


def _chosen(name: str, title: str, query: dict[str, object], source: DataSourceRef) -> dashboard.QueryVariable:
    variable = dashboard.QueryVariable(name).label(title).query(query).datasource(source)
    return variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)


def _several(variable: dashboard.QueryVariable) -> dashboard.QueryVariable:
    return variable.multi(True).include_all(True).all_value(".*").current(VariableOption(True, ["All"], ["$__all"]))


HOST = 'instance=~"$host"'
PLACE = f'{HOST}, netns=~"$netns"'
POINT = f'{PLACE}, device=~"$device"'

HOSTS = labels_of("host", "instance", "Host", "skytrail_flow_drains_total")
NAMESPACES = labels_of("netns", "netns", "Namespace", f"skytrail_interface_up{{{HOST}}}")
DEVICES = labels_of("device", "device", "Interface", f"skytrail_interface_up{{{PLACE}}}")


def to(name: str, title: str, *kept: str, **variables: str) -> dashboard.DashboardLink:
    """A link of data to another dashboard, over the same time, to the same data sources.

    Args:
        name: of the other's module.
        title: of the link.
        kept: variables that the other has too, with the values they have here.
        variables: others; values are as Grafana writes them (``${__field.labels.x}``).
    """
    same = "".join(f"${{{one}:queryparam}}&" for one in ("prometheus", "skytrail", *kept))
    given = "".join(f"var-{key}={value}&" for key, value in variables.items())
    return dashboard.DashboardLink(title).url(f"/d/{_TAG}-{name}?{same}{given}${{__url_time_range}}").target_blank(False)


def page(name: str, title: str, what: str, *variables: Variable, refresh: str = "30s") -> dashboard.Dashboard:
    """A dashboard without panels.

    Args:
        name: its module's.
        title: of it.
        what: it is for.
        variables: beside those of the data sources.
        refresh: how often it asks again; empty: when told to.
    """
    made = f"{what} Made by 'make dashboards' from grafana/dashboards/{name}.py: edit that."
    found = dashboard.Dashboard(f"Skytrail: {title}").uid(f"{_TAG}-{name.replace('_', '-')}").description(made).tags([_TAG])
    found.time("now-1h", "now").refresh(refresh).tooltip(DashboardCursorSync.CROSSHAIR).editable().timezone("browser")
    others = dashboard.DashboardLink("Skytrail").type(DashboardLinkType.DASHBOARDS).tags([_TAG]).as_dropdown(True)
    found.link(others.include_vars(True).keep_time(True))
    found.with_variable(dashboard.DatasourceVariable("prometheus").label("Prometheus").type("prometheus"))
    found.with_variable(dashboard.DatasourceVariable("skytrail").label("Hub").type(HUB))
    for variable in variables:
        found.with_variable(variable)
    return found


def section(found: dashboard.Dashboard, title: str, *panels: AnyPanel) -> None:
    """A row of panels, with a title."""
    found.with_row(dashboard.Row(title))
    for panel in panels:
        found.with_panel(panel)


def annotation(name: str, gremlin: str) -> Mapping[str, object]:
    """Changes of the graph, as marks in all panels."""
    query = {"refId": "Anno", "queryType": "changes", "gremlin": gremlin, "comparison": "each"}
    return {"name": name, "datasource": _HUB, "enable": False, "iconColor": "purple", "target": query}


def render(found: dashboard.Dashboard, annotations: Sequence[Mapping[str, object]] = ()) -> str:
    """As Grafana reads it."""
    model: Dashboard = found.build()
    for number_, panel in enumerate(model.panels or [], 1):
        assert isinstance(panel, Panel | RowPanel)
        panel.id_val = number_
    told: dict[str, Any] = json.loads(json.dumps(model, cls=JSONEncoder))
    told["annotations"] = {"list": json.loads(json.dumps(annotations, cls=JSONEncoder))}
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"
