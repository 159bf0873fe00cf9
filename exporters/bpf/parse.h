/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * From the bytes of a packet to the keys of its flows. Pure: no map but the table of tunnel ports, no clock, no counter.
 * Builds as BPF (libbpf, bcc) and natively, for fuzzing (tests/exporters/bpf/fuzz_parse.c).
 *
 * A header is read where it lies, or, where the skb is split there or the program may not look (socket filters), from a copy
 * of it. The position lives in memory, not in a register: a load gives the verifier an unknown number, so that all ways to a
 * header (no tag, one tag, four tags) are one state to it, not many.
 *
 * Formats: Ethernet and LLC IEEE 802.3, tags 802.1Q-2018, MPLS RFC 3032, IPv4 RFC 791, IPv6 RFC 8200, AH RFC 4302,
 * ICMP RFC 792 and 4443, TCP RFC 9293, UDP RFC 768, SCTP RFC 9260, GRE RFC 2784, 2890, 1701 and 2637, VXLAN RFC 7348,
 * Geneve RFC 8926, ERSPAN draft-foschiano-erspan-03, Linux cooked https://www.tcpdump.org/linktypes.html.
 */
#ifndef SKYTRAIL_PARSE_H
#define SKYTRAIL_PARSE_H

#include "flows.h"
#include "packet.h"

#define LONGEST 40	/* header that is read at once */
#define DEEPEST 0x2000	/* offset of a header */

#define ETH_IP 0x0800
#define ETH_ARP 0x0806
#define ETH_IP6 0x86dd
#define ETH_MPLS 0x8847
#define ETH_MPLS_MULTICAST 0x8848
#define ETH_VLAN 0x8100
#define ETH_QINQ 0x88a8
#define ETH_QINQ_OLD 0x9100
#define ETH_BRIDGING 0x6558 /* transparent Ethernet bridging: an Ethernet frame */
#define ETH_ERSPAN 0x88be
#define ETH_ERSPAN3 0x22eb
#define ETH_LOWEST 0x0600 /* smaller: a length (802.3) */

#define PROTO_ICMP 1
#define PROTO_IPIP 4
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_IPV6 41
#define PROTO_GRE 47
#define PROTO_AH 51
#define PROTO_ICMP6 58
#define PROTO_SCTP 132
#define PROTO_MPLS 137

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

#define MPLS_LABELS 8

/* What follows: an EtherType, or one of these. */
#define NEXT_NONE 0
#define NEXT_ETHERNET 1
#define NEXT_BY_NIBBLE 2 /* behind MPLS: the first four bits tell */
#define NEXT_COOKED 3
#define NEXT_COOKED2 4
#define NEXT_LOOPBACK 5
#define NEXT_OTHER 6

/* One flow of the packet. */
struct level {
	struct flow_key6 k6;
	struct flow_key4 k4;
	__u32 start, end; /* offsets in the packet; start is -4 where a tag was stripped */
	/* cleared for each packet, together */
	struct {
		__u64 tags; /* VLANs, packed as flow_key.tags wants them, not shifted */
		__u32 seq, ack;
		__u32 quote; /* offset of the packet that an ICMP error quotes; 0: none */
		__u32 id;
		__be16 sport, dport;
		__u16 ethertype;
		__u16 fragment_bits; /* as in IPv4: 0x2000 more, 0x1fff offset / 8 */
		__u8 proto;
		__u8 kind;
		__u8 tcp_flags;
		__u8 asks; /* 1: this packet opens a conversation, its sender is the initiator; 2: it answers */
		__u8 vlans, ext, info;
		__u8 icmp_code;
	};
	__u32 fragment_id; /* of the network header */
	__u8 fragment_proto; /* a part of it in IPv4; IPv6 goes without (RFC 8200, 4.5) */
	__u8 family;	   /* 4, 6, or 2: link */
	__u8 reversed;
	__u8 ttl, dscp;
	__u16 window; /* where there are TCP flags */
	__u8 mac[12];
};

/* A packet, and whether the program may look into it in place (a constant after inlining). */
struct source {
	struct __sk_buff *skb;
	bool direct;
};

struct parse {
	__u8 copy[LONGEST];
	__u32 at; /* offset of the next header */
	__u32 captured;
	__u32 length; /* as on the wire (before segmentation) */
	__u32 end;    /* where the innermost network header says that its packet ends */
	__u32 next;
	__u32 count; /* levels found */
	__u32 gso;
	__u32 jumbo; /* bytes of the header that segmentation takes out (IPv6 BIG TCP: ipv6_hopopt_jumbo_remove) */
	__u32 vlan_tci; /* stripped tag, outermost; bit 16: present */
	struct level level[FLOW_LEVELS];
};

