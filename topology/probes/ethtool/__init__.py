"""The ethtool probe: what a driver says of its interface that rtnetlink does not.

Speed, duplex, autonegotiation, port, features, channels, rings, driver, firmware, bus. ``source`` asks (generic netlink,
one dump a command for a whole namespace, and one ioctl an interface), ``monitor`` hears of changes in all namespaces on one
socket, ``translate`` is pure: bytes to the keys that people see. Never here: links, addresses, statistics, counters.
"""
