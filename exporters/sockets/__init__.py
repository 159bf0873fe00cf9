"""Sockets: whose they are, how they are, and what becomes of them. Reads the kernel by exporters.bpf.sockets; no flows here."""
