/*
 * Another process, stopped: its memory, and system calls and code run in it.
 *
 *   remote_stop ─► remote_begin ─► remote_call ... remote_run ─► remote_end ─► remote_resume
 *
 * Everything goes through ptrace. Between begin and end one thread (the worker) is ours: its
 * registers and its signal mask are kept and put back, also where it waits in a system call, which
 * then goes on or is restarted as after a stop signal.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_INJECT_H
#define RESPIN_PROFILER_INJECT_H

#include "core/arena.h"
#include "core/error.h"

#include <stdbool.h>
#include <sys/types.h>
#include <sys/user.h>

typedef struct Remote {
    Arena *arena; /* of this stop */
    pid_t pid;
    pid_t *threads; /* all stopped */
    size_t n_threads, threads_cap;
    pid_t worker;
    uint64_t syscall_at; /* a `syscall` instruction in the process */
    struct user_regs_struct saved;
    uint64_t saved_mask;
} Remote;

/*
 * Stops every thread of the process. ST_REFUSED when that is not allowed (another tracer, another
 * user) or it cannot be stopped now (it waits for a vfork child, say): nothing is stopped then.
 */
MUST_CHECK Status remote_stop(Remote *remote, pid_t pid, Error *err);
/* The same for one thread of the process: the others run on. */
MUST_CHECK Status remote_stop_thread(Remote *remote, pid_t pid, pid_t thread, Error *err);
/* The same for a process of one thread that is seized already and stands in a stop. */
void remote_adopt(Remote *remote, pid_t pid);
/* Lets all threads go on, untraced. */
void remote_resume(Remote *remote);
/* Lets go of threads that stopped only after remote_stop had given up on them. */
void remote_let_go(void);

/* Makes `worker` (one of the threads) ours; until remote_end. */
MUST_CHECK Status remote_begin(Remote *remote, pid_t worker, Error *err);
void remote_end(Remote *remote);
/* A system call in the worker. ST_OK with the kernel's result, be it an error. */
MUST_CHECK Status remote_call(Remote *remote, long number, const uint64_t arg[6], int64_t *result,
                              Error *err);
/* Runs code in the worker up to its trap instruction. */
MUST_CHECK Status remote_run(Remote *remote, uint64_t pc, uint64_t sp, Error *err);

/* The instruction pointer of a stopped thread. */
uint64_t remote_pc(pid_t thread);

/* Memory of any process that may be traced. False: not all of it is there. */
bool process_read(pid_t pid, void *to, uint64_t from, size_t size);
bool process_write(pid_t pid, uint64_t to, const void *from, size_t size);

/* One word of /proc/PID/task/TID/status, read in base 16 ("SigBlk:"); 0: none. */
uint64_t process_mask(pid_t pid, pid_t thread, const char *name);
/* The letter of its state: R S D T t Z X; 0: gone. */
char process_state(pid_t pid);

#endif
