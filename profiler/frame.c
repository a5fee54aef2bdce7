/*
 * frame.c: signal frames, as the kernel makes and takes them.
 *
 * The guest's vector state is in the processor when these run, so XSAVE writes it straight into the
 * frame and XRSTOR takes it back. The software words (magic1, sizes, features; magic2 behind the
 * image) tell user code how much of the image is there: SDM vol. 1 13.4 for the image,
 * asm/sigcontext.h (struct _fpx_sw_bytes) for the words.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/frame.h"
#include "profiler/memory.h"
#include "profiler/signals.h"
#include "profiler/text.h"

#include <asm/errno.h>

#define MAGIC1 0x46505853u
#define MAGIC2 0x46505845u

enum {
    XSAVE_ALIGN = 64,
    XSAVE_LEGACY = 512,
    XSAVE_HEADER_END = 576,
    XSAVE_MAX = 16384,
    OFFSET_SW = 464,
    OFFSET_MXCSR = 24,
    FEATURE_FPSSE = 3,
    FEATURE_PKRU = 1 << 9,
    FEATURE_TILE_DATA = 1 << 18, /* saved only where the process asked for it */
    PKRU_START = 0x55555554,
    MXCSR_START = 0x1f80,
    FCW_START = 0x37f,
    RED_ZONE = 128,
    CONTEXT_FLAGS = 7, /* UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS */
    CS_USER = 0x33,
    SS_USER = 0x2b,
    FLAG_TF = 1 << 8,
    FLAG_DF = 1 << 10,
    FLAG_RF = 1 << 16,
    FLAGS_RESTORED =
        0x50dd5 | FLAG_RF, /* AC OF DF TF SF ZF AF PF CF RF, as the kernel's FIX_EFLAGS */
    FLAGS_FIXED = 0x202,
    LEAST_ALT_STACK = 2048,
};
#define SS_AUTODISARM_ (1u << 31)
#define SA_ONSTACK_ 0x08000000u
#define SA_RESTORER_ 0x04000000u

typedef struct SoftwareWords {
    uint32_t magic1;
    uint32_t extended_size;
    uint64_t features;
    uint32_t xsave_size;
    uint32_t padding[7];
} SoftwareWords;

_Static_assert(sizeof(SoftwareWords) == XSAVE_LEGACY - OFFSET_SW, "_fpx_sw_bytes");

static struct {
    uint64_t features; /* XCR0 without what the process must ask for */
    uint32_t size;     /* of the XSAVE image */
    bool has_pkru;
    uint8_t start_state[XSAVE_HEADER_END] __attribute__((aligned(XSAVE_ALIGN)));
} fpu;

static void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    __asm__ volatile("cpuid"
                     : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
                     : "a"(leaf), "c"(subleaf));
}

void frame_init(void)
{
    enum {
        LEAF_EXTENDED = 7,
        LEAF_XSTATE = 13,
        OSPKE = 1 << 4,
        FIRST_EXTENDED = 2,
        N_FEATURES = 32
    };
    uint32_t low, high, out[4];
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    fpu.features = low & ~(uint32_t)FEATURE_TILE_DATA;
    fpu.size = XSAVE_HEADER_END;
    for (uint32_t i = FIRST_EXTENDED; i < N_FEATURES; i++) {
        if ((fpu.features >> i & 1) == 0)
            continue;
        cpuid(LEAF_XSTATE, i, out);
        if (out[0] + out[1] > fpu.size)
            fpu.size = out[0] + out[1];
    }
    if (fpu.size > XSAVE_MAX)
        vm_die("this processor's vector state is larger than planned for", fpu.size);
    cpuid(LEAF_EXTENDED, 0, out);
    fpu.has_pkru = (out[2] & OSPKE) != 0;
    *(uint16_t *)(void *)fpu.start_state = FCW_START;
    *(uint32_t *)(void *)(fpu.start_state + OFFSET_MXCSR) = MXCSR_START;
}

