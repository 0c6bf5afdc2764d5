/* In a guest: fills the memory and keeps all that costs the host memory busy at once.
 *
 *   memory-load SECONDS RESERVE [--code MIB] [--connect ADDRESS:PORT] [DIRECTORY...]
 *
 * All memory that is available but for RESERVE MiB is allocated and filled, one thread a CPU walks
 * over it at random (an emulator remembers each page), and beside that
 *
 *   DIRECTORY  a thread writes, reads and removes files there
 *   --code     so many MiB of machine code are called from end to end again and again (an emulator
 *              translates it)
 *   --connect  bytes are sent through CONNECTIONS connections and taken back
 *
 * Ends with a line of what was done. RESERVE 0 takes memory until there is none: it is then killed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MIB         ((size_t)1048576)
#define PAGE        ((size_t)4096)
#define FILE_BYTES  (24 * MIB)
#define PIECE       (500 * 1024)
#define CONNECTIONS 64
#define THREADS_MAX 200

static atomic_bool stop;
/* Threads that have all the memory that they will use. */
static atomic_ulong ready;
static atomic_ulong walked, file_bytes, net_bytes, code_calls;
static unsigned char *memory;
static size_t memory_bytes;
static struct sockaddr_in peer;

static void die(const char *what)
{
	fprintf(stderr, "memory-load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static size_t available_bytes(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	unsigned long kib = 0;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %lu", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return (size_t)kib * 1024;
}

/* Each page is written, with something that does not compress or merge. */
static void fill(size_t bytes)
{
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		die("mmap");
	memory_bytes = bytes;
	for (size_t at = 0; at < bytes; at += PAGE)
		*(uint64_t *)(void *)(memory + at) = at * 2654435761u + 1;
}

static void *walk(void *seed)
{
	uint64_t x = (uint64_t)(uintptr_t)seed * 88172645463325252u + 1;

	while (!stop) {
		for (int i = 0; i < 4096; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			memory[x % memory_bytes]++;
		}
		walked += 4096;
	}
	return NULL;
}

static void transfer(int fd, char *piece, bool writes)
{
	for (size_t done = 0; done < FILE_BYTES && !stop;) {
		ssize_t n = writes ? write(fd, piece, PIECE) : read(fd, piece, PIECE);

		if (n < 0)
			die("file");
		if (n == 0)
			break;
		done += (size_t)n;
		file_bytes += (size_t)n;
	}
}

static void *use_files(void *directory)
{
	char path[256], *piece = malloc(PIECE);

	if (!piece)
		die("malloc");
	memset(piece, 'x', PIECE);
	ready++;
	snprintf(path, sizeof(path), "%s/memory-load.%d", (const char *)directory, (int)getpid());
	while (!stop) {
		int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

		if (fd < 0)
			die(path);
		transfer(fd, piece, true);
		fsync(fd);
		lseek(fd, 0, SEEK_SET);
		transfer(fd, piece, false);
		close(fd);
		unlink(path);
	}
	return NULL;
}

/* Functions of 16 bytes: mov $N,%eax; jmp to the next, and a ret at the end of each page. */
static void *run_code(void *size)
{
	size_t bytes = (size_t)(uintptr_t)size;
	unsigned char *code = mmap(NULL, bytes, PROT_READ | PROT_WRITE | PROT_EXEC,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (code == MAP_FAILED)
		die("mmap");
	memset(code, 0x90, bytes);
	for (size_t at = 0; at < bytes; at += 16) {
		code[at] = 0xb8;
		memcpy(code + at + 1, &at, 4);
		code[at + 5] = 0xeb;
		code[at + 6] = 0x09;
		if (at % PAGE == PAGE - 16)
			code[at + 5] = 0xc3;
	}
	ready++;
	while (!stop)
		for (size_t at = 0; at < bytes && !stop; at += PAGE) {
			((int (*)(void))(void *)(code + at))();
			code_calls++;
		}
	return NULL;
}

static void *use_network(void *unused)
{
	static const char out[65536];
	bool first = true;
	char in[65536];

	(void)unused;
	while (!stop) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		ssize_t n = 1;

		if (fd < 0 || connect(fd, (const struct sockaddr *)&peer, sizeof(peer)) < 0)
			die("connect");
		for (int i = 0; i < 100 && n > 0 && !stop; i++) {
			n = send(fd, out, sizeof(out), MSG_NOSIGNAL);
			if (n > 0)
				n = recv(fd, in, sizeof(in), 0);
			net_bytes += n > 0 ? (size_t)n : 0;
			ready += first;
			first = false;
		}
		close(fd);
	}
	return NULL;
}

static pthread_t threads[THREADS_MAX];
static size_t thread_count;

static void start(void *(*what)(void *), void *argument)
{
	pthread_attr_t attributes;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 192 * 1024);
	if (thread_count == THREADS_MAX ||
		pthread_create(&threads[thread_count++], &attributes, what, argument) != 0)
		die("thread");
}

static void parse_peer(char *text)
{
	char *colon = strchr(text, ':');

	if (!colon)
		die("--connect");
	*colon = '\0';
	peer.sin_family = AF_INET;
	peer.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, text, &peer.sin_addr) != 1)
		die("--connect");
}

static void start_all(int argc, char **argv)
{
	for (int i = 3; i < argc; i++)
		if (strcmp(argv[i], "--code") == 0 && argv[i + 1]) {
			start(run_code, (void *)(uintptr_t)((size_t)atol(argv[++i]) * MIB));
		} else if (strcmp(argv[i], "--connect") == 0 && argv[i + 1]) {
			parse_peer(argv[++i]);
			for (int c = 0; c < CONNECTIONS; c++)
				start(use_network, NULL);
		} else {
			start(use_files, argv[i]);
		}
}

int main(int argc, char **argv)
{
	size_t reserve = argc > 2 ? (size_t)atol(argv[2]) * MIB : 0, free_now;

	if (argc < 3)
		return 2;
	start_all(argc, argv);
	for (int i = 0; i < 60 && ready < thread_count; i++) /* their own memory first */
		sleep(1);
	sleep(1);
	free_now = available_bytes();
	if (free_now <= reserve)
		reserve = free_now / 2;
	fill(reserve > 0 || atol(argv[2]) > 0 ? free_now - reserve : free_now * 4);
	for (long c = sysconf(_SC_NPROCESSORS_ONLN); c > 0; c--)
		start(walk, (void *)(uintptr_t)c);
	sleep((unsigned int)atoi(argv[1]));
	stop = true;
	for (size_t i = 0; i < thread_count; i++)
		pthread_join(threads[i], NULL);
	printf("filled %zu MiB, walked %lu pages, files %lu MiB, network %lu MiB, code %lu pages\n",
		memory_bytes / MIB, (unsigned long)walked, file_bytes / MIB, net_bytes / MIB,
		(unsigned long)code_calls);
	return 0;
}
