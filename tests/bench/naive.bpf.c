// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* The baseline for ns per packet: an IPv4 five-tuple counter and nothing else. Per-CPU hash; packets, bytes, last time. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct key {
	__u32 saddr, daddr;
	__u16 sport, dport;
	__u8 proto, pad[3];
};

struct val {
	__u64 packets, bytes, last_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 100000);
	__type(key, struct key);
	__type(value, struct val);
} counters SEC(".maps");

SEC("tc")
int naive(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return -1;
	struct key k = {.saddr = ip->saddr, .daddr = ip->daddr, .proto = ip->protocol};
	__u16 *ports = (void *)ip + 20;

	if ((void *)(ports + 2) > end)
		return -1;
	k.sport = ports[0];
	k.dport = ports[1];
	struct val *v = bpf_map_lookup_elem(&counters, &k);
	if (v) {
		v->packets++;
		v->bytes += skb->len;
		v->last_ns = bpf_ktime_get_ns();
	} else {
		struct val n = {1, skb->len, bpf_ktime_get_ns()};

		bpf_map_update_elem(&counters, &k, &n, BPF_ANY);
	}
	return -1;
}

char _license[] SEC("license") = "GPL";
