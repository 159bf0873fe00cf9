/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Maps, parameters and clocks of flows.bpf.c for libbpf: BTF maps, read-only globals that the loader sets before load. */
#ifndef SKYTRAIL_FLOWS_LIBBPF_H
#define SKYTRAIL_FLOWS_LIBBPF_H

const volatile struct parameters parameters = {.sampling = 1};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct flow_key4);
	__type(value, struct flow);
} flows4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct flow_key6);
	__type(value, struct flow);
} flows6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct point);
} points SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tunnel_ports);
} tunnels SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FRAGMENTS);
	__type(key, struct fragment_key);
	__type(value, struct fragment);
} fragments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, QUOTES);
	__type(key, __u64);
	__type(value, struct quote);
} quotes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CLOSE_BATCH);
	__type(key, __u32);
	__type(value, struct close_request);
} close_requests SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} close_cursor SEC(".maps");

static __always_inline struct scratch *lookup_scratch(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&scratches, &zero);
}

static __always_inline struct point *lookup_point(__u32 slot)
{
	return bpf_map_lookup_elem(&points, &slot);
}

static __always_inline struct tunnel_ports *lookup_tunnel_ports(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&tunnels, &zero);
}

static __always_inline struct flow *lookup_flow(struct level *l)
{
	if (likely(l->family == 4))
		return bpf_map_lookup_elem(&flows4, &l->k4);
	return bpf_map_lookup_elem(&flows6, &l->k6);
}

static __always_inline struct flow *lookup_flow_by_key(struct flow_key6 *key, bool four)
{
	if (four)
		return bpf_map_lookup_elem(&flows4, key);
	return bpf_map_lookup_elem(&flows6, key);
}

static __always_inline long insert_flow(struct level *l, struct flow *flow)
{
	if (likely(l->family == 4))
		return bpf_map_update_elem(&flows4, &l->k4, flow, BPF_NOEXIST);
	return bpf_map_update_elem(&flows6, &l->k6, flow, BPF_NOEXIST);
}

static __always_inline struct fragment *lookup_fragment(struct fragment_key *key)
{
	return bpf_map_lookup_elem(&fragments, key);
}

static __always_inline void store_fragment(struct fragment_key *key, struct fragment *fragment)
{
	bpf_map_update_elem(&fragments, key, fragment, BPF_ANY);
}

static __always_inline void store_quote(__u64 *id, struct quote *quote)
{
	bpf_map_update_elem(&quotes, id, quote, BPF_ANY);
}

static __always_inline struct close_request *next_close_request(void)
{
	__u32 zero = 0, index, *cursor = bpf_map_lookup_elem(&close_cursor, &zero);

	if (!cursor)
		return 0;
	index = (*cursor)++;
	return bpf_map_lookup_elem(&close_requests, &index);
}

static __always_inline __u32 sampling(void)
{
	return parameters.sampling;
}

static __always_inline bool replaying(void)
{
	return parameters.replay;
}

char _license[] SEC("license") = "GPL";

#endif
