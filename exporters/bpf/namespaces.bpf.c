// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * Tells that network namespaces come: `created` when one is being made, `entered` when a task is in one that few were seen in.
 *
 * The exits of unshare, clone and setns have no tracepoint of their own: sys_exit, and any sys_exit_*, costs each call of
 * each task 90 ns, sched_switch costs each switch as much. So only `created` hangs on always, where it costs nobody: on
 * the allocation of per-CPU memory. At that time nobody is in the namespace yet: user space then hangs `entered` on for a
 * while, after which all who have been in the namespace before are found in /proc, and all who come after are told of.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define RING_BYTES 65536 /* a multiple of any page size */
#define MOST_SEEN 16384
#define MOST_TOLD 4

/* Who makes a namespace may leave it before anybody looks, and others enter it by a file: the first few are told of. */
struct told {
	__u32 tgid; /* the last */
	__u32 times;
};

/* By the cookie of the namespace; one that had to go for another is told of again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MOST_SEEN);
	__type(key, __u64);
	__type(value, struct told);
} seen SEC(".maps");

/* A record for each hint. When it is full, hints wait in it to be read, and one more would say the same. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, RING_BYTES);
} hints SEC(".maps");

static __attribute__((always_inline)) void hint(__u64 cookie)
{
	bpf_ringbuf_output(&hints, &cookie, sizeof(cookie), BPF_RB_FORCE_WAKEUP);
}

/*
 * TP_PROTO(unsigned long call_site, bool reserved, bool is_atomic, size_t size, ...): each namespace has one struct
 * linux_mib (net/ipv4/af_inet.c, ipv4_mib_init_net). Something else of that size is a hint for nothing.
 */
SEC("tp_btf/percpu_alloc_percpu")
int created(__u64 *ctx)
{
	if (ctx[3] == bpf_core_type_size(struct linux_mib))
		hint(0);
	return 0;
}

/* TP_PROTO(bool preempt, struct task_struct *prev, ...): a task leaves its CPU, in the namespace that it is in by then. */
SEC("tp_btf/sched_switch")
int entered(__u64 *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx[1];
	struct nsproxy *proxy = task->nsproxy;
	struct told first = {}, *told;
	__u64 cookie;

	if (!proxy) /* it ends */
		return 0;
	cookie = proxy->net_ns->net_cookie;
	told = bpf_map_lookup_elem(&seen, &cookie);
	if (!told) {
		first.tgid = task->tgid;
		first.times = 1;
		if (!bpf_map_update_elem(&seen, &cookie, &first, BPF_NOEXIST))
			hint(cookie);
	} else if (told->times < MOST_TOLD && told->tgid != task->tgid) {
		told->tgid = task->tgid;
		told->times++; /* another CPU's may be lost: then it is told of once more */
		hint(cookie);
	}
	return 0;
}

char _license[] SEC("license") = "GPL";
