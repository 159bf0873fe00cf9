// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * Why packets die: every packet that the kernel drops, with its reason, where and of which conversation; what TCP sends
 * again; resets. Nothing is told of one by one: two maps of counters, so that a storm of drops costs what counting costs.
 *
 * An skb is looked at wherever it dies: before its headers were pulled or after, with a device or without. What is in its
 * linear part is read in place (bpf_rdonly_cast), what is not by a dynptr. Kernels that lack these (6.1) count without the
 * conversation where no socket tells it.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "drops.h"

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
/* libbpf 1.3's, of a weak symbol */
#define exists(symbol) (!!(symbol))
#define be16(x) __builtin_bswap16(x)
#define be32(x) __builtin_bswap32(x)
#define be64(x) __builtin_bswap64(x)

#define ETH_IP 0x0800
#define ETH_IP6 0x86dd
#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ICMP6 58
#define PROTO_SCTP 132
#define AF_INET 2
#define AF_INET6 10
#define FRAGMENT_OFFSET 0x1fff
#define EXTENSIONS 4
#define TUNNEL_NONE 0 /* enum tunnel of flows.h */
#define TUNNEL_VXLAN 1
#define SYN_SENT 2
#define TIME_WAIT 6
#define NEW_SYN_RECV 12
#define EEXIST 17
#define VERSION_6_12 (6 << 16 | 12 << 8)

extern int LINUX_KERNEL_VERSION __kconfig;
extern void *bpf_rdonly_cast(const void *object, __u32 btf_id) __ksym __weak;
extern int bpf_dynptr_from_skb(struct __sk_buff *skb, __u64 flags, struct bpf_dynptr *pointer) __ksym __weak;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct drop_place);
	__type(value, __u64);
} places SEC(".maps");

/* Not growing on demand: nothing is allocated in a storm. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct drop_flow_key);
	__type(value, struct drop_flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct drop_tally);
} tallies SEC(".maps");

/* The side of the maps that is counted on. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} control SEC(".maps");

/* enum drop_end by the number of a reason: from the table in user space, which goes by names. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DROP_REASONS);
	__type(key, __u32);
	__type(value, __u32);
} reason_ends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct drop_tunnels);
} tunnels SEC(".maps");

struct tcp_sock___port {
	struct {
		struct {
			__be16 inet_sport;
		} __attribute__((preserve_access_index)) icsk_inet;
	} __attribute__((preserve_access_index)) inet_conn;
} __attribute__((preserve_access_index));

/* A conversation as it is found out, from source to destination. */
struct ends {
	__u8 family; /* 0: not known */
	__u8 proto;
	__u8 way;
	bool tunnel; /* id is its VNI; the ports are 0 and the tunnel's whichever way it goes */
	__be16 port[2];
	__u32 id;
	__be32 addr[2][4];
};

static __always_inline __u64 cookie_of(struct sock_common *sk)
{
	return sk->skc_net.net->net_cookie;
}

/*
 * The place of a device. What skb->dev holds is not always a device: a socket's queue keeps other things there
 * (udp_set_dev_scratch, rb_node). A namespace whose loopback device is in it is one; reading elsewhere gives 0, or the like.
 */
static __always_inline bool place_of_device(struct net_device *dev, struct drop_place *place)
{
	struct net *net;

	if (!dev)
		return false;
	net = dev->nd_net.net;
	if (!net || !net->loopback_dev || net->loopback_dev->nd_net.net != net)
		return false;
	place->netns = net->net_cookie;
	place->ifindex = dev->ifindex;
	return true;
}

static __always_inline bool of_inet(struct sock_common *sk)
{
	return sk->skc_family == AF_INET || sk->skc_family == AF_INET6;
}

static __always_inline void ends_of_socket(struct sock_common *sk, __u8 proto, struct ends *ends)
{
	ends->family = 4;
	ends->proto = proto;
	ends->port[0] = be16(sk->skc_num);
	ends->port[1] = sk->skc_dport;
	if (sk->skc_family == AF_INET) {
		ends->addr[0][0] = sk->skc_rcv_saddr;
		ends->addr[1][0] = sk->skc_daddr;
		return;
	}
	struct in6_addr local = sk->skc_v6_rcv_saddr, remote = sk->skc_v6_daddr;
	__builtin_memcpy(ends->addr[0], &local, 16);
	__builtin_memcpy(ends->addr[1], &remote, 16);
	if (ends->addr[1][0] || ends->addr[1][1] || ends->addr[1][2] != be32(0xffff)) {
		ends->family = 6;
		return;
	}
	/* IPv4 on an IPv6 socket */
	ends->addr[0][0] = ends->addr[0][3];
	ends->addr[1][0] = ends->addr[1][3];
#pragma clang loop unroll(full)
	for (int i = 1; i < 4; i++)
		ends->addr[0][i] = ends->addr[1][i] = 0;
}

