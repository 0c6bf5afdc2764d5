"""Mounts a file system whose server does not answer, as NFS does when its server has died:
dead_mount.py DIRECTORY, until it is killed. Who waits for it can be killed, and hears its end."""

import ctypes
import os
import signal
import sys

MNT_DETACH = 2


def hang(directory):
    """Returns what ends it."""
    libc = ctypes.CDLL(None, use_errno=True)
    fuse = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other"
    if libc.mount(b"dead", str(directory).encode(), b"fuse", 0, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), "mount")
    return lambda: libc.umount2(str(directory).encode(), MNT_DETACH)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
    release = hang(sys.argv[1])
    try:
        signal.sigwait([signal.SIGTERM, signal.SIGINT])
    finally:
        release()
