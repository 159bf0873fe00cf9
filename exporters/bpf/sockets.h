/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What the sockets programs and their readers agree on. Readers declare the same layouts as numpy records
 * (exporters/bpf/sockets.py), which are checked against the object's BTF.
 * Addresses and ports are as on the wire (an IPv4 address in the first four bytes); all else is in the host's order.
 */
#ifndef SKYTRAIL_SOCKETS_H
#define SKYTRAIL_SOCKETS_H

/* Whose a socket is: the process that opened it, or that has it. */
struct owner {
	__u64 started;		/* start_boottime of its process, ns: with the pid it names the process for ever */
	__u64 cgroup;		/* id of its cgroup (version 2) */
	__u32 pid;		/* of the process (tgid), as the first PID namespace numbers it */
	__u32 uid;		/* of the socket */
	char comm[16];		/* of the process's first thread */
};

/* The two ends of a socket: local first. */
struct endpoints {
	__u64 netns;		/* cookie */
	__u32 inode;		/* of that namespace, in nsfs; 0: not told */
	__u32 pad;
	__u8 addr[2][16];
	__be16 port[2];
	__u8 family;		/* 4 or 6 */
	__u8 state;		/* TCP's numbers (include/net/tcp_states.h) */
	__u16 proto;
};

/* How a TCP connection has gone so far. */
struct progress {
	__u64 sent;		/* bytes, sent again ones too */
	__u64 received;
	__u32 rtt;		/* smoothed, us */
	__u32 rtt_deviation;	/* us */
	__u32 cwnd;		/* segments */
	__u32 mss;		/* bytes */
	__u32 retransmits;	/* segments, since it was opened */
	__u32 pad;
};

/* A socket that a process has open: one record for each descriptor. */
struct socket_record {
	struct owner owner;
	struct endpoints ends;
	struct progress tcp;
	__u64 cookie;
	__u64 inode;
	__u32 fd;
	__u32 receive_queue;	/* bytes; LISTEN: connections that wait to be accepted */
	__u32 send_queue;	/* bytes; LISTEN: the most that may wait */
	__u32 drops;		/* packets that found no room */
	__u32 device;		/* that it is bound to: ifindex */
	__u16 type;		/* SOCK_STREAM 1, SOCK_DGRAM 2, SOCK_RAW 3 */
	__u8 only6;		/* 1: an IPv6 socket that gets nothing of IPv4 */
	__u8 pad;
};

enum socket_event_kind {
	SOCKET_CONNECTED = 1,	/* a connect() that succeeded */
	SOCKET_ACCEPTED = 2,	/* a connection that somebody else opened to a listener */
	SOCKET_CLOSED = 3,	/* an established connection ended */
	SOCKET_FAILED = 4,	/* a connect() that did not succeed */
	SOCKET_CREATED = 5,	/* a socket without connections (UDP, raw) was opened: it has no ends yet */
};

/* What became of a socket between two passes. */
struct socket_event {
	struct owner owner;
	struct endpoints ends;	/* state: the one before */
	struct progress tcp;
	__u64 cookie;
	__u64 at;		/* CLOCK_MONOTONIC, ns */
	__u64 latency;		/* CONNECTED, FAILED: since the connect(), ns */
	__u32 error;		/* errno that the socket has; 0: none */
	__u32 kind;
};

/* Of events: how many found no room, by CPU. */
struct socket_losses {
	__u64 events;		/* the ring was full */
	__u64 owners;		/* no memory to remember an owner */
};

#endif