static __always_inline __u8 *header(struct source from, __u32 offset, __u8 *copy, __u32 bytes);
static __always_inline __u32 tunnel_of(__u16 port);

/* The next `bytes` (a constant) of the packet, or NULL where it ends before. */
static __always_inline __u8 *need(struct source from, struct parse *p, __u32 bytes)
{
	__u32 at = READ_ONCE(p->at);

	if (unlikely(at > DEEPEST || at + bytes > p->captured))
		return 0;
	return header(from, at, p->copy, bytes);
}

static __always_inline void advance(struct parse *p, __u32 bytes)
{
	WRITE_ONCE(p->at, READ_ONCE(p->at) + bytes);
}

static __always_inline __u32 position(struct parse *p)
{
	return READ_ONCE(p->at);
}

/* Label stack; returns false where it does not end. `id` gets the bottom label. */
static __always_inline bool parse_mpls(struct source from, struct parse *p, __u32 *id)
{
#pragma clang loop unroll(disable)
	for (int i = 0; i < MPLS_LABELS; i++) {
		__u8 *h = need(from, p, 4);
		if (!h)
			return false;
		__u32 entry = get32(h);
		advance(p, 4);
		*id = entry >> 12;
		if (entry & 0x100)
			return true;
	}
	return false;
}

static __always_inline void parse_gre(struct source from, struct parse *p, struct level *l)
{
	__u8 *h = need(from, p, 4);
	if (!h)
		return;

	__u16 flags = get16(h), proto = get16(h + 2);
	bool sequence = flags & 0x1000;
	if ((flags & 7) != 0)
		return; /* version 1 (PPTP): a call's id differs each way, and PPP is not ours */
	advance(p, 4);
	if (flags & 0xc000) /* checksum and offset: both words are there when either bit is set (RFC 1701) */
		advance(p, 4);
	if (flags & 0x2000) {
		h = need(from, p, 4);
		if (!h)
			return;
		l->id = get32(h);
		l->kind = KIND_GRE_KEY;
		advance(p, 4);
	}
	if (sequence)
		advance(p, 4);
	if (flags & 0x4000) { /* source routes, ended by one of length 0 */
		int i;
#pragma clang loop unroll(disable)
		for (i = 0; i < 8; i++) {
			h = need(from, p, 4);
			if (!h)
				return;
			__u32 length = h[3];
			advance(p, 4 + length);
			if (!length && !get16(h))
				break;
		}
		if (i == 8)
			return;
	}
	if (proto == ETH_ERSPAN) { /* type II has a sequence number and a header, type I neither */
		l->info |= INFO_ERSPAN;
		advance(p, sequence ? 8 : 0);
		p->next = NEXT_ETHERNET;
	} else if (proto == ETH_ERSPAN3) {
		h = need(from, p, 12);
		if (!h)
			return;
		l->info |= INFO_ERSPAN;
		advance(p, h[11] & 1 ? 20 : 12);
		p->next = NEXT_ETHERNET;
	} else if (proto == ETH_BRIDGING) {
		p->next = NEXT_ETHERNET;
	} else if (proto == ETH_MPLS || proto == ETH_MPLS_MULTICAST) {
		__u32 label = 0;
		if (!parse_mpls(from, p, &label))
			return;
		l->info |= INFO_MPLS;
		p->next = NEXT_BY_NIBBLE;
	} else if (proto == ETH_IP || proto == ETH_IP6) {
		p->next = proto;
	}
}

static __always_inline void parse_udp(struct source from, struct parse *p, struct level *l)
{
	__u8 *h = need(from, p, 16);
	__u32 tunnel = h ? tunnel_of(be16(l->dport)) : TUNNEL_NONE;
	__u8 kind = KIND_PLAIN;

	advance(p, 8);
	if (likely(tunnel == TUNNEL_NONE))
		return;
	if (tunnel == TUNNEL_VXLAN) {
		if (!(h[8] & 0x08)) /* no valid VNI */
			return;
		kind = KIND_VXLAN;
		advance(p, 8);
		p->next = NEXT_ETHERNET;
	} else {
		if (h[8] & 0xc0) /* version */
			return;
		__u16 proto = get16(h + 10);
		kind = KIND_GENEVE;
		advance(p, 8 + (h[8] & 0x3f) * 4);
		if (!(h[9] & 0x80)) { /* control messages carry no packet */
			if (proto == ETH_BRIDGING)
				p->next = NEXT_ETHERNET;
			else if (proto == ETH_IP || proto == ETH_IP6)
				p->next = proto;
		}
	}
	l->kind = kind;
	l->id = get32(h + 12) >> 8;
	l->sport = 0;
}

