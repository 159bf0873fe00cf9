// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * Counts every conversation at every capture point, both directions on one entry.
 *
 * A packet is counted first (its capture point's `seen`), then parsed (parse.h) into one flow or, in tunnels, several, then
 * counted on each of them. Counters only grow; user space reads them in batches and deletes an entry only after it was
 * marked FLOW_CLOSING (close_flows) and read once more: nobody adds to a closing entry, a packet that meets one opens
 * another record of its conversation. So no packet is lost between reading and deleting.
 */
#include "packet.h"
#include "flows.h"
#include "parse.h"

#define TC_ACT_UNSPEC -1 /* the next program decides; the same as TCX_NEXT */
#define SKB_VLAN_PRESENT 0x10000
#define PACKET_OUTGOING 4
#define GSO_BY_FRAGS 0xffff

/* The kernel's numbers, as helpers return them. */
#define E_BUSY -16
#define E_EXIST -17
#define E_2BIG -7
#define E_NOMEM -12

/* Working memory of one packet, per CPU: larger than a BPF stack. */
struct scratch {
	struct entry entry; /* first: entry.py writes it */
	struct parse parse;
	struct flow new_flow;
	struct fragment_key fragment_key;
	__u64 now;
	__u64 jiffies, coarse; /* what coarse_clock() read last */
	__u64 sequence;
	__u64 wire_bytes;
	__u32 segments, headers;
	bool replay;
	bool crowded;	/* the last free record of some conversation was taken: time for a drain */
	bool fresh;	/* the flow was not seen at this hook before, in this direction */
};

#if defined(SKYTRAIL_BCC)
#include "flows_bcc.h"
#else
#include "flows_libbpf.h"
#endif

/*
 * A field of the context by a load with a constant offset: left to itself, clang may add the offset to the pointer first,
 * which the verifier refuses.
 */
#define context_pointer(skb, field)                                                                       \
	({                                                                                                \
		__u64 value;                                                                              \
		asm volatile("%0 = *(u32 *)(%1 + %2)"                                                     \
			     : "=r"(value)                                                                \
			     : "r"(skb), "i"(offsetof(struct __sk_buff, field)));                         \
		(__u8 *)value;                                                                            \
	})

/* Where `bytes` (a constant) of the packet can be read: in place, or in `copy`. NULL where they cannot. */
static __always_inline __u8 *header(struct source from, __u32 offset, __u8 *copy, __u32 bytes)
{
	if (from.direct) {
		__u8 *data = context_pointer(from.skb, data) + offset;

		if (likely(data + bytes <= context_pointer(from.skb, data_end)))
			return data;
	}
	return bpf_skb_load_bytes(from.skb, offset, copy, bytes) ? 0 : copy;
}

static __always_inline __u32 tunnel_of(__u16 port)
{
	struct tunnel_ports *ports = lookup_tunnel_ports();
	__u32 index = port;

	/* Before about Linux 6.15 the verifier forgets the bounds of a number whose bytes were swapped: say them anew. */
	asm volatile("" : "+r"(index));
	index &= 0xffff;
	return ports ? ports->kind[index] : TUNNEL_NONE;
}

/* From here on the level's key is that of a conversation's n-th record. */
static __always_inline void set_record(struct level *l, __u32 n)
{
	__u64 bits = (__u64)n << KIND_RECORD_SHIFT;

	if (l->family == 4)
		l->k4.tags = (l->k4.tags & ~(__u64)KIND_RECORD) | bits;
	else
		l->k6.tags = (l->k6.tags & ~(__u64)KIND_RECORD) | bits;
}

static __always_inline bool is_syn(struct level *l)
{
	return (l->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* Whether a packet may be counted here: a SYN on an ended flow begins a new one. */
static __always_inline bool usable(struct flow *flow, struct level *l)
{
	return likely(flow->state == FLOW_LIVE) && likely(!flow->ended || !is_syn(l));
}

/* The protocol behind a quoted packet's IPv6 extension headers, at *transport; 0 where that is not to be had. */
static __always_inline __u8 behind_extensions(struct __sk_buff *ctx, __u8 next, __u32 *transport)
{
	__u8 h[8];

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < 4; i++) {
		if (next != 0 && next != 43 && next != 44 && next != 51 && next != 60)
			return next;
		if (bpf_skb_load_bytes(ctx, *transport, h, 8))
			return 0;
		if (next == 44 && (get16(h + 2) & 0xfff8))
			return 0; /* a later fragment: no ports */
		*transport += next == 44 ? 8 : next == 51 ? (h[1] + 2) * 4 : (h[1] + 1) * 8;
		next = h[0];
	}
	return 0;
}

/* What tells a quoted packet's flow beyond addresses and protocol. False where too little of it is there. */
static __always_inline bool quote_transport(struct __sk_buff *ctx, __u32 transport, struct quote *quote)
{
	__u8 h[16];

	if (bpf_skb_load_bytes(ctx, transport, h, 8))
		return false;
	if (quote->proto == (quote->family == 4 ? PROTO_ICMP : PROTO_ICMP6)) {
		__u32 counterpart = icmp_counterpart(h[0], quote->family == 6);

		quote->source = be16((__u16)h[0]);
		quote->kind = counterpart == 0xffff ? KIND_ONE_WAY : KIND_PLAIN;
		quote->destination = be16((__u16)(counterpart == 0xffff ? h[1] : counterpart & 0xff));
		quote->id = get16(h + 4);
		return true;
	}
	if (quote->proto == PROTO_GRE) {
		if ((h[0] & 0x20) && (h[1] & 7) == 0) { /* a key; behind a checksum it stands 4 bytes later (RFC 2890) */
			if ((h[0] & 0x80) && bpf_skb_load_bytes(ctx, transport + 4, h, 8))
				return false;
			quote->kind = KIND_GRE_KEY;
			quote->id = get32(h + 4);
		}
		return true;
	}
	quote->source = raw16(h);
	quote->destination = raw16(h + 2);
	if (quote->proto == PROTO_UDP) {
		__u32 tunnel = tunnel_of(be16(quote->destination));

		if (tunnel != TUNNEL_NONE && !bpf_skb_load_bytes(ctx, transport, h, 16)) {
			quote->kind = tunnel == TUNNEL_VXLAN ? KIND_VXLAN : KIND_GENEVE;
			quote->id = get32(h + 12) >> 8;
		}
	}
	return true;
}

static __always_inline void remember_quote(struct __sk_buff *ctx, struct level *l, __u64 id)
{
	struct quote quote = {.family = l->family == 4 ? 4 : 6};
	__u8 h[40];
	__u32 transport;

	if (l->family == 4) {
		if (bpf_skb_load_bytes(ctx, l->quote, h, 20) || (h[0] >> 4) != 4)
			return;
		put32(quote.addr[0], raw32(h + 12));
		put32(quote.addr[1], raw32(h + 16));
		quote.proto = h[9];
		transport = l->quote + (h[0] & 0x0f) * 4;
		if (get16(h + 6) & 0x1fff)
			return;
	} else {
		if (bpf_skb_load_bytes(ctx, l->quote, h, 40) || (h[0] >> 4) != 6)
			return;
		__builtin_memcpy(quote.addr, h + 8, 32);
		transport = l->quote + 40;
		quote.proto = behind_extensions(ctx, h[6], &transport);
		if (!quote.proto)
			return;
	}
	if (quote_transport(ctx, transport, &quote))
		store_quote(&id, &quote);
}

/* Unique while the maps live: the CPU and a number of its own. */
static __always_inline __u64 new_flow_id(struct scratch *s)
{
	return ((__u64)bpf_get_smp_processor_id() << 48) | (FLOW_FIRST_ID + s->sequence++);
}

/*
 * CLOCK_MONOTONIC as of the last tick or two. It goes on with the ticks, so it is asked once for each: reading jiffies is one
 * load, a call into the kernel 14 ns where returns are guarded (spec_rstack_overflow).
 */
static __always_inline __u64 coarse_clock(struct scratch *s)
{
	__u64 jiffies = bpf_jiffies64();

	if (unlikely(jiffies != s->jiffies)) {
		s->jiffies = jiffies;
		s->coarse = bpf_ktime_get_coarse_ns();
	}
	return s->coarse;
}

static __always_inline __u64 fine_clock(struct scratch *s)
{
	return s->replay ? s->now : bpf_ktime_get_ns();
}

static __always_inline void describe(struct __sk_buff *ctx, struct scratch *s, struct level *l)
{
	struct flow *new = &s->new_flow;

	__builtin_memset(new, 0, sizeof(*new));
	new->first = new->last = fine_clock(s); /* tells in which order capture points saw a packet */
	new->id = new_flow_id(s);
	__builtin_memcpy(new->mac, l->mac, sizeof(new->mac));
	new->ethertype = l->ethertype;
	new->vlans = l->vlans;
	new->ext = l->ext;
	new->info = l->info | (l->fragment_bits ? INFO_FRAGMENTED : 0);
	new->reversed = l->reversed;
	new->icmp_code = l->icmp_code;
	if (l->family == 4 && l->proto == PROTO_ICMP)
		new->expect = l->ack;
	if (l->quote)
		remember_quote(ctx, l, new->id);
}

/* As find_flow, where the conversation's first record is not there, or not to be used. */
static __always_inline struct flow *find_other_record(struct __sk_buff *ctx, struct scratch *s, struct level *l, __u32 *lost)
{
	__u32 free = FLOW_RECORDS, taken = 0;
	struct flow *ended = 0, *flow;
	long error;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < FLOW_RECORDS; i++) {
		set_record(l, i);
		flow = lookup_flow(l);
		if (!flow) {
			if (free == FLOW_RECORDS)
				free = i;
			continue;
		}
		taken++;
		if (usable(flow, l)) {
			if (ended)
				ended->state = FLOW_CLOSING;
			return flow;
		}
		if (flow->state == FLOW_LIVE)
			ended = flow;
	}
	if (free == FLOW_RECORDS) {
		if (!ended)
			*lost = LOST_CLOSING;
		return ended;
	}
	if (ended)
		ended->state = FLOW_CLOSING;
	s->crowded = taken == FLOW_RECORDS - 1;
	set_record(l, free);
	describe(ctx, s, l);
	error = insert_flow(l, &s->new_flow);
	if (error && error != E_EXIST) {
		*lost = error == E_2BIG ? LOST_MAP_FULL : error == E_NOMEM ? LOST_NO_MEMORY : LOST_BUSY;
		return 0;
	}
	flow = lookup_flow(l);
	if (!flow)
		*lost = LOST_BUSY;
	return flow;
}

/* The entry that counts this packet; a new one where there is none. NULL with *lost set where there is no room. */
static __always_inline struct flow *find_flow(struct __sk_buff *ctx, struct scratch *s, struct level *l, __u32 *lost)
{
	struct flow *flow = lookup_flow(l);

	if (likely(flow && usable(flow, l)))
		return flow;
	return find_other_record(ctx, s, l, lost);
}

/* Not 0 unless clock and packets disagree, as in a capture file that is out of order. */
static __always_inline __u64 elapsed(__u64 now, __u64 then)
{
	return now > then ? now - then : 0;
}

static __always_inline __u32 since(struct flow *flow, __u64 now)
{
	return now > flow->first ? 1 + (__u32)((now - flow->first) / 1000000) : 1;
}

/* Handshake, ends, initiator: only packets with SYN, FIN, RST, and the ACK that ends a handshake, come here. */
static __always_inline void note_tcp(struct scratch *s, struct flow *flow, struct level *l, __u32 dir)
{
	__u8 flags = l->tcp_flags;

	if (flags & TCP_SYN) {
		__u64 now = fine_clock(s);
		bool answer = flags & TCP_ACK;

		if (!flow->asked[dir]) {
			flow->asked[dir] = now;
			flow->syn_ttl[dir] = l->ttl;
		} else {
			flow->rtt_state = RTT_DONE; /* repeated: which one is answered, nobody knows */
			return;
		}
		if (!answer && flow->rtt_state == RTT_NONE) {
			flow->rtt_state = RTT_ASKED;
			flow->expect = l->seq + 1;
		} else if (answer && flow->rtt_state == RTT_ASKED && flow->asked[!dir] && l->ack == flow->expect) {
			flow->rtt[0] = elapsed(now, flow->asked[!dir]);
			flow->rtt_state = RTT_ANSWERED;
			flow->expect = l->seq + 1;
		}
	} else if (flow->rtt_state == RTT_ANSWERED && (flags & TCP_ACK) && l->ack == flow->expect &&
		   flow->asked[dir] && flow->asked[!dir] > flow->asked[dir]) {
		__u64 now = fine_clock(s);

		flow->rtt[1] = elapsed(now, flow->asked[!dir]);
		flow->rtt_state = RTT_DONE;
	}
	if (flags & TCP_FIN) {
		flow->fin[dir] = since(flow, s->now);
		if (flow->fin[!dir])
			flow->ended = 1;
	}
	if (flags & TCP_RST) {
		flow->rst[dir] = since(flow, s->now);
		flow->ended = 1;
	}
}

static __always_inline void note_echo(struct scratch *s, struct flow *flow, struct level *l)
{
	if (l->asks == 1) {
		flow->asked[0] = fine_clock(s);
		flow->expect = l->seq;
		flow->rtt_state = RTT_ASKED;
	} else if (flow->rtt_state == RTT_ASKED && flow->expect == l->seq) {
		flow->rtt[0] = elapsed(fine_clock(s), flow->asked[0]);
		flow->rtt_state = RTT_NONE;
	}
}

/* What passed here already, what is missing, what is late: by sequence numbers alone (RFC 9293, 3.4). */
static __always_inline void note_segment(struct scratch *s, struct flow *flow, struct level *l, __u32 dir, __u32 length)
{
	__u32 begin = l->seq, end = begin + length, next = flow->next[dir];
	__s32 ahead = begin - next;

	if (unlikely(!(flow->tracked[dir] & TRACKED_NEXT) || ((l->tcp_flags & TCP_SYN) && end != next))) {
		/* a SYN that is not the last one again: another connection, whose predecessor was not seen to end */
		flow->tracked[dir] |= TRACKED_NEXT;
		flow->hole[dir][0] = flow->hole[dir][1] = begin;
		flow->timed_at[dir] = 0;
	} else if (unlikely(ahead > 0)) {
		flow->skipped[dir]++;
		flow->hole[dir][0] = next;
		flow->hole[dir][1] = begin;
	} else if (unlikely(ahead < 0)) {
		__u32 from = flow->hole[dir][0], to = flow->hole[dir][1];

		if (from != to && (__s32)(begin - from) >= 0 && (__s32)(to - end) >= 0) {
			flow->out_of_order[dir]++;
			if (begin == from)
				flow->hole[dir][0] = end;
			else
				flow->hole[dir][1] = begin;
		} else {
			flow->repeated[dir]++;
		}
		/* Karn: which one is acknowledged, nobody knows; and what waited for this one is acknowledged with it, late */
		flow->timed_at[dir] = 0;
		if ((__s32)(end - next) <= 0)
			return;
	}
	flow->next[dir] = end;
	if (!flow->timed_at[dir]) {
		flow->timed[dir] = end;
		flow->timed_at[dir] = fine_clock(s);
	}
}

/* The other direction's timed segment is acknowledged: RFC 6298's SRTT, with its 1/8. */
static __always_inline void note_acknowledgement(struct scratch *s, struct flow *flow, struct level *l, __u32 dir)
{
	__u64 took = elapsed(fine_clock(s), flow->timed_at[dir]), before = flow->smoothed_rtt[dir];

	flow->timed_at[dir] = 0;
	if (before)
		took = before - before / 8 + took / 8;
	flow->smoothed_rtt[dir] = took > 0xffffffff ? 0xffffffff : took ?: 1;
}

/* Every segment of TCP, at one of a capture point's hooks. A part of the traffic (sampling) tells nothing of what is missing. */
static __always_inline void track_tcp(struct scratch *s, struct flow *flow, struct level *l)
{
	__u32 dir = l->reversed & 1, flags = l->tcp_flags, at = position(&s->parse), hook = 1 + (s->entry.direction & 1);
	__s32 length = s->parse.end - at; /* without what the link pads */

	if (unlikely(sampling() > 1))
		return;
	if (unlikely(l->fragment_bits)) { /* how much the whole of it brings, it does not say: begin anew behind it */
		flow->tracked[dir] &= ~TRACKED_NEXT;
		flow->timed_at[dir] = 0;
		return;
	}
	if (unlikely(!(flags & (TCP_SYN | TCP_ACK))))
		return;
	/* where each packet passes both hooks (lo, a router with one arm): the second time it is no repetition */
	if (unlikely(!flow->tracked[dir]))
		flow->tracked[dir] = hook;
	if (!(flow->tracked[dir] & hook))
		return;
	if (length < 0)
		length = 0;
	if (unlikely(flags & (TCP_SYN | TCP_FIN)))
		length++;
	if (length && !(flags & TCP_RST))
		note_segment(s, flow, l, dir, length);
	if (unlikely(!l->window && !(flags & (TCP_SYN | TCP_RST))))
		flow->zero_windows[dir]++;
	if ((flags & TCP_ACK) && flow->timed_at[!dir] && (__s32)(l->ack - flow->timed[!dir]) >= 0)
		note_acknowledgement(s, flow, l, !dir);
}

/* What only the innermost flow can be: a conversation of sockets. */
static __always_inline void count_innermost(struct __sk_buff *ctx, struct scratch *s, struct flow *flow, struct level *l)
{
	__u32 dir = l->reversed & 1;

	if (unlikely(s->fresh && !flow->socket[dir]))
		flow->socket[dir] = bpf_get_socket_cookie(ctx); /* of a capture file's packet it means nothing */
	if (l->proto == PROTO_TCP) {
		__u8 flags = l->tcp_flags, seen = flow->tcp_flags[dir];

		if (unlikely(flags & ~seen))
			flow->tcp_flags[dir] = seen | flags;
		if (unlikely((flags & (TCP_SYN | TCP_FIN | TCP_RST)) || flow->rtt_state == RTT_ANSWERED))
			note_tcp(s, flow, l, dir);
		track_tcp(s, flow, l);
	} else if (unlikely((l->proto == PROTO_ICMP || l->proto == PROTO_ICMP6) && l->asks)) {
		if (l->seq)
			note_echo(s, flow, l);
	}
	if (unlikely(l->asks && !flow->initiator))
		flow->initiator = (l->asks == 1) == (dir == 0) ? 1 : 2;
}

static __always_inline void count_flow(struct scratch *s, struct flow *flow, struct level *l)
{
	__u32 dir = l->reversed & 1, hook;
	__s32 length = l->end - l->start - s->parse.jumbo, headers = s->headers - l->start;
	__u64 bytes = length > 0 ? length : 0;

	if (unlikely(s->segments > 1)) {
		if (headers > 0)
			bytes += (__u64)(s->segments - 1) * headers;
		__sync_fetch_and_add(&flow->merged[dir], s->segments - 1);
	}
	__sync_fetch_and_add(&flow->dir[dir].packets, s->segments);
	__sync_fetch_and_add(&flow->dir[dir].bytes, bytes);
	if (s->now > flow->last)
		flow->last = s->now;
	if (unlikely(flow->ttl[dir] != l->ttl))
		flow->ttl[dir] = l->ttl;
	if (unlikely(flow->dscp[dir] != l->dscp))
		flow->dscp[dir] = l->dscp;
	if (unlikely(l->fragment_bits))
		__sync_fetch_and_add(&flow->fragments, 1);
	hook = 1 << (2 * dir + (s->entry.direction & 1));
	s->fresh = !(flow->hooks & hook);
	if (unlikely(s->fresh))
		flow->hooks |= hook;
}

/* The transport of a fragment: remembered from the first, filled in for the later ones. */
static __always_inline void join_fragments(struct scratch *s, struct level *l, __u64 parent)
{
	struct fragment_key *key = &s->fragment_key;
	struct fragment *first;

	key->parent = parent;
	key->point = s->entry.point;
	key->family = l->family;
	key->id = l->fragment_id;
	key->proto = l->fragment_proto;
	if (l->family == 4) {
		put64(key->addr[0], l->k4.addr[0]);
		put64(key->addr[0] + 8, 0);
		put64(key->addr[1], l->k4.addr[1]);
		put64(key->addr[1] + 8, 0);
	} else {
		__builtin_memcpy(key->addr, l->k6.addr, 32);
	}
	if (!later_fragment(l)) {
		struct fragment remember = {.source = l->sport, .destination = l->dport, .id = l->id, .kind = l->kind, .proto = l->proto};
		store_fragment(key, &remember);
		return;
	}
	first = lookup_fragment(key);
	if (first) {
		l->sport = first->source;
		l->dport = first->destination;
		l->id = first->id;
		l->kind = first->kind;
		l->proto = first->proto;
	}
}

static __always_inline void lose(struct point *point, struct scratch *s, __u32 reason, __u64 bytes)
{
	if (reason >= LOST_REASONS)
		return;
	point->lost[reason].skbs++;
	point->lost[reason].segments += s->segments;
	point->lost[reason].bytes += bytes;
}

static __always_inline void count_levels(struct __sk_buff *ctx, struct scratch *s, struct point *point)
{
	struct parse *p = &s->parse;
	struct flow *flow = 0;
	struct level *l;
	__u64 parent = 0;
	__u32 innermost;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < FLOW_LEVELS; i++) {
		if (i >= p->count)
			break;
		__u32 lost = LOST_REASONS;

		l = &p->level[i];
		if (unlikely(l->fragment_bits))
			join_fragments(s, l, parent);
		finish_key(l);
		if (l->family == 4) {
			l->k4.parent = parent;
			l->k4.point = s->entry.point;
		} else {
			l->k6.parent = parent;
			l->k6.point = s->entry.point;
		}
		flow = find_flow(ctx, s, l, &lost);
		if (likely(flow)) {
			parent = flow->id;
			count_flow(s, flow, l);
		} else {
			parent = FLOW_PARENT_LOST;
			if (i == 0)
				lose(point, s, lost, s->wire_bytes);
			else if (lost < LOST_REASONS)
				point->inner_lost[lost] += s->segments;
		}
	}
	/* behind the loop: in it, the kernel would verify this once for every way through every level */
	innermost = p->count - 1;
	if (flow && innermost < FLOW_LEVELS)
		count_innermost(ctx, s, flow, &p->level[innermost]);
}

