/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets for tests: built from a description, checked from scratch, compared with a readable
 * difference. A description is a struct with designated initialisers; what is left out is
 * what an ordinary stack would send.
 */
#pragma once

#include <linux/types.h>
#include <stddef.h>
#include <stdio.h>

/* Below the page that BPF_PROG_TEST_RUN has for head room, data and shared info. */
#define BN_PACKET_MAX 3520
#define BN_PACKET_EXTS 12

enum bn_tcp_flag {
	BN_TCP_FIN = 1 << 0,
	BN_TCP_SYN = 1 << 1,
	BN_TCP_RST = 1 << 2,
	BN_TCP_PSH = 1 << 3,
	BN_TCP_ACK = 1 << 4,
	BN_TCP_URG = 1 << 5,
};

/* The flags and offset field of IPv4, host order. */
#define BN_IP_DF 0x4000
#define BN_IP_MF 0x2000

enum bn_checksum {
	BN_CSUM_RIGHT = 0,
	BN_CSUM_ZERO,  /* UDP over IPv4 without a checksum */
	BN_CSUM_WRONG, /* transport checksum off by some bits */
	BN_CSUM_WRONG_IP,
};

struct bn_mac {
	__u8 b[6];
};

/* An IPv6 extension header: its number and its bytes; next header and length are filled in. */
struct bn_ext {
	__u8 type;
	__u8 len;      /* bytes, a multiple of 8; 0: 8 */
	__u8 data[24]; /* from the third byte on */
};

struct bn_packet {
	__u8 data[BN_PACKET_MAX];
	size_t len;
	/* Offsets into data; 0 where there is none. */
	__u16 l3, l4, payload;
};

struct bn_packet_spec {
	struct bn_mac smac, dmac;
	const char *src, *dst; /* the family follows from src */
	__u8 protocol;         /* IPPROTO_* */
	__u16 sport, dport;
	/* link */
	__u16 ethertype; /* 0: what src says */
	__u16 vlan;      /* tag control information, 0: no tag */
	/* IP */
	__u8 tos;
	__u8 ttl; /* 0: 64 */
	__u16 id;
	__u16 frag;          /* flags and offset, IPv4 */
	const void *options; /* IPv4 */
	__u8 options_len;    /* multiple of 4 */
	struct bn_ext ext[BN_PACKET_EXTS];
	__u8 exts;
	__u32 flow_label;
	/* TCP; SCTP takes seq as its verification tag */
	__u8 tcp_flags;
	__u32 seq, ack;
	__u16 window;   /* 0: 0xffff */
	__u8 no_window; /* a window of 0 */
	const void *tcp_options;
	__u8 tcp_options_len;
	/* ICMP */
	__u8 type, code;
	__u16 icmp_id, icmp_seq; /* echo */
	__u32 icmp_rest;         /* the four bytes after the checksum, host order; not echo */
	/* what follows: `quote` from its IP header on (at most quote_len bytes, 0: all), or
	 * `payload` bytes of a counting pattern, or `bytes` */
	const struct bn_packet *quote;
	size_t quote_len;
	const void *bytes;
	size_t payload; /* length of `bytes` or of the pattern */
	enum bn_checksum checksum;
};

/* Builds the packet. A description that can't be built ends the process: it is the test's bug. */
void bn_packet_build(struct bn_packet *ret, const struct bn_packet_spec *spec);

/* `len` bytes at `offset` of the IP payload as a fragment, `more` fragments following. */
void bn_packet_fragment(struct bn_packet *ret, const struct bn_packet *whole, size_t offset,
			size_t len, int more, __u32 id);

/* Puts every checksum right, after bytes were changed by hand. */
void bn_packet_fix(struct bn_packet *p);

/* Checks lengths and every checksum from scratch. 0, or -EBADMSG with the reason in `why`. */
int bn_packet_verify(const struct bn_packet *p, char *why, size_t size);

/* 0 if equal; else prints what differs, with the field's name, and returns 1. */
int bn_packet_diff(FILE *to, const struct bn_packet *expected, const struct bn_packet *seen);
void bn_packet_dump(FILE *to, const struct bn_packet *p);

/* Finds l3, l4 and payload again from the bytes. */
void bn_packet_locate(struct bn_packet *p);

/* "address" to 16 bytes in the ABI's form; the family, 4 or 6. */
int bn_address_parse(const char *text, __u8 ret[16]);