static void xsave_to(void *image, uint64_t features)
{
    __asm__ volatile("xsave64 (%0)"
                     :
                     : "r"(image), "a"((uint32_t)features), "d"((uint32_t)(features >> 32))
                     : "memory");
}

static void xrstor_from(const void *image, uint64_t features)
{
    __asm__ volatile("xrstor64 (%0)"
                     :
                     : "r"(image), "a"((uint32_t)features), "d"((uint32_t)(features >> 32))
                     : "memory");
}

/* What a handler starts with: everything in its initial state. */
static void clear_vectors(void)
{
    xrstor_from(fpu.start_state, fpu.features & ~(uint64_t)FEATURE_PKRU);
    if (fpu.has_pkru)
        __asm__ volatile("wrpkru" : : "a"(PKRU_START), "c"(0), "d"(0));
}

/* ---- the alternate stack ------------------------------------------------------------------ */

bool alt_stack_holds(const GuestAltStack *stack, uint64_t sp)
{
    if ((stack->flags & SS_AUTODISARM_) != 0)
        return false;
    return sp > stack->sp && sp - stack->sp <= stack->size;
}

long alt_stack_set(GuestAltStack *stack, const GuestAltStack *wanted, uint64_t sp)
{
    uint32_t mode = wanted->flags & ~SS_AUTODISARM_;
    if (alt_stack_holds(stack, sp))
        return -EPERM;
    if (mode != ALT_STACK_DISABLED && mode != ALT_STACK_ACTIVE && mode != 0)
        return -EINVAL;
    if (mode == ALT_STACK_DISABLED) {
        *stack = (GuestAltStack){ .flags = wanted->flags };
        return 0;
    }
    if (wanted->size < LEAST_ALT_STACK)
        return -ENOMEM;
    *stack = (GuestAltStack){ wanted->sp, wanted->flags, 0, wanted->size };
    return 0;
}

long signals_alt_stack(Thread *thread, uint64_t new_stack, uint64_t old_stack)
{
    uint64_t sp = thread->cpu.reg[R_RSP];
    GuestAltStack *stack = &thread->os->alt_stack;
    GuestAltStack wanted;
    GuestAltStack old = *stack;
    if (new_stack != 0 && !guest_read(&wanted, new_stack, sizeof wanted))
        return -EFAULT;
    old.flags &= 1u << 31;
    if (old.size == 0)
        old.flags |= ALT_STACK_DISABLED;
    else if (alt_stack_holds(stack, sp))
        old.flags |= ALT_STACK_ACTIVE;
    if (new_stack != 0) {
        long result = alt_stack_set(stack, &wanted, sp);
        if (result != 0)
            return result;
    }
    if (old_stack != 0 && !guest_write(old_stack, &old, sizeof old))
        return -EFAULT;
    return 0;
}

/* ---- push --------------------------------------------------------------------------------- */

typedef struct FramePlace {
    uint64_t frame;
    uint64_t image;
} FramePlace;

static bool place_frame(const Thread *thread, const GuestAction *action, FramePlace *place)
{
    const GuestAltStack *alt = &thread->os->alt_stack;
    uint64_t guest_sp = thread->cpu.reg[R_RSP];
    uint64_t sp = guest_sp - RED_ZONE;
    bool nested = alt_stack_holds(alt, guest_sp);
    bool entering = (action->flags & SA_ONSTACK_) != 0 && !nested && alt->size != 0;
    if (entering)
        sp = alt->sp + alt->size;
    place->image = (sp - fpu.size - sizeof(uint32_t)) & ~(uint64_t)(XSAVE_ALIGN - 1);
    place->frame = ((place->image - sizeof(SigFrame)) & ~UINT64_C(15)) - 8;
    bool must_fit = (nested || entering) && alt->size != 0;
    if (must_fit && (place->frame <= alt->sp || place->frame - alt->sp > alt->size))
        return false;
    return guest_writable(place->frame, sp - place->frame);
}

