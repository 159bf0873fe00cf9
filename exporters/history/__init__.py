"""What an agent remembers of the last hours: flows, sockets, and what went through interfaces.

Here belong the store and what is put into it and found again. Never here: how the kernel is read.
"""