/* Of a small socket (waiting to end, or half open) only the common part is there; those are TCP's. */
static __always_inline __u8 protocol_of(struct sock *sk)
{
	__u8 state = sk->__sk_common.skc_state;

	return state == TIME_WAIT || state == NEW_SYN_RECV ? PROTO_TCP : sk->sk_protocol;
}

/* The same conversation, seen from its other end. */
static __always_inline void reverse(struct ends *from, struct ends *to)
{
	*to = *from;
	to->port[0] = from->port[1];
	to->port[1] = from->port[0];
	__builtin_memcpy(to->addr[0], from->addr[1], 16);
	__builtin_memcpy(to->addr[1], from->addr[0], 16);
}

/* The port that a socket had, where it has been given back: so it is when a close() sends a reset. */
static __always_inline __be16 port_before(struct sock *sk)
{
	struct tcp_sock___port *tcp = (struct tcp_sock___port *)bpf_skc_to_tcp_sock(sk);

	return tcp ? tcp->inet_conn.icsk_inet.inet_sport : 0;
}

/* The ICMP type that belongs to one as question and answer do; 256: none. As flows know them (parse.h). */
static __always_inline __u32 counterpart(__u32 type, bool six)
{
	if (six ? (type >= 128 && type <= 131) || type == 144 || type == 145 : type == 0 || type == 8)
		return six ? type ^ 1 : type ^ 8;
	if (six ? (type >= 133 && type <= 136) || type == 139 || type == 140 : type == 9 || type == 10 || (type >= 13 && type <= 18))
		return type & 1 ? type + 1 : type - 1;
	return 256;
}

/* The first eight bytes behind the network header. */
static __always_inline void transport(__be16 first, __be16 second, __be16 third, struct ends *ends)
{
	bool six = ends->family == 6;
	__u32 type, other;

	if (ends->proto == PROTO_TCP || ends->proto == PROTO_UDP || ends->proto == PROTO_SCTP) {
		ends->port[0] = first;
		ends->port[1] = second;
	} else if (ends->proto == (six ? PROTO_ICMP6 : PROTO_ICMP)) {
		type = first & 0xff;
		other = counterpart(type, six);
		ends->port[0] = be16((__u16)type);
		ends->port[1] = be16((__u16)(other == 256 ? first >> 8 : other)); /* or the code */
		if (other == 256)
			ends->way = DROP_ONE_WAY;
		else if (six ? type == 128 || type == 129 : type == 0 || type == 8)
			ends->id = be16(third);
	}
}

/* Where an skb's data can be read. */
struct extent {
	__u32 data;   /* offset from its head: the dynptr begins here */
	__u32 linear; /* up to this offset it lies in one piece */
	struct bpf_dynptr *all;
};

static __always_inline bool load(struct extent in, __u32 at, void *to, __u32 bytes)
{
	return in.all && at >= in.data && !bpf_dynptr_read(to, bytes, in.all, at - in.data, 0);
}

static __always_inline bool read_ip(struct sk_buff *skb, struct extent in, __u32 at, struct iphdr *to)
{
	struct iphdr *ip;

	if (at + sizeof(*to) > in.linear)
		return load(in, at, to, sizeof(*to));
	ip = bpf_rdonly_cast(skb->head + at, bpf_core_type_id_kernel(struct iphdr));
	to->ihl = ip->ihl;
	to->version = ip->version;
	to->frag_off = ip->frag_off;
	to->protocol = ip->protocol;
	to->saddr = ip->saddr;
	to->daddr = ip->daddr;
	return true;
}

static __always_inline bool read_ip6(struct sk_buff *skb, struct extent in, __u32 at, struct ipv6hdr *to)
{
	struct ipv6hdr *ip;

	if (at + sizeof(*to) > in.linear)
		return load(in, at, to, sizeof(*to));
	ip = bpf_rdonly_cast(skb->head + at, bpf_core_type_id_kernel(struct ipv6hdr));
	to->version = ip->version;
	to->nexthdr = ip->nexthdr;
#pragma clang loop unroll(full)
	for (int i = 0; i < 4; i++) {
		to->saddr[i] = ip->saddr[i];
		to->daddr[i] = ip->daddr[i];
	}
	return true;
}

