/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What the drops programs and their readers agree on. Readers declare the same layouts as numpy records
 * (exporters/bpf/drops.py), which are checked against the object's BTF.
 * Addresses and ports are as on the wire (an IPv4 address in the first four bytes); all else is in the host's order.
 */
#ifndef SKYTRAIL_DROPS_H
#define SKYTRAIL_DROPS_H

#define DROP_REASONS 1024 /* numbers of the kernel's own reasons; other subsystems' are above 65535 */

enum drop_kind {
	DROP_PACKET = 0,	  /* reason: enum skb_drop_reason */
	DROP_RETRANSMIT = 1,	  /* segments sent again, of a connection that is or was open */
	DROP_SYN_AGAIN = 2,	  /* a SYN was not answered in time */
	DROP_SYN_ACK_AGAIN = 3,	  /* a SYN-ACK was not */
	DROP_RESET_SENT = 4,	  /* reason: enum sk_rst_reason where this kernel tells */
	DROP_RESET_RECEIVED = 5,
};

/* What UDP destination ports carry, in the host's order: as flows know it (enum tunnel of flows.h; 0: no tunnel). */
struct drop_tunnels {
	__u8 kind[65536];
};

/* What user space says of a reason. */
enum drop_end {
	DROP_COUNTED = 0,
	DROP_NORMAL = 1,	/* a packet's normal end */
	DROP_NORMAL_REPLY = 2,	/* the same, of an answer to an echo: raw sockets have taken copies */
};

/* How the ports of a conversation are to be read: as enum flow_kind of flows.h. */
#define DROP_PLAIN 0
#define DROP_ONE_WAY 1

/*
 * `side` changes with each reading (the word in `control`): what a reader reads and deletes, no program counts on any more.
 * So nothing is lost between the two.
 */
struct drop_place {
	__u64 netns;	/* cookie; 0: not known */
	__u32 ifindex;	/* 0: none, or not known */
	__u32 reason;
	__u8 kind;	/* enum drop_kind */
	__u8 side;
	__u8 pad[6];
};

/* Endpoints are ordered as those of a flow: by (address, port) as unsigned bytes; not those of DROP_ONE_WAY. */
struct drop_flow_key {
	__u64 netns;
	__u8 addr[2][16];
	__be16 port[2];
	__u32 reason;
	__u32 id;	/* ICMP echo's identifier; a tunnel's VNI: then the ports are 0 and the tunnel's, in this order */
	__u8 family;	/* 4 or 6 */
	__u8 proto;
	__u8 kind;	/* enum drop_kind */
	__u8 side;
	__u8 way;	/* DROP_PLAIN or DROP_ONE_WAY */
	__u8 pad[7];
};

/* Packets from the first endpoint to the second, and the other way. */
struct drop_flow {
	__u64 packets[2];
	__u32 ifindex;	/* of the last one; 0: not known */
	__u32 pad;
};

/*
 * Per CPU, cumulative. seen = sum of all places + places_full = sum of all flows + flows_full + without_flow.
 */
struct drop_tally {
	__u64 seen;
	__u64 places_full;	/* no room in the map of places */
	__u64 flows_full;
	__u64 without_flow;	/* neither IP nor of a socket, or cut */
};

#endif
