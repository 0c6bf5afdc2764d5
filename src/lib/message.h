/* The payloads of the agent protocol's control frames: one struct and one field table each.
 *
 * On the wire a message is its fields in the order of its table, little endian, nothing between:
 *   u8 u16 u32 u64    the number
 *   string            u32 length with its NUL, the bytes, NUL
 *   strings           u32 count, then as many strings
 *   numbers           u32 count, then as many u32
 *   bytes             u32 length, the bytes
 * A later protocol version may append fields: a decoder that knows fewer ignores the rest, one that
 * knows more sees zeros.
 */
#pragma once

#include "lib/frame.h"

#define MESSAGE_MAGIC   0x53444e57u /* "WNDS" */
#define MESSAGE_VERSION 1

/* Limits on what a message may make the receiver allocate; checked before allocation. */
#define MESSAGE_LIST_MAX 65536

struct message_bytes {
	const uint8_t *data;
	uint32_t length;
};

struct message_numbers {
	uint32_t *values;
	uint32_t count;
};

/* What an agent can do beyond the first of its protocol version: old ones send no such field. */
enum agent_feature {
	AGENT_FEATURE_TEMPLATE = 1 << 0, /* knows QUIESCE and how a clone resumes */
	AGENT_FEATURE_SSHFS = 1 << 1,    /* MOUNT of type "fuse.sshfs" */
	AGENT_FEATURE_REMOUNT = 1 << 2,  /* MOUNT with MOUNT_AGAIN */
};

/* FRAME_HELLO, guest to host: what the agent is. */
struct hello_guest {
	uint32_t magic;
	uint16_t version_min, version_max; /* protocol versions that it speaks */
	const char *agent_version;
	const char *kernel;  /* release, as uname(2) */
	const char *init;    /* "wnodes" if the agent is PID 1, else the name of PID 1 */
	uint32_t cpus;       /* on line */
	uint64_t memory_kib; /* MemTotal */
	uint64_t uptime_us;  /* CLOCK_BOOTTIME when the agent was ready */
	uint32_t features;   /* enum agent_feature */
};

/* FRAME_HELLO, host to guest: the version that both will speak. */
struct hello_host {
	uint32_t magic;
	uint16_t version;
};

/* FRAME_REPLY: how a call ended. */
struct reply {
	uint32_t error;            /* positive errno of the guest's Linux, 0 = done */
	const char *reason;        /* what failed, for a person; empty if error is 0 */
	struct message_bytes body; /* the call's own answer, a message too, or a file's bytes */
};

/* FRAME_IDENTITY: who this VM is. Empty strings leave a thing as it is. */
struct identity {
	const char *hostname;
	const char *machine_id; /* 32 hex digits */
	const char *hosts;      /* content of /etc/hosts */
	struct message_bytes entropy;
	const char *boot_id;        /* UUID, 36 characters */
	const char *ssh_key;        /* the file of a private key, as OpenSSH writes it */
	const char *ssh_public_key; /* its public half, one line; both or neither */
};

/* FRAME_CLOCK */
struct clock_set {
	uint64_t realtime_ns; /* since the epoch, UTC */
};

/* FRAME_ACCOUNT: the user that commands run as; made in the guest's /etc where missing. */
struct account {
	uint32_t uid, gid;
	const char *name;
	const char *gecos;
	const char *home;
	const char *shell;
	struct message_numbers gids; /* supplementary groups, and beside them their names */
	const char **group_names;
	const char *gid_name; /* name of the primary group */
};

enum mount_flag {
	MOUNT_READ_ONLY = 1 << 0,
	MOUNT_BIND = 1 << 1,
	MOUNT_NOSUID = 1 << 2,
	MOUNT_NODEV = 1 << 3,
	MOUNT_OWNED = 1 << 4, /* give the mounted root to uid:gid with mode */
	MOUNT_AGAIN = 1 << 5, /* in place of what is there, whose server has died */
};

/* FRAME_MOUNT: mounts one file system; the target directory is made, with its parents, if missing.
 */
struct mount_request {
	const char *type;   /* "9p", "ext4", "tmpfs", ... as mount(2) */
	const char *source; /* tag, device ("virtio-SERIAL" is looked up by serial), or directory */
	const char *target; /* absolute */
	const char *options;
	uint32_t flags;
	uint32_t uid, gid, mode; /* for MOUNT_OWNED */
};

/* FRAME_NETWORK: configures one interface; also brings up the loopback. */
struct network_request {
	const char *mac;     /* "52:54:00:..."; chooses the interface. Empty: loopback only */
	const char *address; /* IPv4, dotted */
	uint32_t prefix;
	const char *gateway;
	const char **nameservers;
	uint32_t mtu;     /* 0 = leave */
	const char *card; /* the address that the card has now and that `mac` replaces; empty: it
			   * has `mac` already */
	const char *address6; /* IPv6; empty: what the kernel does by itself */
	uint32_t prefix6;
	const char *gateway6; /* empty: what routers advertise */
};

/* FRAME_FILE_WRITE: writes (a part of) a file; parents are made. */
struct file_write {
	const char *path;
	uint32_t mode, uid, gid;
	uint32_t append; /* 0 = replace the file, 1 = add at its end */
	struct message_bytes data;
};