/* Eight bytes of whatever header, as 16-bit words. */
static __always_inline bool read_words(struct sk_buff *skb, struct extent in, __u32 at, struct udphdr *to)
{
	struct udphdr *words;

	if (at + sizeof(*to) > in.linear)
		return load(in, at, to, sizeof(*to));
	words = bpf_rdonly_cast(skb->head + at, bpf_core_type_id_kernel(struct udphdr));
	to->source = words->source;
	to->dest = words->dest;
	to->len = words->len;
	to->check = words->check;
	return true;
}

/* The protocol behind IPv6 extension headers, its header at *at; a later fragment has none to be read: *at is 0. */
static __always_inline __u8 behind_extensions(struct sk_buff *skb, struct extent in, __u8 next, __u32 *at)
{
	struct udphdr words;

	for (int i = 0; i < EXTENSIONS; i++) {
		if (next != 0 && next != 43 && next != 44 && next != 51 && next != 60)
			return next;
		if (!read_words(skb, in, *at, &words)) {
			*at = 0;
			return next;
		}
		__u8 length = words.source >> 8;
		__u8 kind = next;
		next = words.source & 0xff;
		if (kind == 44 && be16(words.dest) & 0xfff8) {
			*at = 0;
			return next;
		}
		*at += kind == 44 ? 8 : kind == 51 ? (length + 2) * 4 : (length + 1) * 8;
	}
	return next;
}

/* What a UDP packet carries, as parse.h knows it: the header behind UDP's begins at `at`. */
static __always_inline void tunnel(struct sk_buff *skb, struct extent in, __u32 at, struct ends *ends)
{
	__u32 zero = 0;
	struct drop_tunnels *known = bpf_map_lookup_elem(&tunnels, &zero);
	__u32 index = be16(ends->port[1]);
	struct udphdr words;
	__u8 kind;

	/* Before about Linux 6.15 the verifier forgets the bounds of a number whose bytes were swapped: say them anew. */
	asm volatile("" : "+r"(index));
	index &= 0xffff;
	kind = known ? known->kind[index] : TUNNEL_NONE;
	if (kind == TUNNEL_NONE || !read_words(skb, in, at, &words))
		return;
	/* VXLAN: a valid VNI; Geneve: version 0 */
	if (kind == TUNNEL_VXLAN ? !(be16(words.source) & 0x0800) : be16(words.source) & 0xc000)
		return;
	ends->tunnel = true;
	ends->port[0] = 0;
	ends->id = be16(words.len) << 8 | be16(words.check) >> 8;
}

/* The conversation of an skb, by its network header. */
static __always_inline void ends_of_packet(struct sk_buff *skb, struct ends *ends)
{
	__u32 at = skb->network_header, protocol = be16(skb->protocol);
	struct extent in = {};
	struct bpf_dynptr all;
	struct udphdr words;

	if (!at || !exists(bpf_rdonly_cast))
		return;
	in.data = skb->data - skb->head;
	in.linear = in.data + skb->len - skb->data_len;
	/* there since 6.4, for these programs since 6.12 */
	if (LINUX_KERNEL_VERSION >= VERSION_6_12 && exists(bpf_dynptr_from_skb) &&
	    !bpf_dynptr_from_skb((struct __sk_buff *)skb, 0, &all))
		in.all = &all;
	if (protocol == ETH_IP) {
		struct iphdr ip;

		if (!read_ip(skb, in, at, &ip) || ip.version != 4)
			return;
		ends->family = 4;
		ends->proto = ip.protocol;
		ends->addr[0][0] = ip.saddr;
		ends->addr[1][0] = ip.daddr;
		at = be16(ip.frag_off) & FRAGMENT_OFFSET ? 0 : at + ip.ihl * 4;
	} else if (protocol == ETH_IP6) {
		struct ipv6hdr ip;

		if (!read_ip6(skb, in, at, &ip) || ip.version != 6)
			return;
		ends->family = 6;
		__builtin_memcpy(ends->addr, ip.saddr, 16);
		__builtin_memcpy(ends->addr[1], ip.daddr, 16);
		at += sizeof(ip);
		ends->proto = behind_extensions(skb, in, ip.nexthdr, &at);
	}
	if (!ends->family || !at || !read_words(skb, in, at, &words))
		return;
	transport(words.source, words.dest, words.len, ends);
	if (ends->proto == PROTO_UDP)
		tunnel(skb, in, at + sizeof(words), ends);
}

