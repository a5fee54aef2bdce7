/*
 * lookup.c: from guest addresses to records.
 *
 *     blocks   guest pc        -> Block     newest first; stale ones are passed over
 *     targets  (site, address) -> Target    one counter per observed target of an indirect branch
 *     calls    return address  -> call record
 *     pages    page number     -> blocks that start in it, for forgetting
 *
 * Bucket lists grow at the head only, with release stores, and nothing is freed: readers need no
 * lock. A stale block's first record is h_stale, which looks its address up again, so links to it
 * need not be found.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/lookup.h"

#include "profiler/decode.h"
#include "profiler/flow.h"
#include "profiler/pool.h"
#include "profiler/record_room.h"
#include "profiler/records.h"
#include "profiler/step.h"
#include "profiler/translate.h"
#include "profiler/watch.h"

enum {
    BLOCK_BUCKETS = 1 << 18,
    TARGET_BUCKETS = 1 << 16,
    CALL_BUCKETS = 1 << 15,
    PAGE_BUCKETS = 1 << 14,
    PARTIAL_BUCKETS = 1 << 8,
    PAGE_BITS = 12,
    MAX_INSN = 15,
    DROP_AFTER = 512, /* blocks decoded */
};

typedef struct CallNode {
    uint64_t pc;
    const Op *call;
    struct CallNode *next;
} CallNode;

typedef struct PartialNode {
    const Block *block;
    uint32_t n, counter;
    struct PartialNode *next;
} PartialNode;

typedef struct PageNode {
    uint64_t page;
    Block *blocks;
    struct PageNode *next;
} PageNode;

static Block **blocks;
static Target **targets;
static CallNode **calls;
static PageNode **pages;
static PartialNode *partials[PARTIAL_BUCKETS];
static uint64_t n_pages;
static uint32_t n_decoded;

/* Where there is no code: records that leave with the reason, at cpu->pc. */
static Op no_code[RUN_VSYSCALL + 1];
/* What an empty shadow slot holds: an address that no return has, and a call that leads nowhere. */
static Op nowhere[3];
static const Target no_target = { .pc = UINT64_MAX };
static char refused_text[128];

static uint32_t bucket_of(uint64_t key, uint32_t buckets)
{
    return (uint32_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 40) & (buckets - 1);
}

void lookup_init(void)
{
    blocks = vm_alloc(BLOCK_BUCKETS * sizeof *blocks);
    targets = vm_alloc(TARGET_BUCKETS * sizeof *targets);
    calls = vm_alloc(CALL_BUCKETS * sizeof *calls);
    pages = vm_alloc(PAGE_BUCKETS * sizeof *pages);
    for (unsigned why = 0; why <= RUN_VSYSCALL; why++) {
        no_code[why].run = h_exit_here;
        no_code[why].imm = (int32_t)why;
    }
    nowhere[0].imm = (int32_t)live_new_counters(2);
    nowhere[1].link[1] = &nowhere[2];
    if (step_is_on()) /* links are guest addresses */
        nowhere[1].word[1] = UINT64_MAX;
    nowhere[2].run = h_nowhere;
}

void lookup_init_thread(Cpu *cpu)
{
    const Target **cache = vm_alloc(TARGET_CACHE * sizeof *cache);
    for (unsigned i = 0; i < TARGET_CACHE; i++)
        cache[i] = &no_target;
    for (unsigned i = 0; i < SHADOW_SLOTS; i++)
        cpu->shadow[i] = (ShadowEntry){ UINT64_MAX, nowhere };
    cpu->targets = cache;
}

/* ---- blocks ---- */

Block *lookup_block(uint64_t pc)
{
    Block *block = __atomic_load_n(&blocks[bucket_of(pc, BLOCK_BUCKETS)], __ATOMIC_ACQUIRE);
    while (block != NULL && (block->pc != pc || block->stale != 0))
        block = block->next;
    return block;
}

static void note_page(Block *block)
{
    uint64_t page = block->pc >> PAGE_BITS;
    PageNode **head = &pages[bucket_of(page, PAGE_BUCKETS)];
    PageNode *node = *head;
    while (node != NULL && node->page != page)
        node = node->next;
    if (node == NULL) {
        node = pool_take(sizeof *node);
        *node = (PageNode){ page, NULL, *head };
        *head = node;
        n_pages++;
    }
    block->same_page = node->blocks;
    node->blocks = block;
}

static void add_block(Block *block)
{
    Block **head = &blocks[bucket_of(block->pc, BLOCK_BUCKETS)];
    block->next = *head;
    __atomic_store_n(head, block, __ATOMIC_RELEASE);
    note_page(block);
}