static void save_vectors(uint8_t *image)
{
    memset(image + XSAVE_LEGACY, 0, XSAVE_HEADER_END - XSAVE_LEGACY);
    xsave_to(image, fpu.features);
    *(uint64_t *)(void *)(image + XSAVE_LEGACY) |= FEATURE_FPSSE;
    SoftwareWords words = { .magic1 = MAGIC1,
                            .extended_size = fpu.size + (uint32_t)sizeof(uint32_t),
                            .features = fpu.features,
                            .xsave_size = fpu.size };
    memcpy(image + OFFSET_SW, &words, sizeof words);
    *(uint32_t *)(void *)(image + fpu.size) = MAGIC2;
}

static void save_registers(const Cpu *cpu, SigContext *to)
{
    const uint64_t *reg = cpu->reg;
    *to = (SigContext){ .r8 = reg[R_R8],
                        .r9 = reg[R_R9],
                        .r10 = reg[R_R10],
                        .r11 = reg[R_R11],
                        .r12 = reg[R_R12],
                        .r13 = reg[R_R13],
                        .r14 = reg[R_R14],
                        .r15 = reg[R_R15],
                        .rdi = reg[R_RDI],
                        .rsi = reg[R_RSI],
                        .rbp = reg[R_RBP],
                        .rbx = reg[R_RBX],
                        .rdx = reg[R_RDX],
                        .rax = reg[R_RAX],
                        .rcx = reg[R_RCX],
                        .rsp = reg[R_RSP],
                        .rip = cpu->pc,
                        .flags = cpu->rflags,
                        .cs = CS_USER,
                        .ss = SS_USER };
}

bool frame_push(Thread *thread, const FrameRequest *request)
{
    Cpu *cpu = &thread->cpu;
    ThreadOs *os = thread->os;
    FramePlace place;
    if ((request->action->flags & SA_RESTORER_) == 0 ||
        !place_frame(thread, request->action, &place))
        return false;
    SigFrame *frame = (SigFrame *)place.frame;
    save_vectors((uint8_t *)place.image);
    GuestContext context = { .flags = CONTEXT_FLAGS,
                             .stack = os->alt_stack,
                             .mask = request->mask };
    save_registers(cpu, &context.registers);
    context.registers.err = request->captured->err;
    context.registers.trapno = request->captured->trapno;
    context.registers.cr2 = request->captured->cr2;
    context.registers.oldmask = request->mask;
    context.registers.fpstate = place.image;
    frame->return_to = request->action->restorer;
    frame->context = context;
    memcpy(frame->info, request->captured->info, sizeof frame->info);
    if ((os->alt_stack.flags & SS_AUTODISARM_) != 0)
        os->alt_stack = (GuestAltStack){ .flags = ALT_STACK_DISABLED };
    cpu->reg[R_RDI] = (uint64_t)request->signal;
    cpu->reg[R_RSI] = (uint64_t)&frame->info;
    cpu->reg[R_RDX] = (uint64_t)&frame->context;
    cpu->reg[R_RAX] = 0;
    cpu->reg[R_RSP] = place.frame;
    cpu->pc = request->action->handler;
    cpu->rflags &= ~(uint64_t)(FLAG_DF | FLAG_RF | FLAG_TF);
    clear_vectors();
    return true;
}

/* ---- pop ---------------------------------------------------------------------------------- */

static void load_registers(Cpu *cpu, const SigContext *from)
{
    const uint64_t reg[N_GUEST_REGS] = {
        [R_RAX] = from->rax, [R_RCX] = from->rcx, [R_RDX] = from->rdx, [R_RBX] = from->rbx,
        [R_RSP] = from->rsp, [R_RBP] = from->rbp, [R_RSI] = from->rsi, [R_RDI] = from->rdi,
        [R_R8] = from->r8,   [R_R9] = from->r9,   [R_R10] = from->r10, [R_R11] = from->r11,
        [R_R12] = from->r12, [R_R13] = from->r13, [R_R14] = from->r14, [R_R15] = from->r15,
    };
    memcpy(cpu->reg, reg, sizeof reg);
    cpu->pc = from->rip;
    cpu->rflags =
        (cpu->rflags & ~(uint64_t)FLAGS_RESTORED) | (from->flags & FLAGS_RESTORED) | FLAGS_FIXED;
}