static __always_inline __u32 first_header(__u32 link)
{
	switch (link) {
	case LINK_ETHERNET: return NEXT_ETHERNET;
	case LINK_RAW: return NEXT_BY_NIBBLE;
	case LINK_COOKED: return NEXT_COOKED;
	case LINK_COOKED2: return NEXT_COOKED2;
	case LINK_LOOPBACK: return NEXT_LOOPBACK;
	}
	return NEXT_OTHER;
}

/* What the kernel would have said of a packet that comes from a capture file (BPF_PROG_TEST_RUN). Returns its link type. */
static __always_inline __u32 replayed(struct __sk_buff *ctx, struct scratch *s)
{
	__u32 captured = ctx->cb[2];

	s->now = ctx->tstamp;
	s->parse.length = ctx->cb[1];
	if (captured < s->parse.captured) /* short packets are padded for the call */
		s->parse.captured = captured;
	s->entry.point = ctx->cb[3];
	return ctx->cb[0];
}

/* Returns whether a capture file's reader should drain before the next packet. */
static __always_inline bool count_packet(struct source from, bool replay)
{
	struct __sk_buff *ctx = from.skb;
	struct scratch *s = lookup_scratch();
	__u32 gso_size = ctx->gso_size, segments = 1, link = LINK_ETHERNET, direction, tag;
	struct parse *p;
	struct point *point;

	if (!s)
		return false;
	p = &s->parse;
	direction = s->entry.direction & 1;
	s->replay = replay;
	p->length = p->captured = ctx->len;
	if (unlikely(replay))
		link = replayed(ctx, s);
	else
		s->now = coarse_clock(s);
	point = lookup_point(s->entry.point);
	if (!point)
		return false;

	p->gso = gso_size;
	if (unlikely(gso_size))
		segments = ctx->gso_segs ?: 1;
	point->seen[direction].skbs++;
	point->seen[direction].segments += segments;
	point->seen[direction].bytes += p->length;
	s->segments = segments;
	s->wire_bytes = p->length;
	if (unlikely(sampling() > 1 && bpf_get_prandom_u32() % sampling())) {
		lose(point, s, LOST_SAMPLED_OUT, p->length);
		return false;
	}

	p->next = first_header(replay ? link : point->link);
	p->vlan_tci = ctx->vlan_present && p->next == NEXT_ETHERNET ? SKB_VLAN_PRESENT | ctx->vlan_tci : 0;
	parse_packet(from, p);
	s->headers = position(p) - p->jumbo;
	if (unlikely(gso_size && !ctx->gso_segs && gso_size != GSO_BY_FRAGS && p->length > s->headers)) {
		/* from a device that does not say (tap): the headers are known only now */
		s->segments = segments = (p->length - s->headers + gso_size - 1) / gso_size;
		point->seen[direction].segments += segments - 1;
	}
	tag = -p->level[0].start;
	if (unlikely(segments > 1 || tag)) {
		__u64 more = (__u64)(segments - 1) * s->headers + (__u64)segments * tag - p->jumbo;
		s->wire_bytes += more;
		point->header_bytes += more;
	}
	if (unlikely(!p->count)) {
		lose(point, s, LOST_UNREADABLE, s->wire_bytes);
		return false;
	}
	s->crowded = false;
	count_levels(ctx, s, point);
	return replay && s->crowded;
}

SEC("tc")
int flows_tc(struct __sk_buff *ctx)
{
	struct source from = {ctx, true};

	return count_packet(from, replaying()) ? REPLAY_CROWDED : TC_ACT_UNSPEC;
}

/* One socket sees both directions; its entry says ingress. */
SEC("socket")
int flows_socket(struct __sk_buff *ctx)
{
	struct source from = {ctx, false};
	struct scratch *s = lookup_scratch();

	if (s)
		s->entry.direction = ctx->pkt_type == PACKET_OUTGOING;
	count_packet(from, false);
	return 0; /* the socket itself gets nothing */
}

/* Marks one flow of the list of requests; run as often as there are requests (BPF_PROG_TEST_RUN's repeat). */
SEC("tc")
int close_flow(struct __sk_buff *ctx)
{
	struct close_request *request = next_close_request();
	struct flow *flow;

	if (!request)
		return TC_ACT_UNSPEC;
	flow = lookup_flow_by_key(&request->key, request->family == 4);
	if (flow && flow->id == request->id)
		flow->state = FLOW_CLOSING;
	return TC_ACT_UNSPEC;
}

