/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Maps, parameters and clocks of flows.bpf.c for bcc: its own map declarations and method calls, which it rewrites; the
 * loader gives sizes by -D. The order of functions is that of flows_libbpf.h.
 */
#ifndef SKYTRAIL_FLOWS_BCC_H
#define SKYTRAIL_FLOWS_BCC_H

#define SEC(name)

BPF_F_TABLE("hash", struct flow_key4, struct flow, flows4, MAX_FLOWS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", struct flow_key6, struct flow, flows6, MAX_FLOWS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("percpu_array", __u32, struct point, points, MAX_POINTS, 0);
BPF_F_TABLE("array", __u32, struct tunnel_ports, tunnels, 1, 0);
BPF_F_TABLE("lru_hash", struct fragment_key, struct fragment, fragments, FRAGMENTS, 0);
BPF_F_TABLE("lru_hash", __u64, struct quote, quotes, QUOTES, 0);
BPF_F_TABLE("array", __u32, struct close_request, close_requests, CLOSE_BATCH, 0);
BPF_F_TABLE("array", __u32, __u32, close_cursor, 1, 0);
BPF_F_TABLE("percpu_array", __u32, struct scratch, scratches, 1, 0);
BPF_TABLE("array", __u32, struct parameters, parameters, 1);

static __always_inline struct scratch *lookup_scratch(void)
{
	__u32 zero = 0;
	return scratches.lookup(&zero);
}

static __always_inline struct point *lookup_point(__u32 slot)
{
	return points.lookup(&slot);
}

static __always_inline struct tunnel_ports *lookup_tunnel_ports(void)
{
	__u32 zero = 0;
	return tunnels.lookup(&zero);
}

static __always_inline struct flow *lookup_flow(struct level *l)
{
	if (likely(l->family == 4))
		return flows4.lookup(&l->k4);
	return flows6.lookup(&l->k6);
}

static __always_inline struct flow *lookup_flow_by_key(struct flow_key6 *key, bool four)
{
	if (four)
		return flows4.lookup((struct flow_key4 *)key);
	return flows6.lookup(key);
}

static __always_inline long insert_flow(struct level *l, struct flow *flow)
{
	if (likely(l->family == 4))
		return flows4.insert(&l->k4, flow);
	return flows6.insert(&l->k6, flow);
}

static __always_inline struct fragment *lookup_fragment(struct fragment_key *key)
{
	return fragments.lookup(key);
}

static __always_inline void store_fragment(struct fragment_key *key, struct fragment *fragment)
{
	fragments.update(key, fragment);
}

static __always_inline void store_quote(__u64 *id, struct quote *quote)
{
	quotes.update(id, quote);
}

static __always_inline struct close_request *next_close_request(void)
{
	__u32 zero = 0, index, *cursor = close_cursor.lookup(&zero);

	if (!cursor)
		return 0;
	index = (*cursor)++;
	return close_requests.lookup(&index);
}

static __always_inline struct parameters *lookup_parameters(void)
{
	__u32 zero = 0;
	return parameters.lookup(&zero);
}

static __always_inline __u32 sampling(void)
{
	struct parameters *p = lookup_parameters();
	return p ? p->sampling : 1;
}

static __always_inline bool replaying(void)
{
	struct parameters *p = lookup_parameters();
	return p && p->replay;
}

#endif
