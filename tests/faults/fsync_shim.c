/* Makes a disk bad, as variables say.
 *
 * LARDER_FSYNC_CONTROL: fsync and fdatasync fail with EIO while the file of this name exists: for the files whose path ends with
 * what it contains, or for all if it is empty.
 * LARDER_FSYNC_DELAY: they take so many microseconds longer, as those of a network file system do.
 * LARDER_NO_SHM: nothing can be shared in memory that is called -shm, as on file systems without shared mappings. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int fails(int fd) {
    const char *control = getenv("LARDER_FSYNC_CONTROL");
    int file = control ? open(control, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    char suffix[64], link[64], path[4096];
    ssize_t wanted = read(file, suffix, sizeof suffix);
    close(file);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    return wanted >= 0 && length >= wanted && memcmp(path + length - wanted, suffix, (size_t)wanted) == 0;
}

static void delay(void) {
    const char *text = getenv("LARDER_FSYNC_DELAY");
    long micros = text ? atol(text) : 0;
    struct timespec left = {micros / 1000000, micros % 1000000 * 1000};
    while (micros > 0 && nanosleep(&left, &left) != 0 && errno == EINTR) {}
}

static void *map(void *at, size_t length, int access, int flags, int fd, off_t offset) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t end = getenv("LARDER_NO_SHM") && fd >= 0 ? readlink(link, path, sizeof path) : -1;
    if (end >= 4 && memcmp(path + end - 4, "-shm", 4) == 0) { errno = ENODEV; return MAP_FAILED; }
    return (void *)syscall(SYS_mmap, at, length, access, flags, fd, offset);
}

void *mmap(void *at, size_t length, int access, int flags, int fd, off_t offset) {
    return map(at, length, access, flags, fd, offset);
}

void *mmap64(void *at, size_t length, int access, int flags, int fd, off64_t offset) {
    return map(at, length, access, flags, fd, offset);
}

int fsync(int fd) {
    delay();
    if (fails(fd)) { errno = EIO; return -1; }
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
    delay();
    if (fails(fd)) { errno = EIO; return -1; }
    return (int)syscall(SYS_fdatasync, fd);
}