/* How much of the image at `address` is XSAVE's; 0: only the legacy part is there. */
static uint64_t image_features(uint64_t address)
{
    SoftwareWords words;
    uint32_t magic2;
    if (!guest_read(&words, address + OFFSET_SW, sizeof words) || words.magic1 != MAGIC1 ||
        words.xsave_size < XSAVE_HEADER_END || words.xsave_size > fpu.size ||
        words.xsave_size > words.extended_size ||
        !guest_read(&magic2, address + words.xsave_size, sizeof magic2) || magic2 != MAGIC2)
        return 0;
    return words.features & fpu.features;
}

/* XRSTOR faults on an image that is not its own: the same checks come first. */
static bool image_is_sound(const uint8_t *image)
{
    const uint64_t *header = (const uint64_t *)(const void *)(image + XSAVE_LEGACY);
    uint32_t mxcsr = *(const uint32_t *)(const void *)(image + OFFSET_MXCSR);
    uint32_t mask = *(const uint32_t *)(const void *)(image + OFFSET_MXCSR + 4);
    if ((header[0] & ~fpu.features) != 0 || (mxcsr & ~(mask != 0 ? mask : 0xffbf)) != 0)
        return false;
    for (int i = 1; i < 8; i++)
        if (header[i] != 0)
            return false;
    return true;
}

static bool load_vectors(uint64_t address)
{
    uint8_t image[XSAVE_MAX] __attribute__((aligned(XSAVE_ALIGN)));
    if (address == 0) {
        clear_vectors();
        return true;
    }
    uint64_t features = image_features(address);
    size_t size = features != 0 ? fpu.size : XSAVE_LEGACY;
    memset(image + XSAVE_LEGACY, 0, XSAVE_HEADER_END - XSAVE_LEGACY);
    if (!guest_read(image, address, size))
        return false;
    if (features == 0)
        *(uint64_t *)(void *)(image + XSAVE_LEGACY) = FEATURE_FPSSE;
    *(uint64_t *)(void *)(image + XSAVE_LEGACY) &= features | FEATURE_FPSSE;
    if (!image_is_sound(image))
        return false;
    xrstor_from(image, fpu.features);
    return true;
}

bool frame_pop(Thread *thread, SigMask *mask)
{
    GuestContext context;
    if (!guest_read(&context, thread->cpu.reg[R_RSP], sizeof context))
        return false;
    load_registers(&thread->cpu, &context.registers);
    *mask = context.mask;
    if (!load_vectors(context.registers.fpstate))
        return false;
    alt_stack_set(&thread->os->alt_stack, &context.stack, thread->cpu.reg[R_RSP]);
    return true;
}

/* ---- out of the VM ------------------------------------------------------------------------ */

void frame_resume_natively(const Thread *thread, SigMask mask)
{
    enum { RT_SIGRETURN = 15 };
    uint8_t image[XSAVE_MAX + sizeof(uint32_t)] __attribute__((aligned(XSAVE_ALIGN)));
    SigFrame frame = { .context = {
                           .flags = CONTEXT_FLAGS, .stack = thread->os->alt_stack, .mask = mask } };
    save_vectors(image);
    save_registers(&thread->cpu, &frame.context.registers);
    frame.context.registers.fpstate = (uint64_t)image;
    __asm__ volatile("movq %0, %%rsp\n\tsyscall\n\thlt"
                     :
                     : "r"(&frame.context), "a"(RT_SIGRETURN)
                     : "memory");
    __builtin_unreachable();
}
