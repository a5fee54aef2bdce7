/* children.c: fork, vfork, posix_spawn, execve and their errors. SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void report(const char *what, pid_t child)
{
    int status = 0;
    waitpid(child, &status, 0);
    printf("%s: %s %d\n", what, WIFEXITED(status) ? "exit" : "signal",
           WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    fflush(stdout);
}

static void write_file(const char *name, const char *text, int mode)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (write(fd, text, strlen(text)) < 0)
        exit(9);
    close(fd);
    chmod(name, (mode_t)mode);
}

static void run(const char *what, const char *path, char *const argv[])
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        execve(path, argv, environ);
        printf("%s: %s\n", what, strerror(errno));
        fflush(stdout);
        _exit(111);
    }
    report(what, child);
}

static void on_child(int signal)
{
    (void)signal;
}

/* What a program that was executed again says of what it inherited. */
static int executed_again(int argc, char **argv)
{
    sigset_t mask;
    struct sigaction act;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    sigaction(SIGUSR1, NULL, &act);
    printf("again: %s usr2 blocked %d usr1 ignored %d\n", argv[2], sigismember(&mask, SIGUSR2),
           act.sa_handler == SIG_IGN);
    return argc;
}

static void sharing_memory(void)
{
    static volatile int shared;
    pid_t child = vfork();
    if (child == 0) {
        shared = 5;
        _exit(3);
    }
    printf("vfork wrote %d\n", shared);
    report("vfork", child);
    child = vfork();
    if (child == 0) {
        execl("/nonexistent", "x", (char *)NULL);
        _exit(errno);
    }
    report("vfork, failed execve", child);
    char *const spawn_argv[] = { "sh", "-c", "echo spawned; exit 4", NULL };
    fflush(stdout);
    printf("spawn %d\n", posix_spawn(&child, "/bin/sh", NULL, NULL, spawn_argv, environ));
    report("spawn", child);
    printf("spawn of nothing %d\n",
           posix_spawn(&child, "/nonexistent", NULL, NULL, spawn_argv, environ));
}

static void scripts(void)
{
    write_file("one.sh", "#!/bin/sh\necho script $0 $1\nexit 6\n", 0755);
    write_file("two.sh", "#! ./one.sh  an argument \n", 0755);
    write_file("noexec.sh", "#!/bin/sh\n", 0644);
    write_file("nointerp.sh", "#!/nonexistent/interpreter\n", 0755);
    write_file("text", "echo no interpreter line\n", 0755);
    write_file("loop.sh", "#!./loop.sh\n", 0755);
    char *const args[] = { "zero", "ARG", NULL };
    run("script", "./one.sh", args);
    run("script of a script", "./two.sh", args);
    run("not executable", "./noexec.sh", args);
    run("no such interpreter", "./nointerp.sh", args);
    run("plain text", "./text", args);
    run("a directory", "/tmp", args);
    run("a loop", "./loop.sh", args);
    run("bad argv", "/bin/true", (char *const *)16);
    int busy = open("one.sh", O_WRONLY | O_APPEND);
    run("a script open for writing", "./one.sh", args);
    run("its interpreter is a script open for writing", "./two.sh", args);
    close(busy);
    run("closed again", "./two.sh", args);
}

static void itself(void)
{
    sigset_t set;
    signal(SIGUSR1, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    char *const again[] = { "me", "again", "proc", NULL };
    run("/proc/self/exe", "/proc/self/exe", again);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
        char *const by_fd[] = { "me", "again", "fd", NULL };
        fexecve(fd, by_fd, environ);
        _exit(errno);
    }
    report("fexecve", child);
}

static void forks(void)
{
    fflush(stdout);
    for (int i = 0; i < 10; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(i);
        report("fork", child);
    }
    pid_t child = fork();
    if (child == 0)
        abort();
    report("abort", child);
}

int main(int argc, char **argv)
{
    char line[64] = "";
    if (argc > 1 && strcmp(argv[1], "again") == 0)
        return executed_again(argc, argv);
    setvbuf(stdout, NULL, _IOFBF, 4096);
    signal(SIGCHLD, on_child);
    sharing_memory();
    scripts();
    itself();
    forks();
    printf("system %d\n", system("exit 5") >> 8);
    FILE *pipe = popen("echo from a pipe", "r");
    if (fgets(line, sizeof line, pipe) == NULL)
        return 1;
    printf("popen %s", line);
    pclose(pipe);
    fflush(stdout);
    raise(SIGTERM);
    return 0;
}
