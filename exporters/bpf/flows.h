/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What the flows program and its readers agree on: the layout of the maps.
 * Readers declare the same layouts as numpy records (exporters/bpf/layout.py), which are checked against the object's BTF.
 * Addresses, ports and MACs are as on the wire (big-endian); all else is in the host's order. Times are CLOCK_MONOTONIC, ns (coarse
 * but for the first packet's and the handshake's).
 */
#ifndef SKYTRAIL_FLOWS_H
#define SKYTRAIL_FLOWS_H

#define FLOW_LEVELS 4		 /* flows a packet can make: an outer one and three inside */
#define FLOW_VLANS 4		 /* tags that go into a key, outermost first, 12 bits each */
#define FLOW_PARENT_LOST 1	 /* parent id of an inner flow whose outer flow found no room */
#define FLOW_FIRST_ID 16	 /* ids below have a meaning of their own */
#define CLOSE_BATCH 4096	 /* keys one run of close_flows takes */
#define FRAGMENTS 8192		 /* first fragments remembered */
#define REPLAY_CROWDED 1	 /* what flows_tc returns of a capture file's packet: drain before the next one */
#define QUOTES 4096		 /* packets quoted by ICMP errors remembered */

/* How a key is to be read: flow_tags.kind, low bits. */
enum flow_kind {
	KIND_PLAIN = 0,		/* ports of the transport, or type and counterpart of ICMP, or none */
	KIND_ONE_WAY = 1,	/* ICMP without a counterpart: source first, port[0] type, port[1] code */
	KIND_FRAGMENT = 2,	/* a later fragment whose first was not seen */
	KIND_VXLAN = 3,		/* outer flow: port[1] is the tunnel's, id the VNI */
	KIND_GENEVE = 4,
	KIND_GRE_KEY = 5,	/* GRE with a key, in id */
	KIND_LINK = 6,		/* no network layer: addr holds MACs, port[0] the EtherType, id the bottom MPLS label */
};
#define KIND_MASK 0x0f
/*
 * Of one conversation several entries can exist, of which all but one are being closed or have ended: these bits tell them
 * apart. A connection on the same ports beyond that is counted on the last one, until the next drain.
 */
#define KIND_RECORD 0xc0
#define KIND_RECORD_SHIFT 6
#define FLOW_RECORDS 4

/* Bytes 16..: VLAN ids, 12 bits each, outermost lowest; 8..15: IP protocol; 0..7: kind */
#define TAGS(vlans, proto, kind) (((__u64)(vlans) << 16) | ((__u64)(proto) << 8) | (kind))

struct flow_key4 {
	__u64 parent;		/* id of the flow that carries this one, 0: none */
	__u64 tags;
	__u32 point;		/* capture point: index in the table of points */
	__be32 addr[2];		/* ordered: (address, port) as unsigned bytes */
	__be16 port[2];
	__u32 id;		/* VNI, GRE key, ICMP echo identifier */
} __attribute__((packed, aligned(4)));

struct flow_key6 {
	__u64 parent;
	__u64 tags;
	__u32 point;
	__u8 addr[2][16];
	__be16 port[2];
	__u32 id;
} __attribute__((packed, aligned(4)));

enum flow_state {
	FLOW_LIVE = 0,
	FLOW_CLOSING = 1,	/* nobody counts here any more; a last read, then it is deleted */
};

/* flow.info */
#define INFO_ETHERNET 1		/* the flow's own bytes begin with an Ethernet header */
#define INFO_MPLS 2		/* a label stack: behind the Ethernet header, or behind GRE */
#define INFO_FRAGMENTED 4	/* the first packet seen was a fragment */
#define INFO_QUOTES 8		/* an ICMP error; what it quotes is in the map of quotes, under the flow's id */
#define INFO_ERSPAN 16		/* behind GRE */

/* flow.ext: IPv6 extension headers of the first packet */
#define EXT_HOP_BY_HOP 1
#define EXT_ROUTING 2
#define EXT_FRAGMENT 4
#define EXT_DESTINATION 8
#define EXT_AUTHENTICATION 16
#define EXT_OTHER 32

enum rtt_state {
	RTT_NONE = 0,
	RTT_ASKED = 1,		/* a SYN or an echo request is out */
	RTT_ANSWERED = 2,	/* its SYN-ACK came; the ACK is out */
	RTT_DONE = 3,		/* nothing more to measure (or not to be trusted) */
};

#define TRACKED_NEXT 4		/* flow.next is known */

struct flow_counts {
	__u64 packets;		/* as on the wire: a GSO super-packet counts its segments */
	__u64 bytes;		/* with the headers of each segment, from the Ethernet header on */
};

