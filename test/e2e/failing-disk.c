/* Preloaded into a process: a disk that fails in the middle of writing a checkpoint, or when it is asked to keep it.
   FAIL=write or FAIL=fsync; AFTER: calls that still succeed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int fd, const char *kind) {
  static int calls;
  const char *wanted = getenv("FAIL");
  if (!wanted || strcmp(wanted, kind) != 0) return 0;
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  if (!strstr(path, "/checkpoints/.step-")) return 0;
  return __sync_add_and_fetch(&calls, 1) > atoi(getenv("AFTER"));
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
  ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
  if (!fails(fd, "write")) return real(fd, bytes, count, offset);
  real(fd, bytes, count / 2, offset);
  errno = EIO;
  return -1;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) { return pwrite64(fd, bytes, count, offset); }

int fsync(int fd) {
  int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
  if (!fails(fd, "fsync")) return real(fd);
  errno = EIO;
  return -1;
}
