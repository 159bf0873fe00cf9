// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * Every socket of every process in every network namespace, in one pass; and what becomes of those that live shorter than
 * the time between two passes.
 *
 * The pass is an iterator over the files of all tasks: it costs some 1 us for a socket and less for any other file, and needs
 * no entering of namespaces. It sees what processes have open; what nobody has open any more (TIME_WAIT, SYN_RECV, closed but
 * not yet acknowledged) is asked of sock_diag in each namespace, by those who want it.
 *
 * Who opens a connection is known while connect() runs; who is connected to is the listener's owner, known since listen() or
 * from the first pass, which tells the listeners that were there before.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "sockets.h"

#define AF_INET 2
#define AF_INET6 10
#define PROTO_TCP 6
#define MOST_LISTENERS 16384
#define RING_BYTES (4 << 20)

#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_SYN_RECV 3
#define TCP_CLOSE 7
#define TCP_LISTEN 10

char _license[] SEC("license") = "GPL";

/* Of a connection, as long as its socket lives. */
struct opened {
	struct owner owner;
	__u64 at; /* connect(), CLOCK_MONOTONIC */
	__u64 established;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct opened);
} connections SEC(".maps");

struct listener {
	__u64 netns;
	__u8 addr[16]; /* zeros: any */
	__be16 port;
	__u16 proto;
	__u32 family; /* two may listen on any address, one of each */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MOST_LISTENERS);
	__type(key, struct listener);
	__type(value, struct owner);
} listeners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, RING_BYTES);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct socket_losses);
} losses SEC(".maps");

/* So that the object's BTF tells of them. */
struct socket_record *unused_record;
struct socket_event *unused_event;

#define inline __attribute__((always_inline))

static inline void lose(__u32 events, __u32 owners)
{
	__u32 zero = 0;
	struct socket_losses *counted = bpf_map_lookup_elem(&losses, &zero);

	if (!counted)
		return;
	counted->events += events;
	counted->owners += owners;
}

static inline bool is_inet(const struct sock *sk)
{
	return sk->__sk_common.skc_family == AF_INET || sk->__sk_common.skc_family == AF_INET6;
}

static inline void read_owner(struct owner *owner, const struct task_struct *task, __u32 uid)
{
	const struct task_struct *first = task->group_leader;

	owner->started = first->start_boottime;
	owner->cgroup = task->cgroups->dfl_cgrp->kn->id;
	owner->pid = task->tgid;
	owner->uid = uid;
	__builtin_memcpy(owner->comm, first->comm, sizeof(owner->comm));
}

static inline void read_ends(struct endpoints *ends, const struct sock *sk)
{
	const struct sock_common *common = &sk->__sk_common;

	ends->netns = common->skc_net.net->net_cookie;
	ends->inode = common->skc_net.net->ns.inum;
	ends->port[0] = __builtin_bswap16(common->skc_num);
	ends->port[1] = common->skc_dport;
	ends->state = common->skc_state;
	ends->proto = sk->sk_protocol;
	if (common->skc_family == AF_INET) {
		ends->family = 4;
		__builtin_memcpy(ends->addr[0], &common->skc_rcv_saddr, 4);
		__builtin_memcpy(ends->addr[1], &common->skc_daddr, 4);
	} else {
		ends->family = 6;
		__builtin_memcpy(ends->addr[0], &common->skc_v6_rcv_saddr, 16);
		__builtin_memcpy(ends->addr[1], &common->skc_v6_daddr, 16);
	}
}

static inline void read_progress(struct progress *progress, const struct tcp_sock *tcp)
{
	progress->sent = tcp->bytes_sent;
	progress->received = tcp->bytes_received;
	progress->rtt = tcp->srtt_us >> 3;
	progress->rtt_deviation = tcp->mdev_us >> 2;
	progress->cwnd = tcp->snd_cwnd;
	progress->mss = tcp->mss_cache;
	progress->retransmits = tcp->total_retrans;
}

/* Of UDP's, Linux 6.18 counts elsewhere. */
static inline __u32 drops_of(const struct sock *sk)
{
	if (bpf_core_field_exists(sk->sk_drop_counters)) {
		const struct numa_drop_counters *counters = sk->sk_drop_counters;

		if (counters)
			return counters->drops0.counter + counters->drops1.counter;
	}
	return sk->sk_drops.counter;
}

/* A listener of before: connections to it have its owner. */
static inline void remember_listener(const struct endpoints *ends, const struct owner *owner)
{
	struct listener key = {
		.netns = ends->netns, .port = ends->port[0], .proto = ends->proto, .family = ends->family,
	};

	__builtin_memcpy(key.addr, ends->addr[0], sizeof(key.addr));
	if (bpf_map_update_elem(&listeners, &key, owner, BPF_ANY))
		lose(0, 1);
}

SEC("iter/task_file")
int sockets(struct bpf_iter__task_file *ctx)
{
	struct socket_record record = {};
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct socket *socket;
	struct tcp_sock *tcp;
	struct sock *sk;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk || !is_inet(sk))
		return 0;
	read_owner(&record.owner, task, sk->sk_uid.val);
	read_ends(&record.ends, sk);
	record.cookie = bpf_get_socket_cookie(sk);
	record.inode = file->f_inode->i_ino;
	record.fd = ctx->fd;
	record.device = sk->__sk_common.skc_bound_dev_if;
	record.type = sk->sk_type;
	record.only6 = BPF_CORE_READ_BITFIELD(&sk->__sk_common, skc_ipv6only);
	record.drops = drops_of(sk);
	tcp = record.ends.proto == PROTO_TCP ? bpf_skc_to_tcp_sock(sk) : 0;
	if (record.ends.state == TCP_LISTEN) {
		record.receive_queue = sk->sk_ack_backlog;
		record.send_queue = sk->sk_max_ack_backlog;
		remember_listener(&record.ends, &record.owner);
	} else if (tcp) {
		read_progress(&record.tcp, tcp);
		record.receive_queue = tcp->rcv_nxt - tcp->copied_seq;
		record.send_queue = tcp->write_seq - tcp->snd_una;
	} else {
		record.receive_queue = sk->sk_backlog.rmem_alloc.counter;
		record.send_queue = sk->sk_wmem_alloc.refs.counter - 1; /* one is the socket's own */
	}
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}