static bool is_vsyscall(uint64_t pc)
{
    enum { ENTRY_SIZE = 0x400, ENTRIES = 3 };
    const uint64_t page = UINT64_C(0xffffffffff600000);
    return pc >= page && pc < page + ENTRIES * ENTRY_SIZE && (pc & (ENTRY_SIZE - 1)) == 0;
}

static void name_refused(const GuestInsn *insn)
{
    static const char digits[] = "0123456789abcdef";
    static const char text[] = "an instruction that cannot be virtualized, bytes ";
    char *at = refused_text;
    for (unsigned i = 0; i + 1 < sizeof text; i++)
        *at++ = text[i];
    for (unsigned i = 0; i < insn->size; i++) {
        *at++ = digits[insn->bytes[i] >> 4];
        *at++ = digits[insn->bytes[i] & 15];
    }
    static const char where[] = ", at address 0x";
    for (unsigned i = 0; i + 1 < sizeof where; i++)
        *at++ = where[i];
    for (int shift = 44; shift >= 0; shift -= 4)
        *at++ = digits[(insn->pc >> shift) & 15];
    *at = '\0';
    the_vm.unsupported = refused_text;
}

static bool crosses_page(const DecodedRun *run)
{
    return run->n != 0 && (run->pc + run->size - 1) >> PAGE_BITS != run->pc >> PAGE_BITS;
}

static RunExit why_no_code(const DecodedRun *run)
{
    if (run->end == DECODE_BUS)
        return RUN_BUS;
    return run->end == DECODE_FETCH ? RUN_FETCH : RUN_BAD_CODE;
}

/* code_lock is held. */
static const Op *decode_at(uint64_t pc, bool *real)
{
    static DecodedRun run;
    *real = false;
    watch_close(pc, pc + 1);
    decode_run(pc, &run);
    if (crosses_page(&run)) { /* what was read of the second page may have changed meanwhile */
        watch_close(pc, pc + run.size);
        decode_run(pc, &run);
    }
    if (run.n == 0)
        return &no_code[why_no_code(&run)];
    if (run.insn[0].flow == FLOW_REFUSED) {
        name_refused(&run.insn[0]);
        return &no_code[RUN_UNSUPPORTED];
    }
    Block *block = step_is_on() ? step_make_block(&run) : records_make(&run);
    add_block(block);
    if (++n_decoded % DROP_AFTER == 0)
        code_read_done();
    *real = true;
    return block->ops;
}

/* code_lock is held. */
static const Op *find_or_decode(uint64_t pc, bool *real)
{
    Block *block = lookup_block(pc);
    *real = true;
    if (block != NULL)
        return block->ops;
    if (is_vsyscall(pc)) {
        *real = false;
        return &no_code[RUN_VSYSCALL];
    }
    return decode_at(pc, real);
}

const Op *lookup_code(uint64_t pc, bool *real)
{
    Block *block = lookup_block(pc);
    *real = true;
    if (block != NULL)
        return block->ops;
    vm_lock(&the_vm.code_lock);
    const Op *ops = find_or_decode(pc, real);
    vm_unlock(&the_vm.code_lock);
    return ops;
}

/* Where a link leads that was not followed yet: the first or the second of its record. */
static uint64_t link_target(const Op *link)
{
    const Block *block = record_room_block_of(link);
    if (block->is_tail)
        block = block->whole;
    bool second = ((uintptr_t)link & (sizeof *link - 1)) != 0;
    bool on = block->end == LIVE_END_FALL || block->end == LIVE_END_CALL_IND ||
              (block->end == LIVE_END_COND && !second) || (block->end == LIVE_END_CALL && second);
    return on ? block->pc + block->size : block->target;
}

uint64_t lookup_pc(const Op *first)
{
    if (first->run == h_nowhere)
        return UINT64_MAX;
    bool link = first->run == h_link_2 || first->run == h_link_3;
    return link ? link_target(first) : block_of_first(first)->pc;
}

/* ---- indirect targets ---- */

static uint32_t site_live(const Op *site)
{
    return (uint32_t)(site->run == h_call_r ? site[2].word[0] : site[1].word[1]);
}

/* The site's list of targets: in a word that its record does not use; NULL: a return. */
static Target **targets_of(const Op *site)
{
    Op *own = (Op *)(uintptr_t)site;
    if (site->run == h_call_r)
        return (Target **)&own[2].word[1];
    return site->run == h_jump_r ? (Target **)&own[1].word[0] : NULL;
}

const Target *lookup_targets(const Op *site)
{
    Target **list = targets_of(site);
    return list != NULL ? *list : NULL;
}