static __always_inline bool is_echo_reply(struct ends *ends)
{
	return ends->family == 4 ? ends->proto == PROTO_ICMP && ends->port[0] == 0 && ends->port[1] == be16(8)
				 : ends->proto == PROTO_ICMP6 && ends->port[0] == be16(129);
}

static __always_inline bool descending(struct ends *ends)
{
	__u64 *a = (__u64 *)ends->addr[0], *b = (__u64 *)ends->addr[1];

	if (a[0] != b[0])
		return be64(a[0]) > be64(b[0]);
	if (a[1] != b[1])
		return be64(a[1]) > be64(b[1]);
	return !ends->tunnel && be16(ends->port[0]) > be16(ends->port[1]);
}

static __always_inline void count_flow(struct drop_place *place, struct ends *ends, __u64 packets, struct drop_tally *tally)
{
	bool swap = ends->way == DROP_PLAIN && descending(ends);
	struct drop_flow_key key = {};
	struct drop_flow *flow, first = {};
	long error;

	key.netns = place->netns;
	key.reason = place->reason;
	key.kind = place->kind;
	key.side = place->side;
	key.family = ends->family;
	key.proto = ends->proto;
	key.way = ends->way;
	key.id = ends->id;
	__builtin_memcpy(key.addr[0], swap ? ends->addr[1] : ends->addr[0], 16);
	__builtin_memcpy(key.addr[1], swap ? ends->addr[0] : ends->addr[1], 16);
	key.port[0] = swap && !ends->tunnel ? ends->port[1] : ends->port[0];
	key.port[1] = swap && !ends->tunnel ? ends->port[0] : ends->port[1];
	flow = bpf_map_lookup_elem(&flows, &key);
	if (!flow) {
		error = bpf_map_update_elem(&flows, &key, &first, BPF_NOEXIST);
		if (!error || error == -EEXIST) /* another CPU was first */
			flow = bpf_map_lookup_elem(&flows, &key);
	}
	if (!flow) {
		__sync_fetch_and_add(&tally->flows_full, packets);
		return;
	}
	__sync_fetch_and_add(&flow->packets[swap & 1], packets);
	if (place->ifindex)
		flow->ifindex = place->ifindex;
}

static __always_inline void count(struct drop_place *place, struct ends *ends, __u64 packets)
{
	__u32 zero = 0, *side = bpf_map_lookup_elem(&control, &zero);
	struct drop_tally *tally = bpf_map_lookup_elem(&tallies, &zero);
	__u64 *counter, none = 0;

	if (!side || !tally)
		return;
	place->side = *side & 1;
	__sync_fetch_and_add(&tally->seen, packets);
	counter = bpf_map_lookup_elem(&places, place);
	if (!counter) {
		bpf_map_update_elem(&places, place, &none, BPF_NOEXIST);
		counter = bpf_map_lookup_elem(&places, place);
	}
	if (counter)
		__sync_fetch_and_add(counter, packets);
	else
		__sync_fetch_and_add(&tally->places_full, packets);
	if (ends->family)
		count_flow(place, ends, packets, tally);
	else
		__sync_fetch_and_add(&tally->without_flow, packets);
}

/* TP_PROTO(struct sk_buff *skb, void *location, enum skb_drop_reason reason, struct sock *rx_sk): the last one not in all kernels */
SEC("tp_btf/kfree_skb")
int dropped(__u64 *ctx)
{
	struct sk_buff *skb = (struct sk_buff *)ctx[0];
	struct drop_place place = {.reason = (__u32)ctx[2], .kind = DROP_PACKET};
	__u32 *known = bpf_map_lookup_elem(&reason_ends, &place.reason), end = known ? *known : DROP_COUNTED;
	struct sock *sk = skb->sk;
	struct ends ends = {};

	if (end == DROP_NORMAL)
		return 0;
	if (sk && !sk->__sk_common.skc_family)
		return 0; /* AF_UNSPEC: no packet, but what BPF_PROG_TEST_RUN was given, as our own closing of flows does it */
	if (bpf_core_field_exists(struct trace_event_raw_kfree_skb, rx_sk) && !sk)
		sk = (struct sock *)ctx[3];
	if (sk && !of_inet(&sk->__sk_common)) {
		if (!skb->dev && !skb->protocol)
			return 0; /* no packet of a network: AF_UNIX, netlink */
		sk = 0;
	}
	if (!sk && !skb->dev && !skb->protocol)
		return 0;
	if (!place_of_device(skb->dev, &place)) {
		struct drop_place routed = {};
		struct dst_entry *route = 0;

		if (exists(bpf_rdonly_cast))
			route = bpf_rdonly_cast((void *)(skb->_skb_refdst & ~1UL), bpf_core_type_id_kernel(struct dst_entry));
		if (route)
			place_of_device(route->dev, &routed);
		place.netns = sk ? cookie_of(&sk->__sk_common) : routed.netns;
		/* the device that it came by, or is to go by */
		place.ifindex = skb->skb_iif ? skb->skb_iif : routed.netns == place.netns ? routed.ifindex : 0;
	}
	ends_of_packet(skb, &ends);
	if (end == DROP_NORMAL_REPLY && is_echo_reply(&ends))
		return 0;
	if (!ends.family && sk && sk->__sk_common.skc_dport) {
		struct ends mine = {};

		ends_of_socket(&sk->__sk_common, protocol_of(sk), &mine);
		if (skb->skb_iif)
			reverse(&mine, &ends);
		else
			ends = mine;
	}
	count(&place, &ends, 1);
	return 0;
}