static inline void tell(struct sock *sk, __u32 kind, __u8 before, __u16 proto, const struct opened *opened)
{
	struct socket_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	struct tcp_sock *tcp;

	if (!event) {
		lose(1, 0);
		return;
	}
	__builtin_memset(event, 0, sizeof(*event));
	if (opened)
		event->owner = opened->owner;
	read_ends(&event->ends, sk);
	event->ends.state = before;
	event->cookie = bpf_get_socket_cookie(sk);
	event->at = bpf_ktime_get_ns();
	event->error = sk->sk_err;
	event->kind = kind;
	if (opened && opened->at && (kind == SOCKET_CONNECTED || kind == SOCKET_FAILED))
		event->latency = event->at - opened->at;
	tcp = proto == PROTO_TCP ? bpf_skc_to_tcp_sock(sk) : 0;
	if (tcp) {
		read_progress(&event->tcp, tcp);
		event->ends.port[0] = tcp->inet_conn.icsk_inet.inet_sport; /* skc_num is 0 by the time it is closed */
	}
	bpf_ringbuf_submit(event, 0);
}

static inline struct opened *remember(struct sock *sk)
{
	struct opened *opened = bpf_sk_storage_get(&connections, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!opened)
		lose(0, 1);
	return opened;
}

static inline struct owner *listener_of(const struct endpoints *ends)
{
	struct listener key = {
		.netns = ends->netns, .port = ends->port[0], .proto = ends->proto, .family = ends->family,
	};
	struct owner *owner;

	__builtin_memcpy(key.addr, ends->addr[0], sizeof(key.addr));
	owner = bpf_map_lookup_elem(&listeners, &key);
	if (owner)
		return owner;
	__builtin_memset(key.addr, 0, sizeof(key.addr));
	return bpf_map_lookup_elem(&listeners, &key);
}

static inline void accepted(struct sock *sk)
{
	struct endpoints ends = {};
	struct owner *owner;
	struct opened *opened = remember(sk);

	if (!opened)
		return;
	read_ends(&ends, sk);
	owner = listener_of(&ends);
	if (owner)
		opened->owner = *owner;
	opened->established = bpf_ktime_get_ns();
}

/* TP_PROTO(const struct sock *sk, const int oldstate, const int newstate) */
SEC("tp_btf/inet_sock_set_state")
int state_set(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	int before = ctx[1], after = ctx[2];
	struct opened *opened;
	__u16 proto;

	if (!is_inet(sk))
		return 0;
	proto = sk->sk_protocol;
	if (after == TCP_SYN_SENT && before == TCP_CLOSE) {
		opened = remember(sk);
		if (opened) {
			read_owner(&opened->owner, bpf_get_current_task_btf(), sk->sk_uid.val);
			opened->at = bpf_ktime_get_ns();
			opened->established = 0;
		}
	} else if (after == TCP_LISTEN) {
		struct endpoints ends = {};
		struct owner owner = {};

		read_ends(&ends, sk);
		read_owner(&owner, bpf_get_current_task_btf(), sk->sk_uid.val);
		remember_listener(&ends, &owner);
	} else if (after == TCP_ESTABLISHED && (before == TCP_SYN_SENT || before == TCP_SYN_RECV)) {
		opened = bpf_sk_storage_get(&connections, sk, 0, 0);
		if (before == TCP_SYN_SENT || (opened && opened->at)) { /* or both ends opened at once */
			if (opened)
				opened->established = bpf_ktime_get_ns();
			tell(sk, SOCKET_CONNECTED, before, proto, opened);
		} else {
			accepted(sk);
			tell(sk, SOCKET_ACCEPTED, before, proto, bpf_sk_storage_get(&connections, sk, 0, 0));
		}
	} else if (after == TCP_CLOSE && before != TCP_LISTEN && before != TCP_CLOSE) {
		opened = bpf_sk_storage_get(&connections, sk, 0, 0);
		tell(sk, before == TCP_SYN_SENT ? SOCKET_FAILED : SOCKET_CLOSED, before, proto, opened);
	}
	return 0;
}

/* On the first cgroup: a process opens a socket. Connections are told of when they are made. */
SEC("cgroup/sock_create")
int created(struct bpf_sock *ctx)
{
	struct socket_event *event;

	if ((ctx->family != AF_INET && ctx->family != AF_INET6) || ctx->protocol == PROTO_TCP)
		return 1;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		lose(1, 0);
		return 1;
	}
	__builtin_memset(event, 0, sizeof(*event));
	read_owner(&event->owner, bpf_get_current_task_btf(), bpf_get_current_uid_gid());
	event->ends.netns = bpf_get_netns_cookie(ctx);
	event->ends.proto = ctx->protocol;
	event->ends.family = ctx->family == AF_INET ? 4 : 6;
	event->cookie = bpf_get_socket_cookie(ctx);
	event->at = bpf_ktime_get_ns();
	event->kind = SOCKET_CREATED;
	bpf_ringbuf_submit(event, 0);
	return 1;
}
