#include "rsh/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "lib/wire.h"

#define MAGIC "WNRSH1\0"

/* For one that has connected and says nothing; nobody else is served meanwhile. */
#define ACCEPT_MS 2000

/* A VM that was killed is noticed within half a minute. */
#define KEEP_IDLE_S    10
#define KEEP_PAUSE_S   5
#define KEEP_TRIES     4
#define KEEP_UNSENT_MS 30000

struct greeting {
	uint8_t magic[8];
	uint8_t nonce[SIPHASH_SIZE];
};

struct proof {
	uint8_t nonce[SIPHASH_SIZE];
	uint8_t mac[SIPHASH_SIZE];
};

static int send_all(int fd, const void *data, size_t length)
{
	for (size_t done = 0; done < length;) {
		ssize_t n = send(fd, (const uint8_t *)data + done, length - done, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EPIPE;
		done += (size_t)n;
	}
	return 0;
}

/* Returns 1, 0 if the other end closed before the first byte, or negative errno. */
static int recv_all(int fd, void *data, size_t length)
{
	for (size_t done = 0; done < length;) {
		ssize_t n = recv(fd, (uint8_t *)data + done, length - done, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : done > 0 ? -ECONNRESET : 0;
		done += (size_t)n;
	}
	return 1;
}

static void set_patience(int fd, int ms)
{
	const struct timeval t = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)ms % 1000 * 1000};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

void link_settle(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_NODELAY, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S},
		{IPPROTO_TCP, TCP_KEEPINTVL, KEEP_PAUSE_S},
		{IPPROTO_TCP, TCP_KEEPCNT, KEEP_TRIES},
		{IPPROTO_TCP, TCP_USER_TIMEOUT, KEEP_UNSENT_MS},
	};

	set_patience(fd, 0);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
}

static int make_nonce(uint8_t ret[SIPHASH_SIZE])
{
	return getrandom(ret, SIPHASH_SIZE, 0) == SIPHASH_SIZE ? 0 : -EIO;
}

static void prove(const struct job *j, uint8_t who, const uint8_t server[SIPHASH_SIZE],
	const uint8_t client[SIPHASH_SIZE], uint8_t ret[SIPHASH_SIZE])
{
	uint8_t text[1 + 2 * SIPHASH_SIZE] = {who};

	memcpy(text + 1, server, SIPHASH_SIZE);
	memcpy(text + 1 + SIPHASH_SIZE, client, SIPHASH_SIZE);
	siphash(j->key, text, sizeof(text), ret);
}

/* In a time that does not depend on where they differ. */
static bool is_same(const uint8_t a[SIPHASH_SIZE], const uint8_t b[SIPHASH_SIZE])
{
	uint8_t difference = 0;

	for (size_t i = 0; i < SIPHASH_SIZE; i++)
		difference |= a[i] ^ b[i];
	return difference == 0;
}

static int client_greet(const struct job *j, int fd)
{
	struct greeting greeting;
	struct proof proof;
	uint8_t expected[SIPHASH_SIZE], mac[SIPHASH_SIZE];
	int r = recv_all(fd, &greeting, sizeof(greeting));

	if (r <= 0)
		return r < 0 ? r : -ECONNRESET;
	if (memcmp(greeting.magic, MAGIC, sizeof(greeting.magic)) != 0)
		return -EPROTO;
	r = make_nonce(proof.nonce);
	prove(j, 'c', greeting.nonce, proof.nonce, proof.mac);
	if (r == 0)
		r = send_all(fd, &proof, sizeof(proof));
	if (r < 0)
		return r;
	r = recv_all(fd, mac, sizeof(mac));
	if (r <= 0)
		return r < 0 && r != -ECONNRESET ? r : -EKEYREJECTED;
	prove(j, 's', greeting.nonce, proof.nonce, expected);
	return is_same(mac, expected) ? 0 : -EKEYREJECTED;
}

static int server_greet(const struct job *j, int fd)
{
	struct greeting greeting = {.magic = MAGIC};
	struct proof proof;
	uint8_t expected[SIPHASH_SIZE];
	int r = make_nonce(greeting.nonce);

	if (r == 0)
		r = send_all(fd, &greeting, sizeof(greeting));
	if (r < 0)
		return r;
	r = recv_all(fd, &proof, sizeof(proof));
	if (r <= 0)
		return r < 0 ? r : -ECONNRESET;
	prove(j, 'c', greeting.nonce, proof.nonce, expected);
	if (!is_same(proof.mac, expected))
		return -EKEYREJECTED;
	prove(j, 's', greeting.nonce, proof.nonce, expected);
	return send_all(fd, expected, sizeof(expected));
}

static int parse_address(const char *text, struct sockaddr_in *ret)
{
	*ret = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(JOB_PORT)};
	return inet_pton(AF_INET, text, &ret->sin_addr) == 1 ? 0 : -EINVAL;
}

int link_connect(const struct job *j, const char *address, int wait_ms, struct error *err)
{
	int fd autoclose = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in to;
	int r = fd < 0 ? -errno : parse_address(address, &to);

	if (r == 0)
		set_patience(fd, wait_ms);
	if (r == 0 && connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
		r = errno == EINPROGRESS ? -ETIMEDOUT : -errno;
	if (r == 0)
		r = client_greet(j, fd);
	if (r == -EKEYREJECTED)
		return fail(err, r, "%s does not have this job's key", address);
	if (r < 0)
		return fail_errno(err, r == -EAGAIN ? -ETIMEDOUT : r, "cannot reach %s", address);
	link_settle(fd);
	return TAKE_FD(fd);
}

int link_listen(const char *address, struct error *err)
{
	int fd autoclose = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_in at;

	if (fd < 0 || parse_address(address, &at) < 0)
		return fail(err, -EINVAL, "cannot listen on %s", address);
	/* Of tasks that begin at once exactly one is to get it. With SO_REUSEADDR all could bind,
	 * and then each be kept from listening by the others. */
	if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, SOMAXCONN) < 0)
		return fail_errno(err, -errno, "cannot listen on %s, port %d", address, JOB_PORT);
	return TAKE_FD(fd);
}

int link_accept(const struct job *j, int listener)
{
	int fd autoclose = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	set_patience(fd, ACCEPT_MS);
	r = server_greet(j, fd);
	return r < 0 ? r : TAKE_FD(fd);
}

int link_send(int fd, enum packet_type type, const void *data, size_t length)
{
	uint8_t header[PACKET_HEADER] = {(uint8_t)type};
	int r;

	le32_store(header + 4, (uint32_t)length);
	r = send_all(fd, header, sizeof(header));
	return r == 0 && length > 0 ? send_all(fd, data, length) : r;
}

int link_recv(int fd, struct packet *ret)
{
	uint8_t header[PACKET_HEADER];
	int r = recv_all(fd, header, sizeof(header));

	*ret = (struct packet){.data = NULL};
	if (r <= 0)
		return r;
	ret->type = (enum packet_type)header[0];
	ret->length = le32_load(header + 4);
	if (ret->length > PACKET_MAX)
		return -EPROTO;
	ret->data = calloc(1, (size_t)ret->length + 1);
	if (!ret->data)
		return -ENOMEM;
	r = ret->length > 0 ? recv_all(fd, ret->data, ret->length) : 1;
	if (r > 0)
		return 1;
	free(TAKE_PTR(ret->data));
	return r < 0 ? r : -ECONNRESET;
}