/*
 * ICMP types that have a counterpart, as Community ID pairs them: 1 + counterpart; bit 7: this one asks.
 * https://github.com/corelight/community-id-spec
 */
static __always_inline __u32 icmp_counterpart(__u8 type, bool six)
{
	if (six) {
		switch (type) {
		case 128: return 0x100 | 129; /* echo */
		case 129: return 128;
		case 130: return 0x100 | 131; /* multicast listener */
		case 131: return 130;
		case 133: return 0x100 | 134; /* router */
		case 134: return 133;
		case 135: return 0x100 | 136; /* neighbour */
		case 136: return 135;
		case 139: return 0x100 | 140; /* node information */
		case 140: return 139;
		case 144: return 0x100 | 145; /* home agent */
		case 145: return 144;
		}
		return 0xffff;
	}
	switch (type) {
	case 0: return 8; /* echo */
	case 8: return 0x100 | 0;
	case 9: return 10; /* router */
	case 10: return 0x100 | 9;
	case 13: return 0x100 | 14; /* time stamp */
	case 14: return 13;
	case 15: return 0x100 | 16; /* information */
	case 16: return 15;
	case 17: return 0x100 | 18; /* address mask */
	case 18: return 17;
	}
	return 0xffff;
}

static __always_inline void parse_icmp(struct source from, struct parse *p, struct level *l, bool six)
{
	__u8 *h = need(from, p, 8);
	if (!h) /* nothing of use is missing but the identifier: a port-less flow */
		return;

	__u8 type = h[0];
	__u32 counterpart = icmp_counterpart(type, six);
	bool echo = six ? type == 128 || type == 129 : type == 8 || type == 0;
	bool identified = !six && type >= 13 && type <= 18; /* time stamp, information, address mask */

	l->icmp_code = h[1];
	l->ack = 0;
	l->sport = be16((__u16)type);
	advance(p, 8);
	if (counterpart == 0xffff) {
		bool error = six ? type >= 1 && type <= 4 : type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
		l->dport = be16((__u16)h[1]);
		l->kind = KIND_ONE_WAY;
		if (error) {
			l->quote = position(p);
			l->info |= INFO_QUOTES;
		}
		return;
	}
	l->dport = be16((__u16)(counterpart & 0xff));
	l->asks = counterpart & 0x100 ? 1 : 2;
	if (identified)
		l->ack = get16(h + 4); /* shown, but no part of the flow's identity */
	if (echo) {
		l->id = get16(h + 4);
		l->seq = 1 + get16(h + 6); /* 0: no echo */
	}
}

static __always_inline void parse_transport(struct source from, struct parse *p, struct level *l, bool six)
{
	__u8 proto = l->proto;
	__u8 *h;

	if (proto == PROTO_TCP) {
		h = need(from, p, 20);
		if (likely(h)) {
			l->sport = raw16(h);
			l->dport = raw16(h + 2);
			l->seq = get32(h + 4);
			l->ack = get32(h + 8);
			l->tcp_flags = h[13];
			l->window = get16(h + 14);
			advance(p, (h[12] >> 4) * 4);
			return;
		}
	}
	if (proto == PROTO_TCP || proto == PROTO_UDP || proto == PROTO_SCTP) {
		h = need(from, p, 4);
		if (!h)
			return;
		l->sport = raw16(h);
		l->dport = raw16(h + 2);
		if (proto == PROTO_UDP)
			parse_udp(from, p, l);
		else
			advance(p, 12); /* SCTP's common header (a cut TCP header has no segments) */
		return;
	}
	if (proto == (six ? PROTO_ICMP6 : PROTO_ICMP)) {
		parse_icmp(from, p, l, six);
	} else if (proto == PROTO_GRE) {
		parse_gre(from, p, l);
	} else if (proto == PROTO_IPIP) {
		p->next = ETH_IP;
	} else if (proto == PROTO_IPV6) {
		p->next = ETH_IP6;
	} else if (proto == PROTO_MPLS) {
		__u32 label = 0;
		if (parse_mpls(from, p, &label)) {
			l->info |= INFO_MPLS;
			p->next = NEXT_BY_NIBBLE;
		}
	}
}

