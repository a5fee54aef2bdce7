/*
 * burst_clock.c: task-clock events and CPU-time timers.
 *
 * An event is a high-resolution timer that runs while its thread does. It is opened from outside,
 * so the process has no descriptor of ours, and it goes when we do. `exclude_kernel` makes it fire
 * in user code only: no system call of the guest's is ever interrupted by it, and bursts stand for
 * user time. `remove_on_exec`: a new program has no handler.
 *
 * Where events are forbidden (perf_event_paranoid), timers of the process: they fire at ticks, also
 * in the kernel, and are made by the process itself.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/burst_clock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { NS_PER_S = 1000000000 };

static int open_event(pid_t thread, uint64_t period_ns)
{
    struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE,
                                    .size = sizeof attr,
                                    .config = PERF_COUNT_SW_TASK_CLOCK,
                                    .sample_period = period_ns,
                                    .disabled = 1,
                                    .exclude_kernel = 1,
                                    .exclude_hv = 1,
                                    .remove_on_exec = 1 };
    return (int)syscall(SYS_perf_event_open, &attr, thread, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

ClockKind clock_kind(ClockKind wanted)
{
    if (wanted != CLOCK_KIND_ANY)
        return wanted;
    int event = open_event(0, NS_PER_S);
    if (event < 0)
        return CLOCK_KIND_TIMER;
    close(event);
    return CLOCK_KIND_EVENT;
}

bool clock_would_wait(const Core *core, pid_t thread)
{
    return (process_mask(core->pid, thread, "SigBlk:") >> (core->signal - 1) & 1) != 0;
}

static Status start_event(const Core *core, uint64_t period_ns, Clock *clock, Error *err)
{
    struct f_owner_ex owner = { F_OWNER_TID, clock->thread };
    int event = open_event(clock->thread, period_ns);
    if (event < 0 && errno == ESRCH)
        return ST_OK;
    if (event < 0)
        return FAIL(err, ST_REFUSED, NOWHERE, "no task-clock event for thread %d: %s",
                    clock->thread, strerror(errno));
    if (fcntl(event, F_SETFL, O_ASYNC) != 0 || fcntl(event, F_SETSIG, (int)core->signal) != 0 ||
        fcntl(event, F_SETOWN_EX, &owner) != 0 || ioctl(event, PERF_EVENT_IOC_ENABLE, 0) != 0) {
        int code = errno;
        close(event);
        return FAIL(err, ST_REFUSED, NOWHERE, "a task-clock event cannot signal: %s",
                    strerror(code));
    }
    clock->event = event;
    return ST_OK;
}

/* What timer_create and timer_settime take, in memory of the process. */
typedef struct TimerWords {
    struct {
        uint64_t value;
        int32_t signal;
        int32_t notify;
        int32_t thread;
        int32_t pad[11];
    } event; /* struct sigevent */
    struct {
        int64_t interval[2];
        int64_t first[2];
    } times; /* struct itimerspec */
    int32_t timer;
} TimerWords;

static Status make_timer(Remote *remote, const Core *core, uint64_t period_ns, Clock *clock,
                         Error *err)
{
    enum { NOTIFY_THREAD = 4 };
    uint64_t place = core->port + offsetof(BurstPort, problem);
    int64_t s = (int64_t)(period_ns / NS_PER_S), ns = (int64_t)(period_ns % NS_PER_S);
    TimerWords words = { .event = { .signal = (int32_t)core->signal,
                                    .notify = NOTIFY_THREAD,
                                    .thread = clock->thread },
                         .times = { { s, ns }, { s, ns } } };
    int64_t result = 0;
    const uint64_t create[6] = { CLOCK_THREAD_CPUTIME_ID, place + offsetof(TimerWords, event),
                                 place + offsetof(TimerWords, timer) };
    if (!process_write(remote->pid, place, &words, sizeof words))
        return FAIL(err, ST_REFUSED, NOWHERE, "process %d cannot be reached", remote->pid);
    TRY(remote_call(remote, SYS_timer_create, create, &result, err));
    if (result != 0 || !process_read(remote->pid, &words, place, sizeof words))
        return FAIL(err, ST_REFUSED, NOWHERE, "no timer for thread %d: %s", clock->thread,
                    strerror((int)-result));
    clock->timer = words.timer;
    clock->has_timer = true;
    const uint64_t set[6] = { (uint64_t)words.timer, 0, place + offsetof(TimerWords, times) };
    return remote_call(remote, SYS_timer_settime, set, &result, err);
}

static Status start_timer(const Core *core, uint64_t period_ns, Clock *clock, Error *err)
{
    Remote remote;
    TRY(remote_stop_thread(&remote, core->pid, clock->thread, err));
    Status status = remote_begin(&remote, clock->thread, err);
    if (status == ST_OK) {
        status = make_timer(&remote, core, period_ns, clock, err);
        remote_end(&remote);
    }
    remote_resume(&remote);
    return status;
}

Status clock_start(ClockKind kind, const Core *core, uint64_t period_ns, pid_t thread, Clock *clock,
                   Error *err)
{
    *clock = (Clock){ .thread = thread, .event = -1 };
    clock->is_blocked = clock_would_wait(core, thread);
    if (clock->is_blocked)
        return ST_OK;
    return kind == CLOCK_KIND_EVENT ? start_event(core, period_ns, clock, err)
                                    : start_timer(core, period_ns, clock, err);
}

void clock_stop(Clock *clock)
{
    if (clock->event >= 0)
        close(clock->event);
    clock->event = -1;
}

Status clock_delete_timer(Remote *remote, Clock *clock, Error *err)
{
    int64_t result;
    const uint64_t arg[6] = { (uint64_t)clock->timer };
    if (!clock->has_timer)
        return ST_OK;
    clock->has_timer = false;
    return remote_call(remote, SYS_timer_delete, arg, &result, err);
}
