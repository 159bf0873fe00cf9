"""The C programs, one ``<name>.bpf.c`` with ``<name>.h`` each, their built objects, and their loaders.

Here belong the loading of objects (libbpf by ctypes, bcc), the bpf(2) calls on maps, links and test runs, and attachment.
Never here: what the numbers mean; callers get numpy arrays of the structs that ``<name>.h`` declares.
"""