/* Where the network header says that its packet ends: what lies behind is padding of the link (not so in a super-packet). */
static __always_inline void trim(struct parse *p, __u32 end)
{
	if (!p->gso && end < p->end)
		p->end = end;
}

static __always_inline bool later_fragment(struct level *l)
{
	return l->fragment_bits & 0x1fff;
}

static __always_inline bool parse_ip4(struct source from, struct parse *p, struct level *l)
{
	__u8 *h = need(from, p, 20);
	if (unlikely(!h))
		return false;

	__u32 header = (h[0] & 0x0f) * 4, total = get16(h + 2);
	if (unlikely((h[0] >> 4) != 4 || header < 20 || (total && total < header)))
		return false;
	l->family = 4;
	l->k4.addr[0] = raw32(h + 12);
	l->k4.addr[1] = raw32(h + 16);
	l->proto = h[9];
	l->ttl = h[8];
	l->dscp = h[1] >> 2;
	l->fragment_bits = get16(h + 6) & 0x3fff;
	l->fragment_id = get16(h + 4);
	l->fragment_proto = h[9];
	if (total) /* 0: longer than it can say (a super-packet, or a capture of one) */
		trim(p, position(p) + total);
	advance(p, header);
	if (unlikely(l->proto == PROTO_AH)) {
		h = later_fragment(l) ? 0 : need(from, p, 8);
		if (h) {
			l->ext |= EXT_AUTHENTICATION;
			l->proto = h[0];
			advance(p, (h[1] + 2) * 4);
		}
	}
	return true;
}

/* One extension header; false where there is none (any more). */
static __always_inline bool parse_extension(struct source from, struct parse *p, struct level *l)
{
	__u8 proto = READ_ONCE(l->proto), ext;
	switch (proto) {
	case 0: ext = EXT_HOP_BY_HOP; break;
	case 43: ext = EXT_ROUTING; break;
	case 44: ext = EXT_FRAGMENT; break;
	case PROTO_AH: ext = EXT_AUTHENTICATION; break;
	case 60: ext = EXT_DESTINATION; break;
	case 140: ext = EXT_OTHER; break; /* shim6; mobility (135) and HIP (139) carry nothing: they end here */
	default: return false;
	}
	__u8 *h = need(from, p, 8);
	if (!h)
		return false;
	__u32 length = (h[1] + 1) * 8;
	if (proto == 44) {
		__u16 bits = get16(h + 2);
		l->fragment_bits = (bits >> 3) | (bits & 1 ? 0x2000 : 0);
		l->fragment_id = get32(h + 4);
		length = 8;
	} else if (proto == PROTO_AH) {
		length = (h[1] + 2) * 4;
	}
	l->ext |= ext;
	WRITE_ONCE(l->proto, h[0]);
	advance(p, length);
	if (proto == 44 && later_fragment(l))
		return false; /* what follows is payload */
	return true;
}

/* No loop: clang would lay it out so that it is entered by falling into it, which Linux 6.1 refuses (check_cfg). */
static __always_inline void parse_extensions(struct source from, struct parse *p, struct level *l)
{
	if (parse_extension(from, p, l) && parse_extension(from, p, l) && parse_extension(from, p, l) &&
	    parse_extension(from, p, l) && parse_extension(from, p, l) && parse_extension(from, p, l) &&
	    parse_extension(from, p, l))
		parse_extension(from, p, l);
}

static __always_inline bool parse_ip6(struct source from, struct parse *p, struct level *l)
{
	__u8 *h = need(from, p, 40);
	if (unlikely(!h || (h[0] >> 4) != 6))
		return false;

	__u32 payload = get16(h + 4);
	l->family = 6;
	put64(l->k6.addr[0], raw64(h + 8));
	put64(l->k6.addr[0] + 8, raw64(h + 16));
	put64(l->k6.addr[1], raw64(h + 24));
	put64(l->k6.addr[1] + 8, raw64(h + 32));
	l->fragment_proto = 0;
	WRITE_ONCE(l->proto, h[6]);
	l->ttl = h[7];
	l->dscp = (get16(h) >> 6) & 0x3f;
	if (payload) /* 0: a jumbogram */
		trim(p, position(p) + 40 + payload);
	else if (p->gso && h[6] == 0)
		p->jumbo = 8;
	advance(p, 40);
	parse_extensions(from, p, l);
	return true;
}

