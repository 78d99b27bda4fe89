// What a command without a shell's limits can try. Prints a line for each success.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void neighbour(int pid) {
  char path[64], name[32] = "?";
  snprintf(path, sizeof path, "/proc/%d/comm", pid);
  FILE *file = fopen(path, "r");
  if (!file) return;
  if (fscanf(file, "%31s", name) != 1) strcpy(name, "?");
  fclose(file);
  if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) {
    printf("TRACED %s\n", name);
    ptrace(PTRACE_INTERRUPT, pid, 0, 0);
    waitpid(pid, 0, __WALL);
    ptrace(PTRACE_DETACH, pid, 0, 0);
  }
  char byte;
  struct iovec here = {&byte, 1}, there = {(void *)8, 1};
  // The right to look is asked for before the address.
  if (process_vm_readv(pid, &here, 1, &there, 1, 0) >= 0 || errno == EFAULT)
    printf("READ %s\n", name);
  int handle = syscall(SYS_pidfd_open, pid, 0);
  for (int number = 0; handle >= 0 && number < 64; number++)
    if (syscall(SYS_pidfd_getfd, handle, number, 0) >= 0) {
      printf("TAKEN %s\n", name);
      break;
    }
}

static struct sockaddr_un address(const char *path) {
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  strncpy(name.sun_path, path, sizeof name.sun_path - 1);
  return name;
}

static void ask(const char *path, const char *request) {
  struct sockaddr_un name = address(path);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (connect(fd, (struct sockaddr *)&name, sizeof name) != 0) {
    printf("SOCKET %s: %s\n", request, strerror(errno));
    return;
  }
  dprintf(fd, "%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer 0\r\nContent-Length: 0\r\n"
              "Connection: close\r\n\r\n", request, getenv("REGISTRY"));
  char answer[512];
  ssize_t length = read(fd, answer, sizeof answer - 1);
  answer[length > 0 ? length : 0] = 0;
  printf("SOCKET %s: %.12s\n", request, answer);
  close(fd);
}

// Has the kernel write what a process of its own has in memory, and then that of all of a name.
static void dump(const char *name, const char *head, const char *tail) {
  // Whoever passes on what commands say is ended.
  freopen("/shared/said", "w", stdout);
  struct rlimit most;
  getrlimit(RLIMIT_CORE, &most);
  most.rlim_cur = most.rlim_max;
  setrlimit(RLIMIT_CORE, &most);
  if (open("/proc/sys/kernel/core_pattern", O_WRONLY) >= 0) printf("PATTERN writable\n");
  int child = fork(), status = 0;
  if (child == 0) {
    char *whole = malloc(128);
    snprintf(whole, 128, "%s%s", head, tail);
    if (chdir("/shared/decoy") == 0) abort();
    _exit(1);
  }
  waitpid(child, &status, 0);
  printf("DECOY %s\n", WCOREDUMP(status) ? "dumped" : "not dumped");
  DIR *all = opendir("/proc");
  for (struct dirent *entry; (entry = readdir(all));) {
    char path[64], found[32] = "";
    int pid = atoi(entry->d_name);
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    FILE *file = pid > 0 ? fopen(path, "r") : 0;
    if (!file) continue;
    if (fscanf(file, "%31s", found) != 1) found[0] = 0;
    fclose(file);
    if (strcmp(found, name)) continue;
    if (prlimit(pid, RLIMIT_CORE, &most, 0) == 0) printf("LIMITED %s\n", name);
    // The first is the build itself: what it has ordered ends with it.
    fflush(stdout);
    kill(pid, SIGABRT);
  }
}

int main(int count, char **words) {
  setvbuf(stdout, 0, _IOLBF, 0);
  if (count == 2 && !strcmp(words[1], "neighbours")) {
    DIR *all = opendir("/proc");
    for (struct dirent *entry; (entry = readdir(all));)
      if (atoi(entry->d_name) > 0 && atoi(entry->d_name) != getpid()) neighbour(atoi(entry->d_name));
  } else if (count > 3 && !strcmp(words[1], "ask")) {
    for (int word = 3; word < count; word++) ask(words[2], words[word]);
  } else if (count == 5 && !strcmp(words[1], "dump")) {
    dump(words[2], words[3], words[4]);
  } else if (count == 3 && !strcmp(words[1], "replace")) {
    // Whoever asks here instead is robbed of what it shows.
    struct sockaddr_un name = address(words[2]);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (unlink(words[2]) == 0 && bind(fd, (struct sockaddr *)&name, sizeof name) == 0)
      printf("REPLACED\n");
    // Left behind without a listener: who connects by path is refused.
  }
  return 0;
}
