/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The parser of the flows program as a native fuzz target: no byte string makes it read out of bounds, loop, or say what
 * cannot be. Built and run by tests/exporters/bpf/test_fuzz.py, longer by "make fuzz".
 *
 * Input: a byte of choices, two bytes of wire length beyond the captured one, then the packet.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define SKYTRAIL_NATIVE
#include "packet.h"
#include "parse.h"

#define MOST_READS 200	   /* header look-ups of one packet: 4 levels of at most about 40 */
#define MOST_BEYOND 0x1000 /* how far a header's own length can move the position past the last one read */

static const uint8_t *packet;
static uint32_t packet_length, reads;
static bool copies;

#define check(condition)                                                                                  \
	do {                                                                                              \
		if (!(condition)) {                                                                       \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);           \
			abort();                                                                          \
		}                                                                                         \
	} while (0)

/* What the kernel does: in place, or a copy of so many bytes; nothing beyond the packet. */
static __u8 *header(struct source from, __u32 offset, __u8 *copy, __u32 bytes)
{
	(void)from;
	check(++reads < MOST_READS);
	check(bytes && bytes <= LONGEST);
	check(offset <= DEEPEST);
	if (offset + bytes > packet_length)
		return NULL;
	if (!copies)
		return (__u8 *)packet + offset;
	memcpy(copy, packet + offset, bytes);
	return copy;
}

static __u32 tunnel_of(__u16 port)
{
	return port == 4789 ? TUNNEL_VXLAN : port == 6081 ? TUNNEL_GENEVE : TUNNEL_NONE;
}

static int compare(const void *low, const void *high, size_t bytes)
{
	return memcmp(low, high, bytes);
}

static void check_level(const struct parse *p, struct level *l, bool first)
{
	__u8 kind = (l->family == 4 ? l->k4.tags : l->k6.tags) & KIND_MASK;

	check(l->family == 4 || l->family == 6 || l->family == 2);
	check(kind <= KIND_LINK);
	check((kind == KIND_LINK) == (l->family == 2));
	check(l->end <= p->length);
	check(first ? l->start == 0 || l->start == (__u32)-4 : l->start <= DEEPEST + MOST_BEYOND);
	check(l->reversed <= 1 && l->asks <= 2);
	check(l->quote <= DEEPEST + MOST_BEYOND);
	check(l->vlans <= FLOW_VLANS);
	check(!(l->tags >> (12 * FLOW_VLANS)));
	if (kind == KIND_ONE_WAY)
		check(!l->reversed);
	else if (l->family == 4)
		check(compare(&l->k4.addr[0], &l->k4.addr[1], 4) <= 0);
	else
		check(compare(l->k6.addr[0], l->k6.addr[1], 16) <= 0);
	if (kind == KIND_VXLAN || kind == KIND_GENEVE)
		check(l->id <= 0xffffff);
	if (kind == KIND_FRAGMENT)
		check(later_fragment(l) && !l->sport && !l->dport);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct parse p; /* not cleared between packets, as in the kernel */
	static const __u32 links[] = {NEXT_ETHERNET, NEXT_BY_NIBBLE, NEXT_COOKED, NEXT_COOKED2, NEXT_LOOPBACK, NEXT_OTHER};
	struct source from = {NULL, true};

	if (size < 3)
		return 0;
	reads = 0;
	copies = data[0] & 1;
	packet = data + 3;
	packet_length = (uint32_t)size - 3;
	p.captured = packet_length;
	p.length = packet_length + (data[1] << 8 | data[2]);
	p.gso = data[0] & 2 ? 1448 : 0;
	p.next = links[(data[0] >> 3 & 7) % 6];
	p.vlan_tci = data[0] & 4 && p.next == NEXT_ETHERNET ? 0x10000 | 0x0123 : 0;

	parse_packet(from, &p);
	check(p.count <= FLOW_LEVELS);
	check(p.count || links[(data[0] >> 3 & 7) % 6] == NEXT_BY_NIBBLE);
	check(position(&p) <= DEEPEST + MOST_BEYOND);
	for (__u32 i = 0; i < p.count; i++) {
		finish_key(&p.level[i]);
		check_level(&p, &p.level[i], !i);
	}
	return 0;
}