/* Link-layer flow: MACs in the place of addresses. */
static __always_inline void link_flow(struct level *l, __u32 id)
{
	l->family = 2;
	l->proto = 0;
	l->kind = KIND_LINK;
	l->id = id;
	put64(l->k6.addr[0], (raw64(l->mac + 4) >> 16));
	put64(l->k6.addr[0] + 8, 0);
	put64(l->k6.addr[1], raw64(l->mac) & 0xffffffffffffULL);
	put64(l->k6.addr[1] + 8, 0);
	l->sport = l->dport = 0;
	l->fragment_bits = 0;
	l->ttl = l->dscp = 0; /* not cleared for each packet: of an earlier one */
}

static __always_inline void no_mac(struct level *l)
{
	put64(l->mac, 0);
	put32(l->mac + 8, 0);
}

/* Ethernet and its kin: returns the EtherType of what follows, 0 for 802.3, -1 where the header is cut. */
static __always_inline __s32 parse_link(struct source from, struct parse *p, struct level *l, __u32 next)
{
	__u8 *h;
	__u16 type;
	__u64 vlans = 0;
	__u32 tags = 0;

	if (likely(next == NEXT_ETHERNET)) {
		h = need(from, p, 14);
		if (!h) {
			no_mac(l);
			return -1;
		}
		put64(l->mac, raw64(h));
		put32(l->mac + 8, raw32(h + 8));
		type = get16(h + 12);
		l->info |= INFO_ETHERNET;
		advance(p, 14);
	} else if (next == NEXT_COOKED) {
		no_mac(l);
		h = need(from, p, 16);
		if (!h)
			return -1;
		type = get16(h + 14);
		advance(p, 16);
	} else if (next == NEXT_COOKED2) {
		no_mac(l);
		h = need(from, p, 20);
		if (!h)
			return -1;
		type = get16(h);
		advance(p, 20);
	} else {
		no_mac(l);
		return -1;
	}
	if (unlikely(p->vlan_tci)) {
		vlans = p->vlan_tci & 0xfff;
		tags = 1;
		l->start -= 4; /* on the wire the tag is there: bytes are counted from before the packet */
		p->vlan_tci = 0;
	}
#pragma clang loop unroll(disable)
	for (int i = 0; i < FLOW_VLANS; i++) {
		if (likely(type != ETH_VLAN && type != ETH_QINQ && type != ETH_QINQ_OLD))
			break;
		if (tags == FLOW_VLANS) /* one of them was stripped: the fifth is not read where it was not, either */
			break;
		h = need(from, p, 4);
		if (!h)
			break;
		vlans |= (__u64)(get16(h) & 0xfff) << (12 * (tags & 3));
		tags++;
		type = get16(h + 2);
		advance(p, 4);
	}
	l->tags = vlans;
	l->vlans = tags;
	if (type < ETH_LOWEST)
		type = 0;
	l->ethertype = type;
	return type;
}

