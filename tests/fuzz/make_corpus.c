/* Writes the seeds of the fuzzers that are no text: make_corpus DIRECTORY
 *
 * Each is a short, valid input of its kind: from there the fuzzer finds the rest. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "depot/caibx.h"
#include "lib/file.h"
#include "lib/message.h"
#include "lib/path.h"
#include "lib/wire.h"

#define PIECES 0xf8 /* the rest of the input at once; see fuzz_frame_host.c */

static const char *corpus;
static int failures;

static void put(const char *target, const char *name, const void *data, size_t length)
{
	autofree char *directory = path_format("%s/%s", corpus, target);
	autofree char *path = path_format("%s/%s/%s", corpus, target, name);

	if (file_make_dirs(directory, 0755) < 0 ||
		file_replace(AT_FDCWD, path, data, length, 0644) < 0) {
		fprintf(stderr, "cannot write %s\n", path);
		failures++;
	}
}

static struct hello_guest good_hello(void)
{
	return (struct hello_guest){
		.magic = MESSAGE_MAGIC,
		.version_min = 1,
		.version_max = MESSAGE_VERSION,
		.agent_version = "0.1.0",
		.kernel = "6.1.0-amd64",
		.init = "wnodes",
		.cpus = 2,
		.memory_kib = 1 << 20,
		.uptime_us = 1900000,
	};
}

static void add_byte(struct buffer *b, uint8_t byte)
{
	buffer_append(b, &byte, 1);
}

static void put_host_hello(void)
{
	struct buffer b AUTO(buffer_done) = {0};
	struct hello_guest hello = good_hello();

	add_byte(&b, 0);
	message_append_frame(&b, FRAME_HELLO, 0, 0, hello_guest_fields, &hello);
	put("frame_host", "hello", buffer_head(&b), b.len);
}

/* Answers to the calls 1 and 2, and to the EXECs 3 and 4. */
static void put_host_answers(void)
{
	struct buffer b AUTO(buffer_done) = {0};

	add_byte(&b, PIECES | 3);
	for (uint32_t id = 4; id >= 1; id--) {
		const struct reply reply = {.error = id == 4 ? ENOENT : 0,
			.reason = id == 4 ? "exec: cannot run 'true'" : "",
			.body = {(const uint8_t *)"body", 4}};
		message_append_frame(&b, FRAME_REPLY, id, 0, reply_fields, &reply);
	}
	put("frame_host", "answers", buffer_head(&b), b.len);
}

static void put_host_stream(void)
{
	const struct exit_status status = {.exited = 1, .code = 3, .max_rss_kib = 1000};
	const struct credit credit = {100};
	struct buffer b AUTO(buffer_done) = {0};

	add_byte(&b, PIECES | 7);
	frame_append(&b, FRAME_DATA, 3, FRAME_STDOUT, "output", 6);
	frame_append(&b, FRAME_DATA, 4, FRAME_STDERR, "errors!", 7);
	message_append_frame(&b, FRAME_CREDIT, 3, FRAME_STDIN, credit_fields, &credit);
	frame_append(&b, FRAME_DATA, 3, FRAME_STDOUT, NULL, 0);
	frame_append(&b, FRAME_DATA, 3, FRAME_STDERR, NULL, 0);
	message_append_frame(&b, FRAME_EXIT, 3, 0, exit_status_fields, &status);
	frame_append(&b, FRAME_DATA, 3, FRAME_STDOUT, "late", 4);
	put("frame_host", "stream", buffer_head(&b), b.len);
}

/* A whole window of output, in small pieces. */
static void put_host_window(void)
{
	static const uint8_t data[FRAME_DATA_MAX];
	struct buffer b AUTO(buffer_done) = {0};

	add_byte(&b, 7 | 31 << 3);
	frame_append(&b, FRAME_DATA, 4, FRAME_STDOUT, data, sizeof(data) - 1);
	frame_append(&b, FRAME_DATA, 4, FRAME_STDOUT, data, 1000);
	put("frame_host", "window", buffer_head(&b), b.len);
}

/* `table` is the message's place in fuzz_message.c. */
static void put_message(
	const char *name, uint8_t table, const struct message_field *fields, const void *message)
{
	struct buffer b AUTO(buffer_done) = {0};

	add_byte(&b, table);
	message_encode(fields, message, &b);
	put("message", name, buffer_head(&b), b.len);
}