/* TP_PROTO(const struct sock *sk, const struct sk_buff *skb, int err): where there is the last one, failures are told of too */
SEC("tp_btf/tcp_retransmit_skb")
int retransmitted(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct sk_buff *skb = (struct sk_buff *)ctx[1];
	struct drop_place place = {.kind = DROP_RETRANSMIT};
	struct ends ends = {};
	__u64 segments = 1;

	if (bpf_core_field_exists(struct trace_event_raw_tcp_retransmit_skb, err) && (int)ctx[2])
		return 0;
	if (sk->__sk_common.skc_state == SYN_SENT)
		place.kind = DROP_SYN_AGAIN;
	if (exists(bpf_rdonly_cast)) {
		struct tcp_skb_cb *cb = bpf_rdonly_cast(skb->cb, bpf_core_type_id_kernel(struct tcp_skb_cb));

		if (cb->tcp_gso_segs)
			segments = cb->tcp_gso_segs;
	}
	place.netns = cookie_of(&sk->__sk_common);
	ends_of_socket(&sk->__sk_common, PROTO_TCP, &ends);
	count(&place, &ends, segments);
	return 0;
}

/* TP_PROTO(const struct sock *sk, const struct request_sock *req) */
SEC("tp_btf/tcp_retransmit_synack")
int synack_retransmitted(__u64 *ctx)
{
	struct request_sock *request = (struct request_sock *)ctx[1];
	struct drop_place place = {.kind = DROP_SYN_ACK_AGAIN};
	struct ends ends = {};

	place.netns = cookie_of(&request->__req_common);
	ends_of_socket(&request->__req_common, PROTO_TCP, &ends);
	count(&place, &ends, 1);
	return 0;
}

/*
 * TP_PROTO(const struct sock *sk, const struct sk_buff *skb, const enum sk_rst_reason reason): the last one not in all
 * kernels; skb is what is answered, or nothing, or (older kernels) the reset itself, with no header yet.
 */
SEC("tp_btf/tcp_send_reset")
int reset_sent(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct sk_buff *skb = (struct sk_buff *)ctx[1];
	struct drop_place place = {.kind = DROP_RESET_SENT};
	struct ends ends = {};

	if (bpf_core_field_exists(struct trace_event_raw_tcp_send_reset, reason))
		place.reason = (__u32)ctx[2];
	if (sk)
		place.netns = cookie_of(&sk->__sk_common);
	if (skb) {
		struct drop_place of_device = {};

		if (place_of_device(skb->dev, &of_device)) {
			place.netns = of_device.netns;
			place.ifindex = of_device.ifindex;
		}
	}
	if (sk && sk->__sk_common.skc_dport) {
		ends_of_socket(&sk->__sk_common, PROTO_TCP, &ends);
		if (!ends.port[0])
			ends.port[0] = port_before(sk);
	} else if (skb) { /* from whom it came is to whom the reset goes */
		struct ends came = {};

		ends_of_packet(skb, &came);
		reverse(&came, &ends);
	}
	count(&place, &ends, 1);
	return 0;
}

/* TP_PROTO(struct sock *sk) */
SEC("tp_btf/tcp_receive_reset")
int reset_received(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct drop_place place = {.kind = DROP_RESET_RECEIVED};
	struct ends mine = {}, ends;

	place.netns = cookie_of(&sk->__sk_common);
	ends_of_socket(&sk->__sk_common, PROTO_TCP, &mine);
	reverse(&mine, &ends);
	count(&place, &ends, 1);
	return 0;
}

char _license[] SEC("license") = "GPL";
