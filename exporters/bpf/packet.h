/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The differences between libbpf, bcc and a native build (fuzzing), and nothing else: types, maps, parameters, packet bytes.
 * Everything below this header reads packets by need() and maps by the functions of flows.bpf.c.
 */
#ifndef SKYTRAIL_PACKET_H
#define SKYTRAIL_PACKET_H

#if defined(SKYTRAIL_NATIVE)
#include <stdbool.h>
#include <string.h>
#include <linux/types.h>
struct __sk_buff;
#elif defined(SKYTRAIL_BCC)
#include <uapi/linux/bpf.h>
#else
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#endif

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the objects are built for little-endian machines (amd64, arm64)"
#endif
#define be16(x) __builtin_bswap16(x)
#define be32(x) __builtin_bswap32(x)
#define be64(x) __builtin_bswap64(x)

#ifndef offsetof
#define offsetof(type, field) __builtin_offsetof(type, field)
#endif
#define READ_ONCE(x) (*(volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile typeof(x) *)&(x) = (v))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/*
 * Unaligned reads and writes. BPF's verifier allows them where the machine does (amd64, arm64); told the truth about the
 * alignment, clang would go byte by byte.
 */
#if defined(SKYTRAIL_NATIVE)
struct bytes2 { __u16 v; } __attribute__((packed));
struct bytes4 { __u32 v; } __attribute__((packed));
struct bytes8 { __u64 v; } __attribute__((packed));
#define raw16(p) (((const struct bytes2 *)(p))->v)
#define raw32(p) (((const struct bytes4 *)(p))->v)
#define raw64(p) (((const struct bytes8 *)(p))->v)
#define put32(p, x) (((struct bytes4 *)(p))->v = (x))
#define put64(p, x) (((struct bytes8 *)(p))->v = (x))
#else
#define raw16(p) (*(const __u16 *)(p))
#define raw32(p) (*(const __u32 *)(p))
#define raw64(p) (*(const __u64 *)(p))
#define put32(p, x) (*(__u32 *)(p) = (x))
#define put64(p, x) (*(__u64 *)(p) = (x))
#endif
#define get16(p) be16(raw16(p))
#define get32(p) be32(raw32(p))

#endif