/* One flow of the packet, from what `next` says; sets p->next to what is inside it. False: nothing that can be a flow. */
static __always_inline bool parse_level(struct source from, struct parse *p, struct level *l)
{
	__u32 next = p->next;
	bool first = !p->count;
	__s32 type;

	p->next = NEXT_NONE;
	l->start = position(p);
	l->family = 0;
	__builtin_memset(&l->tags, 0, offsetof(struct level, fragment_id) - offsetof(struct level, tags));

	if (unlikely(next == NEXT_BY_NIBBLE)) {
		__u8 *h = need(from, p, 2);
		no_mac(l);
		if (!h && !first)
			return false;
		next = h ? h[0] >> 4 : 0;
		if (next == 4) {
			type = ETH_IP;
		} else if (next == 6) {
			type = ETH_IP6;
		} else if (first) { /* not IP on a link that has nothing else */
			type = -1;
		} else if (next == 1) { /* a message on the path (RFC 5586) */
			return false;
		} else { /* an Ethernet pseudowire; a control word begins with 16 bits of zero (RFC 4448) */
			if (!raw16(h))
				advance(p, 4);
			l->start = position(p);
			type = parse_link(from, p, l, NEXT_ETHERNET);
		}
	} else if (next == ETH_IP || next == ETH_IP6) {
		no_mac(l);
		type = next;
	} else if (next == NEXT_LOOPBACK) { /* the family's number differs from system to system; the packet tells */
		__u8 *h = need(from, p, 5);
		no_mac(l);
		if (!h)
			type = -1;
		else
			type = (h[4] >> 4) == 4 ? ETH_IP : ETH_IP6;
		advance(p, 4);
	} else {
		type = parse_link(from, p, l, next);
	}
	if (type == -1 && !first)
		return false;
	if (!l->ethertype && type > 0)
		l->ethertype = type;

	bool network = false;
	if (likely(type == ETH_IP))
		network = parse_ip4(from, p, l);
	else if (type == ETH_IP6)
		network = parse_ip6(from, p, l);
	if (likely(network)) {
		if (unlikely(later_fragment(l)))
			l->kind = KIND_FRAGMENT;
		else
			parse_transport(from, p, l, l->family == 6);
		if (l->proto == PROTO_TCP && (l->tcp_flags & TCP_SYN))
			l->asks = l->tcp_flags & TCP_ACK ? 2 : 1;
		return true;
	}
	if (!first && !(l->info & INFO_ETHERNET))
		return false;

	__u32 label = 0;
	if (type == ETH_MPLS || type == ETH_MPLS_MULTICAST) {
		if (parse_mpls(from, p, &label)) {
			l->info |= INFO_MPLS;
			p->next = NEXT_BY_NIBBLE;
		}
	} else if (type == ETH_ARP) {
		__u8 *h = need(from, p, 8);
		if (h && get16(h + 6) == 1)
			l->asks = 1;
		else if (h && get16(h + 6) == 2)
			l->asks = 2;
	}
	link_flow(l, label);
	return true;
}

/* Orders the endpoints and completes the key, all but namespace, interface and parent. */
static __always_inline void finish_key(struct level *l)
{
	bool swap = false, by_port = l->kind == KIND_PLAIN;
	__u64 tags = TAGS(l->tags, l->proto, l->kind);

	if (likely(l->family == 4)) {
		__u32 a = be32(l->k4.addr[0]), b = be32(l->k4.addr[1]);
		if (l->kind != KIND_ONE_WAY)
			swap = a > b || (a == b && by_port && be16(l->sport) > be16(l->dport));
		if (swap) {
			__be32 t = l->k4.addr[0];
			l->k4.addr[0] = l->k4.addr[1];
			l->k4.addr[1] = t;
		}
		l->k4.tags = tags;
		l->k4.id = l->id;
		l->k4.port[0] = swap && by_port ? l->dport : l->sport;
		l->k4.port[1] = swap && by_port ? l->sport : l->dport;
	} else {
		__u64 a0 = raw64(l->k6.addr[0]), a1 = raw64(l->k6.addr[0] + 8);
		__u64 b0 = raw64(l->k6.addr[1]), b1 = raw64(l->k6.addr[1] + 8);
		if (l->kind != KIND_ONE_WAY) {
			if (a0 != b0)
				swap = be64(a0) > be64(b0);
			else if (a1 != b1)
				swap = be64(a1) > be64(b1);
			else
				swap = by_port && be16(l->sport) > be16(l->dport);
		}
		if (swap) {
			put64(l->k6.addr[0], b0);
			put64(l->k6.addr[0] + 8, b1);
			put64(l->k6.addr[1], a0);
			put64(l->k6.addr[1] + 8, a1);
		}
		l->k6.tags = tags;
		l->k6.id = l->id;
		l->k6.port[0] = swap && by_port ? l->dport : l->sport;
		l->k6.port[1] = swap && by_port ? l->sport : l->dport;
		if (l->kind == KIND_LINK) {
			l->k6.port[0] = be16(l->ethertype);
			l->k6.port[1] = 0;
		}
	}
	l->reversed = swap;
}

/* The packet's flows, outermost first: p->level[0 .. p->count), their keys not finished yet. The caller has set captured, length, gso, next, vlan_tci. */
static __always_inline void parse_packet(struct source from, struct parse *p)
{
	WRITE_ONCE(p->at, 0);
	p->end = p->length;
	p->count = 0;
	p->jumbo = 0;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < FLOW_LEVELS; i++) {
		struct level *l = &p->level[i];
		l->end = p->end;
		if (!parse_level(from, p, l))
			break;
		if (i && !(l->info & INFO_ETHERNET)) /* behind MPLS its own header alone tells where the packet ends */
			l->end = p->end;
		p->count = i + 1;
		if (p->next == NEXT_NONE)
			break;
	}
}

#endif
