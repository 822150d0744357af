// SPDX-License-Identifier: Apache-2.0
/* Blocks are in the machine's byte order, as the section's header says. */
#include "pcapng.h"

#include <stdlib.h>
#include <string.h>

#define SECTION_HEADER 0x0a0d0d0au
#define INTERFACE 1u
#define ENHANCED_PACKET 6u
#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define ETHERNET 1u

#define SNAP_LEN 128u     /* bytes that the agent has of a packet */
#define COMMENT_MAX 4096u /* bytes */

enum {
	OPTION_END = 0,
	OPTION_COMMENT = 1,
	SECTION_APPLICATION = 4,
	INTERFACE_NAME = 2,
	INTERFACE_RESOLUTION = 9,
	PACKET_FLAGS = 2,
	PACKET_ID = 5,
	PACKET_VERDICT = 7,
};

struct bn_pcapng {
	FILE *f;
	char **devices;
	size_t n_devices;
	uint8_t block[SNAP_LEN + COMMENT_MAX + 256];
	size_t len;
};

static void put(struct bn_pcapng *w, const void *data, size_t len)
{
	if (w->len + len > sizeof(w->block))
		return;
	memcpy(w->block + w->len, data, len);
	w->len += len;
}

static void put_u32(struct bn_pcapng *w, uint32_t n)
{
	put(w, &n, sizeof(n));
}

static void put_u16(struct bn_pcapng *w, uint16_t n)
{
	put(w, &n, sizeof(n));
}

static void put_padded(struct bn_pcapng *w, const void *data, size_t len)
{
	static const uint8_t zeros[4];

	put(w, data, len);
	put(w, zeros, -len & 3);
}

static void put_option(struct bn_pcapng *w, uint16_t code, const void *value, size_t len)
{
	put_u16(w, code);
	put_u16(w, (uint16_t)len);
	put_padded(w, value, len);
}

static void begin(struct bn_pcapng *w, uint32_t type)
{
	w->len = 0;
	put_u32(w, type);
	put_u32(w, 0);
}

static bool end(struct bn_pcapng *w)
{
	uint32_t len;

	put_option(w, OPTION_END, NULL, 0);
	len = (uint32_t)(w->len + sizeof(len));
	put_u32(w, len);
	memcpy(w->block + 4, &len, sizeof(len));
	return fwrite(w->block, 1, w->len, w->f) == w->len;
}

struct bn_pcapng *bn_pcapng_new(FILE *f)
{
	static const char application[] = "bpfnet " BN_VERSION;
	static const uint8_t unknown_length[8] = {255, 255, 255, 255, 255, 255, 255, 255};
	struct bn_pcapng *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->f = f;
	begin(w, SECTION_HEADER);
	put_u32(w, BYTE_ORDER_MAGIC);
	put_u16(w, 1);
	put_u16(w, 0);
	put(w, unknown_length, sizeof(unknown_length));
	put_option(w, SECTION_APPLICATION, application, sizeof(application) - 1);
	(void)end(w); /* ferror() stays */
	return w;
}

/* The device's number, by a block of its own where it is new. */
static bool device_number(struct bn_pcapng *w, const char *name, uint32_t *ret)
{
	const uint8_t nanoseconds = 9;
	char **more;

	for (*ret = 0; *ret < w->n_devices; ++*ret) {
		if (strcmp(w->devices[*ret], name) == 0)
			return true;
	}
	more = realloc(w->devices, (w->n_devices + 1) * sizeof(*more));
	if (!more)
		return false;
	w->devices = more;
	w->devices[w->n_devices] = strdup(name);
	if (!w->devices[w->n_devices])
		return false;
	w->n_devices++;
	begin(w, INTERFACE);
	put_u16(w, ETHERNET);
	put_u16(w, 0);
	put_u32(w, SNAP_LEN);
	put_option(w, INTERFACE_NAME, name, strnlen(name, 64));
	put_option(w, INTERFACE_RESOLUTION, &nanoseconds, 1);
	return end(w);
}

bool bn_pcapng_write(struct bn_pcapng *w, const struct bn_pcapng_packet *p)
{
	size_t len = p->len < SNAP_LEN ? p->len : SNAP_LEN;
	struct {
		uint8_t kind;
		int64_t value;
	} __attribute__((packed)) verdict = {p->xdp ? 2 : 1, p->verdict};
	uint32_t device, flags = p->outbound ? 2 : 1;

	if (!device_number(w, p->device, &device))
		return false;
	begin(w, ENHANCED_PACKET);
	put_u32(w, device);
	put_u32(w, (uint32_t)(p->time >> 32));
	put_u32(w, (uint32_t)p->time);
	put_u32(w, (uint32_t)len);
	put_u32(w, (uint32_t)p->original_len);
	put_padded(w, p->data, len);
	put_option(w, OPTION_COMMENT, p->comment, strnlen(p->comment, COMMENT_MAX));
	put_option(w, PACKET_FLAGS, &flags, sizeof(flags));
	put_option(w, PACKET_ID, &p->number, sizeof(p->number));
	put_option(w, PACKET_VERDICT, &verdict, sizeof(verdict));
	return end(w);
}

void bn_pcapng_free(struct bn_pcapng *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < w->n_devices; i++)
		free(w->devices[i]);
	free(w->devices);
	free(w);
}
