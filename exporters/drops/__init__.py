"""The drops collector: why packets die, what TCP sends again, resets; by place, and by conversation.

Here belong the names of the kernel's reasons, which of them are no drops, the totals for metrics and the table of
conversations. Never here: BPF system calls (``exporters.bpf``), flow records (``exporters.flows``): who joins the two asks
for conversations by their endpoints, which are named as there.
"""