/* Direction 0 is lo -> hi of the key, 1 the other. */
struct flow {
	struct flow_counts dir[2];
	__u64 last;
	__u64 first;
	__u64 id;
	__u64 merged[2];	/* packets that came in a super-packet with others: skbs = packets - merged */
	__u64 asked[2];		/* first SYN each way (fine clock); echo: [0] last request */
	__u64 rtt[2];		/* ns: SYN to SYN-ACK (echo: request to reply); SYN-ACK to ACK */
	__u64 socket[2];	/* cookie of the socket on this host that sent the first packet; 0: none is */
	__u32 fin[2];		/* last FIN: 1 + ms since `first`; 0: none */
	__u32 rst[2];
	__u64 timed_at[2];	/* when the segment passed whose acknowledgement is awaited (fine clock); 0: none is */
	__u32 timed[2];		/* acknowledgement number that ends it */
	__u32 smoothed_rtt[2];	/* ns, RFC 6298: from data of this direction here to its acknowledgement here; 0: unknown */
	__u32 next[2];		/* TCP: sequence number behind the last byte seen */
	__u32 hole[2][2];	/* [direction]: the newest range that was missing here when what follows it came: from, to */
	__u32 skipped[2];	/* packets before which something was missing */
	__u32 out_of_order[2];	/* packets that brought what had been missing */
	__u32 repeated[2];	/* packets with bytes that had passed here already */
	__u32 zero_windows[2];	/* packets that let the other side send nothing */
	__u32 expect;		/* acknowledgement number, or echo sequence, that ends the measurement; other ICMP: identifier */
	__u32 fragments;	/* all fragments, first ones too */
	__u8 mac[12];		/* destination, source of the first packet */
	__u16 ethertype;	/* behind all tags, host order; 0: 802.3 */
	__u8 vlans;		/* how many tags */
	__u8 ext;
	__u8 tcp_flags[2];	/* all flags seen */
	__u8 ttl[2];		/* last seen */
	__u8 dscp[2];		/* last seen */
	__u8 syn_ttl[2];
	__u8 state;
	__u8 ended;		/* FIN both ways, or RST */
	__u8 rtt_state;
	__u8 initiator;		/* 0 unknown, 1 lo, 2 hi */
	__u8 reversed;		/* the first packet went hi -> lo: A is hi */
	__u8 info;
	__u8 icmp_code;
	__u8 hooks;		/* where packets were seen: bit 0 ingress, 1 egress of direction 0; 2 and 3 of direction 1 */
	__u8 tracked[2];	/* the hook whose packets tell how TCP fares (1 ingress, 2 egress), and TRACKED_NEXT */
	__u8 pad[6];
};

/* Why a packet is on no flow. Names and help: exporters/flows/metrics.py */
enum lost_reason {
	LOST_MAP_FULL = 0,
	LOST_NO_MEMORY = 1,
	LOST_BUSY = 2,
	LOST_CLOSING = 3,
	LOST_UNREADABLE = 4,
	LOST_SAMPLED_OUT = 5,
	LOST_REASONS = 6,
};

struct tally {
	__u64 skbs;
	__u64 segments;
	__u64 bytes;		/* seen: as the skb says; lost: as on the wire */
};

/*
 * A capture point, per CPU; its index is what keys hold, given out by user space. For each point:
 * seen[in] + seen[out] = sum of its outermost flows + sum of lost, in skbs and segments; in bytes with `header_bytes` added
 * on the left: the headers that segmentation will add to super-packets, less the one that it takes away (IPv6 BIG TCP), and
 * tags that the kernel took out of the packet.
 */
struct point {
	__u32 link;		/* enum link_type */
	__u32 pad;
	struct tally seen[2];	/* ingress, egress */
	__u64 header_bytes;
	struct tally lost[LOST_REASONS];
	__u64 inner_lost[LOST_REASONS];	/* segments that are on an outer flow, but on no inner one */
};

enum link_type {
	LINK_ETHERNET = 0,
	LINK_RAW = 1,		/* begins with the IP header */
	LINK_COOKED = 2,	/* LINKTYPE_LINUX_SLL */
	LINK_COOKED2 = 3,	/* LINKTYPE_LINUX_SLL2 */
	LINK_LOOPBACK = 4,	/* LINKTYPE_NULL/LOOP: four bytes of address family */
	LINK_OTHER = 5,		/* not understood: one link-layer flow */
};

struct fragment_key {
	__u64 parent;
	__u32 point;
	__u32 family;
	__u8 addr[2][16];	/* source, destination */
	__u32 id;
	__u32 proto;
};

/* What a first fragment's transport said: goes into the keys of the later ones. */
struct fragment {
	__be16 source;
	__be16 destination;
	__u32 id;
	__u16 kind;
	__u16 proto;
};

/* The packet that an ICMP error quotes, as far as the tracking ID needs it. */
struct quote {
	__u8 addr[2][16];	/* source, destination */
	__u32 id;		/* ICMP identifier, GRE key, VNI */
	__be16 source;		/* or ICMP type */
	__be16 destination;	/* or ICMP's counterpart; code, where it has none */
	__u8 proto;
	__u8 family;		/* 4 or 6 */
	__u8 kind;		/* enum flow_kind */
	__u8 pad;
};

struct close_request {
	__u64 id;		/* of the flow: another that came meanwhile is left alone */
	struct flow_key6 key;	/* a flow_key4 at its beginning where family is 4 */
	__u32 family;		/* 4, or 6 */
};

/*
 * What the entry of a capture point tells the program proper: the first fields of the scratch memory. Each point has tiny
 * programs of its own (exporters/bpf/entry.py), one for each direction, which write these constants and tail-call
 * flows_tc or flows_socket. So a point is known without a look-up, whatever namespace its device is in or moves to.
 * (bpf_get_netns_cookie() would not tell: of an skb it gives the namespace of its socket, not of its device.)
 */
struct entry {
	__u32 point;
	__u32 direction;	/* 0 ingress, 1 egress */
};

/* Set before load: read-only globals (libbpf), a one-entry map (bcc). */
struct parameters {
	__u32 sampling;		/* 1 of N; 1: every packet */
	/* Not 0: packets come from a capture file. cb[0] link type, [1] length on the wire, [2] captured, [3] point; time in tstamp */
	__u32 replay;
};

/* Tunnels by UDP port. */
enum tunnel {
	TUNNEL_NONE = 0,
	TUNNEL_VXLAN = 1,
	TUNNEL_GENEVE = 2,
};

struct tunnel_ports {
	__u8 kind[65536];	/* enum tunnel by destination port, host order */
};

#endif
