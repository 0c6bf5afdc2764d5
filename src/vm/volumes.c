#include "vm/volumes.h"

/* Descriptor sets beyond those of disks. */
#define FDSET_FIRST 32

/* A network that is away for so long is a pause to the guest, then an error. */
#define VOLUME_RECONNECT_S 120

static void add_volume_file(struct strv *argv, const struct vm_volume *v, size_t index)
{
	strv_add(argv, "-add-fd");
	strv_add_format(argv, "set=%d,fd=%d", FDSET_FIRST + (int)index, v->fd);
	strv_add(argv, "-blockdev");
	strv_add_format(argv,
		"driver=file,node-name=volume%zu-file,filename=/dev/fdset/%d,discard=unmap,"
		"read-only=%s",
		index, FDSET_FIRST + (int)index, v->read_only ? "on" : "off");
	strv_add(argv, "-blockdev");
	strv_add_format(argv,
		"driver=raw,node-name=volume%zu,file=volume%zu-file,discard=unmap,read-only=%s",
		index, index, v->read_only ? "on" : "off");
}

static void add_volume_link(struct strv *argv, const struct vm_volume *v, size_t index)
{
	strv_add(argv, "-object");
	strv_add_format(argv, "tls-creds-psk,id=volume%zu-tls,endpoint=client,username=%s,dir=%s",
		index, v->id, v->keys);
	strv_add(argv, "-blockdev");
	strv_add_format(argv,
		"driver=nbd,node-name=volume%zu,server.type=inet,server.host=%s,"
		"server.port=%llu,export=%s,tls-creds=volume%zu-tls,reconnect-delay=%d,"
		"discard=unmap,read-only=%s",
		index, v->address, (unsigned long long)v->port, v->id, index, VOLUME_RECONNECT_S,
		v->read_only ? "on" : "off");
}

/* Its data stay: what the guest flushes is on the disk, and what cannot be written is an error of
 * this disk, which is no reason to stop the VM. */
void volumes_add(const struct vm_spec *spec, struct strv *argv)
{
	for (size_t i = 0; i < spec->volume_count; i++) {
		const struct vm_volume *v = &spec->volumes[i];

		if (v->fd >= 0)
			add_volume_file(argv, v, i);
		else
			add_volume_link(argv, v, i);
		strv_add(argv, "-device");
		strv_add_format(argv,
			"virtio-blk-pci,drive=volume%zu,serial=" VM_VOLUME_SERIAL
			"%zu,write-cache=on,werror=report,rerror=report",
			i, i);
	}
}