static uint32_t target_bucket(const Op *site, uint64_t pc)
{
    return bucket_of(pc + (uint64_t)(uintptr_t)site * 3, TARGET_BUCKETS);
}

static const Target *find_target(const Op *site, uint64_t pc)
{
    const Target *target = __atomic_load_n(&targets[target_bucket(site, pc)], __ATOMIC_ACQUIRE);
    while (target != NULL && (target->pc != pc || target->site != site))
        target = target->next;
    return target;
}

static const Target *make_target(const Op *site, uint64_t pc)
{
    bool real;
    CodeMap map;
    const Op *ops = find_or_decode(pc, &real);
    if (!real)
        return NULL;
    Target **head = &targets[target_bucket(site, pc)];
    Target *target = pool_take(sizeof *target);
    *target = (Target){ pc, site, ops, live_new_counters(1), *head, NULL, NULL };
    Target **list = targets_of(site);
    if (list != NULL) {
        target->other = *list;
        *list = target;
    }
    LiveEdge edge = { .block = site_live(site),
                      .counter = target->counter,
                      .target = pc,
                      .map = map_find_code(pc, &map) ? map.live : LIVE_NO_MAP };
    live_add_edge(&edge);
    __atomic_store_n(head, target, __ATOMIC_RELEASE);
    return target;
}

const Target *lookup_target(const Op *site, uint64_t pc)
{
    const Target *target = find_target(site, pc);
    if (target != NULL)
        return target;
    vm_lock(&the_vm.code_lock);
    target = find_target(site, pc);
    if (target == NULL)
        target = make_target(site, pc);
    vm_unlock(&the_vm.code_lock);
    return target;
}

/* ---- calls ---- */

void lookup_note_call(const Op *call, uint64_t pc)
{
    CallNode **head = &calls[bucket_of(pc, CALL_BUCKETS)];
    CallNode *node = pool_take(sizeof *node);
    *node = (CallNode){ pc, call, *head };
    __atomic_store_n(head, node, __ATOMIC_RELEASE);
}

const Op *lookup_return(uint64_t pc)
{
    const CallNode *node = __atomic_load_n(&calls[bucket_of(pc, CALL_BUCKETS)], __ATOMIC_ACQUIRE);
    while (node != NULL && node->pc != pc)
        node = node->next;
    return node != NULL ? node->call : NULL;
}

/* ---- blocks that were left in the middle ---- */

uint32_t lookup_partial(const Block *block, uint32_t n)
{
    if (block->is_tail)
        block = block->whole;
    PartialNode **head = &partials[bucket_of((uint64_t)(uintptr_t)block + n, PARTIAL_BUCKETS)];
    for (const PartialNode *node = *head; node != NULL; node = node->next) {
        if (node->block == block && node->n == n)
            return node->counter;
    }
    LiveBlock live = { .start = block->pc,
                       .size = block->offset[n],
                       .n_insns = n,
                       .last = block->offset[n - 1],
                       .end = LIVE_END_PARTIAL,
                       .map = LIVE_NO_MAP,
                       .counter = live_new_counters(1) };
    live_add_block(&live);
    PartialNode *node = pool_take(sizeof *node);
    *node = (PartialNode){ block, n, live.counter, *head };
    *head = node;
    return live.counter;
}

/* ---- forgetting ---- */

static void forget_in_page(const PageNode *node, uint64_t start, uint64_t end)
{
    for (Block *block = node->blocks; block != NULL; block = block->same_page) {
        if (block->pc >= end || block->pc + block->size <= start)
            continue;
        block->stale = 1;
        __atomic_store_n(&block->ops->run, h_stale, __ATOMIC_RELEASE);
        translate_forget(block);
    }
}

void lookup_forget(uint64_t start, uint64_t end)
{
    if (blocks == NULL || start >= end)
        return;
    uint64_t first = (start - (start < MAX_INSN ? start : MAX_INSN)) >> PAGE_BITS;
    uint64_t last = (end - 1) >> PAGE_BITS;
    if (last - first < n_pages) {
        for (uint64_t page = first; page <= last; page++) {
            for (PageNode *node = pages[bucket_of(page, PAGE_BUCKETS)]; node != NULL;
                 node = node->next) {
                if (node->page == page)
                    forget_in_page(node, start, end);
            }
        }
        return;
    }
    for (unsigned i = 0; i < PAGE_BUCKETS && n_pages != 0; i++) {
        for (PageNode *node = pages[i]; node != NULL; node = node->next) {
            if (node->page >= first && node->page <= last)
                forget_in_page(node, start, end);
        }
    }
}