/* FRAME_FILE_READ: REPLY's body is the bytes, fewer than asked for at the end. */
struct file_read {
	const char *path;
	uint64_t offset;
	uint32_t max; /* at most FRAME_DATA_MAX */
};

/* REPLY to FRAME_STATISTICS (a call without payload). */
struct statistics {
	uint64_t memory_total_kib, memory_available_kib;
	uint64_t cpu_busy_us; /* over all CPUs since boot */
	uint64_t uptime_us;
	uint32_t processes;
	uint32_t oom_kills;
	uint64_t network_received_bytes, network_sent_bytes; /* all interfaces but the loopback */
};

/* REPLY to FRAME_PROBE (a call without payload): what an image can do. */
struct probe {
	const char **filesystems; /* that mount can use: built in, loaded or loadable */
	const char *os_name;      /* PRETTY_NAME of os-release */
	const char *os_id;        /* ID and VERSION_ID: "debian 12" */
	uint32_t vmgenid;         /* 1 = the kernel has the driver */
};

enum shutdown_how {
	SHUTDOWN_FLUSH,     /* end processes, flush and unmount shares, answer; the VM stays up */
	SHUTDOWN_POWER_OFF, /* the same, answer, then power off */
};

/* FRAME_SHUTDOWN */
struct shutdown {
	uint32_t how;
	uint32_t grace_ms; /* between SIGTERM and SIGKILL for what still runs */
};

enum exec_flag {
	EXEC_TTY = 1 << 0,   /* a pseudo-terminal of rows x columns; stdout carries it all */
	EXEC_STDIN = 1 << 1, /* stdin is a stream (else /dev/null) */
};

/* FRAME_EXEC: starts a process in a session of its own; REPLY says whether exec worked
 * (ENOENT: command not found; EACCES, ENOEXEC: cannot run it). */
struct exec_request {
	const char **argv; /* argv[0] is looked up in env's PATH unless it has a slash */
	const char **env;  /* "K=V"; the whole environment */
	const char *workdir;
	uint32_t uid, gid;
	struct message_numbers gids;
	uint32_t umask;
	uint32_t flags;
	uint32_t rows, columns;
	struct message_numbers limits; /* triples: RLIMIT_* number of Linux, soft, hard; byte
					* limits are sent in KiB; UINT32_MAX = unlimited */
	struct message_numbers cpus;   /* that it may run on, counted from 0; none: all */
};

/* FRAME_CREDIT */
struct credit {
	uint32_t bytes; /* more that may be sent on this channel */
};

/* FRAME_SIGNAL */
struct signal_request {
	uint32_t signo; /* Linux x86-64 number */
	uint32_t group; /* 1 = to the whole (foreground) process group, 0 = to the process */
};

/* FRAME_RESIZE */
struct resize {
	uint32_t rows, columns;
};

/* FRAME_EXIT */
struct exit_status {
	uint32_t exited; /* 1 = exited with `code`; 0 = died of signal `code` */
	uint32_t code;
	uint64_t user_us, system_us; /* CPU time of the process and the children it waited for */
	uint64_t max_rss_kib;
	uint32_t alone; /* 1 = it has left no process behind, and no other command runs */
};

/* FRAME_QUIESCE: prepares the guest for being saved as a template. */
struct quiesce {
	const char **drivers; /* kernel modules that clones will need, as modprobe knows them */
};

enum message_kind {
	MESSAGE_U16,
	MESSAGE_U32,
	MESSAGE_U64,
	MESSAGE_STRING,
	MESSAGE_STRINGS,
	MESSAGE_NUMBERS,
	MESSAGE_BYTES,
	MESSAGE_END
};

struct message_field {
	enum message_kind kind;
	size_t offset;
};

/* The field tables, one for each struct above, ended by MESSAGE_END. */
extern const struct message_field hello_guest_fields[], hello_host_fields[], reply_fields[],
	identity_fields[], clock_set_fields[], account_fields[], mount_request_fields[],
	network_request_fields[], file_write_fields[], file_read_fields[], statistics_fields[],
	probe_fields[], shutdown_fields[], exec_request_fields[], credit_fields[],
	signal_request_fields[], resize_fields[], exit_status_fields[], quiesce_fields[];

/* Appends the encoded message to `out`. NULL strings and lists are sent as empty ones.
 * Returns 0 or -ENOMEM. */
int message_encode(const struct message_field *fields, const void *message, struct buffer *out);

/* Appends a whole frame with the encoded message to `out`. Returns 0 or -ENOMEM. */
int message_append_frame(struct buffer *out, enum frame_type type, uint32_t id,
	enum frame_channel channel, const struct message_field *fields, const void *message);

/* Fills `message` (zeroed first) from `payload`. Strings and bytes point into `payload`; lists are
 * allocated, and message_release() frees them (also needed after a failure).
 * Strings are never NULL afterwards, lists of strings are NULL-terminated.
 * Returns 0, -EPROTO for bytes that are no such message, -ENOMEM. */
int message_decode(
	const struct message_field *fields, const void *payload, size_t length, void *message);

/* Frees what message_decode() allocated. */
void message_release(const struct message_field *fields, void *message);