static void put_messages(void)
{
	static const char *words[] = {"one", "", "three", NULL};
	uint32_t numbers[] = {1, 2, UINT32_MAX};
	const struct hello_guest hello = good_hello();
	const struct reply reply = {.error = 2, .reason = "no", .body = {(const uint8_t *)"x", 1}};
	const struct account account = {.uid = 1000,
		.gid = 1000,
		.name = "me",
		.home = "/home/me",
		.gids = {numbers, 3},
		.group_names = words};
	const struct mount_request mount = {
		.type = "9p", .source = "share0", .target = "/home", .options = "cache=mmap"};
	const struct probe probe = {.filesystems = (const char *[]){"9p", "ext4", "fuse", NULL},
		.os_name = "Debian GNU/Linux 12",
		.os_id = "debian 12"};
	const struct exec_request exec = {
		.argv = words, .env = words, .workdir = "/", .limits = {numbers, 3}};

	put_message("hello", 0, hello_guest_fields, &hello);
	put_message("reply", 2, reply_fields, &reply);
	put_message("account", 5, account_fields, &account);
	put_message("mount", 6, mount_request_fields, &mount);
	put_message("probe", 11, probe_fields, &probe);
	put_message("exec", 13, exec_request_fields, &exec);
}

/* The headers that kernel_parse() looks at, with a payload behind them. */
static void put_bzimage(const char *name, const void *magic, size_t length)
{
	uint8_t image[0x600] = {0};

	image[0x1f1] = 1;
	le16_store(image + 0x1fe, 0xaa55);
	memcpy(image + 0x202, "HdrS", 4);
	le16_store(image + 0x206, 0x020f);
	le32_store(image + 0x248, 0);
	le32_store(image + 0x24c, 0x40);
	memcpy(image + 0x400, magic, length);
	le32_store(image + 0x43c, 1 << 20);
	put("kernel", name, image, sizeof(image));
}

/* An ELF file with one segment of notes, and in it Xen's note of the PVH entry. */
static void put_vmlinux(void)
{
	uint8_t elf[0xa0] = {0x7f, 'E', 'L', 'F', 2, 1, 1};

	le16_store(elf + 18, 62); /* x86-64 */
	le64_store(elf + 32, 64); /* program headers */
	le16_store(elf + 54, 56);
	le16_store(elf + 56, 1);
	le32_store(elf + 64, 4); /* PT_NOTE */
	le64_store(elf + 64 + 8, 0x80);
	le64_store(elf + 64 + 32, 20);
	le32_store(elf + 0x80, 4);
	le32_store(elf + 0x84, 4);
	le32_store(elf + 0x88, 18);
	memcpy(elf + 0x8c, "Xen", 4);
	put("kernel", "vmlinux", elf, sizeof(elf));
}

static void put_kernels(void)
{
	put_bzimage("xz",
		"\xfd"
		"7zXZ",
		6);
	put_bzimage("lz4", "\x02\x21\x4c\x18", 4);
	put_bzimage("gzip", "\x1f\x8b", 2);
	put_vmlinux();
}

static void put_disks(void)
{
	uint8_t qcow2[112] = {'Q', 'F', 'I', 0xfb, 0, 0, 0, 3}, raw[512] = {0};

	qcow2[23] = 16;   /* cluster bits */
	qcow2[28] = 1;    /* 16 MiB, big endian */
	qcow2[103] = 112; /* length of the header */
	put("diskformat", "qcow2", qcow2, sizeof(qcow2));
	qcow2[79] = 4; /* data in another file */
	put("diskformat", "qcow2-data-file", qcow2, sizeof(qcow2));
	le16_store(raw + 510, 0xaa55);
	put("diskformat", "raw", raw, sizeof(raw));
	put("diskformat", "vmdk", "KDMV\1\0\0\0", 8);
}

static void put_index(const char *name, size_t count)
{
	struct buffer b AUTO(buffer_done) = {0};
	struct caibx_chunk chunks[3] = {
		{.offset = 0, .size = 16384, .id = {1}},
		{.offset = 16384, .size = 262144, .id = {2}},
		{.offset = 278528, .size = 100, .id = {3}},
	};
	const struct caibx x = {
		.min = 16384, .average = 81920, .max = 262144, .count = count, .chunks = chunks};

	caibx_format(&x, &b);
	put("caibx", name, buffer_head(&b), b.len);
}

/* See fuzz_chunk.c: a promised size, and in its upper bit whether the id is right. */
static void put_chunk(const char *name, uint16_t promise, const uint8_t *data, size_t size)
{
	struct buffer b AUTO(buffer_done) = {0};

	add_byte(&b, (uint8_t)(promise >> 8));
	add_byte(&b, (uint8_t)promise);
	chunk_pack(data, size, &b);
	put("chunk", name, buffer_head(&b), b.len);
}

static void put_depot(void)
{
	uint8_t data[30000] = {0};

	put_index("empty", 0);
	put_index("three", 3);
	put_chunk("zeros", 0x8000 | sizeof(data), data, sizeof(data));
	put_chunk("bomb", 0x8000 | 100, data, sizeof(data));
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * i * i >> 9);
	put_chunk("noise", 0x8000 | 300, data, 300);
	put_chunk("other", 300, data, 300);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fputs("usage: make_corpus DIRECTORY\n", stderr);
		return EXIT_FAILURE;
	}
	corpus = argv[1];
	put_host_hello();
	put_host_answers();
	put_host_stream();
	put_host_window();
	put_messages();
	put_kernels();
	put_disks();
	put_depot();
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
